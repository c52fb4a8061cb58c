// musterctl agents approve | silence | unsilence | reissue: who is let in, whom
// nobody waits for, and whose key nobody believes any more.

#ifndef MUSTER_TOOLS_MUSTERCTL_ENDINGS_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_ENDINGS_VERBS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// It may connect from now on, and will with its next attempt.
absl::StatusOr<int> AgentsApprove(Tool& tool, const std::string& agent);
absl::StatusOr<int> AgentsSuspend(Tool& tool, const std::string& agent);
absl::StatusOr<int> AgentsSilence(Tool& tool, const std::string& agent);
absl::StatusOr<int> AgentsUnsilence(Tool& tool, const std::string& agent);

struct AgentsReissueOptions {
  std::string agent;
  std::optional<absl::Duration> ttl;
  bool yes = false;
};
// Asks on a terminal unless `yes`; InvalidArgument without either. Prints the
// lines with which one machine comes back as this one.
absl::StatusOr<int> AgentsReissue(Tool& tool,
                                  const AgentsReissueOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_ENDINGS_VERBS_H_
