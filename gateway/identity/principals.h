// Who may call the web port, and the first of them: the admin token that a
// fresh gateway makes.

#ifndef MUSTER_GATEWAY_IDENTITY_PRINCIPALS_H_
#define MUSTER_GATEWAY_IDENTITY_PRINCIPALS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/ids.h"
#include "muster/v1/options.pb.h"

namespace muster::gateway {

// Stored with audit records; never renumber.
enum class PrincipalKind : uint8_t {
  kAnonymous = 1,    // No credential: only what is public.
  kAdminToken = 2,   // The token in the data folder.
  kAccessToken = 3,  // A token made by an admin.
};

struct Principal {
  std::string name;  // As the audit log shows it: "admin-token".
  OrgId org;
  v1::Role role = v1::ROLE_PUBLIC;
  PrincipalKind kind = PrincipalKind::kAnonymous;
};

// The holder of the admin token: an admin of every org, this one of the
// default.
Principal AdminPrincipal();

// The admin token of a data folder, in two files of mode 0600:
//   admin-token          the token, for the operator, who may move it elsewhere
//   admin-token.sha256   its hash: all that the gateway needs; once there was
//                        another, also since when it is this one
struct AdminToken {
  std::string path;      // Of the operator's file.
  bool created = false;  // By this call.
  std::string hash;      // As HashToken(kAccess, …).
  // Since when a gateway has taken no other; InfinitePast: from the first on.
  absl::Time since = absl::InfinitePast();
};

// The token of this folder, for a gateway that takes it from `now` on, if it
// did not before; makes one if there has never been any. Errors of the file
// system as they are (files.h); DataLoss naming the file if it holds something
// else.
absl::StatusOr<AdminToken> OpenAdminToken(const std::string& folder,
                                          absl::Time now);

// Replaces the token, whatever the files hold. A gateway that runs in this
// folder goes on with the old one until it reads the folder again. Not
// finished, it can be repeated.
absl::StatusOr<AdminToken> ResetAdminToken(const std::string& folder);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_IDENTITY_PRINCIPALS_H_
