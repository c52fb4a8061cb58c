// The agent's settings and where they come from:
// default < TOML file < environment MUSTER_… < flag.
//
//   [agent.toml]            environment            flag
//   state_dir = "…"         MUSTER_STATE_DIR       --state-dir
//   log_level = "info"      MUSTER_LOG_LEVEL       --log-level
//   log_format = "logfmt"   MUSTER_LOG_FORMAT      --log-format
//   proxy = ""              MUSTER_PROXY           --proxy
//   exec_path = "…"         MUSTER_EXEC_PATH       --exec-path

#ifndef MUSTER_AGENT_APP_AGENT_CONFIG_H_
#define MUSTER_AGENT_APP_AGENT_CONFIG_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "libprotocol/base/log.h"

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

  // The program muster-exec. Empty: beside the own binary, in ../lib/muster or
  // /usr/lib/muster.
  std::string exec_path = {};
};

// What a setting is called in the file; env name and flag follow from it.
struct SettingName {
  std::string key;   // "state_dir"
  std::string help;  // One line for --help.
};
const std::vector<SettingName>& AgentSettings();
std::string EnvironmentName(const std::string& key);  // "MUSTER_STATE_DIR"
std::string FlagName(const std::string& key);         // "--state-dir"

struct ConfigSources {
  // Must exist if given; else kDefaultConfigFile, which may be absent.
  std::optional<std::string> file;
  // The value of an environment variable, if it is set.
  std::function<std::optional<std::string>(const std::string&)> environment;
  // key → value, as given on the command line.
  std::map<std::string, std::string> flags;
  std::string default_file = kDefaultConfigFile;
};

// InvalidArgument naming source ("file:line", variable or flag), key, what is
// accepted, and the value.
absl::StatusOr<AgentConfig> LoadConfig(const ConfigSources& sources);

// The program muster-exec by the rule above; FailedPrecondition naming the
// places that were tried. `own_binary` is this program's path.
absl::StatusOr<std::string> FindExecProgram(const AgentConfig& config,
                                            const std::string& own_binary);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_AGENT_CONFIG_H_
