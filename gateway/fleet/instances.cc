#include "gateway/fleet/instances.h"

#include <algorithm>

namespace muster::gateway {

Instances::Answer Instances::Hello(const Instance& hello, Instant now,
                                   absl::Duration lease,
                                   std::optional<Instant> holder_heard,
                                   bool link_open) {
  ForgetSilent(now, lease);
  if (present_.empty() || hello.IsSame(present_)) {
    present_ = hello;
    return Answer::kAccept;
  }
  const bool holder_lives = holder_heard && now - *holder_heard < lease;
  const auto other = Find(hello);
  if (!holder_lives || other == others_.end()) {
    Succeed(hello, holder_heard.value_or(now), Life::kSuperseded);
    return Answer::kAccept;
  }
  other->instance = hello;
  other->heard = now;
  if (other->life == Life::kSuperseded) {
    other->life = Life::kAskedAgain;
    return Answer::kSayAgain;
  }
  other->life = Life::kProven;
  if (link_open) return Answer::kRefuse;
  // The present one lives, but has no link at this moment: they change places.
  Succeed(hello, *holder_heard, Life::kProven);
  return Answer::kAccept;
}

const Instance* Instances::rival() const {
  const Other* last = nullptr;
  for (const Other& other : others_) {
    if (other.life != Life::kProven) continue;
    if (last == nullptr || other.heard >= last->heard) last = &other;
  }
  return last == nullptr ? nullptr : &last->instance;
}

void Instances::ForgetSilent(Instant now, absl::Duration lease) {
  for (Other& other : others_) {
    if (other.life == Life::kProven && now - other.heard >= lease) {
      other.life = Life::kSuperseded;
    }
  }
  // Without a name it can only be looked for while it is expected.
  std::erase_if(others_, [](const Other& other) {
    return other.instance.empty() && other.life != Life::kProven;
  });
}

void Instances::Excuse(Instant from, Instant to) {
  for (Other& other : others_) {
    other.heard =
        std::max(other.heard, std::min(other.heard + (to - from), to));
  }
}

void Instances::ExpectRival(Instant now) {
  others_.push_back({.instance = {}, .heard = now, .life = Life::kProven});
}

std::vector<Instances::Other>::iterator Instances::Find(const Instance& hello) {
  const auto same = [&](const Other& other) {
    return hello.IsSame(other.instance);
  };
  const auto named = std::find_if(others_.begin(), others_.end(), same);
  if (named != others_.end()) return named;
  // It may be the one that has no name.
  return std::find_if(others_.begin(), others_.end(), [](const Other& other) {
    return other.instance.empty();
  });
}

void Instances::Succeed(const Instance& hello, Instant heard, Life life) {
  const auto known = Find(hello);
  if (known != others_.end()) others_.erase(known);
  others_.push_back({present_, heard, life});
  present_ = hello;
  if (others_.size() <= kOthersMax) return;
  const auto oldest = std::find_if(
      others_.begin(), others_.end(),
      [](const Other& other) { return other.life != Life::kProven; });
  others_.erase(oldest == others_.end() ? others_.begin() : oldest);
}

}  // namespace muster::gateway
