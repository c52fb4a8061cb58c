#include "agent/app/agent_config.h"

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

wire::Setting StateDirSetting(std::string& state_dir) {
  return {"state_dir", "folder of identity, key, control socket and commands",
          [&state_dir](const std::string& value) {
            // A Unix socket's path has 108 bytes; the longest name inside is
            // agent.sock.
            if (value.empty() || value.front() != '/' || value.size() > 90) {
              return absl::InvalidArgumentError(fmt::format(
                  "expected an absolute path of at most 90 bytes; got \"{}\"",
                  value));
            }
            state_dir = value;
            return absl::OkStatus();
          },
          [&state_dir] { return state_dir; }};
}

wire::Setting ProxySetting(std::string& proxy) {
  return {
      "proxy",
      "proxy of the fleet connection: empty (none), env, or "
      "http://host:port",
      [&proxy](const std::string& value) {
        if (!value.empty() && value != "env" && !value.starts_with("http://")) {
          return absl::InvalidArgumentError(fmt::format(
              "expected \"\", \"env\" or \"http://host:port\"; got \"{}\"",
              value));
        }
        proxy = value;
        return absl::OkStatus();
      },
      [&proxy] { return proxy; }};
}

wire::Setting PathSetting(const char* name, const char* help, std::string& path,
                          bool may_be_empty = false) {
  return {name, help,
          [&path, may_be_empty](const std::string& value) {
            if (value.empty() ? !may_be_empty : value.front() != '/') {
              return absl::InvalidArgumentError(
                  fmt::format("expected an absolute path; got \"{}\"", value));
            }
            path = value;
            return absl::OkStatus();
          },
          [&path] { return path; }};
}

}  // namespace

std::vector<wire::Setting> AgentSettings(AgentConfig& c) {
  return {
      StateDirSetting(c.state_dir),
      wire::LogLevelSetting(c.log_level),
      wire::LogFormatSetting(c.log_format),
      ProxySetting(c.proxy),
      PathSetting("policy_file", "what may be run here, see its documentation",
                  c.policy_file),
      PathSetting("exec_path",
                  "the program muster-exec; empty: where it is installed",
                  c.exec_path, /*may_be_empty=*/true),
  };
}

absl::StatusOr<AgentConfig> LoadAgentConfig(
    const wire::SettingSources& sources) {
  AgentConfig config;
  RETURN_IF_ERROR(wire::LoadSettings(AgentSettings(config), sources).status());
  return config;
}

absl::StatusOr<std::string> FindExecProgram(const AgentConfig& config,
                                            const std::string& own_binary) {
  const std::string folder = own_binary.substr(0, own_binary.rfind('/'));
  std::vector<std::string> places = {config.exec_path};
  if (config.exec_path.empty()) {
    places = {folder + "/muster-exec", folder + "/../lib/muster/muster-exec",
              "/usr/lib/muster/muster-exec"};
  }
  for (const std::string& place : places) {
    if (FileExists(place)) return place;
  }
  return absl::FailedPreconditionError(fmt::format(
      "exec_path: muster-exec is at none of {}", fmt::join(places, ", ")));
}

}  // namespace muster::agent
