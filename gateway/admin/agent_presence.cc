// Operations on presence settings: when the silence of a machine becomes news.

#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/admin/agent_handlers.h"
#include "gateway/admin/convert.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

absl::StatusOr<PresenceEdit> ToEdit(
    const v1::PresenceSettings& set,
    const google::protobuf::RepeatedField<int>& reset) {
  RETURN_IF_ERROR(wire::ValidatePresenceEdit(set, reset));
  PresenceEdit edit{.set = ToSettings(set), .reset = {}};
  for (const int number : reset) {
    edit.reset.push_back(
        kPresenceFields.at(static_cast<size_t>(number) - 1).first);
  }
  return edit;
}

std::string Ignored(std::string_view whose, const absl::Status& why) {
  if (why.ok()) return "";
  return fmt::format("settings of the {}: {}", whose, ToStd(why.message()));
}

v1::EffectivePresence Effective(const PresencePolicies& policies,
                                const OrgId& org, const PresenceSettings* own) {
  const ResolvedPresence resolved = policies.Explain(org, own);
  const PresenceSettings& of_org = policies.OfOrg(org);
  v1::EffectivePresence out;
  v1::PresenceValue* const values[] = {
      out.mutable_heartbeat_interval(), out.mutable_stale_after(),
      out.mutable_offline_after(), out.mutable_reconnect_grace()};
  for (size_t i = 0; i < kPresenceFields.size(); ++i) {
    const auto& [setting, place] = kPresenceFields[i];
    *values[i]->mutable_value() = wire::ToProto(resolved.policy.*place);
    v1::PresenceSource source = v1::PRESENCE_SOURCE_GATEWAY;
    if (resolved.org.ok() && of_org.*setting) {
      source = v1::PRESENCE_SOURCE_ORG;
    }
    if (resolved.own.ok() && own != nullptr && own->*setting) {
      source = v1::PRESENCE_SOURCE_MACHINE;
    }
    values[i]->set_source(source);
  }
  out.set_ignored(Ignored("machine", resolved.own));
  if (!resolved.org.ok()) out.set_ignored(Ignored("org", resolved.org));
  return out;
}

}  // namespace

v1::EffectivePresence AgentHandlers::ShowPresence(
    const Machine& machine) const {
  v1::EffectivePresence out =
      Effective(fleet_.policies(), machine.record.org, machine.own_presence);
  out.set_pending(!fleet_.Adopted(machine));
  return out;
}

void AgentHandlers::GetPresence(const Caller& caller,
                                const v1::GetPresenceRequest&,
                                Reply<v1::EffectivePresence> reply) {
  reply(Effective(fleet_.policies(), caller.org, nullptr));
}

void AgentHandlers::SetPresence(const Caller& caller,
                                const v1::SetPresenceRequest& request,
                                Reply<v1::EffectivePresence> reply) {
  const auto edit = ToEdit(request.set(), request.reset());
  if (!edit.ok()) {
    reply(edit.status());
    return;
  }
  fleet_.SetPresence(caller.org, *edit,
                     [this, org = caller.org, reply = std::move(reply)](
                         const absl::Status& status) mutable {
                       if (!status.ok()) {
                         reply(status);
                       } else {
                         reply(Effective(fleet_.policies(), org, nullptr));
                       }
                     });
}

void AgentHandlers::SetAgentPresence(const Caller& caller,
                                     const v1::SetAgentPresenceRequest& request,
                                     Reply<v1::Agent> reply) {
  const auto edit = ToEdit(request.set(), request.reset());
  if (!edit.ok()) {
    reply(edit.status());
    return;
  }
  const AgentId id(request.agent_id());
  fleet_.SetPresence(caller.org, {id}, *edit,
                     [this, org = caller.org, id,
                      reply = std::move(reply)](absl::Status status) mutable {
                       ReplyWith(org, id, std::move(status), std::move(reply));
                     });
}

void AgentHandlers::SetPresenceOfMany(
    const Caller& caller, const v1::SetPresenceOfManyRequest& request,
    Reply<v1::SetPresenceOfManyResponse> reply) {
  const auto edit = ToEdit(request.set(), request.reset());
  const auto filter = ToFilter(caller.org, request.status(), request.hostname(),
                               request.label());
  if (!edit.ok() || !filter.ok()) {
    reply(edit.ok() ? filter.status() : edit.status());
    return;
  }
  if (filter->statuses.empty() && filter->hostname_glob.empty() &&
      filter->labels.empty()) {
    reply(absl::InvalidArgumentError(
        "status, hostname, label: at least one must be given; what holds for "
        "every machine is set for the org"));
    return;
  }
  const Machines::Page selected =
      fleet_.machines().List(*filter, std::nullopt, wire::kSelectedMax);
  if (selected.matched > wire::kSelectedMax) {
    reply(absl::InvalidArgumentError(fmt::format(
        "status, hostname, label: must select at most {} machines, got {}",
        wire::kSelectedMax, selected.matched)));
    return;
  }
  std::vector<AgentId> agents;
  for (const Machine* machine : selected.machines) {
    agents.push_back(machine->record.id);
  }
  fleet_.SetPresence(caller.org, agents, *edit,
                     [written = selected.matched, reply = std::move(reply)](
                         const absl::Status& status) mutable {
                       if (!status.ok()) {
                         reply(status);
                         return;
                       }
                       v1::SetPresenceOfManyResponse response;
                       response.set_written(written);
                       reply(std::move(response));
                     });
}

}  // namespace muster::gateway
