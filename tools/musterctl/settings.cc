#include "tools/musterctl/settings.h"

#include <unistd.h>

#include "fmt/format.h"
#include "libprotocol/base/host_port.h"
#include "libprotocol/base/status_macros.h"
#include "tools/musterctl/context_file.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

// Where a gateway on this host may keep its admin token.
constexpr const char* kAdminTokenFiles[] = {
    "/var/lib/muster/admin-token",  // An installed gateway's data folder.
    "data/gateway/admin-token",     // That of tools/quickstart.
};

// The named or current context, copied into `settings`. `named` is empty when
// neither flag nor environment names one.
absl::Status UseContext(const std::string& named,
                        const std::optional<std::string>& server,
                        Settings& settings) {
  ASSIGN_OR_RETURN(const Contexts contexts, LoadContexts(settings.config_path));
  const std::string& name = named.empty() ? contexts.current : named;
  if (name.empty()) return absl::OkStatus();
  const auto it = contexts.by_name.find(name);
  if (it == contexts.by_name.end()) {
    return WithHint(absl::NotFoundError(fmt::format(
                        "no context \"{}\" in {}", name, settings.config_path)),
                    "musterctl context ls");
  }
  const Context& context = it->second;
  settings.context = name;
  if (server && *server != context.server) return absl::OkStatus();
  settings.endpoint = {context.server, context.ca_file, context.pin};
  settings.token = context.token;
  return absl::OkStatus();
}

}  // namespace

std::optional<ColorMode> ParseColorMode(std::string_view word) {
  if (word == "auto") return ColorMode::kAuto;
  if (word == "always") return ColorMode::kAlways;
  if (word == "never") return ColorMode::kNever;
  return std::nullopt;
}

absl::Status CheckServer(std::string_view url) {
  std::string_view rest = url;
  const bool tls = rest.starts_with("https://");
  if (!tls && !rest.starts_with("http://")) {
    return absl::InvalidArgumentError(
        fmt::format("server \"{}\" must begin with https:// or http://", url));
  }
  rest.remove_prefix(tls ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const auto authority = ParseAuthority(rest);
  if (!authority.ok()) {
    return absl::InvalidArgumentError(fmt::format(
        "server \"{}\" must be a scheme, a host and a port, nothing more",
        url));
  }
  if (!tls && !IsLoopback(authority->host)) {
    return absl::InvalidArgumentError(fmt::format(
        "server \"{}\" is not on this host: plain http:// would show the token "
        "to the network; use https://",
        url));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ConfigPath(const GlobalFlags& flags,
                                       const Environment& environment) {
  if (flags.config) return *flags.config;
  if (const auto path = environment("MUSTER_CONFIG")) return *path;
  if (const auto folder = environment("XDG_CONFIG_HOME")) {
    return *folder + "/muster/config.toml";
  }
  if (const auto home = environment("HOME")) {
    return *home + "/.config/muster/config.toml";
  }
  return absl::FailedPreconditionError(
      "neither HOME nor XDG_CONFIG_HOME is set; give --config FILE");
}

absl::StatusOr<Settings> ResolveSettings(const GlobalFlags& flags,
                                         const Environment& environment) {
  const auto pick = [&](const std::optional<std::string>& flag,
                        std::string_view variable) {
    return flag ? flag : environment(variable);
  };
  Settings settings;
  settings.timeout = flags.timeout;
  settings.endpoint.server = kDefaultServer;
  const auto server = pick(flags.server, "MUSTER_SERVER");
  const auto context = pick(flags.context, "MUSTER_CONTEXT");
  if (auto path = ConfigPath(flags, environment); path.ok()) {
    settings.config_path = *std::move(path);
    RETURN_IF_ERROR(UseContext(context.value_or(""), server, settings));
  } else if (context) {
    return path.status();
  }
  if (server) settings.endpoint.server = *server;
  if (const auto ca = pick(flags.ca_file, "MUSTER_CA_FILE")) {
    settings.endpoint.ca_file = *ca;
  }
  if (const auto pin = pick(flags.pin, "MUSTER_PIN")) {
    settings.endpoint.pin = *pin;
  }
  settings.org = pick(flags.org, "MUSTER_ORG").value_or("");
  if (auto token = environment("MUSTER_TOKEN")) {
    settings.token = Secret(*std::move(token));
  }
  if (flags.output) {
    settings.output = *flags.output;
  } else if (const auto output = environment("MUSTER_OUTPUT")) {
    ASSIGN_OR_RETURN(settings.output,
                     ParseOutputFormat("MUSTER_OUTPUT", *output));
  }
  settings.color = flags.color;
  if (flags.color == ColorMode::kAuto && environment("NO_COLOR")) {
    settings.color = ColorMode::kNever;
  }
  RETURN_IF_ERROR(CheckServer(settings.endpoint.server));
  return settings;
}

std::string TokenHint() {
  for (const char* file : kAdminTokenFiles) {
    if (access(file, R_OK) == 0) {
      return fmt::format(
          "a gateway keeps its admin token here: musterctl "
          "login --token-file {}",
          file);
    }
  }
  return "musterctl login   (or set MUSTER_TOKEN)";
}

}  // namespace muster::ctl
