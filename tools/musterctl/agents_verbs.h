// musterctl agents …

#ifndef MUSTER_TOOLS_MUSTERCTL_AGENTS_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_AGENTS_VERBS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/presence.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct AgentsLsOptions {
  std::vector<std::string> labels;  // "k=v", "k!=v", "k"
  std::vector<v1::Status> status;
  std::string hostname;  // Glob.
  bool all = false;
  bool silenced = false;  // Those too.
  uint32_t limit = 0;     // 0: 50 in a table on a terminal, else every machine.
  bool header = true;
};
absl::StatusOr<int> AgentsLs(Tool& tool, const AgentsLsOptions& options);

absl::StatusOr<int> AgentsGet(Tool& tool, const std::string& agent);

// Asks on a terminal unless `yes`; InvalidArgument without either.
absl::StatusOr<int> AgentsRm(Tool& tool, const std::string& agent, bool yes);

// Each change is "k=v" or "k-".
absl::StatusOr<int> AgentsLabel(Tool& tool, const std::string& agent,
                                const std::vector<std::string>& changes);

struct AgentsWaitOptions {
  std::string agent;
  v1::Status status = v1::STATUS_ONLINE;
  absl::Duration timeout = absl::Seconds(30);
};
// kExitOk once the machine has the status, kExitTimeout if it never did.
absl::StatusOr<int> AgentsWait(Tool& tool, const AgentsWaitOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_AGENTS_VERBS_H_
