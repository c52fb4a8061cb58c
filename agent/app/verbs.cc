#include "agent/app/verbs.h"

#include <poll.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "agent/app/agent_state.h"
#include "agent/app/join.h"
#include "agent/app/start_agent.h"
#include "agent/exec/run_log.h"
#include "agent/host/host_facts.h"
#include "agent/local/control_client.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/utf8.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "0.0.0"
#endif

namespace muster::agent {
namespace {

constexpr absl::Duration kAnswerTimeout = absl::Seconds(15);
constexpr absl::Duration kOnlineAfterStart = absl::Seconds(30);
constexpr size_t kGivenFileBytesMax = 64 * 1024;

// Between two looks whether the machine is online yet.
constexpr int kLookAgainMs = 200;

std::string Trimmed(std::string text) {
  while (!text.empty() && isspace(static_cast<unsigned char>(text.back())))
    text.pop_back();
  return text;
}

absl::StatusOr<Secret> ReadToken(const VerbContext& context,
                                 const Flags& flags) {
  if (flags.token_stdin) {
    std::string line;
    std::getline(context.standard_input, line);
    return Secret(Trimmed(std::move(line)));
  }
  if (!context.token.empty()) return Secret(Trimmed(context.token.Reveal()));
  if (const auto file = context.environment("MUSTER_TOKEN_FILE")) {
    ASSIGN_OR_RETURN(std::string text, ReadFile(*file, kGivenFileBytesMax));
    return Secret(Trimmed(std::move(text)));
  }
  return Secret();
}

absl::StatusOr<ControlReply> Ask(const VerbContext& context,
                                 const ControlRequest& request) {
  return AskAgent(AgentState(context.config.state_dir).socket_path(), request,
                  kAnswerTimeout, context.clock);
}

VerbResult Said(const absl::StatusOr<ControlReply>& reply) {
  if (!reply.ok()) {
    VerbResult result = Failure(reply.status());
    if (absl::IsUnavailable(reply.status())) result.exit_code = 3;
    return result;
  }
  if (reply->ok) return {0, reply->text + "\n", ""};
  return {1, "", fmt::format("error: {}\n", reply->text)};
}

// Asks until the running agent says that it is online.
VerbResult WaitOnline(const VerbContext& context, absl::Duration limit,
                      std::string said) {
  const Instant deadline = context.clock.Now() + limit;
  std::string last;
  while (true) {
    const absl::StatusOr<ControlReply> reply =
        Ask(context, {ControlVerb::kStatus});
    if (reply.ok()) {
      const auto online = reply->fields.find("online");
      if (online != reply->fields.end() && online->second == "true") {
        return {0, said + "This machine is online.\n", ""};
      }
      const auto link = reply->fields.find("link");
      if (link != reply->fields.end()) last = link->second;
    } else {
      last = std::string(ToStd(reply.status().message()));
    }
    if (context.clock.Now() >= deadline) {
      return {1, std::move(said),
              fmt::format("error: not online after {}: {}\n",
                          absl::FormatDuration(limit), last)};
    }
    poll(nullptr, 0, kLookAgainMs);
  }
}

// True if the agent that systemd would run, without our flags and environment,
// keeps its state where we do.
bool UnitFits(const VerbContext& context) {
  const auto unit = LoadAgentConfig(
      {.file = std::nullopt,
       .default_file = kDefaultConfigFile,
       .environment = [](const std::string&) { return std::nullopt; },
       .flags = {}});
  return unit.ok() && unit->state_dir == context.config.state_dir;
}

// `pending`: nobody knows for how long it will wait, so only for as long as was
// asked for.
VerbResult StartAndWait(const VerbContext& context, const Flags& flags,
                        bool pending, std::string said) {
  StartRequest request{.state_dir = context.config.state_dir,
                       .own_binary = context.own_binary,
                       .arguments = {},
                       .unit_fits = UnitFits(context)};
  if (flags.config_file) {
    request.arguments = {"--config", *flags.config_file};
  }
  for (const auto& [key, value] : flags.settings) {
    request.arguments.push_back(wire::FlagName(key));
    request.arguments.push_back(value);
  }
  const auto started = StartAgent(request);
  if (!started.ok()) {
    VerbResult result = Failure(started.status());
    result.out = std::move(said);
    return result;
  }
  said += *started;
  if (pending && !flags.wait) return {0, std::move(said), ""};
  return WaitOnline(context, flags.wait.value_or(kOnlineAfterStart),
                    std::move(said));
}

absl::StatusOr<JoinOptions> MakeJoinOptions(const VerbContext& context,
                                            const Flags& flags) {
  JoinOptions options;
  options.server = flags.server;
  options.pin = flags.pin;
  options.labels = flags.labels;
  options.replace = flags.replace;
  options.facts = ReadAgentFacts({}, MUSTER_VERSION);
  if (!flags.ca_file.empty()) {
    ASSIGN_OR_RETURN(options.ca_pem,
                     ReadFile(flags.ca_file, kGivenFileBytesMax));
  }
  ASSIGN_OR_RETURN(options.token, ReadToken(context, flags));
  return options;
}

// One line of a terminal that shows nothing but these characters.
std::string Printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = std::max<size_t>(wire::Utf8Length(text), 1);
    const auto first = static_cast<unsigned char>(text.front());
    const bool control =
        first < 0x20 || first == 0x7f || (first >= 0x80 && length == 1) ||
        (first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    out += control ? std::string_view("\u00b7") : text.substr(0, length);
    text.remove_prefix(length);
  }
  return out;
}

std::string HowItEnded(const RunEntry& entry) {
  if (!entry.end) return "no end yet";
  const RunEnd& end = *entry.end;
  std::string text = end.state;
  if (end.exit_code && *end.exit_code != 0) {
    text += fmt::format(" {}", *end.exit_code);
  }
  if (end.signal) text += fmt::format(" by signal {}", *end.signal);
  if (!end.reason.empty()) text += ": " + end.reason;
  return text;
}

// 2024-05-01 10:20:30 +0200  ~8f1a2c  alice as root  sh  failed 3  [purpose] ls
std::string LineOf(const RunEntry& entry) {
  const RunOrder& order = entry.order;
  const std::string& id = order.command_id.str();
  return fmt::format(
      "{}  ~{}  {} as {}  {}  {}  {}{}{}\n",
      absl::FormatTime("%Y-%m-%d %H:%M:%S %z", order.at, absl::LocalTimeZone()),
      id.substr(id.size() - std::min<size_t>(id.size(), 6)),
      Printable(order.issued_by.empty() ? "?" : order.issued_by),
      Printable(order.user), Printable(order.shell),
      Printable(HowItEnded(entry)),
      order.purpose.empty() ? "" : "[" + Printable(order.purpose) + "]  ",
      Printable(order.text), order.text_bytes > order.text.size() ? "…" : "");
}

}  // namespace

