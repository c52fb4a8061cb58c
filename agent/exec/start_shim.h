// How does a shim begin?

#ifndef MUSTER_AGENT_EXEC_START_SHIM_H_
#define MUSTER_AGENT_EXEC_START_SHIM_H_

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "agent/exec/command_folder.h"

namespace muster::agent {

// Starts `program` for the command of `folder`, in a session of its own, with
// nothing of this process but its privileges, and with every signal blocked. A
// child of this process: whoever gives it up must wait for it.
absl::StatusOr<pid_t> StartShim(std::string program,
                                const CommandFolder& folder);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_START_SHIM_H_
