// musterctl login, context …: whom this person speaks to, and as whom.

#ifndef MUSTER_TOOLS_MUSTERCTL_LOGIN_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_LOGIN_VERBS_H_

#include <string>

#include "absl/status/statusor.h"
#include "tools/musterctl/program.h"

namespace muster::ctl {

// Takes the token from `token_file` ("-": standard input), MUSTER_TOKEN, a
// prompt on a terminal, or standard input; asks the gateway who that is; and
// keeps both as a context (--context, else "default") that becomes current.
// After an error nothing is changed.
absl::StatusOr<int> Login(World& world, const GlobalFlags& flags,
                          const std::string& token_file);

absl::StatusOr<int> ContextLs(World& world, const GlobalFlags& flags);
// NotFound if there is none of that name.
absl::StatusOr<int> ContextUse(World& world, const GlobalFlags& flags,
                               const std::string& name);
absl::StatusOr<int> ContextRm(World& world, const GlobalFlags& flags,
                              const std::string& name);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_LOGIN_VERBS_H_
