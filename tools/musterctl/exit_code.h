// What the shell learns, and what a person reads, when a verb fails.

#ifndef MUSTER_TOOLS_MUSTERCTL_EXIT_CODE_H_
#define MUSTER_TOOLS_MUSTERCTL_EXIT_CODE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace muster::ctl {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitAuth = 4,
  kExitGatewayUnreachable = 5,
  kExitConflict = 6,
  kExitAgentUnreachable = 7,
  kExitTimeout = 124,
  kExitDidNotRun = 125,  // `run` only: safe to repeat.
  kExitInterrupted = 130,
  kExitOutcomeUnknown = 255,  // `run` only: do not repeat.
};

// Whether the gateway itself refused the token; an answer from somebody whose
// key is not the gateway's says nothing about tokens.
bool TokenRefused(const absl::Status& status);

// The code of the gateway's problem decides if there is one, else the status.
ExitCode ExitCodeOf(const absl::Status& status);

// Whether asking again may help: no answer, or the gateway is busy or stopping.
bool IsPassing(const absl::Status& error);

// The same status with a line of advice. An empty `hint` changes nothing.
absl::Status WithHint(absl::Status status, std::string_view hint);

// "error: …" and, if there is advice, "hint: …"; each line ends with '\n'. With
// `as_json` the gateway's problem object, or one made in its form.
std::string ErrorText(const absl::Status& status, bool as_json);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_EXIT_CODE_H_
