#include "agent/exec/shim.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

// The drain rule: a background process may hold the pipe for ever.
constexpr absl::Duration kDrainIdle = absl::Seconds(2);
constexpr absl::Duration kDrainTotal = absl::Seconds(10);
// SIGKILL takes effect within milliseconds unless the kernel itself hangs.
constexpr absl::Duration kKillPatience = absl::Seconds(5);
// How often the process tree is looked at while it is being ended.
constexpr absl::Duration kForceLook = absl::Milliseconds(20);
// How often everything is looked at: poll() does not count suspended time, and
// a signal may have been lost with the agent that was to send it.
constexpr absl::Duration kLookAgain = absl::Seconds(1);
constexpr size_t kPidsNamedMax = 8;

std::string PidsText(std::vector<pid_t> pids) {
  pids.resize(std::min(pids.size(), kPidsNamedMax));
  return fmt::format("{}", fmt::join(pids, ","));
}

}  // namespace

absl::Status Shim::Run() {
  absl::StatusOr<Fd> lock = folder_.Lock();
  if (absl::IsFailedPrecondition(lock.status())) return absl::OkStatus();
  RETURN_IF_ERROR(lock.status());
  lock_ = *std::move(lock);
  if (folder_.HasExit() || folder_.HasStarted()) return absl::OkStatus();

  const absl::Status started = Start();
  if (absl::IsAlreadyExists(started)) return absl::OkStatus();
  RETURN_IF_ERROR(started);
  if (child_) {
    Supervise();
    DescribeEnd();
  }
  return folder_.WriteExit(exit_);
}

absl::Status Shim::Reject(std::string_view reason) {
  child_.reset();
  if (cgroup_) cgroup_->Remove();
  exit_ = Exit();
  exit_.state = CommandState::kRejected;
  exit_.reason = reason;
  exit_.finished_at = clock_.Wall();
  exit_.output_complete = true;
  return absl::OkStatus();
}

absl::Status Shim::Start() {
  absl::StatusOr<Spec> spec = folder_.ReadSpec();
  if (!spec.ok()) return Reject("spec_corrupt");
  spec_ = *std::move(spec);
  if (folder_.CancelRequested()) {
    // OK by construction: Reject() only fills in `exit_`.
    (void)Reject("before_start");
    exit_.state = CommandState::kCancelled;
    return absl::OkStatus();
  }
  const absl::StatusOr<Launch> launch = PlanLaunch(spec_);
  if (absl::IsFailedPrecondition(launch.status())) {
    return Reject(ToStd(launch.status().message()));
  }
  const absl::Status prepared =
      launch.ok() ? Prepare(*launch) : launch.status();
  if (!prepared.ok()) return Reject(StorageReason(prepared));
  const absl::Status claimed = Claim();
  if (claimed.ok() || absl::IsAlreadyExists(claimed)) return claimed;
  return Reject(StorageReason(claimed));
}

absl::Status Shim::Prepare(const Launch& launch) {
  ASSIGN_OR_RETURN(out_,
                   Spool::Open(folder_.File("out"), spec_.output_bytes_max));
  ASSIGN_OR_RETURN(err_,
                   Spool::Open(folder_.File("err"), spec_.output_bytes_max));
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGCHLD, SIGUSR1}) sigaddset(&wanted, signal);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  signals_.Reset(signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_.valid()) return ErrnoStatus(errno, "making", "signalfd");
  // Orphans of the command come to us: the tree below us stays complete.
  prctl(PR_SET_CHILD_SUBREAPER, 1);

  ASSIGN_OR_RETURN(child_, Child::Fork(launch, out_->writer(), err_->writer()));
  cgroup_ = Cgroup::Make(spec_.command_id.str(), child_->pid());
  return absl::OkStatus();
}

// The one place where a command begins: durable(started) < exec.
absl::Status Shim::Claim() {
  const Started started = {.at = clock_.Wall(),
                           .by_agent = false,
                           .cgroup = cgroup_ ? cgroup_->path() : ""};
  RETURN_IF_ERROR(folder_.CreateStarted(started));
  timeout_at_ = clock_.Now() + spec_.timeout;
  exit_.started_at = started.at;
  child_->Release();
  out_->CloseWriter();
  err_->CloseWriter();
  return absl::OkStatus();
}