VerbResult Failure(const absl::Status& status) {
  const int code = absl::IsInvalidArgument(status) ? 2 : 1;
  return {code, "", fmt::format("error: {}\n", ToStd(status.message()))};
}

VerbResult DoJoin(const VerbContext& context, const Flags& flags) {
  const AgentState state(context.config.state_dir);
  const absl::StatusOr<JoinOptions> options = MakeJoinOptions(context, flags);
  if (!options.ok()) return Failure(options.status());
  const absl::StatusOr<JoinResult> joined = Join(state, *options);
  if (!joined.ok()) return Failure(joined.status());
  std::string said = fmt::format(
      "{} {} as {} (agent_id={}).\n",
      joined->already ? "Already joined to" : "Joined", flags.server,
      options->facts.hostname(), joined->identity.agent_id);
  const absl::StatusOr<ControlReply> running =
      Ask(context,
          {joined->already ? ControlVerb::kStatus : ControlVerb::kReplaced});
  if (joined->pending) {
    said += fmt::format("It waits for approval:  musterctl agents approve {}\n",
                        Printable(joined->name));
  }
  if (flags.start) {
    return StartAndWait(context, flags, joined->pending, std::move(said));
  }
  if (flags.wait) return WaitOnline(context, *flags.wait, std::move(said));
  if (!running.ok()) {
    said +=
        "No agent is running yet. Start it:  systemctl start muster-agent   "
        "(or: muster-agent run)\n";
  }
  return {0, std::move(said), ""};
}

VerbResult DoLeave(const VerbContext& context, const Flags& flags) {
  if (!flags.force) return Said(Ask(context, {ControlVerb::kLeave}));
  const absl::StatusOr<ControlReply> stopped =
      Ask(context, {ControlVerb::kStop});
  const AgentState state(context.config.state_dir);
  if (const absl::Status wiped = state.Wipe(); !wiped.ok())
    return Failure(wiped);
  return {
      0,
      fmt::format("{}Its state is gone. The gateway still knows this machine: "
                  "musterctl agents rm\n",
                  stopped.ok() ? "The agent was stopped. " : ""),
      ""};
}

VerbResult DoStatus(const VerbContext& context, const Flags& flags) {
  const absl::StatusOr<ControlReply> reply =
      Ask(context, {ControlVerb::kStatus});
  if (reply.ok()) {
    if (flags.json) return {0, RenderReply(*reply), ""};
    std::string out;
    for (const char* key : {"agent_id", "hostname", "server", "endpoint",
                            "link", "heartbeat", "commands"}) {
      if (const auto it = reply->fields.find(key); it != reply->fields.end()) {
        out += fmt::format("{:<10} {}\n", key, it->second);
      }
    }
    return {0, std::move(out), ""};
  }
  VerbResult result = Said(reply);
  const absl::StatusOr<Identity> identity =
      AgentState(context.config.state_dir).LoadIdentity();
  if (identity.ok()) {
    result.out = fmt::format("{:<10} {}\n{:<10} {}\n", "agent_id",
                             identity->agent_id, "server", identity->server);
  } else if (absl::IsNotFound(identity.status())) {
    result.err +=
        "This machine has not joined a gateway: muster-agent join --server "
        "URL\n";
  } else {
    result.err +=
        fmt::format("error: {}\n", ToStd(identity.status().message()));
  }
  return result;
}

VerbResult DoCommands(const VerbContext& context, const Flags& flags) {
  const RunLog log(AgentState(context.config.state_dir).run_log_folder());
  const auto entries = log.Read(flags.last);
  if (!entries.ok()) return Failure(entries.status());
  std::string out;
  for (const RunEntry& entry : *entries) {
    out += flags.json ? ToJson(entry) : LineOf(entry);
  }
  if (out.empty() && !flags.json) return {0, "", "Nothing was run here.\n"};
  return {0, std::move(out), ""};
}

VerbResult DoHeartbeatNow(const VerbContext& context) {
  return Said(Ask(context, {ControlVerb::kHeartbeatNow}));
}

VerbResult DoStop(const VerbContext& context, const Flags& flags) {
  if (flags.for_upgrade) {
    return Said(Ask(context, {ControlVerb::kStopForUpgrade}));
  }
  return Said(Ask(context, {ControlVerb::kStop, flags.back_within}));
}

}  // namespace muster::agent
