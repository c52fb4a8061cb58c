#include "agent/exec/shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <utility>
#include <vector>

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

constexpr std::string_view kRecordedNotice = "This session is recorded.\r\n";

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
  absl::StatusOr<Launch> launch = PlanLaunch(spec_);
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

absl::Status Shim::Prepare(Launch& launch) {
  RETURN_IF_ERROR(spec_.terminal ? OpenTerminal(launch) : OpenPipes(launch));
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGCHLD, SIGUSR1}) sigaddset(&wanted, signal);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  signals_.Reset(signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_.valid()) return ErrnoStatus(errno, "making", "signalfd");
  // Orphans of the command come to us: the tree below us stays complete.
  prctl(PR_SET_CHILD_SUBREAPER, 1);

  cgroup_ = Cgroup::Make(spec_.command_id.str());
  ASSIGN_OR_RETURN(child_, Child::Fork(launch, cgroup_, out_->writer(),
                                       err_ ? err_->writer() : -1));
  return absl::OkStatus();
}

absl::Status Shim::OpenTerminal(Launch& launch) {
  ASSIGN_OR_RETURN(Pty pty, Pty::Open(spec_.terminal->size));
  Fd writer(fcntl(pty.master.get(), F_DUPFD_CLOEXEC, 0));
  if (!writer.valid()) return ErrnoStatus(errno, "making", "a terminal");
  ASSIGN_OR_RETURN(intake_,
                   Intake::Open(folder_.path(), std::move(writer), true));
  ASSIGN_OR_RETURN(out_,
                   Spool::OpenRing(folder_.File("out"), std::move(pty.master)));
  if (spec_.terminal->recorded) out_->Say(kRecordedNotice);
  launch.terminal = std::move(pty.slave);
  return absl::OkStatus();
}

absl::Status Shim::OpenPipes(Launch& launch) {
  ASSIGN_OR_RETURN(out_,
                   Spool::Open(folder_.File("out"), spec_.output_bytes_max));
  ASSIGN_OR_RETURN(err_,
                   Spool::Open(folder_.File("err"), spec_.output_bytes_max));
  if (!spec_.input_streamed) return absl::OkStatus();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making", "pipe");
  launch.input.Reset(ends[0]);
  Fd writer(ends[1]);
  if (fcntl(writer.get(), F_SETFL, O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "preparing", "pipe");
  }
  ASSIGN_OR_RETURN(intake_,
                   Intake::Open(folder_.path(), std::move(writer), false));
  return absl::OkStatus();
}

// The one place where a command begins: durable(started) < exec.
absl::Status Shim::Claim() {
  const Started started = {.at = clock_.Wall(),
                           .by_agent = false,
                           .cgroup = cgroup_ ? cgroup_->path() : ""};
  RETURN_IF_ERROR(folder_.CreateStarted(started));
  accompanied_at_ = clock_.Now();
  timeout_at_ = accompanied_at_ + spec_.timeout;
  exit_.started_at = started.at;
  child_->Release();
  out_->CloseWriter();
  if (err_) err_->CloseWriter();
  return absl::OkStatus();
}

void Shim::Supervise() {
  while (true) {
    const Instant now = clock_.Now();
    ForceEnd(now);
    if (Settled(now)) break;
    Wait();
  }
  exit_.output_complete = StreamsEnded();
  for (const auto& [spool, bytes, dropped] :
       {std::tuple(&out_, &exit_.stdout_bytes, &exit_.stdout_dropped),
        std::tuple(&err_, &exit_.stderr_bytes, &exit_.stderr_dropped)}) {
    if (!*spool) continue;
    *bytes = (*spool)->kept_bytes();
    *dropped = (*spool)->dropped_bytes();
    exit_.output_complete &= *dropped == 0 && (*spool)->Sync().ok();
  }
}

bool Shim::StreamsEnded() const {
  return out_->ended() && (!err_ || err_->ended());
}

void Shim::Wait() {
  std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0},
                             {HoldsBack() ? -1 : out_->reader(), POLLIN, 0},
                             {err_ ? err_->reader() : -1, POLLIN, 0}};
  if (intake_) intake_->AddTo(fds);
  const int64_t wait_ms = std::max<int64_t>(
      0, absl::ToInt64Milliseconds(Patience(clock_.Now())) + 1);
  const int ready = poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
  out_->Retry();
  if (ready <= 0) return;
  if (fds[0].revents != 0) ReadSignals();
  bool came = false;
  if (fds[1].revents != 0) came |= out_->Drain();
  if (fds[2].revents != 0) came |= err_->Drain();
  if (came) quiet_since_ = clock_.Now();
  if (intake_) intake_->Serve();
}

absl::Duration Shim::Patience(Instant now) const {
  if (force_ != Force::kNone) return kForceLook;
  return wait_status_ ? kLookAgain : std::min(kLookAgain, timeout_at_ - now);
}

bool Shim::HoldsBack() const {
  if (!spec_.terminal || wait_status_ || !intake_->acknowledged()) return false;
  // What was said anew after a restart of the agent may be more than is here.
  const uint64_t kept = out_->kept_bytes();
  return kept - std::min(kept, *intake_->acknowledged()) >= kRingBytes / 2;
}

bool Shim::Abandoned(Instant now) {
  if (!spec_.terminal) return false;
  if (intake_->acknowledged()) accompanied_at_ = now;
  abandoned_ = now - accompanied_at_ >= spec_.terminal->keep;
  return abandoned_;
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
      } else if (!Abandoned(now)) {
        return;
      }
      Terminate();
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

void Shim::Terminate() const {
  for (const pid_t pid : Descendants(getpid())) {
    // As when a terminal is closed: shells ignore SIGTERM on one, and what is
    // stopped must go on to hear it.
    if (spec_.terminal) kill(pid, SIGHUP);
    if (spec_.terminal) kill(pid, SIGCONT);
    kill(pid, SIGTERM);
  }
}

bool Shim::Settled(Instant now) {
  if (force_ != Force::kNone) {
    ReapChildren();
    if (force_ == Force::kKill && now >= give_up_at_) return true;
    if (!wait_status_ || !TreeEmpty()) return false;
  }
  if (!wait_status_) return false;
  return StreamsEnded() || now - quiet_since_ >= kDrainIdle ||
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
    if (abandoned_) exit_.reason = "no_gateway";
    if (!remaining.empty()) {
      exit_.reason = "processes_remain: " + PidsText(remaining);
    }
  } else if (!StreamsEnded()) {
    exit_.reason = out_->starved() ? "agent_disk_full"
                                   : "pipe_held_by: " + PidsText(remaining);
  }
  // What the command left running on purpose keeps its cgroup.
  if (cgroup_) cgroup_->Remove();
}

}  // namespace muster::agent
