// `muster-agent run`: from the start of the process to its end.

#ifndef MUSTER_AGENT_APP_RUN_H_
#define MUSTER_AGENT_APP_RUN_H_

#include "absl/status/status.h"
#include "agent/app/agent_config.h"

namespace muster::agent {

// Runs until SIGTERM, SIGINT, `stop` or `leave`; a second signal ends the
// process at once. Without an identity it waits for `join`; likewise after the
// gateway deleted it. Call from main(), before any thread exists: it blocks
// signals for all of them. Errors are those of settings, state and sockets.
absl::Status RunAgent(const AgentConfig& config, const std::string& own_binary);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_RUN_H_
