// Who listens to one machine's heartbeats as they arrive?

#ifndef MUSTER_GATEWAY_FLEET_HEARTBEAT_TAP_H_
#define MUSTER_GATEWAY_FLEET_HEARTBEAT_TAP_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace muster::gateway {

// One heartbeat, as it arrived.
struct HeartbeatSample {
  uint64_t epoch = 0;
  uint64_t sequence = 0;
  absl::Time at;
  std::optional<absl::Duration> round_trip;
  std::optional<absl::Duration> clock_skew;  // Machine minus gateway.

  friend bool operator==(const HeartbeatSample&,
                         const HeartbeatSample&) = default;
};

// HeartbeatTap is called on the fleet loop for each accepted heartbeat of the
// machine whose `tap` it is. A machine without one pays for a null pointer.
class HeartbeatTap {
 public:
  virtual ~HeartbeatTap() = default;
  virtual void OnHeartbeat(const HeartbeatSample& heartbeat) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_HEARTBEAT_TAP_H_
