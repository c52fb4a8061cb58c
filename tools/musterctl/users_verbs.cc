#include "tools/musterctl/users_verbs.h"

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/login_verbs.h"

namespace muster::ctl {
namespace {

// "operator"; "unknown" of a newer gateway's.
template <typename Descriptor>
std::string Word(const Descriptor* type, int number) {
  const auto* known = type->FindValueByNumber(number);
  return known == nullptr ? "unknown" : wire::EnumText(*known);
}

// Typed twice, if it is typed.
absl::StatusOr<Secret> NewPassword(Console& console) {
  ASSIGN_OR_RETURN(Secret password, AskPassword(console, "New password: "));
  if (!console.InIsTerminal()) return password;
  ASSIGN_OR_RETURN(const Secret again, AskPassword(console, "Once more: "));
  if (again.Reveal() != password.Reveal()) {
    return absl::InvalidArgumentError("the two are not the same");
  }
  return password;
}

std::string StateText(const v1::User& user, absl::Time now) {
  if (!user.has_disabled_at()) return "active";
  return fmt::format("disabled {} ago",
                     AgeText(now - wire::FromProto(user.disabled_at())));
}

}  // namespace

absl::StatusOr<int> OrgsCreate(Tool& tool, const std::string& name) {
  v1::CreateOrgRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Org>("CreateOrg", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(fmt::format(
        "Org {0} is created. Its first admin: musterctl --org {0} users create "
        "NAME --role admin\n",
        name));
  }
  return kExitOk;
}

absl::StatusOr<int> OrgsLs(Tool& tool, bool header) {
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::ListOrgsResponse>(
                                          "ListOrgs", v1::ListOrgsRequest()));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const absl::Time now = tool.Now(answer.served_at);
  Table table({"NAME", "AGE", "BY"}, "NAME");
  for (const v1::Org& org : answer.message.orgs()) {
    if (tool.format == OutputFormat::kName) {
      tool.console.Out(org.name() + "\n");
      continue;
    }
    table.AddRow({{org.name()},
                  {org.has_created_at()
                       ? AgeText(now - wire::FromProto(org.created_at()))
                       : "-"},
                  {org.created_by().empty() ? "-" : org.created_by()}});
  }
  if (tool.format != OutputFormat::kName) {
    tool.console.Out(table.Render(tool.Style(header)));
  }
  return kExitOk;
}

absl::StatusOr<int> UsersCreate(Tool& tool, const UsersCreateOptions& options) {
  v1::CreateUserRequest request;
  request.set_name(options.name);
  request.set_role(options.role);
  request.set_kind(options.service ? v1::USER_KIND_SERVICE
                                   : v1::USER_KIND_PERSON);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::User>("CreateUser", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(fmt::format(
        "User {} is created. For a token: musterctl users token create {}\n",
        options.name, options.name));
  }
  return kExitOk;
}

absl::StatusOr<int> UsersLs(Tool& tool, bool header) {
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::ListUsersResponse>(
                                          "ListUsers", v1::ListUsersRequest()));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const absl::Time now = tool.Now(answer.served_at);
  Table table({"NAME", "KIND", "ROLE", "STATE", "AGE", "BY"}, "NAME");
  for (const v1::User& user : answer.message.users()) {
    if (tool.format == OutputFormat::kName) {
      tool.console.Out(user.name() + "\n");
      continue;
    }
    table.AddRow({{user.name()},
                  {Word(v1::UserKind_descriptor(), user.kind())},
                  {Word(v1::Role_descriptor(), user.role())},
                  {StateText(user, now)},
                  {AgeText(now - wire::FromProto(user.created_at()))},
                  {user.created_by()}});
  }
  if (tool.format == OutputFormat::kName) return kExitOk;
  if (answer.message.users().empty()) {
    tool.console.Err("No users.\n");
  } else {
    tool.console.Out(table.Render(tool.Style(header)));
  }
  return kExitOk;
}

absl::StatusOr<int> UsersUpdate(Tool& tool, const UsersUpdateOptions& options) {
  v1::UpdateUserRequest request;
  request.set_name(options.name);
  if (options.role) request.set_role(*options.role);
  if (options.disabled) request.set_disabled(*options.disabled);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::User>("UpdateUser", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    const v1::User& user = answer.message;
    tool.console.Err(fmt::format("User {}: {}, {}.\n", user.name(),
                                 Word(v1::Role_descriptor(), user.role()),
                                 StateText(user, tool.Now(answer.served_at))));
  }
  return kExitOk;
}

