#include "gateway/fleet/drift.h"

#include "fmt/format.h"
#include "gateway/fleet/words.h"

namespace muster::gateway {
namespace {

Verdict GatewayForgot() {
  return {Domain::kGateway, Cause::kGatewayDrift, Confidence::kLikely,
          "agent and gateway remember different things"};
}
// An older copy of its folder, or another one that lives: nobody can tell yet.
Verdict AgentForgot() {
  return {Domain::kUnknown, Cause::kUndetermined, Confidence::kUndetermined,
          "the agent does not know its last link"};
}

// Messages travel, and two clocks run apart by up to 500 ppm each.
absl::Duration Tolerance(absl::Duration age) {
  return absl::Seconds(10) + 0.001 * age;
}

// By more than clocks and travel explain.
bool Longer(absl::Duration longer, absl::Duration shorter) {
  return longer > shorter + Tolerance(longer);
}

// A paused virtual machine does not count its pause. It shows in the age of
// the link, and may have been after the heartbeat.
std::optional<absl::Duration> AcknowledgedAgo(const AgentView& agent,
                                              const GatewayView& gateway) {
  if (!agent.acknowledged_ago || !agent.connected_ago || !gateway.opened_ago ||
      !Longer(*gateway.opened_ago, *agent.connected_ago)) {
    return agent.acknowledged_ago;
  }
  return *agent.acknowledged_ago + *gateway.opened_ago - *agent.connected_ago;
}

}  // namespace

std::optional<Drift> CompareViews(const AgentView& agent,
                                  const GatewayView& gateway) {
  if (agent.epoch == 0) return std::nullopt;
  if (agent.epoch > gateway.epoch) {
    return Drift{GatewayForgot(),
                 fmt::format("the agent knows epoch {}, this gateway only {}: "
                             "the gateway was restored from an older copy",
                             agent.epoch, gateway.epoch)};
  }
  if (agent.epoch < gateway.epoch) {
    // A welcome that was lost on its way is no news.
    if (!gateway.echoed) return std::nullopt;
    return Drift{
        AgentForgot(),
        fmt::format("the agent knows epoch {} only, but its identity has "
                    "spoken on {}: it was restored from an older copy, or "
                    "another copy of it is in use",
                    agent.epoch, gateway.epoch)};
  }
  const auto acknowledged_ago = AcknowledgedAgo(agent, gateway);
  if (acknowledged_ago && gateway.heard_ago &&
      Longer(*gateway.heard_ago, *acknowledged_ago)) {
    return Drift{
        GatewayForgot(),
        fmt::format("a heartbeat of {} ago was acknowledged, but this "
                    "gateway knows of none for {}",
                    Spoken(*acknowledged_ago), Spoken(*gateway.heard_ago)),
        acknowledged_ago};
  }
  if (agent.connected_ago && gateway.opened_ago &&
      Longer(*agent.connected_ago, *gateway.opened_ago)) {
    return Drift{
        GatewayForgot(),
        fmt::format("the agent was welcomed {} ago, but this gateway opened "
                    "that link {} "
                    "ago",
                    Spoken(*agent.connected_ago), Spoken(*gateway.opened_ago))};
  }
  return std::nullopt;
}

}  // namespace muster::gateway
