#include "agent/app/agent_config.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#define TOML_EXCEPTIONS 0
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "toml++/toml.h"

namespace muster::agent {
namespace {

constexpr size_t kFileBytesMax = 64 * 1024;

absl::Status SetStateDir(const std::string& value, AgentConfig& config) {
  // A Unix socket's path has 108 bytes; the longest name inside is agent.sock.
  if (value.empty() || value.front() != '/' || value.size() > 90) {
    return absl::InvalidArgumentError(fmt::format(
        "expected an absolute path of at most 90 bytes; got \"{}\"", value));
  }
  config.state_dir = value;
  return absl::OkStatus();
}

absl::Status SetProxy(const std::string& value, AgentConfig& config) {
  if (!value.empty() && value != "env" && value.rfind("http://", 0) != 0) {
    return absl::InvalidArgumentError(fmt::format(
        "expected \"\", \"env\" or \"http://host:port\"; got \"{}\"", value));
  }
  config.proxy = value;
  return absl::OkStatus();
}

absl::Status SetExecPath(const std::string& value, AgentConfig& config) {
  if (!value.empty() && value.front() != '/') {
    return absl::InvalidArgumentError(
        fmt::format("expected an absolute path; got \"{}\"", value));
  }
  config.exec_path = value;
  return absl::OkStatus();
}

// `where` names the source in errors: "agent.toml:3", "MUSTER_PROXY",
// "--proxy".
absl::Status Set(const std::string& key, const std::string& value,
                 std::string_view where, AgentConfig& config) {
  absl::Status status;
  if (key == "state_dir") {
    status = SetStateDir(value, config);
  } else if (key == "log_level") {
    status = ParseLogLevel(value, config.log_level);
  } else if (key == "log_format") {
    status = ParseLogFormat(value, config.log_format);
  } else if (key == "proxy") {
    status = SetProxy(value, config);
  } else if (key == "exec_path") {
    status = SetExecPath(value, config);
  }
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: {}", where, key, ToStd(status.message())));
}

bool IsSetting(std::string_view key) {
  const auto& all = AgentSettings();
  return std::any_of(all.begin(), all.end(),
                     [&](const auto& s) { return s.key == key; });
}

absl::Status ApplyFile(const std::string& path, AgentConfig& config) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: {}", path, parsed.error().source().begin.line,
                    parsed.error().description()));
  }
  for (const auto& [key, node] : parsed.table()) {
    const std::string name(key.str());
    const std::string where =
        fmt::format("{}:{}", path, key.source().begin.line);
    if (!IsSetting(name)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: unknown setting \"{}\"", where, name));
    }
    if (!node.is_string()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {}: expected a string", where, name));
    }
    RETURN_IF_ERROR(Set(name, **node.as_string(), where, config));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<SettingName>& AgentSettings() {
  static const auto& all = *new std::vector<SettingName>{
      {"state_dir", "folder of identity, key, control socket and commands"},
      {"log_level", "debug, info, warning or error"},
      {"log_format", "logfmt or json"},
      {"proxy",
       "proxy of the fleet connection: empty (none), env, or http://host:port"},
      {"exec_path", "the program muster-exec"},
  };
  return all;
}

std::string EnvironmentName(const std::string& key) {
  std::string out = "MUSTER_" + key;
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return toupper(c); });
  return out;
}

std::string FlagName(const std::string& key) {
  std::string out = "--" + key;
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

absl::StatusOr<AgentConfig> LoadConfig(const ConfigSources& sources) {
  AgentConfig config;
  if (sources.file || FileExists(sources.default_file)) {
    RETURN_IF_ERROR(
        ApplyFile(sources.file.value_or(sources.default_file), config));
  }
  for (const SettingName& setting : AgentSettings()) {
    const std::string variable = EnvironmentName(setting.key);
    if (const auto value = sources.environment(variable)) {
      RETURN_IF_ERROR(Set(setting.key, *value, variable, config));
    }
  }
  for (const auto& [key, value] : sources.flags) {
    RETURN_IF_ERROR(Set(key, value, FlagName(key), config));
  }
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
