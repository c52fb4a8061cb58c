#include "gateway/admin/user_handlers.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gateway/admin/admin_api.h"
#include "gateway/admin/audited.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/errors.h"
#include "gateway/identity/secret_token.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

constexpr absl::Duration kTtlDefault = absl::Hours(90 * 24);

v1::Org ToProto(const OrgRecord& org) {
  v1::Org out;
  out.set_name(org.id.str());
  out.set_created_by(org.created_by);
  if (org.created_at != absl::InfinitePast()) {
    *out.mutable_created_at() = wire::ToProto(org.created_at);
  }
  return out;
}

absl::Status OrgExists(std::string_view text) {
  return WithCode(absl::AlreadyExistsError(ToAbsl(text)), "org_exists");
}

absl::Status TooMany(const char* what, size_t max) {
  return WithCode(absl::ResourceExhaustedError(
                      fmt::format("{}: there are {} already", what, max)),
                  "too_many_users");
}

// `scopes`, each once, or which of them nothing knows.
absl::StatusOr<std::vector<std::string>> ScopesOf(
    const v1::CreateAccessTokenRequest& request) {
  const std::set<std::string> wanted(request.scopes().begin(),
                                     request.scopes().end());
  const std::set<std::string> known = Scopes();
  for (const std::string& scope : wanted) {
    if (known.contains(scope)) continue;
    return absl::InvalidArgumentError(
        fmt::format("scopes: must be of {}, got {:?}", fmt::join(known, ", "),
                    scope.substr(0, 64)));
  }
  return std::vector<std::string>(wanted.begin(), wanted.end());
}

}  // namespace

void UserHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.CreateOrg", this, &UserHandlers::CreateOrg);
  table.Add("muster.v1.FleetAdmin.ListOrgs", this, &UserHandlers::ListOrgs);
  table.Add("muster.v1.FleetAdmin.CreateUser", this, &UserHandlers::CreateUser);
  table.Add("muster.v1.FleetAdmin.ListUsers", this, &UserHandlers::ListUsers);
  table.Add("muster.v1.FleetAdmin.UpdateUser", this, &UserHandlers::UpdateUser);
  table.Add("muster.v1.FleetAdmin.CreateAccessToken", this,
            &UserHandlers::CreateToken);
  table.Add("muster.v1.FleetAdmin.ListAccessTokens", this,
            &UserHandlers::ListTokens);
  table.Add("muster.v1.FleetAdmin.RevokeAccessToken", this,
            &UserHandlers::RevokeToken);
}

void UserHandlers::CreateOrg(const Caller& caller,
                             const v1::CreateOrgRequest& request,
                             Reply<v1::Org> reply) {
  if (auto s = wire::ValidateCreateOrg(request); !s.ok()) {
    reply(s);
    return;
  }
  if (book_.Orgs().size() >= kOrgsMax) {
    reply(TooMany("orgs", kOrgsMax));
    return;
  }
  OrgRecord org{.id = OrgId(request.name()),
                .created_by = caller.principal,
                .created_at = clock_.Wall()};
  if (org.id == DefaultOrg()) {
    reply(OrgExists("org default is there from the beginning"));
    return;
  }
  NameTarget(caller, org.id.str());
  store_.Write(
      Audited(caller, [org](FleetStore& store) { return store.AddOrg(org); }),
      [this, org,
       reply = std::move(reply)](const absl::Status& status) mutable {
        if (!status.ok()) {
          reply(absl::IsAlreadyExists(status)
                    ? OrgExists(ToStd(status.message()))
                    : status);
          return;
        }
        book_.Put(org);
        reply(ToProto(org));
      });
}

void UserHandlers::ListOrgs(const Caller&, const v1::ListOrgsRequest&,
                            Reply<v1::ListOrgsResponse> reply) {
  v1::ListOrgsResponse response;
  for (const OrgRecord& org : book_.Orgs()) *response.add_orgs() = ToProto(org);
  reply(std::move(response));
}

void UserHandlers::CreateUser(const Caller& caller,
                              const v1::CreateUserRequest& request,
                              Reply<v1::User> reply) {
  if (auto s = wire::ValidateCreateUser(request); !s.ok()) {
    reply(s);
    return;
  }
  if (book_.UsersOf(caller.org).size() >= kUsersMax) {
    reply(TooMany("users", kUsersMax));
    return;
  }
  const UserKind kind = request.kind() == v1::USER_KIND_SERVICE
                            ? UserKind::kService
                            : UserKind::kPerson;
  UserRecord user{.org = caller.org,
                  .name = request.name(),
                  .kind = kind,
                  .role = static_cast<UserRole>(request.role()),
                  .created_by = caller.principal,
                  .created_at = clock_.Wall(),
                  .disabled_at = std::nullopt};
  NameTarget(caller, user.name);
  store_.Write(
      Audited(caller,
              [user](FleetStore& store) { return store.AddUser(user); }),
      [this, user,
       reply = std::move(reply)](const absl::Status& status) mutable {
        if (!status.ok()) {
          reply(absl::IsAlreadyExists(status) ? WithCode(status, "user_exists")
                                              : status);
          return;
        }
        book_.Put(user);
        reply(ToProto(user));
      });
}

