#include "tools/musterctl/agents_verbs.h"

#include <algorithm>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/enum_words.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/resolve.h"

namespace muster::ctl {
namespace {

constexpr uint32_t kTerminalRows = 50;
constexpr absl::Duration kWaitPollInterval = absl::Milliseconds(500);

// Pages of one listing, at most `rows_max` rows in all (0: every row).
struct AgentPages {
  std::vector<Answer<v1::ListAgentsResponse>> pages;

  std::vector<const v1::Agent*> Agents() const {
    std::vector<const v1::Agent*> agents;
    for (const auto& page : pages) {
      for (const v1::Agent& agent : page.message.agents()) {
        agents.push_back(&agent);
      }
    }
    return agents;
  }
};

absl::StatusOr<AgentPages> FetchAgents(Tool& tool,
                                       const AgentsLsOptions& options,
                                       uint32_t rows_max) {
  v1::ListAgentsRequest request;
  for (const v1::Status status : options.status) request.add_status(status);
  for (const std::string& label : options.labels) request.add_label(label);
  request.set_hostname(options.hostname);
  request.set_silenced(options.silenced);
  AgentPages result;
  uint32_t rows = 0;
  do {
    const uint32_t left = rows_max == 0 ? wire::kPageSizeMax : rows_max - rows;
    request.set_limit(std::min(left, wire::kPageSizeMax));
    ASSIGN_OR_RETURN(auto page, tool.api.Call<v1::ListAgentsResponse>(
                                    "ListAgents", request));
    rows += static_cast<uint32_t>(page.message.agents_size());
    request.set_page_token(page.message.next_page_token());
    result.pages.push_back(std::move(page));
  } while (!request.page_token().empty() && (rows_max == 0 || rows < rows_max));
  return result;
}

// Says why some rows carry a "?". Not knowing more is no reason to fail.
void WarnIfUnconfirmed(Tool& tool, AgentSpan agents) {
  if (std::ranges::all_of(
          agents, [](const v1::Agent* agent) { return agent->confirmed(); })) {
    return;
  }
  const auto status =
      tool.api.Call<v1::GatewayStatus>("GetStatus", v1::GetStatusRequest());
  const v1::GatewayStatus known =
      status.ok() ? status->message : v1::GatewayStatus();
  tool.console.Err(
      UnconfirmedWarning(known, tool.clock.Wall(), absl::LocalTimeZone()) +
      "\n");
}

void ShowEmpty(Tool& tool, const v1::StatusCounts& counts) {
  if (counts.online() + counts.stale() + counts.offline() > 0) {
    tool.console.Err("No machine matches.\n");
    return;
  }
  if (counts.silenced() > 0) {
    tool.console.Err(AgentsFooter(counts, 0, 0) + "\n");
    return;
  }
  tool.console.Err(
      "No machines yet. On a machine run:\n"
      "  the lines that this prints:  musterctl tokens create\n");
}

absl::Status ParseLabelChange(const std::string& change,
                              v1::SetLabelsRequest& request) {
  const size_t equals = change.find('=');
  if (equals != std::string::npos && equals > 0) {
    (*request.mutable_set())[change.substr(0, equals)] =
        change.substr(equals + 1);
    return absl::OkStatus();
  }
  if (equals == std::string::npos && change.size() > 1 &&
      change.ends_with('-')) {
    request.add_remove(change.substr(0, change.size() - 1));
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "\"{}\" is neither KEY=VALUE (set) nor KEY- (remove)", change));
}

absl::StatusOr<Answer<v1::Agent>> GetAgent(Tool& tool,
                                           const std::string& agent_id) {
  v1::GetAgentRequest request;
  request.set_agent_id(agent_id);
  return tool.api.Call<v1::Agent>("GetAgent", request);
}

}  // namespace

