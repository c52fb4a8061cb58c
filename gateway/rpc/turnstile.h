// How many newcomers may be on their way in at once?

#ifndef MUSTER_GATEWAY_RPC_TURNSTILE_H_
#define MUSTER_GATEWAY_RPC_TURNSTILE_H_

#include <algorithm>
#include <cstddef>
#include <deque>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

// Turnstile counts handshakes under way. Thousands of them at once are as good
// as none: each gets a thousandth of a processor, and its client gives up
// before it is done. A place is free again when somebody has come through, and
// in any case after a time: strangers who say nothing make the others slow, and
// must come again and again to do so. It is told the time; not thread-safe.
class Turnstile {
 public:
  // `places` above zero.
  Turnstile(size_t places, absl::Duration held_max)
      : places_(places), held_max_(held_max) {}

  // Zero if there is a place; otherwise how long until there will be one even
  // if nobody comes through.
  absl::Duration Wait(Instant now) {
    while (!entered_.empty() && entered_.front() + held_max_ <= now) {
      entered_.pop_front();
    }
    if (entered_.size() < places_) return absl::ZeroDuration();
    return entered_.front() + held_max_ - now;
  }

  void Enter(Instant now) { entered_.push_back(now); }

  // So many have come through; who does not matter.
  void Leave(size_t number) {
    entered_.erase(entered_.begin(),
                   entered_.begin() + static_cast<std::ptrdiff_t>(
                                          std::min(number, entered_.size())));
  }

 private:
  // Constant after construction.
  const size_t places_;
  const absl::Duration held_max_;

  std::deque<Instant> entered_;  // Oldest first.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_TURNSTILE_H_
