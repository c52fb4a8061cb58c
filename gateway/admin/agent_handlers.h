// Operations on machines.

#ifndef MUSTER_GATEWAY_ADMIN_AGENT_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_AGENT_HANDLERS_H_

#include "gateway/admin/addresses.h"
#include "gateway/admin/handlers.h"
#include "gateway/fleet/fleet.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

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
  v1::Agent Show(const Machine& machine) const;

  Fleet& fleet_;
  const Addresses& addresses_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_AGENT_HANDLERS_H_
