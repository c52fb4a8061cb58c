// Who may use the gateway, in memory: asked for every call.

#ifndef MUSTER_GATEWAY_ADMIN_USER_BOOK_H_
#define MUSTER_GATEWAY_ADMIN_USER_BOOK_H_

#include <map>
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

// UserBook holds all users of all orgs and their tokens, as they are stored.
// Pure. Lives on the fleet loop.
class UserBook {
 public:
  // Takes it as it is now; replaces what was known of it.
  void Put(UserRecord user);
  void Put(AccessTokenRecord token);

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

  // Whether `name` may do at present what needs this role.
  bool May(const OrgId& org, const std::string& name, v1::Role role) const;

 private:
  std::map<std::pair<OrgId, std::string>, UserRecord> users_;
  absl::flat_hash_map<std::string, AccessTokenRecord> tokens_;  // By hash.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_USER_BOOK_H_
