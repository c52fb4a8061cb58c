// musterctl run, as it is typed.

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/duration_text.h"
#include "tools/musterctl/batches_verbs.h"
#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/enum_words.h"
#include "tools/musterctl/help_text.h"
#include "tools/musterctl/run_verb.h"

namespace muster::ctl {
namespace {

// In which surroundings it runs.
void AddSurroundings(CLI::App* run, RunOptions& options) {
  AddText(run, "--user", options.user,
          "as this user of the machine [whom the agent runs as]");
  AddText(run, "--workdir", options.working_directory,
          "in this folder [the user's home]");
  AddTexts(run, "-e,--env", options.environment,
           "a variable, or NAME alone for its value here; repeatable",
           "NAME[=VALUE]");
  AddText(run, "--umask", options.umask, "octal [022]");
  AddText(run, "--input", options.input,
          "this file's bytes as stdin; - is stdin here [/dev/null]");
  AddSwitch(run, "--stdin", options.stream_input,
            "stdin here as stdin there, as it comes and of any length");
}

// "fail", "queue", "queue:2h".
void TakeIfOffline(const std::string& text, RunOptions& options) {
  constexpr char kFlag[] = "--if-offline";
  const size_t colon = text.find(':');
  const auto number =
      EnumNumber(v1::IfOffline_descriptor(), text.substr(0, colon));
  if (!number) {
    Refuse(kFlag,
           fmt::format("\"{}\" is none of fail, queue, queue:DURATION", text));
  }
  options.if_offline = static_cast<v1::IfOffline>(*number);
  if (colon == text.npos) return;
  const auto ttl = wire::ParseDurationText(text.substr(colon + 1));
  if (!ttl.ok()) Refuse(kFlag, ToStd(ttl.status().message()));
  options.queue_ttl = *ttl;
}

// On which machines, if on many.
void AddMachines(CLI::App* run, RunOnOptions& on) {
  AddTexts(run, "-l", on.labels,
           "on all machines with this label: k=v, k!=v or k; repeatable",
           "LABEL");
  AddEnums(run, "--status", v1::Status_descriptor(), on.status,
           "on all with this status; repeatable");
  AddText(run, "--hostname", on.hostname, "on all with names like this");
  AddSwitch(run, "--all", on.all, "on every machine");
  AddText(run, "--concurrency", on.concurrency,
          "machines at a time, N or P% [50]");
  AddCount(run, "--canary", on.canary, 10'000,
           "so many must succeed before the others begin");
  AddText(run, "--stop-after", on.stop_after,
          "start no more after so many failures, N or P%");
  AddSwitch(run, "--dry-run", on.dry_run, "say on how many, and do nothing");
  AddSwitch(run, "-y,--yes", on.yes, "do not ask");
}

}  // namespace

void AddRun(CLI::App& app, Parse& parse) {
  CLI::App* run = AddLongVerb(
      &app, "run",
      "run a command, live, on one machine or many: run AGENT [flags] -- CMD…, "
      "run -l LABEL [flags] -- CMD…",
      kRunFooter);
  auto options = std::make_shared<RunOptions>();
  AddText(run, "AGENT", options->agent);
  AddMachines(run, options->on);
  AddEnum(run, "--shell", v1::ShellType_descriptor(), options->shell,
          "who interprets the text [bash]");
  AddText(run, "--script", options->script,
          "send this file's text instead; - is stdin");
  AddSurroundings(run, *options);
  AddDuration(run, "--timeout", options->timeout,
              "stop the command after this [1h]");
  AddParsed(
      run, "--if-offline",
      [options](const std::string& text) { TakeIfOffline(text, *options); },
      "fail, or wait until the machine is back, for so long [fail; queue: 1h]",
      "fail|queue[:DURATION]");
  AddDuration(run, "--grace", options->kill_grace,
              "from TERM to KILL when it is stopped [10s]");
  AddDuration(run, "--delivery-timeout", options->delivery_timeout,
              "give up if it has not begun by then, unless queued [30s]");
  AddCount(run, "--output-max", options->output_bytes_max, 64 << 20,
           "bytes of stdout, and of stderr, that are kept [64 MiB]");
  AddTexts(run, "--label", options->labels,
           "a label of the command, k=v; repeatable", "LABEL");
  AddText(run, "--purpose", options->purpose, "why; kept with the command");
  AddSwitch(run, "--detach", options->detach, "print the id and do not wait");
  OnParsed(run, [&parse, run, options] {
    options->words = parse.words;
    if (options->agent.empty() != options->on.any()) {
      Refuse(options->agent.empty()
                 ? "AGENT is required, or -l, --status, --hostname, --all"
                 : "AGENT stands alone: -l, --status, --hostname and --all "
                   "select by themselves");
    }
    if (!options->on.any()) {
      for (const char* flag : {"--concurrency", "--canary", "--stop-after",
                               "--dry-run", "--yes"}) {
        if (IsGiven(run, flag)) Refuse(flag, "is for many machines");
      }
    }
    if (options->stream_input && options->detach) {
      Refuse("--stdin", "needs somebody who reads it here: not with --detach");
    }
    parse.verb = [options](Tool& tool) {
      return options->on.any() ? RunOnMany(tool, *options)
                               : Run(tool, *options);
    };
  });
}

}  // namespace muster::ctl
