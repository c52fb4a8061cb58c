#include "gateway/fleet/findings.h"

#include <algorithm>

namespace muster::gateway {

const std::vector<AgentId>& SharedIds::Enter(const OrgId& org,
                                             const std::string& machine_id,
                                             const AgentId& agent) {
  if (machine_id.empty()) return none_;
  std::vector<AgentId>& heard = heard_[{org, machine_id}];
  if (std::find(heard.begin(), heard.end(), agent) != heard.end()) {
    return none_;
  }
  heard.push_back(agent);
  return heard;
}

const std::vector<AgentId>& SharedIds::Leave(const OrgId& org,
                                             const std::string& machine_id,
                                             const AgentId& agent) {
  const auto it = heard_.find({org, machine_id});
  if (it == heard_.end()) return none_;
  std::erase(it->second, agent);
  if (!it->second.empty()) return it->second;
  heard_.erase(it);
  return none_;
}

}  // namespace muster::gateway
