// Asks the agent that runs on this machine.

#ifndef MUSTER_AGENT_LOCAL_CONTROL_CLIENT_H_
#define MUSTER_AGENT_LOCAL_CONTROL_CLIENT_H_

#include <string>

#include "absl/status/statusor.h"
#include "agent/local/control_protocol.h"
#include "libprotocol/base/clock.h"

namespace muster::agent {

// Blocks for the answer. Unavailable: no agent listens at `path`;
// PermissionDenied: only the agent's user may ask; DeadlineExceeded.
absl::StatusOr<ControlReply> AskAgent(const std::string& path,
                                      const ControlRequest& request,
                                      absl::Duration timeout,
                                      const Clock& clock);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LOCAL_CONTROL_CLIENT_H_
