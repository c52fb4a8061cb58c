// Users and what speaks for them, as messages.

#include "gateway/admin/convert.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {

v1::User ToProto(const UserRecord& user) {
  v1::User out;
  out.set_name(user.name);
  out.set_kind(static_cast<v1::UserKind>(user.kind));
  out.set_role(static_cast<v1::Role>(user.role));
  *out.mutable_created_at() = wire::ToProto(user.created_at);
  out.set_created_by(user.created_by);
  if (user.disabled_at) {
    *out.mutable_disabled_at() = wire::ToProto(*user.disabled_at);
  }
  out.set_has_password(!user.password_hash.empty());
  return out;
}

v1::AccessToken ToProto(const AccessTokenRecord& token, absl::Time now) {
  v1::AccessToken out;
  out.set_token_id(token.id.str());
  out.set_user(token.user);
  out.set_description(token.description);
  out.set_state(token.revoked_at          ? v1::ACCESS_TOKEN_STATE_REVOKED
                : now >= token.expires_at ? v1::ACCESS_TOKEN_STATE_EXPIRED
                                          : v1::ACCESS_TOKEN_STATE_ACTIVE);
  out.mutable_scopes()->Assign(token.scopes.begin(), token.scopes.end());
  *out.mutable_created_at() = wire::ToProto(token.created_at);
  out.set_created_by(token.created_by);
  *out.mutable_expires_at() = wire::ToProto(token.expires_at);
  out.set_signed_in(token.signed_in);
  return out;
}

}  // namespace muster::gateway
