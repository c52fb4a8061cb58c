// Who may use the gateway, in memory: asked for every call.

#ifndef MUSTER_GATEWAY_ADMIN_USER_BOOK_H_
#define MUSTER_GATEWAY_ADMIN_USER_BOOK_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/admin/handlers.h"
#include "gateway/fleet/user_records.h"

namespace muster::gateway {

// UserBook holds all orgs, their users and their tokens, as they are stored.
// Pure. Lives on the fleet loop.
class UserBook {
 public:
  UserBook();
  // Takes it as it is now; replaces what was known of it.
  void Put(OrgRecord org);
  void Put(UserRecord user);
  void Put(AccessTokenRecord token);

  // The default one is always known.
  bool Knows(const OrgId& org) const;
  // The default one too, by id.
  std::vector<OrgRecord> Orgs() const;

  // nullptr: there is none, and never was.
  const UserRecord* Find(const OrgId& org, const std::string& name) const;
  // By name.
  std::vector<UserRecord> UsersOf(const OrgId& org) const;
  // Newest first.
  std::vector<AccessTokenRecord> TokensOf(const OrgId& org,
                                          const std::string& user) const;

  // For whom the token with this hash (32 raw bytes) speaks at `now`.
  // Unauthenticated, with one and the same text, if it is unknown, expired,
  // revoked, or its user is disabled.
  absl::StatusOr<Caller> Authenticate(std::string_view secret_sha256,
                                      absl::Time now) const;

  // The tokens of those who signed in as this user are revoked, as the store
  // did it.
  void SignOut(const OrgId& org, const std::string& name, absl::Time at);
  // The oldest good token of a sign-in, if there are `max` of them or more.
  std::optional<TokenId> OldestSignedIn(const OrgId& org,
                                        const std::string& name, absl::Time now,
                                        size_t max) const;
  void Revoke(const TokenId& token, absl::Time at);
  // Whether this token was revoked.
  bool Ended(const TokenId& token) const;
  // Forgets tokens that speak for nobody since before that time.
  void DropEnded(absl::Time before);

  // Whether `name` may do at present what needs this role.
  bool May(const OrgId& org, const std::string& name, v1::Role role) const;

 private:
  std::map<OrgId, OrgRecord> orgs_;
  std::map<std::pair<OrgId, std::string>, UserRecord> users_;
  absl::flat_hash_map<std::string, AccessTokenRecord> tokens_;  // By hash.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_USER_BOOK_H_
