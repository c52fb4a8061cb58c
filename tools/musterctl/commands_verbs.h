// musterctl commands …

#ifndef MUSTER_TOOLS_MUSTERCTL_COMMANDS_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_COMMANDS_VERBS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/command.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct CommandsLsOptions {
  std::string agent;  // Empty: of all machines.
  std::vector<v1::CommandState> state;
  uint32_t limit = 50;
  bool header = true;
};
absl::StatusOr<int> CommandsLs(Tool& tool, const CommandsLsOptions& options);

// Waits at most `wait` for the end of the command.
absl::StatusOr<int> CommandsGet(Tool& tool, const std::string& command_id,
                                absl::Duration wait);

struct CommandsOutputOptions {
  std::string command_id;
  bool follow = false;       // Until the command has ended.
  bool stderr_only = false;  // Only its stderr, on our stdout.
};
absl::StatusOr<int> CommandsOutput(Tool& tool,
                                   const CommandsOutputOptions& options);

absl::StatusOr<int> CommandsCancel(Tool& tool, const std::string& command_id);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_COMMANDS_VERBS_H_
