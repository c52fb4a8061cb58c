#include "gateway/fleet/instances.h"

#include <algorithm>

namespace muster::gateway {

Instances::Answer Instances::Hello(const Instance& hello, Instant now,
                                   absl::Duration lease,
                                   std::optional<Instant> holder_heard,
                                   bool link_open) {
  (void)RivalIsGone(now, lease);
  if (present_.empty() || hello.IsSame(present_)) {
    present_ = hello;
    return Answer::kAccept;
  }
  const bool holder_lives = holder_heard && now - *holder_heard < lease;
  const bool known_rival = rival_ && (rival_->empty() || hello.IsSame(*rival_));
  if (!holder_lives || (!known_rival && !IsFormer(hello))) {
    const bool contested = rival_ && !known_rival;
    Succeed(hello);
    if (!contested) rival_.reset();
    return Answer::kAccept;
  }
  if (!known_rival && !(asked_again_ && hello.IsSame(*asked_again_))) {
    asked_again_ = hello;
    return Answer::kSayAgain;
  }
  asked_again_.reset();
  rival_ = hello;
  rival_heard_ = now;
  if (link_open) return Answer::kRefuse;
  // The present one lives, but has no link at this moment: they change places.
  rival_ = present_;
  rival_heard_ = *holder_heard;
  Succeed(hello);
  return Answer::kAccept;
}

bool Instances::RivalIsGone(Instant now, absl::Duration lease) {
  if (!rival_ || now - rival_heard_ < lease) return false;
  rival_.reset();
  return true;
}

void Instances::Excuse(Instant from, Instant to) {
  rival_heard_ =
      std::max(rival_heard_, std::min(rival_heard_ + (to - from), to));
}

void Instances::ExpectRival(Instant now) {
  rival_.emplace();
  rival_heard_ = now;
}

void Instances::Succeed(const Instance& hello) {
  std::erase_if(former_,
                [&](const Instance& former) { return former.IsSame(hello); });
  former_.push_back(present_);
  if (former_.size() > kFormerMax) former_.erase(former_.begin());
  present_ = hello;
}

bool Instances::IsFormer(const Instance& hello) const {
  return std::any_of(
      former_.begin(), former_.end(),
      [&](const Instance& former) { return former.IsSame(hello); });
}

}  // namespace muster::gateway
