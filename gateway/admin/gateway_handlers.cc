#include "gateway/admin/gateway_handlers.h"

#include <map>
#include <string>
#include <utility>

#include "gateway/admin/convert.h"
#include "gateway/admin/presence_health.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {

void GatewayHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.GetStatus", this, &GatewayHandlers::Status);
  table.Add("muster.v1.FleetAdmin.WhoAmI", this, &GatewayHandlers::WhoAmI);
}

void GatewayHandlers::Status(const Caller& caller, const v1::GetStatusRequest&,
                             Reply<v1::GatewayStatus> reply) {
  v1::GatewayStatus status;
  status.set_version(kVersion);
  *status.mutable_started_at() = wire::ToProto(started_at_);
  *status.mutable_agents() = ToProto(fleet_.machines().Counts(caller.org));
  const PresenceHealth health = HealthOf(fleet_, started_at_);
  status.set_presence_confirmed(health.confirmed());
  if (health.trouble) {
    *status.mutable_unconfirmed_since() = wire::ToProto(health.trouble->since);
    status.set_unconfirmed_reason(std::string(Words(*health.trouble)));
    if (health.trouble->reason) {
      status.set_blind_reason(
          static_cast<v1::BlindReason>(*health.trouble->reason));
    }
  }
  status.set_name(addresses_.own_name);
  status.set_fleet_endpoint(addresses_.FleetEndpoint(caller.web_authority));
  if (!caller.sees_gateway) {
    reply(std::move(status));
    return;
  }
  status.set_links(fleet_.open_links());
  status.set_false_offlines(fleet_.false_offlines());
  status.set_history_waiting(fleet_.history_waiting());
  status.set_commands_open(static_cast<uint32_t>(fleet_.commands().open()));
  store_.Read(
      [](FleetStore& store) { return store.StoredBytes(); },
      [status = std::move(status), reply = std::move(reply)](
          absl::StatusOr<std::map<std::string, uint64_t>> bytes) mutable {
        // The rest is true whatever the store says.
        if (bytes.ok()) {
          for (const auto& [kind, n] : *bytes) {
            (*status.mutable_stored_bytes())[kind] = n;
          }
        }
        reply(std::move(status));
      });
}

void GatewayHandlers::WhoAmI(const Caller& caller, const v1::WhoAmIRequest&,
                             Reply<v1::WhoAmIResponse> reply) {
  v1::WhoAmIResponse response;
  response.set_principal(caller.principal);
  response.set_org_id(caller.org.str());
  response.set_role(caller.role);
  reply(std::move(response));
}

}  // namespace muster::gateway
