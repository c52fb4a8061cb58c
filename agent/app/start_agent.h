// Starts the daemon after a join: by systemd where that runs the agent, else as
// a process of its own.

#ifndef MUSTER_AGENT_APP_START_AGENT_H_
#define MUSTER_AGENT_APP_START_AGENT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace muster::agent {

struct StartRequest {
  std::string state_dir;
  // This program, and what the daemon is told besides `run`.
  std::string own_binary;
  std::vector<std::string> arguments;
  // The settings are those that systemd's unit reads.
  bool unit_fits = false;
  // Below it /run and the folders of units are looked for. Tests only.
  std::string host_root = "";
};

// Returns what was done, a line for a person. The daemon is on its way, not yet
// online; without systemd its log is <state_dir>/agent.log. An agent that runs
// already is left alone. FailedPrecondition if systemctl fails, in its words.
absl::StatusOr<std::string> StartAgent(const StartRequest& request);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_START_AGENT_H_
