// What a person typed → the machine meant.

#ifndef MUSTER_TOOLS_MUSTERCTL_RESOLVE_H_
#define MUSTER_TOOLS_MUSTERCTL_RESOLVE_H_

#include <string>

#include "absl/status/statusor.h"
#include "muster/v1/agent.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct ResolvedAgent {
  v1::Agent agent;
  absl::Time now;  // At the gateway.
};

// `name`: hostname, full id, or name~suffix. NotFound with the nearest names as
// a hint; Aborted with the candidates if it means several machines.
absl::StatusOr<ResolvedAgent> ResolveAgent(Tool& tool, const std::string& name);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_RESOLVE_H_
