#include "gateway/admin/agent_handlers.h"

#include <utility>

#include "gateway/admin/convert.h"
#include "gateway/admin/page_token.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {

absl::StatusOr<MachineFilter> ToFilter(
    const OrgId& org, const google::protobuf::RepeatedField<int>& statuses,
    const std::string& hostname,
    const google::protobuf::RepeatedPtrField<std::string>& labels) {
  MachineFilter filter{
      .org = org, .statuses = {}, .hostname_glob = hostname, .labels = {}};
  for (const int status : statuses) {
    if (const auto known = ToStatus(static_cast<v1::Status>(status))) {
      filter.statuses.push_back(*known);
    }
  }
  for (const std::string& text : labels) {
    ASSIGN_OR_RETURN(LabelTerm term, LabelTerm::Parse(text));
    filter.labels.push_back(std::move(term));
  }
  return filter;
}

v1::Agent AgentHandlers::Show(const Machine& machine) const {
  v1::Agent agent = ToProto(machine, fleet_.confirmed(machine));
  if (const auto since = fleet_.UnconfirmedSince(machine)) {
    *agent.mutable_unconfirmed_since() = wire::ToProto(*since);
  }
  agent.set_name(fleet_.machines().NameOf(machine));
  if (machine.record.epoch > 0) agent.set_gateway(addresses_.own_name);
  for (const AgentId& old : fleet_.machines().ReplacesOf(machine.record.id)) {
    agent.add_replaces(old.str());
  }
  return agent;
}

void AgentHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.ListAgents", this, &AgentHandlers::List);
  table.Add("muster.v1.FleetAdmin.GetAgent", this, &AgentHandlers::Get);
  table.Add("muster.v1.FleetAdmin.ResolveAgent", this, &AgentHandlers::Resolve);
  table.Add("muster.v1.FleetAdmin.DeleteAgent", this, &AgentHandlers::Delete);
  table.Add("muster.v1.FleetAdmin.SetLabels", this, &AgentHandlers::SetLabels);
  table.Add("muster.v1.FleetAdmin.GetPresence", this,
            &AgentHandlers::GetPresence);
  table.Add("muster.v1.FleetAdmin.SetPresence", this,
            &AgentHandlers::SetPresence);
  table.Add("muster.v1.FleetAdmin.SetAgentPresence", this,
            &AgentHandlers::SetAgentPresence);
  table.Add("muster.v1.FleetAdmin.SetPresenceOfMany", this,
            &AgentHandlers::SetPresenceOfMany);
  table.Add("muster.v1.FleetAdmin.SilenceAgent", this, &AgentHandlers::Silence);
  table.Add("muster.v1.FleetAdmin.UnsilenceAgent", this,
            &AgentHandlers::Unsilence);
  table.Add("muster.v1.FleetAdmin.ApproveAgent", this, &AgentHandlers::Approve);
  table.Add("muster.v1.FleetAdmin.SuspendAgent", this, &AgentHandlers::Suspend);
}

void AgentHandlers::List(const Caller& caller,
                         const v1::ListAgentsRequest& request,
                         Reply<v1::ListAgentsResponse> reply) {
  if (auto s = wire::ValidatePageSize(request.limit()); !s.ok()) {
    reply(s);
    return;
  }
  auto filter = ToFilter(caller.org, request.status(), request.hostname(),
                         request.label());
  if (!filter.ok()) {
    reply(filter.status());
    return;
  }
  filter->silenced = request.silenced();
  std::optional<ListPosition> after;
  if (!request.page_token().empty()) {
    auto position = DecodePageToken(request.page_token());
    if (!position.ok()) {
      reply(position.status());
      return;
    }
    after = *std::move(position);
  }
  const size_t limit =
      request.limit() == 0 ? wire::kPageSizeDefault : request.limit();
  const Machines::Page page = fleet_.machines().List(*filter, after, limit);
  v1::ListAgentsResponse response;
  for (const Machine* machine : page.machines) {
    *response.add_agents() = Show(*machine);
  }
  if (page.next) response.set_next_page_token(EncodePageToken(*page.next));
  response.set_matched(page.matched);
  *response.mutable_counts() = ToProto(fleet_.machines().Counts(caller.org));
  reply(std::move(response));
}

void AgentHandlers::Get(const Caller& caller,
                        const v1::GetAgentRequest& request,
                        Reply<v1::Agent> reply) {
  ReplyWith(caller.org, AgentId(request.agent_id()), absl::OkStatus(),
            std::move(reply));
}

