#include "agent/app/flags.h"

#include <optional>
#include <sstream>
#include <vector>

#include "CLI/CLI.hpp"
#include "agent/app/agent_config.h"
#include "agent/local/control_protocol.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/duration_text.h"

namespace muster::agent {
namespace {

constexpr char kExamples[] = R"(Examples:
  muster-agent join --server https://gw.example:7080 --pin sha256//… --token-stdin
  muster-agent run                     # what the systemd unit runs
  muster-agent heartbeat-now           # or: muster-agent --send-heartbeat-now
  muster-agent status
  muster-agent commands -n 10          # what was run here, and by whom

A token is never an argument: MUSTER_TOKEN, MUSTER_TOKEN_FILE or --token-stdin.
Settings: default < /etc/muster/agent.toml < MUSTER_… < flag.
Exit codes: 0 done, 1 not done, 2 wrong usage or settings, 3 no agent is running.)";

constexpr char kJoinExamples[] = R"(Examples:
  MUSTER_TOKEN_FILE=/root/token muster-agent join --server http://127.0.0.1:7080
  muster-agent join --server https://gw.example:7080 --pin sha256//… \
      --label env=prod --wait --token-stdin < /root/token)";

constexpr char kStopExamples[] = R"(Examples:
  muster-agent stop                     # no promise: offline after seconds
  muster-agent stop --back-within 20m   # stale, and offline only if it is not)";

void AddJoin(CLI::App& app, Flags& flags, std::vector<std::string>& labels,
             std::string& wait) {
  CLI::App* join =
      app.add_subcommand("join", "register this machine with a gateway");
  join->add_option("--server", flags.server, "URL of the gateway's web port")
      ->required();
  join->add_option("--pin", flags.pin, "believe exactly this key: sha256//…");
  join->add_option("--ca-file", flags.ca_file,
                   "believe these authorities (PEM)");
  join->add_option("--label", labels,
                   "label of this machine, may be repeated: key=value")
      ->expected(1)
      ->take_all();
  join->add_flag("--replace", flags.replace,
                 "give up the identity that this machine has");
  join->add_flag("--token-stdin", flags.token_stdin,
                 "read the token from standard input");
  join->add_flag("--wait{30s}", wait,
                 "wait until this machine is online (default: 30s)")
      ->expected(0, 1);
  join->add_flag("--start", flags.start,
                 "start the agent too, and wait until it is online");
  join->footer(kJoinExamples);
  join->callback([&flags] { flags.verb = Verb::kJoin; });
}

void AddStop(CLI::App& app, Flags& flags,
             std::optional<std::string>& back_within) {
  CLI::App* stop =
      app.add_subcommand("stop", "make the running agent say goodbye and stop");
  CLI::Option* back = stop->add_option(
      "--back-within", back_within, "promise the gateway to be back: 1s to 1h");
  stop->add_flag("--for-upgrade", flags.for_upgrade,
                 "say that it is upgraded: back within 30s")
      ->excludes(back);
  stop->footer(kStopExamples);
  stop->callback([&flags] { flags.verb = Verb::kStop; });
}

void AddVerbs(CLI::App& app, Flags& flags, bool& heartbeat_flag) {
  const auto verb = [&](const char* name, const char* help, Verb value) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->callback([&flags, value] { flags.verb = value; });
    return sub;
  };
  verb("leave", "deregister this machine and wipe its state", Verb::kLeave)
      ->add_flag("--force", flags.force,
                 "wipe even if the gateway cannot be told");
  verb("run", "speak for this machine, in the foreground", Verb::kRun);
  verb("status", "what the running agent knows of its link", Verb::kStatus)
      ->add_flag("--json", flags.json, "as JSON");
  CLI::App* commands = verb(
      "commands", "what was run on this machine, and by whom", Verb::kCommands);
  commands->add_flag("--json", flags.json, "as JSON, one command a line");
  commands->add_option("-n", flags.last, "the last so many")
      ->capture_default_str();
  verb("heartbeat-now",
       "make the running agent send a heartbeat and say what happened",
       Verb::kHeartbeatNow);
  verb("version", "print the version", Verb::kVersion);
  // The runbook's spellings.
  app.add_flag("--send-heartbeat-now", heartbeat_flag,
               "the same as heartbeat-now");
  app.add_subcommand("agent", "for `muster-agent agent --send-heartbeat-now`")
      ->add_flag("--send-heartbeat-now", heartbeat_flag,
                 "the same as heartbeat-now")
      ->required();
}

EarlyExit UsageError(std::string_view text) {
  return {2, "", fmt::format("error: {}\nTry: muster-agent --help\n", text)};
}

// Empty if all is well.
std::string Interpret(const std::vector<std::string>& labels,
                      const std::string& wait,
                      const std::optional<std::string>& back_within,
                      Flags& flags) {
  for (const std::string& label : labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fmt::format("--label: expected key=value, got \"{}\"", label);
    }
    flags.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  while (!flags.server.empty() && flags.server.back() == '/')
    flags.server.pop_back();
  if (!wait.empty()) {
    const auto duration = wire::ParseDurationText(wait);
    if (!duration.ok()) {
      return fmt::format("--wait: {}", ToStd(duration.status().message()));
    }
    flags.wait = *duration;
  }
  if (back_within) {
    const auto duration = wire::ParseDurationText(*back_within);
    if (!duration.ok()) {
      return fmt::format("--back-within: {}",
                         ToStd(duration.status().message()));
    }
    if (const absl::Status valid =
            ValidateBackWithin("--back-within", *duration);
        !valid.ok()) {
      return std::string(ToStd(valid.message()));
    }
    flags.back_within = *duration;
  }
  return {};
}

}  // namespace

std::variant<Flags, EarlyExit> ParseFlags(int argc, const char* const* argv) {
  CLI::App app{"muster-agent: speaks for this machine to its Muster gateway",
               "muster-agent"};
  Flags flags;
  std::vector<std::string> labels;
  std::string wait;
  std::optional<std::string> back_within;
  bool heartbeat_flag = false;
  std::string config_file;
  app.fallthrough();
  app.footer(kExamples);
  CLI::Option* config =
      app.add_option("--config", config_file, "settings file (TOML)");
  std::map<std::string, std::string> values;
  std::map<std::string, CLI::Option*> options;
  AgentConfig defaults;
  for (const wire::Setting& setting : AgentSettings(defaults)) {
    options[setting.key] =
        app.add_option(wire::FlagName(setting.key), values[setting.key],
                       wire::HelpText(setting))
            ->type_name("");
  }
  AddJoin(app, flags, labels, wait);
  AddStop(app, flags, back_within);
  AddVerbs(app, flags, heartbeat_flag);
  app.set_version_flag("--version", "muster-agent " MUSTER_VERSION);
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) return UsageError(e.what());
    std::ostringstream out, err;
    app.exit(e, out, err);
    return EarlyExit{0, out.str(), err.str()};
  }
  if (heartbeat_flag) {
    flags.verb = Verb::kHeartbeatNow;
  } else if (app.get_subcommands().empty()) {
    return UsageError(
        "what shall it do? join, run, status, commands, heartbeat-now, stop, "
        "leave");
  }
  if (config->count() > 0) flags.config_file = config_file;
  for (const auto& [key, option] : options) {
    if (option->count() > 0) flags.settings[key] = values[key];
  }
  if (const std::string error = Interpret(labels, wait, back_within, flags);
      !error.empty()) {
    return UsageError(error);
  }
  return flags;
}

}  // namespace muster::agent
