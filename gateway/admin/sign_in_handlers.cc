#include "gateway/admin/sign_in_handlers.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <optional>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "gateway/admin/audited.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/errors.h"
#include "gateway/identity/password.h"
#include "gateway/identity/secret_token.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

// The same for an unknown org or name, a user who is disabled or has no
// password, and a wrong password.
absl::Status NotSignedIn() {
  return WithCode(
      absl::UnauthenticatedError("org, name or password is not right"),
      "sign_in_refused");
}

absl::Status Busy() {
  return WithCode(
      absl::UnavailableError("other passwords are being checked: try again"),
      "sign_in_busy");
}

// What counts as one source: an IPv4 address, or the /64 of an IPv6 address.
std::string SourceOf(const std::string& address) {
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return address;
  return {reinterpret_cast<const char*>(v6.s6_addr), 8};
}

absl::Status TooOften(absl::Duration wait) {
  return WithCode(
      absl::ResourceExhaustedError(fmt::format(
          "too many attempts to sign in: try again in {}",
          absl::FormatDuration(absl::Ceil(wait, absl::Seconds(1))))),
      "too_many_sign_ins");
}

}  // namespace

void SignInHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.SignIn", this, &SignInHandlers::SignIn);
  table.Add("muster.v1.FleetAdmin.SignOut", this, &SignInHandlers::SignOut);
  table.Add("muster.v1.FleetAdmin.SetPassword", this,
            &SignInHandlers::SetPassword);
  table.Add("muster.v1.FleetAdmin.ChangePassword", this,
            &SignInHandlers::ChangePassword);
}

template <typename Work, typename Done>
void SignInHandlers::Offload(Work work, Done done) {
  // Shared: a posted task can be copied.
  auto then = std::make_shared<Done>(std::move(done));
  thread_.Post([this, alive = std::weak_ptr<bool>(alive_),
                work = std::move(work), then]() mutable {
    auto result = work();
    loop_.Post([alive, then, result = std::move(result)]() mutable {
      if (!alive.expired()) (*then)(std::move(result));
    });
  });
}

bool SignInHandlers::StillHas(const UserKey& user,
                              const std::string& hash) const {
  const UserRecord* known = book_.Find(user.first, user.second);
  return known != nullptr && !known->disabled_at &&
         known->password_hash == hash && !changing_.contains(user);
}

void SignInHandlers::Check(const UserKey& user, const std::string& guarded,
                           Secret password, const std::string& source,
                           Checked done) {
  const std::string from = SourceOf(source);
  const auto mine = checking_of_.find(from);
  if (checking_ >= kCheckingMax ||
      (mine != checking_of_.end() && mine->second >= kCheckingOfSourceMax)) {
    done(Busy());
    return;
  }
  const absl::Duration wait =
      guard_.Ask(user.first, guarded, from, loop_.clock().Now());
  if (wait > absl::ZeroDuration()) {
    Log(kWarning, "too many attempts to sign in",
        {{"org", user.first.str()},
         {"name", user.second},
         {"from", source},
         {"wait", wait}});
    done(TooOften(wait));
    return;
  }
  ++checking_;
  ++checking_of_[from];
  const UserRecord* known = book_.Find(user.first, user.second);
  const std::string hash = known == nullptr ? "" : known->password_hash;
  Offload([password = std::move(password),
           hash] { return CheckPassword(password, hash); },
          [this, user, guarded, from, hash,
           done = std::move(done)](bool right) mutable {
            --checking_;
            if (--checking_of_[from] == 0) checking_of_.erase(from);
            right = right && StillHas(user, hash);
            if (right) guard_.Succeeded(user.first, guarded);
            done(right);
          });
}

void SignInHandlers::SignIn(const Caller& caller,
                            const v1::SignInRequest& request,
                            Reply<v1::SignInResponse> reply) {
  if (auto s = wire::ValidateSignIn(request); !s.ok()) {
    reply(s);
    return;
  }
  const OrgId org = request.org().empty() ? DefaultOrg() : OrgId(request.org());
  Check({org, request.name()}, request.name(), Secret(request.password()),
        caller.peer_address,
        [this, caller, org, name = request.name(),
         reply = std::move(reply)](absl::StatusOr<bool> right) mutable {
          if (!right.ok()) {
            reply(right.status());
            return;
          }
          if (!*right) {
            reply(NotSignedIn());
            return;
          }
          GiveToken(caller, *book_.Find(org, name), std::move(reply));
        });
}

void SignInHandlers::GiveToken(const Caller& caller, const UserRecord& user,
                               Reply<v1::SignInResponse> reply) {
  // From here on it is known who calls.
  if (caller.audit) {
    caller.audit->entry.org = user.org;
    caller.audit->entry.principal = user.name;
  }
  const absl::Time now = loop_.clock().Wall();
  const Secret secret = NewToken(TokenKind::kAccess);
  const auto hash = HashToken(TokenKind::kAccess, secret.Reveal());
  AccessTokenRecord token{
      .id = TokenId(NewUuid(now)),
      .org = user.org,
      .user = user.name,
      .secret_sha256 = absl::HexStringToBytes(*hash),
      .description = "signed in from " + caller.peer_address,
      .scopes = {},
      .created_by = user.name,
      .created_at = now,
      .expires_at = now + kSignedInFor,
      .revoked_at = std::nullopt,
      .signed_in = true};
  const std::optional<TokenId> oldest =
      book_.OldestSignedIn(user.org, user.name, now, kSignedInMax);
  store_.Write(Audited(caller,
                       [token, oldest](FleetStore& store) -> absl::Status {
                         if (oldest) {
                           RETURN_IF_ERROR(
                               store
                                   .RevokeAccessToken(token.org, token.user,
                                                      *oldest, token.created_at)
                                   .status());
                         }
                         return store.AddAccessToken(token);
                       }),
               [this, token, oldest, secret, now, role = user.role,
                reply = std::move(reply)](const absl::Status& status) mutable {
                 if (!status.ok()) {
                   reply(status);
                   return;
                 }
                 if (oldest) book_.Revoke(*oldest, now);
                 book_.Put(token);
                 v1::SignInResponse response;
                 *response.mutable_token() = ToProto(token, now);
                 response.set_secret(secret.Reveal());
                 response.set_role(static_cast<v1::Role>(role));
                 reply(std::move(response));
               });
}

