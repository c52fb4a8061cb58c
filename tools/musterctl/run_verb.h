// musterctl run: one command on one machine, live, and the truth about it.
//
//   submit ──▶ poll output ──▶ … ──▶ end ──▶ exit code
//     │            │  connection lost: poll again from the same offsets
//     │            └─ Ctrl-C: ask to cancel, go on polling
//     └─ connection lost: submit again with the same Idempotency-Key, which
//        the gateway knows: it never runs twice

#ifndef MUSTER_TOOLS_MUSTERCTL_RUN_VERB_H_
#define MUSTER_TOOLS_MUSTERCTL_RUN_VERB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// On many machines at once; which, and how.
struct RunOnOptions {
  std::vector<v1::Status> status;
  std::string hostname;             // A glob.
  std::vector<std::string> labels;  // As `agents ls -l`.
  bool all = false;
  std::string concurrency;  // "50", "10%"; empty: the gateway's.
  std::optional<uint32_t> canary;
  std::string stop_after;
  bool dry_run = false;
  bool yes = false;

  bool any() const {
    return all || !status.empty() || !hostname.empty() || !labels.empty();
  }
};

struct RunOptions {
  std::string agent;  // Or:
  RunOnOptions on;
  std::vector<std::string> words;  // After `--`.
  std::string script;              // A file, or "-"; empty: none.
  v1::ShellType shell = v1::SHELL_TYPE_UNSPECIFIED;
  std::optional<absl::Duration> timeout;  // Of the execution.
  std::optional<absl::Duration> kill_grace;
  std::optional<absl::Duration> delivery_timeout;  // Until it must have begun.
  v1::IfOffline if_offline = v1::IF_OFFLINE_UNSPECIFIED;
  std::optional<absl::Duration> queue_ttl;  // The same, if it is queued.
  std::string user;
  std::string working_directory;
  // NAME=VALUE, or NAME: the value of this process's own environment.
  std::vector<std::string> environment;
  std::string umask;  // Octal; empty: the machine's.
  std::string input;  // A file, or "-", to be the command's stdin; empty: none.
  bool stream_input = false;  // stdin here, as it comes.
  std::optional<uint32_t> output_bytes_max;
  std::vector<std::string> labels;  // KEY=VALUE
  std::string purpose;
  bool detach = false;
};

// What is submitted for `options`, without agent and key. One word is a text
// for the shell, as it is; several words are executed without a shell, or, when
// one was asked for, quoted for it. InvalidArgument for a combination that
// means nothing.
absl::StatusOr<v1::SubmitCommandRequest> SubmissionOf(const RunOptions& options,
                                                      Console& console);

// "NAME=VALUE", or "NAME": the value of this process's own environment.
absl::Status AddVariable(const std::string& text, v1::Surroundings& out);

// Returns the exit code for the shell: the command's own and those of
// exit_code.h. Unless it is plainly the command's own, the last line on stderr
// says what it means. With `detach`, prints the id and returns kExitOk.
absl::StatusOr<int> Run(Tool& tool, const RunOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_RUN_VERB_H_
