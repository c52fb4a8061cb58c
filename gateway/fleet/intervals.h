// How often are agents told to speak?

#ifndef MUSTER_GATEWAY_FLEET_INTERVALS_H_
#define MUSTER_GATEWAY_FLEET_INTERVALS_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace muster::gateway {

// `wish`, or longer if so many links would exceed `per_second_max` heartbeats.
// Agents add ±10 % of their own, which does not change the sum.
inline absl::Duration ScaledInterval(absl::Duration wish, uint64_t links,
                                     double per_second_max) {
  return std::max(wish,
                  absl::Seconds(static_cast<double>(links) / per_second_max));
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_INTERVALS_H_
