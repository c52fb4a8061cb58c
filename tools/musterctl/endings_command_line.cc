// musterctl agents approve | suspend | silence | unsilence | reissue, as it is
// typed.

#include "tools/musterctl/command_line_parts.h"
#include "tools/musterctl/endings_verbs.h"

namespace muster::ctl {

void AddEndings(CLI::App* agents, Parse& parse) {
  auto name = std::make_shared<std::string>();
  CLI::App* approve =
      AddVerb(agents, "approve", "let a machine in that waits for it",
              "musterctl agents approve web-1");
  AddRequired(approve, "AGENT", *name);
  Bind(approve, parse, name, AgentsApprove);
  CLI::App* suspend =
      AddVerb(agents, "suspend", "cut a machine off until it is approved",
              "musterctl agents suspend web-1");
  AddRequired(suspend, "AGENT", *name);
  Bind(suspend, parse, name, AgentsSuspend);
  CLI::App* silence = AddVerb(agents, "silence",
                              "out of lists and counts until it is heard again",
                              "musterctl agents silence web-1~c07e55");
  AddRequired(silence, "AGENT", *name);
  Bind(silence, parse, name, AgentsSilence);
  CLI::App* unsilence = AddVerb(agents, "unsilence", "back in lists and counts",
                                "musterctl agents unsilence web-1~c07e55");
  AddRequired(unsilence, "AGENT", *name);
  Bind(unsilence, parse, name, AgentsUnsilence);

  CLI::App* reissue = AddVerb(
      agents, "reissue",
      "cut off whoever has a machine's key; prints the lines for its new one",
      "musterctl agents reissue web-1 -y");
  auto options = std::make_shared<AgentsReissueOptions>();
  AddRequired(reissue, "AGENT", options->agent);
  AddDuration(reissue, "--ttl", options->ttl, "good for so long [30m]");
  AddSwitch(reissue, "-y,--yes", options->yes, "do not ask");
  Bind(reissue, parse, options, AgentsReissue);
}

}  // namespace muster::ctl
