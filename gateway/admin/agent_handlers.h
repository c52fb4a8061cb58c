// Operations on machines.

#ifndef MUSTER_GATEWAY_ADMIN_AGENT_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_AGENT_HANDLERS_H_

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/admin/addresses.h"
#include "gateway/admin/handlers.h"
#include "gateway/fleet/fleet.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// What a request selects. InvalidArgument for a label term that is none.
absl::StatusOr<MachineFilter> ToFilter(
    const OrgId& org, const google::protobuf::RepeatedField<int>& statuses,
    const std::string& hostname,
    const google::protobuf::RepeatedPtrField<std::string>& labels);

// Lives on the fleet loop; `fleet` must outlive it.
class AgentHandlers {
 public:
  // Both must outlive it.
  AgentHandlers(Fleet& fleet, const Addresses& addresses)
      : fleet_(fleet), addresses_(addresses) {}
  void AddTo(HandlerTable& table);

 private:
  void List(const Caller&, const v1::ListAgentsRequest&,
            Reply<v1::ListAgentsResponse>);
  void Get(const Caller&, const v1::GetAgentRequest&, Reply<v1::Agent>);
  void Resolve(const Caller&, const v1::ResolveAgentRequest&,
               Reply<v1::ResolveAgentResponse>);
  void Delete(const Caller&, const v1::DeleteAgentRequest&,
              Reply<v1::DeleteAgentResponse>);
  void SetLabels(const Caller&, const v1::SetLabelsRequest&, Reply<v1::Agent>);
  void Silence(const Caller&, const v1::SilenceAgentRequest&, Reply<v1::Agent>);
  void Unsilence(const Caller&, const v1::UnsilenceAgentRequest&,
                 Reply<v1::Agent>);
  void Approve(const Caller&, const v1::ApproveAgentRequest&, Reply<v1::Agent>);
  void Suspend(const Caller&, const v1::SuspendAgentRequest&, Reply<v1::Agent>);
  void SetSilenced(const Caller&, const std::string& agent_id, bool silenced,
                   Reply<v1::Agent>);
  // Answers with the machine as it is by then, if `status` is OK.
  void ReplyWith(const OrgId& org, const AgentId& id, absl::Status status,
                 Reply<v1::Agent> reply);
  // For a change of the machine that takes time: answers with ReplyWith().
  absl::AnyInvocable<void(absl::Status)> Then(const OrgId& org,
                                              const AgentId& id,
                                              Reply<v1::Agent> reply);
  v1::Agent Show(const Machine& machine) const;

  // agent_presence.cc
  void GetPresence(const Caller&, const v1::GetPresenceRequest&,
                   Reply<v1::EffectivePresence>);
  void SetPresence(const Caller&, const v1::SetPresenceRequest&,
                   Reply<v1::EffectivePresence>);
  void SetAgentPresence(const Caller&, const v1::SetAgentPresenceRequest&,
                        Reply<v1::Agent>);
  void SetPresenceOfMany(const Caller&, const v1::SetPresenceOfManyRequest&,
                         Reply<v1::SetPresenceOfManyResponse>);
  v1::EffectivePresence ShowPresence(const Machine& machine) const;

  Fleet& fleet_;
  const Addresses& addresses_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_AGENT_HANDLERS_H_
