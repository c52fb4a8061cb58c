// musterctl exec and musterctl sessions, as they are typed.

#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/help_text.h"
#include "tools/musterctl/session_verbs.h"

namespace muster::ctl {

void AddExec(CLI::App& app, Parse& parse) {
  CLI::App* exec = AddLongVerb(
      &app, "exec",
      "a terminal on a machine: exec AGENT, exec -it AGENT [flags] -- CMD…",
      kExecFooter);
  auto options = std::make_shared<ExecOptions>();
  AddRequired(exec, "AGENT", options->agent);
  AddSwitch(exec, "-i", options->interactive, "as it always is");
  AddSwitch(exec, "-t", options->terminal, "as it always is");
  AddText(exec, "--user", options->user,
          "as this user of the machine [whom the agent runs as]");
  AddText(exec, "--workdir", options->working_directory,
          "in this folder [the user's home]");
  AddTexts(exec, "-e,--env", options->environment,
           "a variable, or NAME alone for its value here; repeatable",
           "NAME[=VALUE]");
  AddDuration(exec, "--timeout", options->timeout,
              "end the session after this [24h]");
  AddDuration(exec, "--keep", options->keep,
              "how long it lives with nobody who looks [10m]");
  AddSwitch(exec, "--record", options->record,
            "keep what it shows; said on the terminal");
  AddText(exec, "--purpose", options->purpose, "why; kept with the session");
  OnParsed(exec, [&parse, options] {
    options->words = parse.words;
    parse.verb = [options](Tool& tool) { return Exec(tool, *options); };
  });
}

void AddSessions(CLI::App& app, Parse& parse) {
  CLI::App* sessions =
      AddNoun(app, "sessions", "session", "terminals: musterctl exec");
  CLI::App* ls = AddVerb(sessions, "ls", "those that are open",
                         "musterctl sessions ls --all");
  AddAlias(ls, "list");
  auto listed = std::make_shared<SessionsLsOptions>();
  AddText(ls, "--agent", listed->agent, "only of this machine");
  AddSwitch(ls, "--all", listed->all, "those that have ended, too");
  AddNoHeaders(ls, listed->header);
  Bind(ls, parse, listed, SessionsLs);

  CLI::App* attach =
      AddVerb(sessions, "attach", "go on in one; ~d leaves it again",
              "musterctl sessions attach ID");
  auto attached = std::make_shared<SessionsAttachOptions>();
  AddRequired(attach, "ID", attached->session_id);
  AddSwitch(attach, "--read-only", attached->read_only, "only look");
  Bind(attach, parse, attached, SessionsAttach);

  CLI::App* kill = AddVerb(sessions, "kill", "end one, and all that runs in it",
                           "musterctl sessions kill ID");
  auto id = std::make_shared<std::string>();
  AddRequired(kill, "ID", *id);
  Bind(kill, parse, id, SessionsKill);

  CLI::App* play = AddVerb(sessions, "play", "show a recording as it happened",
                           "musterctl sessions play ID --idle-max 2s");
  auto played = std::make_shared<SessionsPlayOptions>();
  AddRequired(play, "ID", played->session_id);
  AddText(play, "--to", played->to, "write this file, asciicast v2, instead");
  AddNumber(play, "--speed", played->speed, 0.1, 100, "times as fast [1]");
  AddDuration(play, "--idle-max", played->idle_max, "no pause is longer");
  Bind(play, parse, played, SessionsPlay);
}

}  // namespace muster::ctl
