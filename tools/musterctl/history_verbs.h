// musterctl agents history, musterctl incidents: what happened.

#ifndef MUSTER_TOOLS_MUSTERCTL_HISTORY_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_HISTORY_VERBS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// How much of the past: with `since` all of it, bounded; else the newest rows.
struct PastOptions {
  std::optional<absl::Duration> since;  // Counted back on the gateway's clock.
  uint32_t limit = 0;                   // 0: 50 rows, 10,000 with `since`.
  bool header = true;
};

struct AgentsHistoryOptions {
  std::string agent;
  bool links = false;
  PastOptions past;
};
// Changes of status, notes, and links if asked for, with the blind intervals of
// the gateway between them.
absl::StatusOr<int> AgentsHistory(Tool& tool,
                                  const AgentsHistoryOptions& options);

// Incidents, with the blind intervals of the gateway between them.
absl::StatusOr<int> Incidents(Tool& tool, const PastOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_HISTORY_VERBS_H_