void SignInHandlers::SignOut(const Caller& caller, const v1::SignOutRequest&,
                             Reply<v1::SignOutResponse> reply) {
  // Others may use a token that was made for a purpose.
  if (!caller.signed_in) {
    reply(WithCode(absl::FailedPreconditionError(
                       "this token was not made by signing in: it stays good"),
                   "not_signed_in"));
    return;
  }
  store_.Write(
      Audited(caller,
              [org = caller.org, user = caller.principal, id = caller.token,
               now = loop_.clock().Wall()](FleetStore& store) {
                return store.RevokeAccessToken(org, user, id, now);
              }),
      [this, reply = std::move(reply)](
          absl::StatusOr<AccessTokenRecord> token) mutable {
        if (!token.ok()) {
          reply(token.status());
          return;
        }
        book_.Put(*token);
        cut_off_([&token](const Caller& of) { return of.token == token->id; });
        reply(v1::SignOutResponse());
      });
}

void SignInHandlers::SetPassword(const Caller& caller,
                                 const v1::SetPasswordRequest& request,
                                 Reply<v1::User> reply) {
  if (auto s = wire::ValidateSetPassword(request); !s.ok()) {
    reply(s);
    return;
  }
  const UserRecord* user = book_.Find(caller.org, request.name());
  if (user == nullptr) {
    reply(NotFound("user", request.name()));
    return;
  }
  if (user->kind != UserKind::kPerson) {
    reply(absl::FailedPreconditionError(fmt::format(
        "{} is a program: it has tokens, no password", user->name)));
    return;
  }
  Keep(caller, request.name(), Secret(request.password()), std::nullopt,
       std::move(reply));
}

void SignInHandlers::ChangePassword(const Caller& caller,
                                    const v1::ChangePasswordRequest& request,
                                    Reply<v1::User> reply) {
  if (auto s = wire::ValidateChangePassword(request); !s.ok()) {
    reply(s);
    return;
  }
  // What strangers guess does not lock out who is in.
  Check({caller.org, caller.principal}, "signed in: " + caller.principal,
        Secret(request.current_password()), caller.peer_address,
        [this, caller, password = Secret(request.password()),
         reply = std::move(reply)](absl::StatusOr<bool> right) mutable {
          if (!right.ok()) {
            reply(right.status());
          } else if (!*right) {
            reply(WithCode(absl::PermissionDeniedError(
                               "current_password: is not the password"),
                           "sign_in_refused"));
          } else {
            const UserRecord* user = book_.Find(caller.org, caller.principal);
            Keep(caller, caller.principal, std::move(password),
                 user->password_hash, std::move(reply));
          }
        });
}

void SignInHandlers::Keep(const Caller& caller, const std::string& name,
                          Secret password,
                          std::optional<std::string> instead_of,
                          Reply<v1::User> reply) {
  if (password.empty()) {
    KeepHash(caller, name, "", std::move(reply));
    return;
  }
  Offload(
      [password = std::move(password)] { return HashPassword(password); },
      [this, caller, name, instead_of = std::move(instead_of),
       reply = std::move(reply)](absl::StatusOr<std::string> hash) mutable {
        if (!hash.ok()) {
          reply(hash.status());
        } else if (instead_of && !StillHas({caller.org, name}, *instead_of)) {
          reply(absl::AbortedError(
              "current_password: was changed or taken away meanwhile"));
        } else {
          KeepHash(caller, name, *std::move(hash), std::move(reply));
        }
      });
}

void SignInHandlers::KeepHash(const Caller& caller, const std::string& name,
                              std::string hash, Reply<v1::User> reply) {
  UserEdit edit{.role = std::nullopt,
                .disabled = std::nullopt,
                .password_hash = std::move(hash),
                .at = loop_.clock().Wall()};
  const UserKey key(caller.org, name);
  ++changing_[key];
  store_.Write(Audited(caller,
                       [org = caller.org, name, edit](FleetStore& store) {
                         return store.EditUser(org, name, edit);
                       }),
               [this, key, at = edit.at, reply = std::move(reply)](
                   absl::StatusOr<UserRecord> user) mutable {
                 if (--changing_[key] == 0) changing_.erase(key);
                 if (!user.ok()) {
                   reply(user.status());
                   return;
                 }
                 book_.Put(*user);
                 book_.SignOut(user->org, user->name, at);
                 cut_off_([this, &user](const Caller& of) {
                   return of.org == user->org && of.principal == user->name &&
                          book_.Ended(of.token);
                 });
                 reply(ToProto(*user));
               });
}

}  // namespace muster::gateway
