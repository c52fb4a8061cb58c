#include "tools/musterctl/login_verbs.h"

#include <filesystem>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/context_file.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/gateway_api.h"
#include "tools/musterctl/table.h"

namespace muster::ctl {
namespace {

// The first line, without blanks around it.
Secret FirstLine(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return Secret();
  const size_t last = text.find_last_not_of(" \t\r");
  return Secret(std::string(text.substr(first, last - first + 1)));
}

absl::StatusOr<Secret> ObtainToken(World& world,
                                   const std::string& token_file) {
  constexpr size_t kBytesMax = 2 * wire::kTokenBytesMax;
  if (!token_file.empty() && token_file != "-") {
    auto text = ReadFile(token_file, kBytesMax);
    if (text.ok()) return FirstLine(*text);
    return absl::InvalidArgumentError(
        fmt::format("--token-file: {}", ToStd(text.status().message())));
  }
  if (token_file.empty()) {
    if (auto token = world.environment("MUSTER_TOKEN"))
      return FirstLine(*token);
    if (world.console.InIsTerminal()) {
      ASSIGN_OR_RETURN(const Secret typed, world.console.AskSecret("Token: "));
      return FirstLine(typed.Reveal());
    }
  }
  ASSIGN_OR_RETURN(const std::string input, world.console.ReadInput(kBytesMax));
  return FirstLine(input);
}

// The endpoint to log in to: flags and environment, else the context that is
// logged in to again, else the default.
absl::StatusOr<Endpoint> LoginEndpoint(const World& world,
                                       const GlobalFlags& flags,
                                       const Contexts& contexts,
                                       const std::string& name) {
  const auto pick = [&](const std::optional<std::string>& flag,
                        std::string_view variable) {
    return (flag ? flag : world.environment(variable)).value_or("");
  };
  Endpoint endpoint{.server = pick(flags.server, "MUSTER_SERVER"),
                    .ca_file = pick(flags.ca_file, "MUSTER_CA_FILE"),
                    .pin = pick(flags.pin, "MUSTER_PIN")};
  const auto known = contexts.by_name.find(name);
  if (known != contexts.by_name.end() &&
      (endpoint.server.empty() || endpoint.server == known->second.server)) {
    endpoint.server = known->second.server;
    if (endpoint.ca_file.empty() && endpoint.pin.empty()) {
      endpoint.ca_file = known->second.ca_file;
      endpoint.pin = known->second.pin;
    }
  }
  if (endpoint.server.empty()) endpoint.server = kDefaultServer;
  RETURN_IF_ERROR(CheckServer(endpoint.server));
  if (!endpoint.ca_file.empty()) {
    endpoint.ca_file = std::filesystem::absolute(endpoint.ca_file);
  }
  return endpoint;
}

}  // namespace

absl::StatusOr<int> Login(World& world, const GlobalFlags& flags,
                          const std::string& token_file) {
  ASSIGN_OR_RETURN(const std::string path,
                   ConfigPath(flags, world.environment));
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts(path));
  const std::string name = flags.context.value_or(
      world.environment("MUSTER_CONTEXT").value_or("default"));
  ASSIGN_OR_RETURN(Endpoint endpoint,
                   LoginEndpoint(world, flags, contexts, name));
  ASSIGN_OR_RETURN(Secret token, ObtainToken(world, token_file));
  if (token.empty()) {
    return WithHint(absl::InvalidArgumentError("the token is empty"),
                    "--token-file FILE, or the token on standard input");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   world.connect(endpoint));
  GatewayApi api(*transport, token, flags.timeout);
  const auto who = api.Call<v1::WhoAmIResponse>("WhoAmI", v1::WhoAmIRequest());
  if (!who.ok()) {
    return TokenRefused(who.status())
               ? WithHint(who.status(), "this gateway does not know that token")
               : who.status();
  }
  contexts.current = name;
  contexts.by_name[name] = {.server = endpoint.server,
                            .token = std::move(token),
                            .ca_file = endpoint.ca_file,
                            .pin = endpoint.pin};
  RETURN_IF_ERROR(SaveContexts(path, contexts));
  const auto* role =
      v1::Role_descriptor()->FindValueByNumber(who->message.role());
  world.console.Err(fmt::format(
      "Logged in to {} as {} ({}). Context \"{}\" in {}.\n", endpoint.server,
      Printable(who->message.principal()),
      role == nullptr ? "unknown role" : wire::EnumText(*role), name, path));
  return kExitOk;
}

absl::StatusOr<int> ContextLs(World& world, const GlobalFlags& flags) {
  ASSIGN_OR_RETURN(const std::string path,
                   ConfigPath(flags, world.environment));
  ASSIGN_OR_RETURN(const Contexts contexts, LoadContexts(path));
  if (contexts.by_name.empty()) {
    world.console.Err("No contexts yet. musterctl login makes one.\n");
    return kExitOk;
  }
  Table table({"CURRENT", "NAME", "SERVER", "CHECKED BY"});
  for (const auto& [name, context] : contexts.by_name) {
    table.AddRow({{name == contexts.current ? "*" : ""},
                  {name},
                  {context.server},
                  {!context.pin.empty()       ? "pin"
                   : !context.ca_file.empty() ? context.ca_file
                                              : ""}});
  }
  world.console.Out(table.Render({.columns_max = world.console.Columns()}));
  return kExitOk;
}

absl::StatusOr<int> ContextUse(World& world, const GlobalFlags& flags,
                               const std::string& name) {
  ASSIGN_OR_RETURN(const std::string path,
                   ConfigPath(flags, world.environment));
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts(path));
  if (!contexts.by_name.contains(name)) {
    return WithHint(
        absl::NotFoundError(fmt::format("no context \"{}\" in {}", name, path)),
        "musterctl context ls");
  }
  contexts.current = name;
  RETURN_IF_ERROR(SaveContexts(path, contexts));
  world.console.Err(fmt::format("Using context \"{}\": {}.\n", name,
                                contexts.by_name[name].server));
  return kExitOk;
}

absl::StatusOr<int> ContextRm(World& world, const GlobalFlags& flags,
                              const std::string& name) {
  ASSIGN_OR_RETURN(const std::string path,
                   ConfigPath(flags, world.environment));
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts(path));
  if (contexts.by_name.erase(name) == 0) {
    return WithHint(
        absl::NotFoundError(fmt::format("no context \"{}\" in {}", name, path)),
        "musterctl context ls");
  }
  if (contexts.current == name) contexts.current.clear();
  RETURN_IF_ERROR(SaveContexts(path, contexts));
  world.console.Err(fmt::format("Removed context \"{}\".\n", name));
  return kExitOk;
}

}  // namespace muster::ctl
