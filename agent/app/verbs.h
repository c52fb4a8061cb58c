// What `muster-agent VERB` does, except `run`. Each returns what to print.

#ifndef MUSTER_AGENT_APP_VERBS_H_
#define MUSTER_AGENT_APP_VERBS_H_

#include <functional>
#include <istream>
#include <optional>
#include <string>

#include "agent/app/agent_config.h"
#include "agent/app/flags.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/secret.h"

namespace muster::agent {

// 0 done, 1 not done, 2 wrong usage or settings, 3 no agent is running.
struct VerbResult {
  int exit_code = 0;
  std::string out;
  std::string err;
};

// Everything outside that a verb may use.
struct VerbContext {
  AgentConfig config;
  const Clock& clock;
  std::function<std::optional<std::string>(const std::string&)> environment;
  std::istream& standard_input;
  std::string own_binary = {};
  Secret token = {};  // That the environment gave; empty: none.
};

VerbResult DoJoin(const VerbContext& context, const Flags& flags);
VerbResult DoLeave(const VerbContext& context, const Flags& flags);
VerbResult DoStatus(const VerbContext& context, const Flags& flags);
// Needs no agent that runs, and no gateway.
VerbResult DoCommands(const VerbContext& context, const Flags& flags);
VerbResult DoHeartbeatNow(const VerbContext& context);
VerbResult DoStop(const VerbContext& context, const Flags& flags);

// An error as a person sees it, with the exit code it means.
VerbResult Failure(const absl::Status& status);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_VERBS_H_
