// musterctl exec and musterctl sessions: programs on a terminal of a machine.
//
//   open ──▶ attach ──▶ read, write ──▶ … ──▶ end ──▶ exit code
//              ▲            │  connection lost, gateway restarted
//              └────────────┘  ~d: detached; the session lives on

#ifndef MUSTER_TOOLS_MUSTERCTL_SESSION_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_SESSION_VERBS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct ExecOptions {
  std::string agent;
  std::vector<std::string> words;  // After `--`; none: the login shell.
  bool interactive = false;        // As other tools spell it: no effect.
  bool terminal = false;
  std::string user;
  std::string working_directory;
  std::vector<std::string> environment;  // As those of `run`.
  std::optional<absl::Duration> timeout;
  std::optional<absl::Duration> keep;
  bool record = false;
  std::string purpose;
};

// The exit code of the program, and those of `run` (exit_code.h); kExitOk if it
// was left running.
absl::StatusOr<int> Exec(Tool& tool, const ExecOptions& options);

struct SessionsLsOptions {
  std::string agent;  // Empty: all.
  bool all = false;   // Those that have ended, too.
  bool header = true;
};
absl::StatusOr<int> SessionsLs(Tool& tool, const SessionsLsOptions& options);

struct SessionsAttachOptions {
  std::string session_id;
  bool read_only = false;
};
absl::StatusOr<int> SessionsAttach(Tool& tool,
                                   const SessionsAttachOptions& options);

absl::StatusOr<int> SessionsKill(Tool& tool, const std::string& session_id);

struct SessionsPlayOptions {
  std::string session_id;
  std::string to;  // A file for the asciicast; empty: play it here.
  double speed = 1;
  // Pauses are no longer than this.
  std::optional<absl::Duration> idle_max;
};
absl::StatusOr<int> SessionsPlay(Tool& tool,
                                 const SessionsPlayOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_SESSION_VERBS_H_
