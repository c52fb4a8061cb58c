// What exactly is executed for a command, and in which surroundings?

#ifndef MUSTER_AGENT_EXEC_LAUNCH_H_
#define MUSTER_AGENT_EXEC_LAUNCH_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/exec/command_folder.h"
#include "agent/exec/process_tree.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// Longer text reaches the interpreter by descriptor: the kernel takes no
// argument of 128 KiB (measured), and an argument is world-readable.
inline constexpr size_t kTextAsArgumentMax = 100 * 1024;

// Where commands find programs, and where shells are looked for.
inline constexpr std::string_view kCommandPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// A command's oom_score_adj is so much above its shim's, and never below 0: as
// if it used a tenth of the machine's memory more than it does.
inline constexpr int kCommandOomScoreAbove = 100;

// Of another user.
struct RunAs {
  std::string name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};

// Launch is everything execve(2) needs.
struct Launch {
  std::string program;  // Absolute, or empty if there is no such program.
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string folder;   // The working folder, …
  bool folder_is_home;  // … of the user: "/" will do as well.
  mode_t umask;
  Fd text;   // Open on the text as descriptor 3; invalid: not needed.
  Fd input;  // Open on what stdin gives; invalid: nothing.
  // All three streams are this terminal, which is its own; invalid: none is.
  Fd terminal;
  // Whom to become; absent: nobody else.
  std::optional<RunAs> run_as;
};

// Why this machine cannot run it at all is FailedPrecondition with the reason
// of the rejection as its message: shell_unavailable, user_unknown,
// user_not_permitted, working_directory_missing. A missing program of kExec is
// no error here: the attempt to run it is what fails, with code 127, as in a
// shell.
// `terminal` and `input` are the caller's to fill in, of a session or when
// input is streamed.
absl::StatusOr<Launch> PlanLaunch(const Spec& spec);

// The name of the user that a command with these surroundings runs as. Errors
// as PlanLaunch().
absl::StatusOr<std::string> UserOf(const Surroundings& surroundings);

// The executable `name` in `path` (or itself, if it contains '/'); empty: none.
std::string FindProgram(std::string_view name, std::string_view path);

// Child is a process that waits for Release() before it executes anything. If
// it is destroyed first, or this process dies first, the child ends without
// having executed.
class Child {
 public:
  // Forks; the child leads a session of its own and writes to `out` and `err`,
  // if it has no terminal. It is in `cgroup` if there is one; if that cannot be
  // done, there is none afterwards. For processes with one thread.
  static absl::StatusOr<Child> Fork(const Launch& launch,
                                    std::optional<Cgroup>& cgroup, int out,
                                    int err);

  pid_t pid() const { return pid_; }
  void Release();

 private:
  Child(pid_t pid, Fd gate) : pid_(pid), gate_(std::move(gate)) {}
  pid_t pid_;
  Fd gate_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_LAUNCH_H_
