// musterctl users … and orgs …: who may use the gateway.

#ifndef MUSTER_TOOLS_MUSTERCTL_USERS_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_USERS_VERBS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

absl::StatusOr<int> OrgsCreate(Tool& tool, const std::string& name);

absl::StatusOr<int> OrgsLs(Tool& tool, bool header);

struct UsersCreateOptions {
  std::string name;
  v1::Role role = v1::ROLE_VIEWER;
  bool service = false;
};
absl::StatusOr<int> UsersCreate(Tool& tool, const UsersCreateOptions& options);

absl::StatusOr<int> UsersLs(Tool& tool, bool header);

// What changes; absent: nothing does.
struct UsersUpdateOptions {
  std::string name;
  std::optional<v1::Role> role;
  std::optional<bool> disabled;
};
absl::StatusOr<int> UsersUpdate(Tool& tool, const UsersUpdateOptions& options);

struct UsersPasswordOptions {
  std::string name;
  bool remove = false;
};
// Asked for twice on a terminal; else the first line of standard input.
absl::StatusOr<int> UsersPassword(Tool& tool,
                                  const UsersPasswordOptions& options);

// One's own.
absl::StatusOr<int> ChangePassword(Tool& tool);

struct UserTokensCreateOptions {
  std::string name;
  std::string description;
  std::optional<absl::Duration> ttl;
  std::vector<std::string> scopes;
};
// The secret alone goes to stdout.
absl::StatusOr<int> UserTokensCreate(Tool& tool,
                                     const UserTokensCreateOptions& options);

struct UserTokensLsOptions {
  std::string name;
  bool header = true;
};
absl::StatusOr<int> UserTokensLs(Tool& tool,
                                 const UserTokensLsOptions& options);

struct UserTokensRevokeOptions {
  std::string name;
  std::string token_id;
};
absl::StatusOr<int> UserTokensRevoke(Tool& tool,
                                     const UserTokensRevokeOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_USERS_VERBS_H_