void UserHandlers::ListUsers(const Caller& caller, const v1::ListUsersRequest&,
                             Reply<v1::ListUsersResponse> reply) {
  v1::ListUsersResponse response;
  for (const UserRecord& user : book_.UsersOf(caller.org)) {
    *response.add_users() = ToProto(user);
  }
  reply(std::move(response));
}

void UserHandlers::UpdateUser(const Caller& caller,
                              const v1::UpdateUserRequest& request,
                              Reply<v1::User> reply) {
  if (auto s = wire::ValidateUpdateUser(request); !s.ok()) {
    reply(s);
    return;
  }
  UserEdit edit{
      .role = std::nullopt, .disabled = std::nullopt, .at = clock_.Wall()};
  if (request.has_role()) edit.role = static_cast<UserRole>(request.role());
  if (request.has_disabled()) edit.disabled = request.disabled();
  store_.Write(
      Audited(
          caller,
          [org = caller.org, name = request.name(), edit](FleetStore& store) {
            return store.EditUser(org, name, edit);
          }),
      [this, name = request.name(),
       reply = std::move(reply)](absl::StatusOr<UserRecord> user) mutable {
        if (!user.ok()) {
          reply(absl::IsNotFound(user.status()) ? NotFound("user", name)
                                                : user.status());
          return;
        }
        book_.Put(*user);
        cut_off_([&user](const Caller& of) {
          return of.org == user->org && of.principal == user->name &&
                 (user->disabled_at ||
                  of.role > static_cast<v1::Role>(user->role));
        });
        reply(ToProto(*user));
      });
}

void UserHandlers::CreateToken(const Caller& caller,
                               const v1::CreateAccessTokenRequest& request,
                               Reply<v1::CreateAccessTokenResponse> reply) {
  if (auto s = wire::ValidateCreateAccessToken(request); !s.ok()) {
    reply(s);
    return;
  }
  auto scopes = ScopesOf(request);
  if (!scopes.ok()) {
    reply(scopes.status());
    return;
  }
  if (book_.Find(caller.org, request.name()) == nullptr) {
    reply(NotFound("user", request.name()));
    return;
  }
  const auto living = std::ranges::count_if(
      book_.TokensOf(caller.org, request.name()),
      [now = clock_.Wall()](const AccessTokenRecord& token) {
        return !token.signed_in && !token.revoked_at && now < token.expires_at;
      });
  if (static_cast<size_t>(living) >= kTokensPerUserMax) {
    reply(TooMany("tokens of this user", kTokensPerUserMax));
    return;
  }
  const absl::Time now = clock_.Wall();
  const Secret secret = NewToken(TokenKind::kAccess);
  const auto hash = HashToken(TokenKind::kAccess, secret.Reveal());
  AccessTokenRecord token{
      .id = TokenId(NewUuid(now)),
      .org = caller.org,
      .user = request.name(),
      .secret_sha256 = absl::HexStringToBytes(*hash),
      .description = request.description(),
      .scopes = *std::move(scopes),
      .created_by = caller.principal,
      .created_at = now,
      .expires_at = now + (request.has_ttl() ? wire::FromProto(request.ttl())
                                             : kTtlDefault),
      .revoked_at = std::nullopt};
  NameTarget(caller, fmt::format("{}/{}", token.user, token.id.str()));
  store_.Write(Audited(caller,
                       [token](FleetStore& store) {
                         return store.AddAccessToken(token);
                       }),
               [this, token, secret, now,
                reply = std::move(reply)](const absl::Status& status) mutable {
                 if (!status.ok()) {
                   reply(status);
                   return;
                 }
                 book_.Put(token);
                 v1::CreateAccessTokenResponse response;
                 *response.mutable_token() = ToProto(token, now);
                 response.set_secret(secret.Reveal());
                 reply(std::move(response));
               });
}

void UserHandlers::ListTokens(const Caller& caller,
                              const v1::ListAccessTokensRequest& request,
                              Reply<v1::ListAccessTokensResponse> reply) {
  if (book_.Find(caller.org, request.name()) == nullptr) {
    reply(NotFound("user", request.name()));
    return;
  }
  v1::ListAccessTokensResponse response;
  for (const auto& token : book_.TokensOf(caller.org, request.name())) {
    *response.add_tokens() = ToProto(token, clock_.Wall());
  }
  reply(std::move(response));
}

void UserHandlers::RevokeToken(const Caller& caller,
                               const v1::RevokeAccessTokenRequest& request,
                               Reply<v1::AccessToken> reply) {
  const absl::Time now = clock_.Wall();
  store_.Write(
      Audited(caller,
              [org = caller.org, user = request.name(),
               id = TokenId(request.token_id()), now](FleetStore& store) {
                return store.RevokeAccessToken(org, user, id, now);
              }),
      [this, now, id = request.token_id(), reply = std::move(reply)](
          absl::StatusOr<AccessTokenRecord> token) mutable {
        if (!token.ok()) {
          reply(absl::IsNotFound(token.status()) ? NotFound("token", id)
                                                 : token.status());
          return;
        }
        book_.Put(*token);
        cut_off_([&token](const Caller& of) { return of.token == token->id; });
        reply(ToProto(*token, now));
      });
}

}  // namespace muster::gateway