absl::StatusOr<int> UsersPassword(Tool& tool,
                                  const UsersPasswordOptions& options) {
  v1::SetPasswordRequest request;
  request.set_name(options.name);
  if (!options.remove) {
    ASSIGN_OR_RETURN(const Secret password, NewPassword(tool.console));
    if (password.empty()) {
      return absl::InvalidArgumentError(
          "the password is empty; to have none: --remove");
    }
    request.set_password(password.Reveal());
  }
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::User>("SetPassword", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(
        fmt::format("User {} has {} password.\n", options.name,
                    answer.message.has_password() ? "a new" : "no"));
  }
  return kExitOk;
}

absl::StatusOr<int> ChangePassword(Tool& tool) {
  v1::ChangePasswordRequest request;
  ASSIGN_OR_RETURN(const Secret current,
                   tool.console.AskSecret("Current password: "));
  ASSIGN_OR_RETURN(const Secret password, NewPassword(tool.console));
  request.set_current_password(current.Reveal());
  request.set_password(password.Reveal());
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::User>("ChangePassword", request));
  tool.console.Err(fmt::format(
      "{} has a new password. Whoever had signed in with the old one must sign "
      "in again: musterctl login --user {}\n",
      answer.message.name(), answer.message.name()));
  return kExitOk;
}

absl::StatusOr<int> UserTokensCreate(Tool& tool,
                                     const UserTokensCreateOptions& options) {
  v1::CreateAccessTokenRequest request;
  request.set_name(options.name);
  request.set_description(options.description);
  if (options.ttl) *request.mutable_ttl() = wire::ToProto(*options.ttl);
  request.mutable_scopes()->Assign(options.scopes.begin(),
                                   options.scopes.end());
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::CreateAccessTokenResponse>(
                       "CreateAccessToken", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const v1::CreateAccessTokenResponse& created = answer.message;
  tool.console.Err(fmt::format(
      "# Token {} of {}, until {}; it is not shown again:\n",
      created.token().token_id(), options.name,
      ClockText(wire::FromProto(created.token().expires_at()),
                tool.Now(answer.served_at), absl::LocalTimeZone())));
  tool.console.Out(created.secret() + "\n");
  return kExitOk;
}

absl::StatusOr<int> UserTokensLs(Tool& tool,
                                 const UserTokensLsOptions& options) {
  v1::ListAccessTokensRequest request;
  request.set_name(options.name);
  ASSIGN_OR_RETURN(
      const auto answer,
      tool.api.Call<v1::ListAccessTokensResponse>("ListAccessTokens", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const absl::Time now = tool.Now(answer.served_at);
  Table table(
      {"TOKEN", "STATE", "EXPIRES", "AGE", "BY", "SCOPES", "DESCRIPTION"},
      "DESCRIPTION");
  for (const v1::AccessToken& token : answer.message.tokens()) {
    if (tool.format == OutputFormat::kName) {
      tool.console.Out(token.token_id() + "\n");
      continue;
    }
    const bool active = token.state() == v1::ACCESS_TOKEN_STATE_ACTIVE;
    table.AddRow(
        {{token.token_id()},
         {Word(v1::AccessTokenState_descriptor(), token.state())},
         {active ? "in " + AgeText(wire::FromProto(token.expires_at()) - now)
                 : "-"},
         {AgeText(now - wire::FromProto(token.created_at()))},
         {token.created_by()},
         {fmt::format("{}", fmt::join(token.scopes(), ","))},
         {token.description()}});
  }
  if (tool.format == OutputFormat::kName) return kExitOk;
  if (answer.message.tokens().empty()) {
    tool.console.Err("No tokens.\n");
  } else {
    tool.console.Out(table.Render(tool.Style(options.header)));
  }
  return kExitOk;
}

absl::StatusOr<int> UserTokensRevoke(Tool& tool,
                                     const UserTokensRevokeOptions& options) {
  v1::RevokeAccessTokenRequest request;
  request.set_name(options.name);
  request.set_token_id(options.token_id);
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::AccessToken>(
                                          "RevokeAccessToken", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(fmt::format(
        "Token {} is {}.\n", options.token_id,
        Word(v1::AccessTokenState_descriptor(), answer.message.state())));
  }
  return kExitOk;
}

}  // namespace muster::ctl
