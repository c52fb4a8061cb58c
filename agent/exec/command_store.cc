#include "agent/exec/command_store.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/exec/process_tree.h"
#include "agent/exec/start_shim.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

// A shim that begins or ends between two looks changes the answer; it does so
// at most twice.
constexpr int kSettleAttempts = 4;

std::string CommandsFolder(const std::string& folder) {
  return folder + "/commands";
}

absl::StatusOr<SeenLog> OpenSeenLog(const std::string& path) {
  absl::StatusOr<SeenLog> seen = SeenLog::Open(path);
  if (!absl::IsDataLoss(seen.status())) return seen;
  Log(kError, "log of seen orders is unreadable, starting anew",
      {{"path", path}, {"error", seen.status()}});
  if (rename(path.c_str(), (path + ".unreadable").c_str()) != 0) {
    return ErrnoStatus(errno, "setting aside", path);
  }
  return SeenLog::Open(path);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CommandStore>> CommandStore::Open(
    Options options, const Clock& clock, absl::AnyInvocable<void()> announce) {
  RETURN_IF_ERROR(MakeFolder(options.folder, 0700));
  RETURN_IF_ERROR(MakeFolder(CommandsFolder(options.folder), 0700));
  ASSIGN_OR_RETURN(SeenLog seen, OpenSeenLog(options.folder + "/seen"));
  return std::unique_ptr<CommandStore>(new CommandStore(
      std::move(options), clock, std::move(seen), std::move(announce)));
}

CommandStore::CommandStore(Options options, const Clock& clock, SeenLog seen,
                           absl::AnyInvocable<void()> announce)
    : options_(std::move(options)),
      clock_(clock),
      seen_(std::move(seen)),
      watcher_(std::move(announce)) {}

CommandFolder CommandStore::FolderOf(const CommandId& command_id) const {
  return CommandFolder(CommandsFolder(options_.folder) + "/" +
                       command_id.str());
}

CommandStore::View CommandStore::Accept(const Spec& spec,
                                        std::string_view rejection) {
  const CommandFolder folder = FolderOf(spec.command_id);
  View view;
  view.dispatch_seq = spec.dispatch_seq;
  // The folder first: an order that is seen but has none would be a riddle.
  const absl::Status created = folder.Create(spec);
  const absl::Status seen = RaiseSeen(spec.dispatch_seq);
  std::string reason(rejection);
  if (!seen.ok()) reason = StorageReason(seen);
  if (!created.ok()) reason = StorageReason(created);
  if (reason.empty()) {
    const absl::Status spawned = SpawnShim(folder);
    if (spawned.ok()) return view;
    Log(kError, "shim cannot be started",
        {{"path", options_.shim_path}, {"error", spawned}});
    reason = "shim_unavailable";
  }
  view.exit = Rejected(reason);
  if (!created.ok()) return view;
  const absl::StatusOr<Fd> lock = folder.Lock();
  const absl::Status declared =
      lock.ok() ? Declare(folder, *view.exit) : lock.status();
  if (!declared.ok()) {
    Log(kError, "rejection cannot be recorded",
        {{"command_id", spec.command_id.str()}, {"error", declared}});
  }
  return view;
}

absl::Status CommandStore::SpawnShim(const CommandFolder& folder) {
  ASSIGN_OR_RETURN(const pid_t pid, StartShim(options_.shim_path, folder));
  const absl::Status watched = watcher_.Watch(folder.id(), folder.path(), pid);
  if (!watched.ok()) {
    // It would run unwatched; it has not been told to anyone yet.
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  return watched;
}

absl::StatusOr<std::vector<CommandId>> CommandStore::List() {
  Cgroup::RemoveEmptyOnes();
  ASSIGN_OR_RETURN(const std::vector<CommandFolder> folders,
                   ListCommandFolders(CommandsFolder(options_.folder)));
  std::vector<CommandId> ids;
  for (const CommandFolder& folder : folders) {
    if (folder.HasSpec() || folder.HasStarted() || folder.HasExit()) {
      ids.push_back(folder.id());
    } else {  // A crash while it was being made: it was never seen.
      RETURN_IF_ERROR(folder.Delete());
    }
  }
  return ids;
}

absl::StatusOr<CommandStore::View> CommandStore::Look(
    const CommandId& command_id) {
  const CommandFolder folder = FolderOf(command_id);
  View view;
  bool has_line = false;
  if (const auto spec = folder.ReadSpec(); spec.ok()) {
    view.dispatch_seq = spec->dispatch_seq;
    view.session = spec->terminal.has_value();
    has_line = view.session || spec->input_streamed;
  }
  if (const auto started = folder.ReadStarted();
      started.ok() && !started->by_agent) {
    view.started_at = started->at;
  }
  absl::StatusOr<Exit> exit = folder.ReadExit();
  if (exit.ok()) {
    view.exit = *std::move(exit);
  } else if (absl::IsDataLoss(exit.status())) {
    view.exit.emplace();
    view.exit->reason = "exit_corrupt";
    view.exit->finished_at = clock_.Wall();
  } else if (!absl::IsNotFound(exit.status())) {
    return exit.status();
  }
  view.stdout_bytes = folder.OutputBytes(Stream::kStdout);
  view.stderr_bytes = folder.OutputBytes(Stream::kStderr);
  if (has_line && view.started_at && !view.exit) {
    // One that fails is tried again at the next look.
    (void)watcher_.OpenLine(command_id, folder.path());
  }
  return view;
}

absl::StatusOr<CommandStore::View> CommandStore::Settle(
    const CommandId& command_id) {
  const CommandFolder folder = FolderOf(command_id);
  for (int attempt = 0; attempt < kSettleAttempts; ++attempt) {
    if (folder.HasExit()) return Look(command_id);
    ASSIGN_OR_RETURN(const auto holder, folder.LockHolder());
    if (!holder) {
      absl::StatusOr<View> view = SettleUnlocked(folder);
      if (!absl::IsFailedPrecondition(view.status())) return view;
      continue;  // A shim was quicker.
    }
    const absl::Status watched =
        watcher_.Watch(command_id, folder.path(), *holder);
    // Numbers of processes are used again: only if it still holds the lock was
    // it the shim that is now watched.
    ASSIGN_OR_RETURN(const auto holder_after, folder.LockHolder());
    if (watched.ok() && holder_after == holder) return Look(command_id);
    if (holder_after == holder) return watched;
  }
  return absl::AbortedError("the shim of " + command_id.str() +
                            " begins and ends");
}

absl::StatusOr<CommandStore::View> CommandStore::SettleUnlocked(
    const CommandFolder& folder) {
  {
    ASSIGN_OR_RETURN(const Fd lock, folder.Lock());
    if (!folder.HasExit()) {
      RETURN_IF_ERROR(Declare(folder, Verdict(folder)));
    }
  }
  return Look(folder.id());
}

Exit CommandStore::Rejected(std::string_view reason) const {
  Exit exit;
  exit.state = CommandState::kRejected;
  exit.reason = reason;
  exit.finished_at = clock_.Wall();
  exit.output_complete = true;
  return exit;
}

Exit CommandStore::Verdict(const CommandFolder& folder) const {
  const absl::StatusOr<Started> started = folder.ReadStarted();
  if (absl::IsNotFound(started.status()) ||
      (started.ok() && started->by_agent)) {
    Exit exit = Rejected("never_started");
    if (folder.CancelRequested()) {
      exit.state = CommandState::kCancelled;
      exit.reason = "before_start";
    }
    return exit;
  }
  const absl::StatusOr<Spec> spec = folder.ReadSpec();
  Exit exit;
  exit.state = CommandState::kOutcomeUnknown;
  exit.reason = spec.ok() && spec->boot_id != options_.boot_id ? "host_rebooted"
                                                               : "shim_lost";
  exit.finished_at = clock_.Wall();
  exit.stdout_bytes = folder.OutputBytes(Stream::kStdout);
  exit.stderr_bytes = folder.OutputBytes(Stream::kStderr);
  if (started.ok()) {
    exit.started_at = started->at;
    // Nobody is left to hold it to its timeout.
    const auto cgroup = Cgroup::Find(started->cgroup, folder.id().str());
    if (cgroup) cgroup->Kill();
  }
  return exit;
}

absl::Status CommandStore::Declare(const CommandFolder& folder,
                                   const Exit& exit) const {
  // Usually there, or without room for it; the exit, written under the lock,
  // keeps a late shim from starting just as well.
  (void)folder.CreateStarted(
      {.at = clock_.Wall(), .by_agent = true, .cgroup = ""});
  return folder.WriteExit(exit);
}

void CommandStore::Cancel(const CommandId& command_id) {
  const absl::Status status = FolderOf(command_id).RequestCancel();
  if (!status.ok()) {
    Log(kError, "cancel cannot be recorded",
        {{"command_id", command_id.str()}, {"error", status}});
  }
  watcher_.Signal(command_id, SIGUSR1);
}

absl::Status CommandStore::Forget(const CommandId& command_id) {
  const CommandFolder folder = FolderOf(command_id);
  // Usually the shim has removed it; one that was killed could not.
  const absl::StatusOr<Started> started = folder.ReadStarted();
  const auto cgroup =
      Cgroup::Find(started.ok() ? started->cgroup : "", command_id.str());
  if (cgroup) cgroup->Remove();
  // And those of commands that left something running, which has ended since.
  Cgroup::RemoveEmptyOnes();
  return folder.Delete();
}

absl::Status CommandStore::RaiseSeen(uint64_t seq) {
  return seq > seen_.high() ? seen_.Record(seq) : absl::OkStatus();
}

}  // namespace muster::agent
