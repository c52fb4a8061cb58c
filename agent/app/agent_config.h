// The agent's settings.

#ifndef MUSTER_AGENT_APP_AGENT_CONFIG_H_
#define MUSTER_AGENT_APP_AGENT_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/app/command_policy.h"
#include "libprotocol/base/log.h"
#include "libprotocol/wire/settings.h"

namespace muster::agent {

inline constexpr char kDefaultConfigFile[] = "/etc/muster/agent.toml";

// Plain data: tests build one by hand.
struct AgentConfig {
  // Absolute. Identity, key, control socket and command folders.
  std::string state_dir = "/var/lib/muster-agent";

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kLogfmt;

  // Of the fleet connection. Empty: none, whatever the environment says;
  // "env": as the environment says; else http://host:port.
  std::string proxy = {};

  // What may be run here: command_policy.h.
  std::string policy_file = kDefaultPolicyFile;

  // The program muster-exec. Empty: beside the own binary, in ../lib/muster or
  // /usr/lib/muster.
  std::string exec_path = {};
};

// The settings, bound to `config`, which must outlive them.
std::vector<wire::Setting> AgentSettings(AgentConfig& config);

// Default < file < environment < flags.
absl::StatusOr<AgentConfig> LoadAgentConfig(
    const wire::SettingSources& sources);

// The program muster-exec by the rule above; FailedPrecondition naming the
// places that were tried. `own_binary` is this program's path.
absl::StatusOr<std::string> FindExecProgram(const AgentConfig& config,
                                            const std::string& own_binary);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_AGENT_CONFIG_H_
