// musterctl agents watch: one machine's heartbeats as they arrive.

#ifndef MUSTER_TOOLS_MUSTERCTL_WATCH_VERB_H_
#define MUSTER_TOOLS_MUSTERCTL_WATCH_VERB_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct AgentsWatchOptions {
  std::string agent;
  uint64_t count = 0;  // End after so many; 0: never.
  bool header = true;
};
// A line for each heartbeat; what else changes is said on stderr. Once it has
// begun, a gateway that is away is waited for.
absl::StatusOr<int> AgentsWatch(Tool& tool, const AgentsWatchOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_WATCH_VERB_H_
