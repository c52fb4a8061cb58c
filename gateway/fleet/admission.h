// How many links may be opened at once?

#ifndef MUSTER_GATEWAY_FLEET_ADMISSION_H_
#define MUSTER_GATEWAY_FLEET_ADMISSION_H_

#include <optional>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

struct AdmissionLimits {
  // A link costs 1.8 ms of one core for its handshake, and two rows.
  double links_per_second_max = 2000;
  // So many more may come at once after a quiet time.
  double burst = 2000;
};

// Admission spreads a storm of newcomers: who does not fit now is told when to
// come back, one after the other at the rate that fits. Not thread-safe.
class Admission {
 public:
  explicit Admission(AdmissionLimits limits)
      : limits_(limits), tokens_(limits.burst) {}

  // Absent: come in. Otherwise come back after this time, which is positive.
  std::optional<absl::Duration> Ask(Instant now);

 private:
  const AdmissionLimits limits_;
  double tokens_;
  Instant refilled_;
  // Places are given away until then.
  Instant booked_until_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_ADMISSION_H_
