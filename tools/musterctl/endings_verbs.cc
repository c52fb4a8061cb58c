#include "tools/musterctl/endings_verbs.h"

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/resolve.h"
#include "tools/musterctl/table.h"
#include "tools/musterctl/tokens_verbs.h"

namespace muster::ctl {
namespace {

template <typename Request>
absl::StatusOr<int> Change(Tool& tool, const std::string& agent,
                           std::string_view method, std::string_view said) {
  ASSIGN_OR_RETURN(const ResolvedAgent resolved, ResolveAgent(tool, agent));
  Request request;
  request.set_agent_id(resolved.agent.agent_id());
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Agent>(method, request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(
        fmt::format("{} {}\n", Printable(LongName(answer.message)), said));
  }
  return kExitOk;
}

}  // namespace

absl::StatusOr<int> AgentsApprove(Tool& tool, const std::string& agent) {
  return Change<v1::ApproveAgentRequest>(
      tool, agent, "ApproveAgent",
      "is approved: an agent that waits for it tries within a minute.");
}

absl::StatusOr<int> AgentsSuspend(Tool& tool, const std::string& agent) {
  return Change<v1::SuspendAgentRequest>(
      tool, agent, "SuspendAgent",
      "is cut off until it is approved: musterctl agents approve");
}

absl::StatusOr<int> AgentsSilence(Tool& tool, const std::string& agent) {
  return Change<v1::SilenceAgentRequest>(
      tool, agent, "SilenceAgent",
      "is silenced until it is heard again; musterctl agents ls --silenced");
}

absl::StatusOr<int> AgentsUnsilence(Tool& tool, const std::string& agent) {
  return Change<v1::UnsilenceAgentRequest>(tool, agent, "UnsilenceAgent",
                                           "is shown again.");
}

absl::StatusOr<int> AgentsReissue(Tool& tool,
                                  const AgentsReissueOptions& options) {
  if (!options.yes) RETURN_IF_ERROR(CheckCanAsk(tool, "agents reissue"));
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  if (!options.yes) {
    ASSIGN_OR_RETURN(
        const bool agreed,
        Agreed(tool,
               fmt::format("Reissue {} ({})? Whoever speaks for it now is cut "
                           "off at once; one machine can come back as it, with "
                           "the lines that are printed then.",
                           Printable(LongName(resolved.agent)),
                           StatusCell(resolved.agent).text)));
    if (!agreed) return kExitFailure;
  }
  v1::ReissueAgentRequest request;
  request.set_agent_id(resolved.agent.agent_id());
  if (options.ttl) *request.mutable_ttl() = wire::ToProto(*options.ttl);
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::CreateTokenResponse>(
                                          "ReissueAgent", request));
  return ShowJoinLines(tool, answer);
}

}  // namespace muster::ctl
