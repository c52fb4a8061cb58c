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
#include "tools/musterctl/problem.h"
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

namespace {

// Where to, and what is known so far.
struct Attempt {
  std::string path;
  Contexts contexts;
  std::string name;  // Of the context.
  Endpoint endpoint;
};

absl::StatusOr<Attempt> Begin(World& world, const GlobalFlags& flags) {
  Attempt attempt;
  ASSIGN_OR_RETURN(attempt.path, ConfigPath(flags, world.environment));
  ASSIGN_OR_RETURN(attempt.contexts, LoadContexts(attempt.path));
  attempt.name = flags.context.value_or(
      world.environment("MUSTER_CONTEXT").value_or("default"));
  ASSIGN_OR_RETURN(attempt.endpoint,
                   LoginEndpoint(world, flags, attempt.contexts, attempt.name));
  return attempt;
}

// Asks who the token speaks for, and keeps it.
absl::StatusOr<int> Finish(World& world, const GlobalFlags& flags,
                           Attempt attempt, Transport& transport,
                           Secret token) {
  GatewayApi api(transport, token, flags.timeout);
  const auto who = api.Call<v1::WhoAmIResponse>("WhoAmI", v1::WhoAmIRequest());
  if (!who.ok()) {
    return TokenRefused(who.status())
               ? WithHint(who.status(), "this gateway does not know that token")
               : who.status();
  }
  Contexts& contexts = attempt.contexts;
  contexts.current = attempt.name;
  contexts.by_name[attempt.name] = {.server = attempt.endpoint.server,
                                    .token = std::move(token),
                                    .ca_file = attempt.endpoint.ca_file,
                                    .pin = attempt.endpoint.pin};
  RETURN_IF_ERROR(SaveContexts(attempt.path, contexts));
  const auto* role =
      v1::Role_descriptor()->FindValueByNumber(who->message.role());
  world.console.Err(
      fmt::format("Logged in to {} as {} ({}). Context \"{}\" in {}.\n",
                  attempt.endpoint.server, Printable(who->message.principal()),
                  role == nullptr ? "unknown role" : wire::EnumText(*role),
                  attempt.name, attempt.path));
  return kExitOk;
}

}  // namespace

absl::StatusOr<Secret> AskPassword(Console& console, std::string_view prompt) {
  if (console.InIsTerminal()) return console.AskSecret(prompt);
  ASSIGN_OR_RETURN(const std::string input,
                   console.ReadInput(2 * wire::kPasswordBytesMax));
  return Secret(input.substr(0, input.find('\n')));
}

absl::StatusOr<int> Login(World& world, const GlobalFlags& flags,
                          const std::string& token_file) {
  ASSIGN_OR_RETURN(Attempt attempt, Begin(world, flags));
  ASSIGN_OR_RETURN(Secret token, ObtainToken(world, token_file));
  if (token.empty()) {
    return WithHint(absl::InvalidArgumentError("the token is empty"),
                    "--token-file FILE, or the token on standard input");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   world.connect(attempt.endpoint));
  return Finish(world, flags, std::move(attempt), *transport, std::move(token));
}

absl::StatusOr<int> LoginAs(World& world, const GlobalFlags& flags,
                            const std::string& user) {
  ASSIGN_OR_RETURN(Attempt attempt, Begin(world, flags));
  ASSIGN_OR_RETURN(const Secret password,
                   AskPassword(world.console, "Password: "));
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   world.connect(attempt.endpoint));
  v1::SignInRequest request;
  request.set_org(
      flags.org.value_or(world.environment("MUSTER_ORG").value_or("")));
  request.set_name(user);
  request.set_password(password.Reveal());
  GatewayApi api(*transport, Secret(), flags.timeout);
  ASSIGN_OR_RETURN(const auto signed_in,
                   api.Call<v1::SignInResponse>("SignIn", request));
  return Finish(world, flags, std::move(attempt), *transport,
                Secret(signed_in.message.secret()));
}

absl::StatusOr<int> Logout(World& world, const GlobalFlags& flags) {
  ASSIGN_OR_RETURN(const Settings settings,
                   ResolveSettings(flags, world.environment));
  ASSIGN_OR_RETURN(Contexts contexts, LoadContexts(settings.config_path));
  const auto context = contexts.by_name.find(settings.context);
  if (context == contexts.by_name.end() || context->second.token.empty()) {
    return WithHint(absl::NotFoundError("nobody is logged in here"),
                    "musterctl context ls");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Transport> transport,
                   world.connect(settings.endpoint));
  GatewayApi api(*transport, context->second.token, settings.timeout);
  const auto out =
      api.Call<v1::SignOutResponse>("SignOut", v1::SignOutRequest());
  const auto problem = ProblemOf(out.status());
  const bool stays = problem && problem->code == "not_signed_in";
  if (!out.ok() && !stays && !TokenRefused(out.status())) return out.status();
  context->second.token = Secret();
  RETURN_IF_ERROR(SaveContexts(settings.config_path, contexts));
  world.console.Err(fmt::format(
      "Logged out of {}.{}\n", context->second.server,
      stays
          ? " The token is forgotten here, and stays good: it was not made by "
            "signing in."
          : ""));
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
