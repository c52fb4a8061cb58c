#include "tools/musterctl/command_line.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/duration_text.h"
#include "tools/musterctl/agents_verbs.h"
#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/commands_verbs.h"
#include "tools/musterctl/enum_words.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/help_text.h"
#include "tools/musterctl/history_verbs.h"
#include "tools/musterctl/login_verbs.h"
#include "tools/musterctl/status_verbs.h"
#include "tools/musterctl/watch_verb.h"

namespace muster::ctl {
namespace {

template <typename T>  // absl::Duration or an optional of it
void AddDurationTo(CLI::App* app, const std::string& flag, T& out,
                   const std::string& help) {
  AddParsed(
      app, flag,
      [&out, flag](const std::string& text) {
        const auto d = wire::ParseDurationText(text);
        if (!d.ok()) Refuse(flag, ToStd(d.status().message()));
        if (*d < absl::ZeroDuration()) Refuse(flag, text + " is negative");
        out = *d;
      },
      help, "DURATION");
}

void AddGlobalFlags(CLI::App& app, GlobalFlags& flags) {
  app.add_option(
         "-s,--server", flags.server,
         "gateway [MUSTER_SERVER; default " + std::string(kDefaultServer) + "]")
      ->type_name("URL");
  app.add_option("--context", flags.context,
                 "context to use, or to log in to [MUSTER_CONTEXT]")
      ->type_name("NAME");
  app.add_option("--org", flags.org,
                 "org that is meant, for a platform admin [MUSTER_ORG]")
      ->type_name("NAME");
  app.add_option("--config", flags.config, "context file [MUSTER_CONFIG]")
      ->type_name("FILE");
  app.add_option("--pin", flags.pin,
                 "sha256//… of the gateway's key [MUSTER_PIN]")
      ->type_name("PIN");
  app.add_option("--ca-file", flags.ca_file,
                 "PEM of whom to believe instead [MUSTER_CA_FILE]")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "-o,--output",
         [&flags](const std::string& word) {
           const auto format = ParseOutputFormat("-o", word);
           if (!format.ok()) Refuse(std::string(format.status().message()));
           flags.output = *format;
         },
         "how results are shown; json is the API's answer [MUSTER_OUTPUT]")
      ->type_name("table|wide|json|yaml|name");
  app.add_option_function<std::string>(
         "--color",
         [&flags](const std::string& word) {
           const auto mode = ParseColorMode(word);
           if (!mode) Refuse("--color", word + " is none of auto|always|never");
           flags.color = *mode;
         },
         "colour of the status word [auto; NO_COLOR]")
      ->type_name("auto|always|never");
  AddDurationTo(&app, "--timeout", flags.timeout,
                "how long one call may take [30s]");
}

void AddAgentsLs(CLI::App* agents, Parse& parse) {
  CLI::App* ls =
      AddVerb(agents, "ls", "every machine, problems first",
              "musterctl agents ls --status offline,stale -l env=prod")
          ->alias("list");
  auto options = std::make_shared<AgentsLsOptions>();
  ls->add_option("-l,--label", options->labels,
                 "only with this label: k=v, k!=v or k; repeatable");
  AddEnums(ls, "--status", v1::Status_descriptor(), options->status,
           "only with this status; repeatable");
  ls->add_option("--hostname", options->hostname, "only names like this")
      ->type_name("GLOB");
  ls->add_flag("--all", options->all, "on a terminal too, every machine");
  ls->add_flag("--silenced", options->silenced, "silenced machines too");
  ls->add_option("--limit", options->limit, "at most so many machines")
      ->check(CLI::Range(1, 1'000'000));
  AddNoHeaders(ls, options->header);
  Bind(ls, parse, options, AgentsLs);
}

void AddAgentsWait(CLI::App* agents, Parse& parse) {
  CLI::App* wait =
      AddVerb(agents, "wait",
              "wait until a machine has a status; exit 124 if it does not",
              "musterctl agents wait web-1 --for online --timeout 2m");
  auto options = std::make_shared<AgentsWaitOptions>();
  wait->add_option("AGENT", options->agent)->required();
  AddEnum(wait, "--for", v1::Status_descriptor(), options->status,
          "what to wait for [online]");
  AddDurationTo(wait, "--timeout", options->timeout, "how long [30s]");
  Bind(wait, parse, options, AgentsWait);
}

void AddPast(CLI::App* verb, PastOptions& past) {
  AddDurationTo(verb, "--since", past.since, "only the last so long");
  verb->add_option("--limit", past.limit,
                   "at most so many [50; with --since 10000]; lines of the "
                   "gateway are counted apart")
      ->check(CLI::Range(1, 10'000));
  AddNoHeaders(verb, past.header);
}

void AddAgentsHistory(CLI::App* agents, Parse& parse) {
  CLI::App* history = AddLongVerb(
      agents, "history", "what happened to one machine", kHistoryFooter);
  auto options = std::make_shared<AgentsHistoryOptions>();
  history->add_option("AGENT", options->agent)->required();
  history->add_flag("--links", options->links, "its links too");
  AddPast(history, options->past);
  Bind(history, parse, options, AgentsHistory);
}

void AddAgentsWatch(CLI::App* agents, Parse& parse) {
  CLI::App* watch = AddLongVerb(agents, "watch",
                                "the heartbeats of one machine, as they arrive",
                                kWatchFooter);
  auto options = std::make_shared<AgentsWatchOptions>();
  watch->add_option("AGENT", options->agent)->required();
  watch->add_option("--count", options->count, "end after so many")
      ->check(CLI::Range(1, 1'000'000'000));
  AddNoHeaders(watch, options->header);
  Bind(watch, parse, options, AgentsWatch);
}

void AddIncidents(CLI::App& app, Parse& parse) {
  CLI::App* incidents =
      AddLongVerb(&app, "incidents", "what happened to many machines at once",
                  kIncidentsFooter);
  auto options = std::make_shared<PastOptions>();
  AddPast(incidents, *options);
  Bind(incidents, parse, options, Incidents);
}

void AddAgents(CLI::App& app, Parse& parse) {
  CLI::App* agents =
      AddNoun(app, "agents", "agent",
              "machines; AGENT is a hostname, a full id, or name~suffix");
  AddAgentsLs(agents, parse);
  auto name = std::make_shared<std::string>();

  CLI::App* get = AddVerb(agents, "get", "all about one machine",
                          "musterctl agents get web-1");
  get->add_option("AGENT", *name)->required();
  Bind(get, parse, name, AgentsGet);

  CLI::App* rm =
      AddVerb(agents, "rm", "remove a machine: its certificate is revoked",
              "musterctl agents rm web-1~c07e55 -y");
  auto yes = std::make_shared<bool>(false);
  rm->add_option("AGENT", *name)->required();
  rm->add_flag("-y,--yes", *yes, "do not ask");
  Bind(rm, parse, name, [yes](Tool& tool, const std::string& agent) {
    return AgentsRm(tool, agent, *yes);
  });

  CLI::App* label = AddVerb(agents, "label", "set (k=v) and remove (k-) labels",
                            "musterctl agents label web-1 env=prod old-");
  auto changes = std::make_shared<std::vector<std::string>>();
  label->add_option("AGENT", *name)->required();
  label->add_option("CHANGE", *changes, "KEY=VALUE or KEY-")->required();
  Bind(label, parse, name, [changes](Tool& tool, const std::string& agent) {
    return AgentsLabel(tool, agent, *changes);
  });
  AddAgentsWait(agents, parse);
  AddAgentsHistory(agents, parse);
  AddAgentsWatch(agents, parse);
  AddEndings(agents, parse);
}

void AddCommandsOutput(CLI::App* commands, Parse& parse) {
  CLI::App* output = AddVerb(commands, "output", "what a command has printed",
                             "musterctl commands output -f ID");
  auto options = std::make_shared<CommandsOutputOptions>();
  output->add_option("ID", options->command_id)->required();
  output->add_flag("-f,--follow", options->follow,
                   "until the command has ended");
  output->add_flag("--stderr", options->stderr_only,
                   "only its stderr, on stdout");
  Bind(output, parse, options, CommandsOutput);
}

void AddCommands(CLI::App& app, Parse& parse) {
  CLI::App* commands =
      AddNoun(app, "commands", "command", "what was run, and what came of it");
  CLI::App* ls = AddVerb(commands, "ls", "newest first",
                         "musterctl commands ls --agent web-1 --state failed")
                     ->alias("list");
  auto options = std::make_shared<CommandsLsOptions>();
  ls->add_option("--agent", options->agent, "only of this machine");
  AddEnums(ls, "--state", v1::CommandState_descriptor(), options->state,
           "only in this state; repeatable");
  ls->add_option("--limit", options->limit, "at most so many [50]")
      ->check(CLI::Range(1, 1000));
  AddNoHeaders(ls, options->header);
  Bind(ls, parse, options, CommandsLs);

  auto id = std::make_shared<std::string>();
  CLI::App* get = AddVerb(commands, "get", "all about one command",
                          "musterctl commands get ID --wait 30s");
  auto wait = std::make_shared<absl::Duration>();
  get->add_option("ID", *id)->required();
  AddDurationTo(get, "--wait", *wait, "until it has ended, at most so long");
  Bind(get, parse, id, [wait](Tool& tool, const std::string& command_id) {
    return CommandsGet(tool, command_id, *wait);
  });
  AddCommandsOutput(commands, parse);
  CLI::App* cancel = AddVerb(commands, "cancel", "ask to stop a command",
                             "musterctl commands cancel ID");
  cancel->add_option("ID", *id)->required();
  Bind(cancel, parse, id, CommandsCancel);
}

void AddContext(CLI::App& app, Parse& parse) {
  CLI::App* context =
      AddNoun(app, "context", "contexts", "the gateways you have logged in to");
  const auto bind = [&parse](CLI::App* verb, auto run) {
    verb->callback([&parse, run] { parse.verb = LocalVerb(run); });
  };
  bind(AddVerb(context, "ls", "all of them", "musterctl context ls")
           ->alias("list"),
       ContextLs);
  auto name = std::make_shared<std::string>();
  CLI::App* use = AddVerb(context, "use", "make one the current one",
                          "musterctl context use prod");
  use->add_option("NAME", *name)->required();
  bind(use, [name](World& world, const GlobalFlags& flags) {
    return ContextUse(world, flags, *name);
  });
  CLI::App* rm = AddVerb(context, "rm", "forget one, and its token",
                         "musterctl context rm prod");
  rm->add_option("NAME", *name)->required();
  bind(rm, [name](World& world, const GlobalFlags& flags) {
    return ContextRm(world, flags, *name);
  });
}

void AddStatusAndVersion(CLI::App& app, Parse& parse) {
  CLI::App* status =
      AddVerb(&app, "status", "how the gateway is", "musterctl status");
  status->callback([&parse] { parse.verb = ApiVerb(ShowStatus); });
  CLI::App* version =
      AddVerb(&app, "version", "of this program", "musterctl version");
  version->callback([&parse] {
    parse.verb = LocalVerb([](World& world, const GlobalFlags& flags) {
      return ShowVersion(world.console,
                         flags.output.value_or(OutputFormat::kTable));
    });
  });
}

// The deepest noun or verb that was recognised, and "musterctl agents ls".
struct Recognised {
  const CLI::App* app;
  std::string path;
};
Recognised Deepest(const CLI::App& root) {
  Recognised at{&root, "musterctl"};
  while (!at.app->get_subcommands().empty()) {
    at.app = at.app->get_subcommands().front();
    at.path += " " + at.app->get_name();
  }
  return at;
}

Message UsageError(const CLI::App& root, const CLI::ParseError& error) {
  const Recognised at = Deepest(root);
  std::string text = error.what();
  if (const auto unknown = root.remaining(/*recurse=*/true);
      dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      at.app->get_require_subcommand_min() > 0) {
    text = unknown.empty() ? at.path + " needs one more word"
                           : fmt::format("{} has no \"{}\"", at.path,
                                         Printable(unknown.front()));
  }
  return {kExitUsage,
          fmt::format("error: {}\nhint: {} --help\n", text, at.path)};
}

}  // namespace

// --- command_line_parts.h ---------------------------------------------------

// CLI11 takes a refusal as an exception.
void Refuse(std::string text) {
  throw CLI::ValidationError(std::move(text), CLI::ExitCodes::ValidationError);
}

void Refuse(const std::string& flag, std::string_view text) {
  Refuse(fmt::format("{}: {}", flag, text));
}

CLI::App* AddLongVerb(CLI::App* parent, const std::string& name,
                      const std::string& help, const std::string& footer) {
  CLI::App* verb = parent->add_subcommand(name, help);
  return verb->footer(footer + "\n\nFlags of every verb: musterctl --help");
}

CLI::App* AddVerb(CLI::App* parent, const std::string& name,
                  const std::string& help, const std::string& example) {
  return AddLongVerb(parent, name, help, "Example:\n  " + example);
}

CLI::App* AddNoun(CLI::App& app, const std::string& name,
                  const std::string& alias, const std::string& help) {
  CLI::App* noun = app.add_subcommand(name, help);
  if (!alias.empty()) noun->alias(alias);
  noun->require_subcommand(1);
  const std::string above =
      app.get_parent() == nullptr ? "" : app.get_name() + " ";
  noun->footer("Each has an example: musterctl " + above + name +
               " VERB --help");
  return noun;
}

bool IsGiven(const CLI::App* verb, const std::string& flag) {
  return verb->count(flag) > 0;
}

void AddAlias(CLI::App* verb, const std::string& name) { verb->alias(name); }

CLI::Option* AddText(CLI::App* app, const std::string& name, std::string& out,
                     const std::string& help) {
  return app->add_option(name, out, help);
}

void AddRequired(CLI::App* app, const std::string& name, std::string& out) {
  app->add_option(name, out)->required();
}

void AddTexts(CLI::App* app, const std::string& flag,
              std::vector<std::string>& out, const std::string& help,
              const std::string& type) {
  app->add_option(flag, out, help)->type_name(type);
}

void AddSwitch(CLI::App* app, const std::string& flag, bool& out,
               const std::string& help) {
  app->add_flag(flag, out, help);
}

void Once(CLI::Option* option) { option->expected(1); }

void AddCount(CLI::App* app, const std::string& flag,
              std::optional<uint32_t>& out, uint32_t max,
              const std::string& help) {
  app->add_option(flag, out, help)->check(CLI::Range(uint32_t{1}, max));
}

void AddNumber(CLI::App* app, const std::string& flag, double& out, double min,
               double max, const std::string& help) {
  app->add_option(flag, out, help)->check(CLI::Range(min, max));
}

void AddParsed(CLI::App* app, const std::string& flag,
               const std::function<void(const std::string&)>& take,
               const std::string& help, const std::string& type) {
  app->add_option_function<std::string>(flag, take, help)->type_name(type);
}

void AddDuration(CLI::App* app, const std::string& flag,
                 std::optional<absl::Duration>& out, const std::string& help) {
  AddDurationTo(app, flag, out, help);
}

CLI::Option* AddWords(CLI::App* app, const std::string& flag,
                      const google::protobuf::EnumDescriptor* type,
                      std::function<void(int)> take, const std::string& help) {
  return app
      ->add_option_function<std::vector<std::string>>(
          flag,
          [type, flag, take](const std::vector<std::string>& words) {
            for (const auto& word : words) {
              const std::optional<int> number = EnumNumber(type, word);
              if (!number) {
                Refuse(flag, fmt::format("\"{}\" is none of {}", word,
                                         EnumWords(type)));
              }
              take(*number);
            }
          },
          help)
      ->type_name(EnumWords(type))
      ->delimiter(',')
      ->allow_extra_args(false);  // The next word is no more of them.
}

void AddNoHeaders(CLI::App* verb, bool& header) {
  verb->add_flag_callback(
      "--no-headers", [&header] { header = false; }, "no line of titles");
}

void OnChosen(CLI::App* verb, Parse& parse, ApiVerb run) {
  verb->callback([&parse, run = std::move(run)] { parse.verb = run; });
}

void OnParsed(CLI::App* verb, std::function<void()> then) {
  verb->callback(std::move(then));
}

// --- The whole line ---------------------------------------------------------

std::variant<Invocation, Message> ParseCommandLine(
    std::vector<std::string> arguments) {
  Parse parse;
  // CLI11 would look for flags and verbs among the command's words.
  const auto dashes = std::ranges::find(arguments, "--");
  const bool has_dashes = dashes != arguments.end();
  if (has_dashes) {
    parse.words.assign(dashes + 1, arguments.end());
    arguments.erase(dashes, arguments.end());
  }
  CLI::App app("musterctl - drive a Muster fleet", "musterctl");
  app.set_version_flag("--version", "musterctl " MUSTER_VERSION "\n");
  app.require_subcommand(1);
  app.fallthrough();
  AddGlobalFlags(app, parse.flags);
  AddLogin(app, parse);
  AddAgents(app, parse);
  AddRun(app, parse);
  AddExec(app, parse);
  AddSessions(app, parse);
  AddCommands(app, parse);
  AddBatches(app, parse);
  AddEvents(app, parse);
  AddIncidents(app, parse);
  AddTokens(app, parse);
  AddUsers(app, parse);
  AddOrgs(app, parse);
  AddAudit(app, parse);
  AddPresence(app, parse);
  AddStatusAndVersion(app, parse);
  AddContext(app, parse);
  app.footer(kProgramFooter);
  std::ranges::reverse(arguments);  // As CLI11 wants them.
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return Message{kExitOk, app.help()};
  } catch (const CLI::CallForVersion& version) {
    return Message{kExitOk, version.what()};
  } catch (const CLI::ParseError& error) {
    return UsageError(app, error);
  }
  const std::string verb = Deepest(app).path;
  if (has_dashes && verb != "musterctl run" && verb != "musterctl exec") {
    return Message{kExitUsage,
                   "error: only run and exec take a command after --\n"
                   "hint: musterctl run AGENT -- CMD\n"};
  }
  return Invocation{std::move(parse.flags), std::move(parse.verb)};
}

}  // namespace muster::ctl
