// musterctl run, as it is typed.

#include "tools/musterctl/command_line_parts.h"
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
}

}  // namespace

void AddRun(CLI::App& app, Parse& parse) {
  CLI::App* run = AddLongVerb(
      &app, "run",
      "run a command on one machine, live: run AGENT [flags] -- CMD…",
      kRunFooter);
  auto options = std::make_shared<RunOptions>();
  AddRequired(run, "AGENT", options->agent);
  AddEnum(run, "--shell", v1::ShellType_descriptor(), options->shell,
          "who interprets the text [bash]");
  AddText(run, "--script", options->script,
          "send this file's text instead; - is stdin");
  AddSurroundings(run, *options);
  AddDuration(run, "--timeout", options->timeout,
              "stop the command after this [1h]");
  AddEnum(run, "--if-offline", v1::IfOffline_descriptor(), options->if_offline,
          "what to do if the machine is not online [fail]");
  AddDuration(run, "--delivery-timeout", options->delivery_timeout,
              "give up if it has not begun by then [30s]");
  AddCount(run, "--output-max", options->output_bytes_max, 64 << 20,
           "bytes of stdout, and of stderr, that are kept [64 MiB]");
  AddTexts(run, "-l,--label", options->labels,
           "a label of the command, k=v; repeatable", "LABEL");
  AddText(run, "--purpose", options->purpose, "why; kept with the command");
  AddSwitch(run, "--detach", options->detach,
            "print the id and do not wait");
  OnChosen(run, parse, [&parse, options](Tool& tool) {
    options->words = parse.words;
    return Run(tool, *options);
  });
}

}  // namespace muster::ctl
