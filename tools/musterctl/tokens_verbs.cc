#include "tools/musterctl/tokens_verbs.h"

#include "absl/strings/str_join.h"
#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/enum_words.h"
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

// "from 10.0.0.0/8, host web-*, approval, ephemeral 24h".
std::string LimitsText(const v1::Token& token) {
  std::vector<std::string> limits;
  if (!token.allowed_from().empty()) {
    limits.push_back("from " + absl::StrJoin(token.allowed_from(), " "));
  }
  if (!token.hostname().empty()) limits.push_back("host " + token.hostname());
  if (token.approval()) limits.emplace_back("approval");
  if (token.ephemeral()) {
    limits.push_back("ephemeral " + AgeText(wire::FromProto(token.expire())));
  }
  return limits.empty() ? "-" : absl::StrJoin(limits, ", ");
}

// What else a person should know of the machines that join with it.
std::string RemarkOf(const v1::Token& token) {
  std::string remark;
  if (token.approval()) {
    remark +=
        "# Each waits until you let it in: musterctl agents approve NAME\n";
  }
  if (token.ephemeral()) {
    remark += fmt::format("# Each leaves the list once offline for {}.\n",
                          AgeText(wire::FromProto(token.expire())));
  }
  return remark;
}

std::string CountedText(const v1::ListRefusalsResponse& answer) {
  std::string text;
  if (answer.unknown_tokens() > 0) {
    text += fmt::format("{} more with a token that does not exist.\n",
                        answer.unknown_tokens());
  }
  if (answer.not_recorded() > 0) {
    text += fmt::format("{} more, too many at once to be recorded.\n",
                        answer.not_recorded());
  }
  return text.empty() ? text : "Since the gateway started:\n" + text;
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
    tool.console.Err(RemarkOf(created.token()));
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
  request.mutable_allowed_from()->Add(options.from.begin(), options.from.end());
  request.set_hostname(options.hostname);
  request.set_approval(options.approval);
  request.set_ephemeral(options.ephemeral);
  if (options.expire) {
    *request.mutable_expire() = wire::ToProto(*options.expire);
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
  Table table({"TOKEN", "STATE", "USES", "EXPIRES", "AGE", "BY", "LIMITS",
               "LABELS", "DESCRIPTION"},
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
                  {LimitsText(token)},
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

absl::StatusOr<int> TokensRefusals(Tool& tool,
                                   const TokensRefusalsOptions& options) {
  v1::ListRefusalsRequest request;
  request.set_limit(options.limit.value_or(0));
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::ListRefusalsResponse>(
                                          "ListRefusals", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const absl::Time now = tool.Now(answer.served_at);
  Table table({"AGE", "REASON", "ADDRESS", "HOSTNAME", "TOKEN"}, "HOSTNAME");
  for (const v1::Refusal& refusal : answer.message.refusals()) {
    if (tool.format == OutputFormat::kName) {
      tool.console.Out(refusal.token_id() + "\n");
      continue;
    }
    table.AddRow({{AgeText(now - wire::FromProto(refusal.at()))},
                  {EnumWord(v1::RefusalReason_descriptor(), refusal.reason())},
                  {refusal.address()},
                  {refusal.hostname()},
                  {refusal.token_id()}});
  }
  if (tool.format == OutputFormat::kName) return kExitOk;
  if (answer.message.refusals().empty()) {
    tool.console.Err("No refusals.\n");
  } else {
    tool.console.Out(table.Render(tool.Style(options.header)));
  }
  tool.console.Err(CountedText(answer.message));
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
