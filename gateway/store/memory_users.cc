// MemoryFleetStore: orgs, users and what speaks for them.

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "gateway/store/memory_fleet_store.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

absl::StatusOr<std::vector<OrgRecord>> MemoryFleetStore::LoadOrgs() {
  RETURN_IF_ERROR(error());
  std::vector<OrgRecord> found;
  for (const auto& [id, org] : orgs_) found.push_back(org);
  return found;
}

absl::Status MemoryFleetStore::AddOrg(const OrgRecord& org) {
  RETURN_IF_ERROR(error());
  if (orgs_.contains(org.id)) return OrgExists(org.id);
  Put(orgs_, org.id, org);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<UserRecord>> MemoryFleetStore::LoadUsers() {
  RETURN_IF_ERROR(error());
  std::vector<UserRecord> found;
  for (const auto& [key, user] : users_) found.push_back(user);
  return found;
}

absl::Status MemoryFleetStore::AddUser(const UserRecord& user) {
  RETURN_IF_ERROR(error());
  if (users_.contains({user.org, user.name})) return UserExists(user.name);
  Put(users_, {user.org, user.name}, user);
  return absl::OkStatus();
}

absl::StatusOr<UserRecord> MemoryFleetStore::EditUser(const OrgId& org,
                                                      const std::string& name,
                                                      const UserEdit& edit) {
  RETURN_IF_ERROR(error());
  const auto it = users_.find({org, name});
  if (it == users_.end()) return UnknownUser(name);
  UserRecord edited = Edited(it->second, edit);
  Put(users_, {org, name}, edited);
  if (!edit.password_hash) return edited;
  for (const auto& [id, token] : access_tokens_) {
    if (token.org != org || token.user != name) continue;
    if (!token.signed_in || token.revoked_at) continue;
    AccessTokenRecord revoked = token;
    revoked.revoked_at = edit.at;
    Put(access_tokens_, id, revoked);
  }
  return edited;
}

absl::StatusOr<std::vector<AccessTokenRecord>>
MemoryFleetStore::LoadAccessTokens() {
  RETURN_IF_ERROR(error());
  std::vector<AccessTokenRecord> found;
  for (const auto& [id, token] : access_tokens_) found.push_back(token);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.created_at, a.id) < std::tie(b.created_at, b.id);
  });
  return found;
}

absl::Status MemoryFleetStore::AddAccessToken(const AccessTokenRecord& token) {
  RETURN_IF_ERROR(error());
  if (!users_.contains({token.org, token.user})) return UnknownUser(token.user);
  for (const auto& [id, known] : access_tokens_) {
    if (id == token.id || known.secret_sha256 == token.secret_sha256) {
      return absl::AlreadyExistsError("this token exists already");
    }
  }
  Put(access_tokens_, token.id, token);
  return absl::OkStatus();
}

absl::StatusOr<AccessTokenRecord> MemoryFleetStore::RevokeAccessToken(
    const OrgId& org, const std::string& user, const TokenId& id,
    absl::Time now) {
  RETURN_IF_ERROR(error());
  const auto it = access_tokens_.find(id);
  if (it == access_tokens_.end() || it->second.org != org ||
      it->second.user != user) {
    return UnknownToken(id);
  }
  AccessTokenRecord revoked = it->second;
  if (!revoked.revoked_at) {
    revoked.revoked_at = now;
    Put(access_tokens_, id, revoked);
  }
  return revoked;
}

}  // namespace muster::gateway
