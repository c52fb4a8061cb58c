// Who may use the gateway, as it is stored.

#ifndef MUSTER_GATEWAY_FLEET_USER_RECORDS_H_
#define MUSTER_GATEWAY_FLEET_USER_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {

// Stored; never renumber.
enum class UserKind : uint8_t { kPerson = 1, kService = 2 };
// As v1::Role. Each may what the one before it may.
enum class UserRole : uint8_t { kViewer = 2, kOperator = 3, kAdmin = 4 };

// A tenant. The default one (DefaultOrg()) is always there and never stored.
struct OrgRecord {
  OrgId id;
  std::string created_by;
  absl::Time created_at;

  friend bool operator==(const OrgRecord&, const OrgRecord&) = default;
};

// A person or a program. (org, name) is the key; a name is never used again.
struct UserRecord {
  OrgId org;
  std::string name;
  UserKind kind = UserKind::kPerson;
  UserRole role = UserRole::kViewer;
  std::string created_by;
  absl::Time created_at;
  std::optional<absl::Time> disabled_at;
  std::string password_hash = {};  // identity/password.h; empty: none.

  friend bool operator==(const UserRecord&, const UserRecord&) = default;
};

// What changes; absent: nothing does.
struct UserEdit {
  std::optional<UserRole> role;
  std::optional<bool> disabled;
  // With it goes what signed in with the former one.
  std::optional<std::string> password_hash = {};
  absl::Time at;
};

// What speaks for a user. The secret itself is never stored.
struct AccessTokenRecord {
  TokenId id;
  OrgId org;
  std::string user;
  std::string secret_sha256;  // 32 raw bytes.
  std::string description;
  std::vector<std::string> scopes;  // Sorted; none: all that the user may.
  std::string created_by;
  absl::Time created_at;
  absl::Time expires_at;
  std::optional<absl::Time> revoked_at;
  bool signed_in = false;  // Made by a sign-in.

  friend bool operator==(const AccessTokenRecord&,
                         const AccessTokenRecord&) = default;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_USER_RECORDS_H_
