// How does the agent run commands so that nothing runs twice and no result is
// lost, over crashes and restarts of agent, shim and machine?
//
//   Accept ─▶ folder with spec ─▶ SEEN ─▶ shim ─▶ "received"
//            (all durable)                        "running", output, …
//                                                 one terminal update ─▶ Forget

#ifndef MUSTER_AGENT_EXEC_EXECUTOR_H_
#define MUSTER_AGENT_EXEC_EXECUTOR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/exec/child_watcher.h"
#include "agent/exec/command_folder.h"
#include "agent/exec/command_store.h"
#include "agent/exec/run_log.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/thread_event_loop.h"

namespace muster::agent {

// What the gateway asks for. Zero durations and bytes stand for the defaults.
struct Order {
  CommandId command_id;
  uint64_t dispatch_seq = 0;
  Shell shell = Shell::kSh;
  std::string command;
  std::vector<std::string> argv;  // Of Shell::kExec.
  absl::Duration timeout;
  absl::Duration kill_grace;
  uint64_t output_bytes_max = 0;  // Per stream.
  Surroundings surroundings;
  std::optional<Terminal> terminal = {};  // A session.
  bool input_streamed = false;
  // For the machine's owner; they decide nothing.
  std::string issued_by = {};
  std::string purpose = {};
};

// The machine's word on a command. What it says is durable on this machine.
struct Update {
  CommandId command_id;
  uint64_t dispatch_seq = 0;
  CommandState state = CommandState::kReceived;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string reason;
  std::optional<absl::Time> started_at;
  std::optional<absl::Time> finished_at;
  // In terminal states: all that there is to read.
  uint64_t stdout_bytes = 0;
  uint64_t stderr_bytes = 0;
  uint64_t output_dropped_bytes = 0;
  bool output_complete = false;
};

// Executor is the agent's side of all commands of this machine.
//
// Threading: owned by one loop; methods are called, and the delegate is, on
// that loop only. The disk is written on a thread inside, so a slow one delays
// commands and never heartbeats; ReadOutput() alone reads on the caller's.
// Lifetime: destroyed on its loop. Shims go on; the next Executor adopts them.
class Executor {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // The state of a command changed, or was asked for again by a repeated
    // order. At most one terminal state per command, however often it is said.
    virtual void OnUpdate(const Update& update) = 0;
    // There is more to ReadOutput() than before.
    virtual void OnOutput(const CommandId& command_id) = 0;
    // How far the input of a session, or a streamed one, has come.
    virtual void OnInput(const CommandId& command_id,
                         const InputState& input) = 0;
  };

  struct Options {
    // Where the command folders and the log of seen orders live; created 0700.
    std::string folder;
    // The program muster-exec.
    std::string shim_path;
    // Of the running kernel; tells a reboot from a lost shim.
    std::string boot_id;
    // Commands that run at once; more are rejected: too_many_commands.
    size_t running_max = 64;
    // Commands that the gateway has not acknowledged; more are not accepted.
    size_t open_max = 4096;
    // Per stream, default and most. Disk bound: open_max × 2 × this.
    uint64_t output_bytes_max = 64 << 20;
    absl::Duration timeout_default = absl::Hours(1);
    absl::Duration kill_grace_default = absl::Seconds(10);
    // Why this machine's owner does not allow it while `running` others run;
    // empty: it is allowed. Called on a thread of the executor, may block on
    // the disk, and must be callable until the executor is gone.
    std::function<std::string(const Spec&, size_t running)> refusal = {};
    // Where the owner of this machine finds what was run: folder of a RunLog.
    // What cannot be told there is rejected. Empty: it is not told.
    std::string run_log = {};
  };

  // Opens the folder; errors are the disk's. A log of seen orders that cannot
  // be read is set aside and started anew from the folders that exist: the
  // gateway notices by seen_high(). `loop` and `delegate` must outlive the
  // executor.
  static absl::StatusOr<std::unique_ptr<Executor>> Open(EventLoop& loop,
                                                        Delegate& delegate,
                                                        Options options);
  ~Executor();

  // Call once, before the first link. Settles every command that an earlier
  // agent left behind: a living shim is adopted, a result is reported, a
  // command without either is declared; none is started. Blocks on the disk.
  // Calls OnUpdate() for each.
  absl::Status Recover();

