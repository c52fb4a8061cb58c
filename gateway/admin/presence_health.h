// Can presence be vouched for, and if not: since when, and why? One answer for
// /ready, `musterctl status` and metrics.

#ifndef MUSTER_GATEWAY_ADMIN_PRESENCE_HEALTH_H_
#define MUSTER_GATEWAY_ADMIN_PRESENCE_HEALTH_H_

#include <optional>
#include <string_view>

#include "absl/time/time.h"
#include "gateway/fleet/fleet.h"

namespace muster::gateway {

struct PresenceHealth {
  // Set: somebody cannot be heard at this moment, or could not for so long that
  // this gateway is not `ready`. Presence is unconfirmed.
  struct Trouble {
    absl::Time since;
    std::optional<BlindReason> reason;  // Absent: links are not accepted yet.
  };
  std::optional<Trouble> trouble;
  // Links are accepted, and have been for more than half of the last half hour.
  bool ready = false;

  bool confirmed() const { return !trouble; }
};

// On the fleet loop, which does not stand still then: who asks from elsewhere
// must look at Fleet::last_turn() first.
PresenceHealth HealthOf(const Fleet& fleet, absl::Time started_at);

// "no descriptor left".
std::string_view Words(const PresenceHealth::Trouble& trouble);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_PRESENCE_HEALTH_H_
