// musterctl login, context …: whom this person speaks to, and as whom.

#ifndef MUSTER_TOOLS_MUSTERCTL_LOGIN_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_LOGIN_VERBS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "libprotocol/base/secret.h"
#include "tools/musterctl/console.h"
#include "tools/musterctl/program.h"

namespace muster::ctl {

// Takes the token from `token_file` ("-": standard input), MUSTER_TOKEN, a
// prompt on a terminal, or standard input; asks the gateway who that is; and
// keeps both as a context (--context, else "default") that becomes current.
// After an error nothing is changed.
absl::StatusOr<int> Login(World& world, const GlobalFlags& flags,
                          const std::string& token_file);

// From the terminal, without showing it, or the first line of standard input.
absl::StatusOr<Secret> AskPassword(Console& console, std::string_view prompt);

// Signs in with a password, from a prompt or standard input, and keeps the
// token that the gateway gives for it, as Login() does.
absl::StatusOr<int> LoginAs(World& world, const GlobalFlags& flags,
                            const std::string& user);

// The token of the context in use speaks for nobody any more, and is forgotten.
// One that the gateway does not know is forgotten all the same.
absl::StatusOr<int> Logout(World& world, const GlobalFlags& flags);

absl::StatusOr<int> ContextLs(World& world, const GlobalFlags& flags);
// NotFound if there is none of that name.
absl::StatusOr<int> ContextUse(World& world, const GlobalFlags& flags,
                               const std::string& name);
absl::StatusOr<int> ContextRm(World& world, const GlobalFlags& flags,
                              const std::string& name);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_LOGIN_VERBS_H_
