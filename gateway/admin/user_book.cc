#include "gateway/admin/user_book.h"

#include <algorithm>
#include <tuple>

#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

v1::Role RoleOf(const UserRecord& user) {
  return static_cast<v1::Role>(user.role);
}

}  // namespace

UserBook::UserBook() { Put(OrgRecord{DefaultOrg(), "", absl::InfinitePast()}); }

void UserBook::Put(OrgRecord org) {
  OrgId id = org.id;
  orgs_.insert_or_assign(std::move(id), std::move(org));
}

bool UserBook::Knows(const OrgId& org) const { return orgs_.contains(org); }

std::vector<OrgRecord> UserBook::Orgs() const {
  std::vector<OrgRecord> all;
  for (const auto& [id, org] : orgs_) all.push_back(org);
  return all;
}

void UserBook::Put(UserRecord user) {
  std::pair key(user.org, user.name);
  users_.insert_or_assign(std::move(key), std::move(user));
}

void UserBook::Put(AccessTokenRecord token) {
  std::string key = token.secret_sha256;
  tokens_.insert_or_assign(std::move(key), std::move(token));
}

const UserRecord* UserBook::Find(const OrgId& org,
                                 const std::string& name) const {
  const auto it = users_.find({org, name});
  return it == users_.end() ? nullptr : &it->second;
}

std::vector<UserRecord> UserBook::UsersOf(const OrgId& org) const {
  std::vector<UserRecord> found;
  for (auto it = users_.lower_bound({org, ""});
       it != users_.end() && it->first.first == org; ++it) {
    found.push_back(it->second);
  }
  return found;
}

std::vector<AccessTokenRecord> UserBook::TokensOf(
    const OrgId& org, const std::string& user) const {
  std::vector<AccessTokenRecord> found;
  for (const auto& [hash, token] : tokens_) {
    if (token.org == org && token.user == user) found.push_back(token);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.created_at, a.id) > std::tie(b.created_at, b.id);
  });
  return found;
}

absl::StatusOr<Caller> UserBook::Authenticate(std::string_view secret_sha256,
                                              absl::Time now) const {
  const auto it = tokens_.find(ToAbsl(secret_sha256));
  if (it != tokens_.end()) {
    const AccessTokenRecord& token = it->second;
    const UserRecord* user = Find(token.org, token.user);
    if (!token.revoked_at && now < token.expires_at && user != nullptr &&
        !user->disabled_at) {
      return Caller{.principal = user->name,
                    .org = user->org,
                    .role = RoleOf(*user),
                    .token = token.id,
                    .signed_in = token.signed_in,
                    .scopes = token.scopes,
                    .peer_address = "",
                    .web_authority = ""};
    }
  }
  return absl::UnauthenticatedError("the token is not valid");
}

void UserBook::SignOut(const OrgId& org, const std::string& name,
                       absl::Time at) {
  for (auto& [hash, token] : tokens_) {
    if (token.org == org && token.user == name && token.signed_in &&
        !token.revoked_at) {
      token.revoked_at = at;
    }
  }
}

std::optional<TokenId> UserBook::OldestSignedIn(const OrgId& org,
                                                const std::string& name,
                                                absl::Time now,
                                                size_t max) const {
  std::vector<AccessTokenRecord> all = TokensOf(org, name);  // Newest first.
  std::erase_if(all, [&](const AccessTokenRecord& token) {
    return !token.signed_in || token.revoked_at || now >= token.expires_at;
  });
  if (all.size() < max) return std::nullopt;
  return all.back().id;
}

void UserBook::Revoke(const TokenId& id, absl::Time at) {
  for (auto& [hash, token] : tokens_) {
    if (token.id == id && !token.revoked_at) token.revoked_at = at;
  }
}

bool UserBook::Ended(const TokenId& id) const {
  return std::any_of(tokens_.begin(), tokens_.end(), [&](const auto& entry) {
    return entry.second.id == id && entry.second.revoked_at;
  });
}

void UserBook::DropEnded(absl::Time before) {
  absl::erase_if(tokens_, [&](const auto& entry) {
    const AccessTokenRecord& token = entry.second;
    return token.revoked_at.value_or(token.expires_at) < before;
  });
}

bool UserBook::May(const OrgId& org, const std::string& name,
                   v1::Role role) const {
  const UserRecord* user = Find(org, name);
  return user != nullptr && !user->disabled_at && RoleOf(*user) >= role;
}

}  // namespace muster::gateway