  // Takes an order; the answer is an OnUpdate(). A repeated one is answered
  // with what is known and never started again. Errors, after which no update
  // follows: InvalidArgument for an order without a proper id or number,
  // ResourceExhausted above `open_max`.
  absl::Status Accept(Order order);

  // Ends the command, or keeps it from starting. NotFound if it is not open.
  // Its terminal update tells the outcome, which may be another one.
  absl::Status Cancel(const CommandId& command_id);

  // How much there is to read, as OnOutput() last announced it. Once the
  // command has ended it is all that there will ever be.
  uint64_t OutputBytes(const CommandId& command_id, Stream stream) const;

  // Says it to the shim of a session, or of a command with streamed input.
  // What is not heard is told by an OnInput() with `again`.
  void Say(const CommandId& command_id, const ShimMessage& message);

  // The commands that are sessions.
  bool IsSession(const CommandId& command_id) const;

  // At most `bytes_max` bytes, capped at 1 MiB; empty at the present end. Of a
  // session OutOfRange for what is not kept any more: go on at OutputBegin().
  absl::StatusOr<std::string> ReadOutput(const CommandId& command_id,
                                         Stream stream, uint64_t offset,
                                         size_t bytes_max) const;

  // Where the output of a session begins that is still kept.
  uint64_t OutputBegin(const CommandId& command_id) const;

  // Deletes the folder. Only after the gateway's durable acknowledgement of the
  // terminal state and of all output. FailedPrecondition before a terminal
  // state; OK if the command is unknown.
  absl::Status Forget(const CommandId& command_id);

  // Commands not forgotten, in order of id.
  std::vector<CommandId> OpenCommands() const;

  // What OnUpdate() said last; nullopt: nothing yet, or not open.
  std::optional<Update> LastUpdate(const CommandId& command_id) const;

  // Runs `task` on the thread that writes to the disk, after what it has to do
  // already; before the executor is gone, or not at all.
  void PostToDisk(absl::AnyInvocable<void()> task) {
    disk_.Post(std::move(task));
  }

  // Highest dispatch_seq durably seen.
  uint64_t seen_high() const { return seen_high_; }

 private:
  struct Command {
    std::optional<Update> update;  // Absent while it is being stored.
    bool looking = false;          // A look at the folder is under way, …
    bool look_again = false;       // … and something happened meanwhile,
    bool gone = false;             // … namely the end of the shim.
    bool session = false;
    uint64_t stdout_bytes = 0;  // As last announced.
    uint64_t stderr_bytes = 0;
  };

  Executor(EventLoop& loop, Delegate& delegate, Options options)
      : loop_(loop),
        delegate_(delegate),
        options_(std::move(options)),
        run_log_(options_.run_log),
        disk_(loop.clock()) {}

  CommandFolder FolderOf(const CommandId& command_id) const;
  size_t Running() const;
  Spec SpecOf(Order order) const;
  std::string_view RejectionOf(const Spec& spec) const;
  // Tells the owner, on disk_. Why the command must not run then, or empty.
  std::string_view TellOrdered(RunOrder order) const;
  void TellEnded(const Update& update);
  // Runs `task` on the loop, from any thread, unless the executor is gone.
  void PostBack(absl::AnyInvocable<void()> task);

  void TakeEvents();
  // Asks the disk what the folder says; `gone`: its shim has ended.
  void Look(const CommandId& command_id, bool gone);
  void Looked(const CommandId& command_id, bool gone,
              absl::StatusOr<CommandStore::View> view);
  void Apply(const CommandId& command_id, const CommandStore::View& view);

  // Constant after construction.
  EventLoop& loop_;
  Delegate& delegate_;
  const Options options_;
  const RunLog run_log_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  // Touched only on loop_.
  std::map<CommandId, Command> commands_;
  uint64_t seen_high_ = 0;     // Durable.
  uint64_t ordered_high_ = 0;  // Given to the disk.

  // Touched only on disk_ (and by Recover(), while disk_ is idle).
  std::unique_ptr<CommandStore> store_;

  ThreadEventLoop disk_;  // Last: its thread uses what is above.
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_EXECUTOR_H_
