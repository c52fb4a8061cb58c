// How is one command run to its end, whatever happens to the agent?
//
//   claim ─▶ running ─▶ (TERM ─▶ KILL) ─▶ drain ─▶ exit record
//
// Every step before `started` may still say "rejected: nothing was started".

#ifndef MUSTER_AGENT_EXEC_SHIM_H_
#define MUSTER_AGENT_EXEC_SHIM_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "agent/exec/command_folder.h"
#include "agent/exec/intake.h"
#include "agent/exec/launch.h"
#include "agent/exec/process_tree.h"
#include "agent/exec/spool.h"
#include "libprotocol/base/clock.h"

namespace muster::agent {

// Shim runs the command of one folder and writes how it ended.
//
// Threading: one thread, its process's only one (it forks).
// Cancelling: the agent creates `cancel` and sends SIGUSR1; the file is what
// counts, the signal only wakes. SIGTERM, SIGINT and SIGHUP are ignored:
// stopping the agent, even with its whole control group, must not end its
// commands.
class Shim {
 public:
  // `clock` must outlive the shim.
  Shim(CommandFolder folder, const Clock& clock)
      : folder_(std::move(folder)), clock_(clock) {}

  // Returns when the exit record is durable, or at once without having done
  // anything if another process holds the lock or the folder is decided
  // already. Otherwise the storage error that kept it from recording.
  absl::Status Run();

 private:
  // How far the command's end has been forced.
  enum class Force { kNone, kTerm, kKill };

  // Everything up to exec. Ok: the command runs, or `exit_` says that nothing
  // was started. AlreadyExists: the agent has decided otherwise.
  absl::Status Start();
  absl::Status Prepare(Launch& launch);
  // What the command reads and writes.
  absl::Status OpenTerminal(Launch& launch);
  absl::Status OpenPipes(Launch& launch);
  absl::Status Claim();
  absl::Status Reject(std::string_view reason);

  void Supervise();
  void Wait();
  absl::Duration Patience(Instant now) const;
  // The agent is slower than the session: its programs wait.
  bool HoldsBack() const;
  bool StreamsEnded() const;
  // Nobody can see the session, nor will soon.
  bool Abandoned(Instant now);
  void ReadSignals();
  void ReapChildren();
  void ForceEnd(Instant now);
  void Terminate() const;
  bool Settled(Instant now);
  bool TreeEmpty() const;
  void KillTree() const;
  void DescribeEnd();

  const CommandFolder folder_;
  const Clock& clock_;

  Fd lock_, signals_;
  Spec spec_;
  std::optional<Spool> out_, err_;  // A session has no err_.
  std::optional<Intake> intake_;    // Of a session, or for streamed input.
  std::optional<Cgroup> cgroup_;
  std::optional<Child> child_;  // Engaged: the command was released to exec.
  Exit exit_;

  std::optional<int> wait_status_;  // Of the command itself.
  Instant timeout_at_, force_at_;   // force_at_: when TERM becomes KILL.
  Instant quiet_since_;             // Since then no byte came, after its end.
  Instant ended_at_;
  Instant give_up_at_;
  Force force_ = Force::kNone;
  CommandState forced_state_ = CommandState::kCancelled;
  Instant accompanied_at_;  // When an agent last spoke of a gateway.
  bool abandoned_ = false;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_SHIM_H_
