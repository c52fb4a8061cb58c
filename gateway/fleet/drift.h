// Do agent and gateway remember the same of their last link?

#ifndef MUSTER_GATEWAY_FLEET_DRIFT_H_
#define MUSTER_GATEWAY_FLEET_DRIFT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// Ages at the moment of a hello, each counted on its owner's own clock. What is
// absent is not known.
struct AgentView {
  uint64_t epoch = 0;  // 0: the agent remembers no link.
  // Since it sent the newest heartbeat that was acknowledged.
  std::optional<absl::Duration> acknowledged_ago = {};
  // Since it was welcomed on that link.
  std::optional<absl::Duration> connected_ago = {};
};

struct GatewayView {
  uint64_t epoch = 0;
  bool echoed = false;  // The agent has answered on the link of that epoch.
  std::optional<absl::Duration> heard_ago = {};
  std::optional<absl::Duration> opened_ago = {};
};

struct Drift {
  // Whose memory differs, and why: a likely cause only if the gateway's does.
  Verdict verdict;
  std::string text;
  // The gateway acknowledged a heartbeat so long ago, and knows of none since:
  // the silence was not the agent's.
  std::optional<absl::Duration> acknowledged_ago = {};
};

// The difference that no ordinary loss of a link explains, if there is one.
std::optional<Drift> CompareViews(const AgentView& agent,
                                  const GatewayView& gateway);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_DRIFT_H_
