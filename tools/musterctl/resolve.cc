#include "tools/musterctl/resolve.h"

#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

absl::Status NotFound(const std::string& name,
                      const v1::ResolveAgentResponse& response) {
  std::string nearest;
  for (const std::string& suggestion : response.suggestions()) {
    nearest += (nearest.empty() ? "" : " or ") + Printable(suggestion);
  }
  return WithHint(
      absl::NotFoundError(fmt::format("agent \"{}\" not found", name)),
      nearest.empty() ? "musterctl agents ls"
                      : fmt::format("did you mean {}?", nearest));
}

absl::Status Ambiguous(const std::string& name,
                       const v1::ResolveAgentResponse& response,
                       absl::Time now) {
  std::string text = fmt::format("agent \"{}\" is one of {} machines:", name,
                                 response.candidates_size());
  for (const v1::Agent& agent : response.candidates()) {
    text += fmt::format("\n  {} {} {}", Printable(Name(agent)),
                        StatusCell(agent).text,
                        AgeText(now - wire::FromProto(agent.status_since())));
  }
  return WithHint(absl::AbortedError(text), "type one of these names");
}

}  // namespace

absl::StatusOr<ResolvedAgent> ResolveAgent(Tool& tool,
                                           const std::string& name) {
  if (name.empty()) return absl::InvalidArgumentError("AGENT is empty");
  v1::ResolveAgentRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(auto answer, tool.api.Call<v1::ResolveAgentResponse>(
                                    "ResolveAgent", request));
  const absl::Time now = tool.Now(answer.served_at);
  v1::ResolveAgentResponse& response = answer.message;
  if (response.has_agent()) {
    return ResolvedAgent{std::move(*response.mutable_agent()), now};
  }
  if (response.candidates_size() > 0) return Ambiguous(name, response, now);
  return NotFound(name, response);
}

}  // namespace muster::ctl