void Shim::Supervise() {
  while (true) {
    const Instant now = clock_.Now();
    ForceEnd(now);
    if (Settled(now)) break;
    Wait();
  }
  exit_.stdout_bytes = out_->kept_bytes();
  exit_.stderr_bytes = err_->kept_bytes();
  exit_.stdout_dropped = out_->dropped_bytes();
  exit_.stderr_dropped = err_->dropped_bytes();
  exit_.output_complete =
      out_->ended() && err_->ended() && out_->dropped_bytes() == 0 &&
      err_->dropped_bytes() == 0 && out_->Sync().ok() && err_->Sync().ok();
}

void Shim::Wait() {
  absl::Duration wait = kLookAgain;
  const Instant now = clock_.Now();
  if (force_ != Force::kNone) {
    wait = kForceLook;
  } else if (!wait_status_) {
    wait = std::min(wait, timeout_at_ - now);
  }
  pollfd fds[] = {{signals_.get(), POLLIN, 0},
                  {out_->reader(), POLLIN, 0},  // Negative ones are skipped.
                  {err_->reader(), POLLIN, 0}};
  const int64_t wait_ms =
      std::max<int64_t>(0, absl::ToInt64Milliseconds(wait) + 1);
  if (poll(fds, 3, static_cast<int>(wait_ms)) <= 0) return;
  if (fds[0].revents != 0) ReadSignals();
  bool came = false;
  if (fds[1].revents != 0) came |= out_->Drain();
  if (fds[2].revents != 0) came |= err_->Drain();
  if (came) quiet_since_ = clock_.Now();
}

void Shim::ReadSignals() {
  signalfd_siginfo info;
  // SIGUSR1 only wakes: ForceEnd() looks at the file.
  while (read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) ReapChildren();
  }
}

void Shim::ReapChildren() {
  int status = 0;
  while (const pid_t pid = waitpid(-1, &status, WNOHANG)) {
    if (pid < 0) return;
    if (pid != child_->pid()) continue;  // An orphan of the command.
    wait_status_ = status;
    exit_.finished_at = clock_.Wall();
    ended_at_ = quiet_since_ = clock_.Now();
  }
}

// The kill ladder: TERM, grace, KILL until the tree is empty.
void Shim::ForceEnd(Instant now) {
  switch (force_) {
    case Force::kNone:
      if (wait_status_) return;  // It came first; its own end counts.
      if (folder_.CancelRequested()) {
        forced_state_ = CommandState::kCancelled;
      } else if (now >= timeout_at_) {
        forced_state_ = CommandState::kTimedOut;
      } else {
        return;
      }
      for (const pid_t pid : Descendants(getpid())) kill(pid, SIGTERM);
      force_ = Force::kTerm;
      force_at_ = now + spec_.kill_grace;
      return;
    case Force::kTerm:
      if (now < force_at_) return;
      force_ = Force::kKill;
      give_up_at_ = now + kKillPatience;
      [[fallthrough]];
    case Force::kKill:
      KillTree();
  }
}

bool Shim::Settled(Instant now) {
  if (force_ != Force::kNone) {
    ReapChildren();
    if (force_ == Force::kKill && now >= give_up_at_) return true;
    if (!wait_status_ || !TreeEmpty()) return false;
  }
  if (!wait_status_) return false;
  return (out_->ended() && err_->ended()) || now - quiet_since_ >= kDrainIdle ||
         now - ended_at_ >= kDrainTotal;
}

bool Shim::TreeEmpty() const {
  return Descendants(getpid()).empty() && !(cgroup_ && cgroup_->Populated());
}

void Shim::KillTree() const {
  if (cgroup_) cgroup_->Kill();
  for (const pid_t pid : Descendants(getpid())) kill(pid, SIGKILL);
}

void Shim::DescribeEnd() {
  if (!wait_status_) exit_.finished_at = clock_.Wall();
  if (wait_status_ && WIFEXITED(*wait_status_)) {
    exit_.exit_code = WEXITSTATUS(*wait_status_);
    exit_.state = *exit_.exit_code == 0 ? CommandState::kSucceeded
                                        : CommandState::kFailed;
  } else if (wait_status_) {
    exit_.signal = WTERMSIG(*wait_status_);
    exit_.state = CommandState::kSignaled;
  }
  const std::vector<pid_t> remaining = Descendants(getpid());
  if (force_ != Force::kNone) {
    exit_.state = forced_state_;
    if (!remaining.empty()) {
      exit_.reason = "processes_remain: " + PidsText(remaining);
    }
  } else if (!out_->ended() || !err_->ended()) {
    exit_.reason = "pipe_held_by: " + PidsText(remaining);
  }
  // What the command left running on purpose keeps its cgroup.
  if (cgroup_) cgroup_->Remove();
}

}  // namespace muster::agent
