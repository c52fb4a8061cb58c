// musterctl batches …, and musterctl run on many machines.

#ifndef MUSTER_TOOLS_MUSTERCTL_BATCHES_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_BATCHES_VERBS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/run_verb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// Runs on all machines that `options` selects. kExitOk only if the command
// succeeded on every one of them. More than 100 machines are asked about first,
// unless `yes`.
absl::StatusOr<int> RunOnMany(Tool& tool, const RunOptions& options);

struct BatchesLsOptions {
  uint32_t limit = 50;
  bool header = true;
};
absl::StatusOr<int> BatchesLs(Tool& tool, const BatchesLsOptions& options);

// The batch, and how each of its machines came out.
absl::StatusOr<int> BatchesGet(Tool& tool, const std::string& batch_id);

absl::StatusOr<int> BatchesCancel(Tool& tool, const std::string& batch_id);

struct BatchesRetryOptions {
  std::string batch_id;
  bool unknown = false;
  bool waiting = false;
  bool yes = false;
  bool detach = false;
};
absl::StatusOr<int> BatchesRetry(Tool& tool,
                                 const BatchesRetryOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_BATCHES_VERBS_H_
