// What is on disk about one command, and who may write it?
//
//   COMMAND_ID/     0700; every file 0600
//     spec          what to run; written by the agent before anything else
//     exit.reserve  room for `exit`, so that a full disk cannot swallow a result
//     lock          locked by the shim while it lives
//     started       created before exec, whole and only once. Whoever creates it
//                   decides: the shim "I will exec now", the agent "never
//                   started"
//     out err       what the command wrote, each up to output_bytes_max; of a
//                   session `out` alone, and only the end of it
//     line          socket of the shim, if somebody types or pipes into it
//     cancel        exists once the command is to be cancelled
//     exit          how it ended; complete from the moment it exists
//
// The lock is a POSIX record lock: unlike flock it is not inherited by the
// command, and it names its holder, so that an agent which starts again finds
// the shim by it.

#ifndef MUSTER_AGENT_EXEC_COMMAND_FOLDER_H_
#define MUSTER_AGENT_EXEC_COMMAND_FOLDER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/exec/pty.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/ids.h"

namespace muster::agent {

// The numbers are those of muster.v1.ShellType.
enum class Shell {
  kBash = 1,
  kSh = 2,
  kZsh = 3,
  kPython3 = 4,
  kPwsh = 5,
  kExec = 6,
};

// The numbers are those of muster.v1.CommandState; only those that an agent
// reports.
enum class CommandState {
  kReceived = 3,
  kRunning = 4,
  kSucceeded = 5,
  kFailed = 6,
  kSignaled = 7,
  kTimedOut = 8,
  kCancelled = 9,
  kRejected = 11,
  kOutcomeUnknown = 12,
};

enum class Stream { kStdout = 1, kStderr = 2 };

// "bash", "succeeded", …
std::string_view Name(Shell shell);
std::string_view Name(CommandState state);

// Terminal states never change again.
bool IsTerminal(CommandState state);

// In which surroundings; what is empty or absent is this machine's choice.
struct Surroundings {
  std::string user = {};    // Empty: whom the agent runs as.
  std::string folder = {};  // To run in; empty: the user's home.
  // NAME=VALUE, added to the clean environment.
  std::vector<std::string> environment = {};
  std::optional<mode_t> umask = {};
  std::string input = {};  // For stdin, then its end; empty: /dev/null.

  friend bool operator==(const Surroundings&, const Surroundings&) = default;
};

// What a session runs on.
struct Terminal {
  WindowSize size = {};
  std::string type = {};  // $TERM.
  absl::Duration keep;    // It lives so long without an agent that has a gateway.
  bool recorded = false;

  friend bool operator==(const Terminal&, const Terminal&) = default;
};

// What to run. Plain data; the agent has validated it.
struct Spec {
  CommandId command_id;
  uint64_t dispatch_seq = 0;
  Shell shell = Shell::kSh;
  std::string command;            // Of a shell.
  // Of kExec. None, on a terminal: the user's login shell.
  std::vector<std::string> argv;
  absl::Duration timeout;
  absl::Duration kill_grace;
  uint64_t output_bytes_max = 0;  // Per stream.
  Surroundings surroundings;
  std::optional<Terminal> terminal = {};
  bool input_streamed = false;  // What stdin gives comes later.
  std::string boot_id;  // Of the boot in which it was accepted.
};

// Who decided whether the command runs.
struct Started {
  absl::Time at;
  bool by_agent = false;  // It never started and never will.
  std::string cgroup;     // Absolute path; empty: none could be made.
};

// How it ended. Written once.
struct Exit {
  CommandState state = CommandState::kOutcomeUnknown;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string reason;
  std::optional<absl::Time> started_at;
  absl::Time finished_at;
  uint64_t stdout_bytes = 0;  // In `out`.
  uint64_t stderr_bytes = 0;
  uint64_t stdout_dropped = 0;  // Written by the command, but not kept.
  uint64_t stderr_dropped = 0;
  // Both streams were read to their end and nothing was dropped.
  bool output_complete = false;
};

// CommandFolder reads and writes one folder. Stateless apart from its path;
// blocks on the disk. Corrupt files are DataLoss, absent ones NotFound.
class CommandFolder {
 public:
  explicit CommandFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }
  // The last component of the path.
  CommandId id() const;

  // Makes the folder with `spec` and the reserve, durably. After an error the
  // folder does not exist. AlreadyExists if it did before.
  absl::Status Create(const Spec& spec) const;

  absl::StatusOr<Spec> ReadSpec() const;
  absl::StatusOr<Started> ReadStarted() const;
  absl::StatusOr<Exit> ReadExit() const;
  bool HasSpec() const { return FileExists(File("spec")); }
  bool HasStarted() const { return FileExists(File("started")); }
  bool HasExit() const { return FileExists(File("exit")); }

  // Decides. AlreadyExists: somebody else has.
  absl::Status CreateStarted(const Started& started) const;

  // Durable. Uses the reserve, so that no new block is needed.
  absl::Status WriteExit(const Exit& exit) const;

  // Durable and idempotent.
  absl::Status RequestCancel() const;
  bool CancelRequested() const { return FileExists(File("cancel")); }

  // Takes the lock for as long as the descriptor lives (this process must not
  // open the file a second time: closing any descriptor of it unlocks).
  // FailedPrecondition if another process holds it.
  absl::StatusOr<Fd> Lock() const;

  // The process that holds the lock; nullopt: nobody. Never call it in the
  // process that holds the lock.
  absl::StatusOr<std::optional<pid_t>> LockHolder() const;

  // Bytes of a stream that are there to read; 0 if there is no such file yet.
  uint64_t OutputBytes(Stream stream) const;

  // At most `bytes_max` bytes from `offset` on; fewer, or none, at the end.
  absl::StatusOr<std::string> ReadOutput(Stream stream, uint64_t offset,
                                         size_t bytes_max) const;

  // Removes the folder. A crash half-way leaves no folder of this name.
  absl::Status Delete() const;

 private:
  std::string path_;
};

// The folders below `parent`, sorted by name; finishes the deletions that a
// crash interrupted. Names that are no UUID are left alone.
absl::StatusOr<std::vector<CommandFolder>> ListCommandFolders(
    const std::string& parent);

// The reason that a machine gives for a command it could not store:
// agent_disk_full, or agent_storage_error.
std::string_view StorageReason(const absl::Status& status);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_COMMAND_FOLDER_H_
