#include "tools/musterctl/tokens_verbs.h"

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

constexpr char kLoopbackNote[] =
    "note: the gateway's web port is only reachable on its own host, so these "
    "lines\n      work there only. For other machines start the gateway with "
    "a web address\n      that they can reach, then create a new token.\n";

std::string StateWord(const v1::Token& token) {
  const auto* known =
      v1::TokenState_descriptor()->FindValueByNumber(token.state());
  return known == nullptr ? "unknown" : wire::EnumText(*known);
}

// "in 29m", or "-" for what cannot be used any more.
std::string ExpiryText(const v1::Token& token, absl::Time now) {
  if (token.state() != v1::TOKEN_STATE_ACTIVE) return "-";
  return "in " + AgeText(wire::FromProto(token.expires_at()) - now);
}

}  // namespace

absl::StatusOr<int> ShowJoinLines(
    Tool& tool, const Answer<v1::CreateTokenResponse>& answer) {
  const v1::CreateTokenResponse& created = answer.message;
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown && tool.format == OutputFormat::kName) {
    tool.console.Out(created.token().token_id() + "\n");
  } else if (!shown) {
    const absl::Time now = tool.Now(answer.served_at);
    tool.console.Err(fmt::format(
        "# On the machine, as root. Good for {} machine{}, until {}:\n",
        created.token().uses_max(), created.token().uses_max() == 1 ? "" : "s",
        ClockText(wire::FromProto(created.token().expires_at()), now,
                  absl::LocalTimeZone())));
    tool.console.Out(created.join_script());
    if (!created.join_script().ends_with('\n')) tool.console.Out("\n");
  }
  if (created.web_loopback()) tool.console.Err(kLoopbackNote);
  return kExitOk;
}

absl::StatusOr<int> TokensCreate(Tool& tool,
                                 const TokensCreateOptions& options) {
  v1::CreateTokenRequest request;
  request.set_description(options.description);
  if (options.ttl) *request.mutable_ttl() = wire::ToProto(*options.ttl);
  if (options.uses) request.set_uses_max(*options.uses);
  for (const std::string& label : options.labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          fmt::format("--label \"{}\" is not KEY=VALUE", label));
    }
    (*request.mutable_labels())[label.substr(0, equals)] =
        label.substr(equals + 1);
  }
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::CreateTokenResponse>(
                                          "CreateToken", request));
  return ShowJoinLines(tool, answer);
}

absl::StatusOr<int> TokensLs(Tool& tool, bool header) {
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::ListTokensResponse>(
                       "ListTokens", v1::ListTokensRequest()));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const absl::Time now = tool.Now(answer.served_at);
  Table table({"TOKEN", "STATE", "USES", "EXPIRES", "AGE", "BY", "LABELS",
               "DESCRIPTION"},
              "DESCRIPTION");
  for (const v1::Token& token : answer.message.tokens()) {
    if (tool.format == OutputFormat::kName) {
      tool.console.Out(token.token_id() + "\n");
      continue;
    }
    table.AddRow({{token.token_id()},
                  {StateWord(token)},
                  {fmt::format("{}/{}", token.uses(), token.uses_max())},
                  {ExpiryText(token, now)},
                  {AgeText(now - wire::FromProto(token.created_at()))},
                  {token.created_by()},
                  {LabelsText(token.labels())},
                  {token.description()}});
  }
  if (tool.format == OutputFormat::kName) return kExitOk;
  if (answer.message.tokens().empty()) {
    tool.console.Err("No tokens.\n");
  } else {
    tool.console.Out(table.Render(tool.Style(header)));
  }
  return kExitOk;
}

absl::StatusOr<int> TokensRevoke(Tool& tool, const std::string& token_id) {
  v1::RevokeTokenRequest request;
  request.set_token_id(token_id);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Token>("RevokeToken", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(
        fmt::format("Token {} is {}.\n", token_id, StateWord(answer.message)));
  }
  return kExitOk;
}

}  // namespace muster::ctl
