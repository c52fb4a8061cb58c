#include "gateway/admin/long_poll.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace muster::gateway {
namespace {

// How often one looks by itself whom nobody wakes.
constexpr absl::Duration kUnwatchedLook = absl::Seconds(1);

}  // namespace

struct LongPoll::Wait {
  Instant until;
  Watch watch;
  Attempt attempt;
  EventLoop::TimerId timer{};
};

void LongPoll::Run(absl::Duration wait, Watch watch, Attempt attempt) {
  Try(std::make_shared<Wait>(Wait{.until = loop_.clock().Now() + wait,
                                  .watch = std::move(watch),
                                  .attempt = std::move(attempt),
                                  .timer = {}}));
}

void LongPoll::Try(std::shared_ptr<Wait> wait) {
  const bool last = ended_ || loop_.clock().Now() >= wait->until;
  wait->attempt(last, [this, wait] {
    if (ended_) {  // Meanwhile; nobody would wake it.
      Try(wait);
      return;
    }
    // Whichever comes first asks again; the other finds it done.
    auto asked = std::make_shared<bool>(false);
    const auto once = [this, wait, asked] {
      if (std::exchange(*asked, true)) return;
      loop_.Cancel(wait->timer);
      Try(wait);
    };
    const bool watched = wait->watch(once);
    const Instant look = loop_.clock().Now() + kUnwatchedLook;
    wait->timer =
        loop_.PostAt(watched ? wait->until : std::min(wait->until, look), once);
  });
}

}  // namespace muster::gateway
