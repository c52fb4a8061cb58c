// When does a machine that came to stay for a while only leave by itself?
//
// An ephemeral machine leaves the fleet when it has been offline for as long as
// its registration token said. Only time in which this gateway could hear it
// counts: by Instants, without blind intervals, and of former lives what they
// are known to have listened.

#ifndef MUSTER_GATEWAY_FLEET_DEPARTURE_H_
#define MUSTER_GATEWAY_FLEET_DEPARTURE_H_

#include <span>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

// Departure counts for one machine. Not thread-safe; instants never decrease.
class Departure {
 public:
  // It is offline from `now` on, and leaves after `left`.
  void Begin(Instant now, absl::Duration left) {
    since_ = now;
    due_ = now + left;
  }
  // It is not offline any more.
  void Cancel() { due_ = Instant::Never(); }
  // Nothing could be heard from `from` to `to`: that does not count, and
  // whoever wants to be back gets `rest` from then on.
  void Excuse(Instant from, Instant to, absl::Duration rest);
  // It gave a sign of life: not before `at`.
  void NotBefore(Instant at);

  // When it leaves; Never() if it does not.
  Instant due() const { return due_; }

 private:
  Instant since_;
  Instant due_ = Instant::Never();
};

// How much of the time from `from` to `to` a gateway listened that could not
// hear during `blind`; these may overlap and come in any order. Zero if `to` is
// before `from`. By the wall clock: a step of it counts.
absl::Duration Listened(absl::Time from, absl::Time to,
                        std::span<const BlindRecord> blind);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_DEPARTURE_H_
