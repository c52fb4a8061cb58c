// The clocks of this machine.

#ifndef MUSTER_LIBPROTOCOL_BASE_SYSTEM_CLOCK_H_
#define MUSTER_LIBPROTOCOL_BASE_SYSTEM_CLOCK_H_

#include <time.h>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster {

// SystemClock reads CLOCK_BOOTTIME, CLOCK_MONOTONIC and CLOCK_REALTIME, each
// time anew: absl::Now() would show a step of the wall clock seconds late.
// Stateless, thread-safe.
class SystemClock final : public Clock {
 public:
  Instant Now() const override {
    return Instant::SinceBoot(Read(CLOCK_BOOTTIME));
  }
  absl::Duration Suspended() const override {
    return Read(CLOCK_BOOTTIME) - Read(CLOCK_MONOTONIC);
  }
  absl::Time Wall() const override {
    return absl::UnixEpoch() + Read(CLOCK_REALTIME);
  }

 private:
  static absl::Duration Read(clockid_t clock) {
    timespec ts;
    clock_gettime(clock, &ts);  // Cannot fail on Linux.
    return absl::DurationFromTimespec(ts);
  }
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_SYSTEM_CLOCK_H_
