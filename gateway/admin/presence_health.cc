#include "gateway/admin/presence_health.h"

namespace muster::gateway {

PresenceHealth HealthOf(const Fleet& fleet, absl::Time started_at) {
  PresenceHealth health{.trouble = {}, .ready = fleet.confirmed()};
  if (const auto impaired = fleet.impairment()) {
    health.trouble = {impaired->since, impaired->reason};
    // That is over: whoever sends machines here by `ready` must do so now.
    health.ready |= impaired->reason == BlindReason::kNotRunning;
  } else if (!fleet.confirmed()) {
    health.trouble = {started_at, std::nullopt};
  }
  return health;
}

std::string_view Words(const PresenceHealth::Trouble& trouble) {
  return trouble.reason ? Words(*trouble.reason)
                        : "starting: links are not accepted yet";
}

}  // namespace muster::gateway