void AgentHandlers::ReplyWith(const OrgId& org, const AgentId& id,
                              absl::Status status, Reply<v1::Agent> reply) {
  const Machine* machine = fleet_.machines().FindLiving(org, id);
  if (status.ok() && machine == nullptr) status = NotFound("agent", id.str());
  if (!status.ok()) {
    reply(status);
    return;
  }
  v1::Agent agent = Show(*machine);
  *agent.mutable_presence() = ShowPresence(*machine);
  reply(std::move(agent));
}

absl::AnyInvocable<void(absl::Status)> AgentHandlers::Then(
    const OrgId& org, const AgentId& id, Reply<v1::Agent> reply) {
  return
      [this, org, id, reply = std::move(reply)](absl::Status status) mutable {
        ReplyWith(org, id, std::move(status), std::move(reply));
      };
}

void AgentHandlers::Resolve(const Caller& caller,
                            const v1::ResolveAgentRequest& request,
                            Reply<v1::ResolveAgentResponse> reply) {
  if (request.name().empty() || request.name().size() > wire::kFactBytesMax) {
    reply(absl::InvalidArgumentError("name: must be 1 to 255 bytes"));
    return;
  }
  const Machines::Resolution found =
      fleet_.machines().Resolve(caller.org, request.name());
  v1::ResolveAgentResponse response;
  if (found.matches.size() == 1) {
    *response.mutable_agent() = Show(*found.matches[0]);
  } else {
    for (const Machine* machine : found.matches) {
      *response.add_candidates() = Show(*machine);
    }
  }
  for (const std::string& name : found.nearest) {
    response.add_suggestions(name);
  }
  reply(std::move(response));
}

void AgentHandlers::Delete(const Caller& caller,
                           const v1::DeleteAgentRequest& request,
                           Reply<v1::DeleteAgentResponse> reply) {
  fleet_.Delete(caller.org, AgentId(request.agent_id()),
                [id = request.agent_id(),
                 reply = std::move(reply)](absl::Status status) mutable {
                  if (!status.ok()) {
                    reply(status);
                    return;
                  }
                  v1::DeleteAgentResponse response;
                  response.set_agent_id(id);
                  reply(std::move(response));
                });
}

void AgentHandlers::SetLabels(const Caller& caller,
                              const v1::SetLabelsRequest& request,
                              Reply<v1::Agent> reply) {
  const AgentId id(request.agent_id());
  const Machine* machine = fleet_.machines().FindLiving(caller.org, id);
  if (machine == nullptr) {
    reply(NotFound("agent", request.agent_id()));
    return;
  }
  if (auto s = wire::ValidateSetLabels(request); !s.ok()) {
    reply(s);
    return;
  }
  Labels labels = machine->record.labels;
  for (const std::string& key : request.remove()) labels.erase(key);
  for (const auto& [key, value] : request.set()) labels[key] = value;
  if (labels.size() > wire::kLabelsMax) {
    reply(absl::InvalidArgumentError(
        "set: the machine would have more than 64 labels"));
    return;
  }
  fleet_.SetLabels(caller.org, id, std::move(labels),
                   Then(caller.org, id, std::move(reply)));
}

void AgentHandlers::Approve(const Caller& caller,
                            const v1::ApproveAgentRequest& request,
                            Reply<v1::Agent> reply) {
  const AgentId id(request.agent_id());
  fleet_.Approve(caller.org, id, caller.principal,
                 Then(caller.org, id, std::move(reply)));
}

void AgentHandlers::Suspend(const Caller& caller,
                            const v1::SuspendAgentRequest& request,
                            Reply<v1::Agent> reply) {
  const AgentId id(request.agent_id());
  fleet_.Suspend(caller.org, id, caller.principal,
                 Then(caller.org, id, std::move(reply)));
}

void AgentHandlers::Silence(const Caller& caller,
                            const v1::SilenceAgentRequest& request,
                            Reply<v1::Agent> reply) {
  SetSilenced(caller, request.agent_id(), true, std::move(reply));
}

void AgentHandlers::Unsilence(const Caller& caller,
                              const v1::UnsilenceAgentRequest& request,
                              Reply<v1::Agent> reply) {
  SetSilenced(caller, request.agent_id(), false, std::move(reply));
}

void AgentHandlers::SetSilenced(const Caller& caller,
                                const std::string& agent_id, bool silenced,
                                Reply<v1::Agent> reply) {
  const AgentId id(agent_id);
  fleet_.SetSilenced(caller.org, id, silenced, caller.principal,
                     Then(caller.org, id, std::move(reply)));
}

}  // namespace muster::gateway