absl::StatusOr<int> AgentsLs(Tool& tool, const AgentsLsOptions& options) {
  const bool table =
      tool.format == OutputFormat::kTable || tool.format == OutputFormat::kWide;
  const bool terminal = table && tool.console.OutIsTerminal();
  uint32_t rows_max = options.limit;
  if (rows_max == 0 && terminal && !options.all) rows_max = kTerminalRows;
  ASSIGN_OR_RETURN(const AgentPages fetched,
                   FetchAgents(tool, options, rows_max));

  std::vector<std::string> bodies;
  for (const auto& page : fetched.pages) bodies.push_back(page.body);
  if (tool.format == OutputFormat::kJson ||
      tool.format == OutputFormat::kYaml) {
    ASSIGN_OR_RETURN(const std::string body, JoinPages(bodies, "agents"));
    RETURN_IF_ERROR(ShowTree(tool, body).status());
    return kExitOk;
  }
  const std::vector<const v1::Agent*> agents = fetched.Agents();
  if (tool.format == OutputFormat::kName) {
    for (const v1::Agent* agent : agents) {
      tool.console.Out(Printable(Name(*agent)) + "\n");
    }
    return kExitOk;
  }
  const auto& last = fetched.pages.back();
  if (agents.empty()) {
    ShowEmpty(tool, last.message.counts());
    return kExitOk;
  }
  WarnIfUnconfirmed(tool, agents);
  tool.console.Out(AgentsTable(agents, tool.Now(last.served_at),
                               tool.format == OutputFormat::kWide)
                       .Render(tool.Style(options.header)));
  if (terminal) {
    tool.console.Err("\n" +
                     AgentsFooter(last.message.counts(), agents.size(),
                                  last.message.matched()) +
                     "\n");
  }
  return kExitOk;
}

absl::StatusOr<int> AgentsGet(Tool& tool, const std::string& agent) {
  ASSIGN_OR_RETURN(const ResolvedAgent resolved, ResolveAgent(tool, agent));
  ASSIGN_OR_RETURN(const auto answer,
                   GetAgent(tool, resolved.agent.agent_id()));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  if (tool.format == OutputFormat::kName) {
    tool.console.Out(Printable(Name(answer.message)) + "\n");
    return kExitOk;
  }
  const v1::Agent* only[] = {&answer.message};
  WarnIfUnconfirmed(tool, only);
  tool.console.Out(AgentDetails(answer.message, tool.Now(answer.served_at),
                                absl::LocalTimeZone()));
  return kExitOk;
}

absl::StatusOr<int> AgentsRm(Tool& tool, const std::string& agent, bool yes) {
  if (!yes) RETURN_IF_ERROR(CheckCanAsk(tool, "agents rm"));
  ASSIGN_OR_RETURN(const ResolvedAgent resolved, ResolveAgent(tool, agent));
  const std::string name = Printable(LongName(resolved.agent));
  if (!yes) {
    ASSIGN_OR_RETURN(
        const bool agreed,
        Agreed(tool, fmt::format("Remove {} ({})? Its certificate is revoked; "
                                 "it can only come back with a new token.",
                                 name, StatusCell(resolved.agent).text)));
    if (!agreed) return kExitFailure;
  }
  v1::DeleteAgentRequest request;
  request.set_agent_id(resolved.agent.agent_id());
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::DeleteAgentResponse>(
                                          "DeleteAgent", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) tool.console.Err(fmt::format("Removed {}.\n", name));
  return kExitOk;
}

absl::StatusOr<int> AgentsLabel(Tool& tool, const std::string& agent,
                                const std::vector<std::string>& changes) {
  v1::SetLabelsRequest request;
  for (const std::string& change : changes) {
    RETURN_IF_ERROR(ParseLabelChange(change, request));
  }
  ASSIGN_OR_RETURN(const ResolvedAgent resolved, ResolveAgent(tool, agent));
  request.set_agent_id(resolved.agent.agent_id());
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Agent>("SetLabels", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    const std::string labels = LabelsText(answer.message.labels());
    tool.console.Out(fmt::format("{}  {}\n", Printable(Name(answer.message)),
                                 labels.empty() ? "-" : Printable(labels)));
  }
  return kExitOk;
}

absl::StatusOr<int> AgentsWait(Tool& tool, const AgentsWaitOptions& options) {
  const Instant deadline = tool.clock.Now() + options.timeout;
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  v1::Agent agent = resolved.agent;
  // A "?" is not an answer: the gateway itself does not know.
  while (agent.status() != options.status || !agent.confirmed()) {
    if (tool.clock.Now() >= deadline) {
      tool.console.Err(fmt::format(
          "error: {} is still {} after {}, not {}\n", Printable(Name(agent)),
          StatusCell(agent).text, ShortDuration(options.timeout),
          EnumWord(v1::Status_descriptor(), options.status)));
      return kExitTimeout;
    }
    tool.patience.Pause(
        std::min(kWaitPollInterval, deadline - tool.clock.Now()));
    auto answer = GetAgent(tool, agent.agent_id());
    // A gateway that restarts is part of what one waits through.
    if (answer.ok()) {
      agent = std::move(answer->message);
    } else if (ExitCodeOf(answer.status()) != kExitGatewayUnreachable ||
               tool.clock.Now() >= deadline) {
      return answer.status();
    }
  }
  tool.console.Err(fmt::format("{} is {}.\n", Printable(Name(agent)),
                               StatusCell(agent).text));
  return kExitOk;
}

}  // namespace muster::ctl
