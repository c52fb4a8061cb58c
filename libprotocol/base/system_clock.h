// The clocks of this machine.

#ifndef MUSTER_LIBPROTOCOL_BASE_SYSTEM_CLOCK_H_
#define MUSTER_LIBPROTOCOL_BASE_SYSTEM_CLOCK_H_

#include <time.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster {

// SystemClock reads CLOCK_BOOTTIME and CLOCK_REALTIME. Stateless, thread-safe.
class SystemClock final : public Clock {
 public:
  Instant Now() const override {
    timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);  // Cannot fail on Linux.
    return Instant::SinceBoot(absl::DurationFromTimespec(ts));
  }
  absl::Time Wall() const override { return absl::Now(); }
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_SYSTEM_CLOCK_H_
