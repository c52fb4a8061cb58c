// What does the agent do on disk, and with processes, for its commands?

#ifndef MUSTER_AGENT_EXEC_COMMAND_STORE_H_
#define MUSTER_AGENT_EXEC_COMMAND_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/exec/child_watcher.h"
#include "agent/exec/command_folder.h"
#include "agent/exec/seen_log.h"
#include "libprotocol/base/clock.h"

namespace muster::agent {

// CommandStore is the blocking half of Executor: folders, the log of seen
// orders, shims. Used by one thread at a time; TakeEvents() and Say() by any.
class CommandStore {
 public:
  struct Options {
    std::string folder;     // Of everything; created 0700.
    std::string shim_path;  // The program muster-exec.
    std::string boot_id;
  };

  // What the folder of one command says.
  struct View {
    uint64_t dispatch_seq = 0;
    std::optional<absl::Time> started_at;
    std::optional<Exit> exit;
    bool session = false;
    uint64_t stdout_bytes = 0;
    uint64_t stderr_bytes = 0;
  };

  // `clock` must outlive the store; `announce` as in ChildWatcher.
  static absl::StatusOr<std::unique_ptr<CommandStore>> Open(
      Options options, const Clock& clock, absl::AnyInvocable<void()> announce);

  // Stores the order, marks it as seen, and starts its shim; if `rejection` is
  // not empty, stores that reason instead of starting. The view has an exit if
  // nothing was started. It is durable, except when the disk took no folder.
  View Accept(const Spec& spec, std::string_view rejection);

  // Every command that there is, leftovers of creation and deletion removed.
  // Call it before the first Accept().
  absl::StatusOr<std::vector<CommandId>> List();

  // What the folder says now. Opens the line of a running command that has one.
  absl::StatusOr<View> Look(const CommandId& command_id);

  // Says it to the shim. False: it was not heard. By any thread.
  bool Say(const CommandId& command_id, const ShimMessage& message) {
    return watcher_.Say(command_id, message);
  }

  // Like Look(); a command that no shim runs and that has no exit yet gets one:
  // it never started, or its outcome is unknown. A living shim is watched.
  absl::StatusOr<View> Settle(const CommandId& command_id);

  void Cancel(const CommandId& command_id);
  absl::Status Forget(const CommandId& command_id);

  // Raises the log of seen orders to at least `seq`.
  absl::Status RaiseSeen(uint64_t seq);
  uint64_t seen_high() const { return seen_.high(); }

  std::vector<ChildWatcher::Event> TakeEvents() { return watcher_.Take(); }

 private:
  CommandStore(Options options, const Clock& clock, SeenLog seen,
               absl::AnyInvocable<void()> announce);

  CommandFolder FolderOf(const CommandId& command_id) const;
  absl::Status SpawnShim(const CommandFolder& folder);
  Exit Rejected(std::string_view reason) const;
  // The word on a command that no living process can tell of.
  Exit Verdict(const CommandFolder& folder) const;
  absl::StatusOr<View> SettleUnlocked(const CommandFolder& folder);
  // Decides under the lock; the caller holds it.
  absl::Status Declare(const CommandFolder& folder, const Exit& exit) const;

  const Options options_;
  const Clock& clock_;
  SeenLog seen_;
  ChildWatcher watcher_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_COMMAND_STORE_H_
