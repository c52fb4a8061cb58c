// Every open command: queued, sent, answered, ended; each exactly once.

#ifndef MUSTER_GATEWAY_FLEET_COMMAND_DESK_H_
#define MUSTER_GATEWAY_FLEET_COMMAND_DESK_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/command_rules.h"
#include "gateway/fleet/deadlines.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/log_limit.h"

namespace muster::gateway {

// CommandDesk holds the commands that are not finished and moves them along.
// Nothing is told to anyone, caller or agent, before it is durable.
//
// Lives on the fleet loop. `loop`, `journal` and `machines` must outlive it.
class CommandDesk {
 public:
  struct Options {
    // Commands of one machine that are not finished. 40 KiB each at most, but
    // for text, input and environment (twice 544 KiB).
    size_t open_per_machine_max = 1000;
    // Callers waiting for one command to change.
    size_t watchers_per_command_max = 64;
    // Pause before a write that failed is tried again.
    absl::Duration retry_after = absl::Seconds(1);
    // At least this long between two log records of the same kind.
    absl::Duration log_every = absl::Seconds(10);
  };
  using Submitted = absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)>;
  using Changed = absl::AnyInvocable<void()>;
  using Moved = std::function<void(const CommandRecord& now)>;
  // True if what `principal` of `org` asked for at `at` may still be done: it
  // has the right to run commands, by a credential that it had then. Asked on
  // the loop; must not block.
  using MayStill = std::function<bool(const std::string& principal,
                                      const OrgId& org, absl::Time at)>;
  // Why a machine is not online, in a line.
  using TellWhy = std::function<std::string(const Machine&)>;

  CommandDesk(EventLoop& loop, Journal& journal, Machines& machines,
              TellWhy why, Options options)
      : loop_(loop),
        journal_(journal),
        machines_(machines),
        why_(std::move(why)),
        options_(options),
        save_failed_log_(options.log_every),
        odd_word_log_(options.log_every) {}

  // `moved` hears what is stored of a command whenever that has changed. Call
  // it before anything else.
  void OnMoved(Moved moved) { moved_.push_back(std::move(moved)); }

  // Asks before anything is sent. Without it everybody may.
  void AskBeforeSending(MayStill may_still) {
    may_still_ = std::move(may_still);
  }
  bool MayStillRun(const std::string& principal, const OrgId& org,
                   absl::Time asked_at) const {
    return !may_still_ || may_still_(principal, org, asked_at);
  }

  std::string Why(const Machine& machine) const { return why_(machine); }

  // Takes back what the store still held open. Patience starts anew at `now`,
  // but for what waits to be sent: that has the time which is left, and a lease
  // at least.
  void Restore(std::vector<CommandRecord> commands, Instant now);

  // Queues a command for a machine; `submitted` hears the stored record once it
  // is durable: the new one, or the earlier one with the same idempotency key.
  // ResourceExhausted if the machine has too many open commands.
  void Submit(CommandRecord command, Submitted submitted);

  // Cancels: a queued command at once, a dispatched one by asking the agent.
  // `cancelled` hears the record once the request is durable. A command that
  // has ended is returned as it is. NotFound if it is not open. `why`: its
  // reason, if it is cancelled.
  void Cancel(const CommandId& id, Submitted cancelled,
              std::string_view why = "");

  // The machine can be sent commands now: sends what is queued, and rejects
  // what was asked for by whom may not any more.
  void Dispatch(Machine& machine, Instant now);

  // A link was accepted. Compares what the agent has durably seen with what was
  // sent: sends again what never arrived, and admits what nobody can know when
  // one side was restored from an older copy.
  void Reconcile(Machine& machine, uint64_t seen_high,
                 const std::vector<CommandId>& open_at_agent, Instant now);

  // The machine was deleted: ends its commands, as nobody will speak of them.
  void GiveUpAll(Machine& machine, Instant now);

  // The agent's word. It is acknowledged over the machine's link once durable;
  // so is a word that changes nothing. Other machines' commands are ignored.
  void TakeWord(Machine& machine, CommandWord word, Instant now);

  // Output of a command of this machine. `stored` hears the end up to which the
  // stream is durable. Output of a command that nobody remembers is accepted
  // and dropped, so that the agent can forget it.
  void TakeOutput(Machine& machine, OutputRecord output,
                  absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored);

  // Ends what has waited too long at `now`.
  void Sweep(Instant now);
  Instant NextDeadline() const { return deadlines_.Earliest(); }

  // An open command as it is stored, or nullptr: ask the store. What is not
  // durable yet might be undone by a crash, and is shown to nobody.
  const CommandRecord* Find(const CommandId& id) const;
  size_t open() const { return open_.size(); }

  // Calls `changed` once: at the next change of the command, or at once
  // (posted) if it is not open. False, and it is never called, if too many
  // watch the command already.
  [[nodiscard]] bool Watch(const CommandId& id, Changed changed);

  // Calls everyone who watches, as if every command had changed.
  void WakeWatchers();

 private:
  struct Open {
    CommandRecord record;
    CommandRecord stored;  // The record as last written: what may be shown.
    Instant since;         // When it got into its state.
    bool writing = false;  // A write of it is under way.
    bool dirty = false;    // Differs from what was last written, or is.
    // Its number is durable: it may be sent, and may have been.
    bool numbered = false;
    // It raised its machine's acknowledged_high, which is not yet written.
    bool proves_more = false;
    // The link on which it was sent last.
    uint64_t sent_epoch = 0;
    // The agent awaits an acknowledgement of its word.
    bool word_unanswered = false;
    // Of its output some is missing here that the agent sent to a life of the
    // gateway of which nothing is left.
    bool output_lost = false;
    std::vector<Submitted> on_saved;    // For the next write.
    std::vector<Submitted> on_written;  // For the write under way.
    std::vector<Changed> watchers;

    bool durable() const { return !writing && !dirty; }
    // Bytes of output are counted once they are stored.
    void ShowOutput() {
      stored.stdout_bytes = record.stdout_bytes;
      stored.stderr_bytes = record.stderr_bytes;
    }
  };

  Open& Add(CommandRecord record, Instant now);
  Open* FindOpen(const CommandId& id);
  void Remove(Open& open);
  // It was never sent, and never will be.
  void CallOff(CommandRecord& record);
  bool MayStillRun(const CommandRecord& record) const {
    return MayStillRun(record.issued_by, record.org, record.created_at);
  }
  // The output that is still to come will not come.
  void Forgo(Open& open);
  // Since when a command that was queued before `now` counts as waiting.
  Instant QueuedSince(const CommandRecord& queued, Instant now) const;
  void LoseOutput(Open& open);
  // The state is new: patience starts again.
  void Schedule(Open& open, Instant now);
  // Writes the record as it is, then does what had to wait for that. One write
  // at a time; changes meanwhile make another.
  void Save(Open& open);
  void Saved(Open& open, const CommandRecord& written,
             const absl::Status& status);
  void SaveFailed(Open& open, const absl::Status& status);
  // Sends the order, unless this link has carried it.
  void SendOrder(Open& open);
  // Tells the agent what is now durable.
  void Tell(Open& open, const CommandRecord& written);
  // Why nobody can know what became of a command, by what the agent said in its
  // hello; empty if there is no reason.
  struct AgentMemory;
  static std::string ReasonForDoubt(const CommandRecord& record,
                                    const AgentMemory& memory);
  static void Notify(Open& open);
  void LogOddWord(std::string_view what, const Machine& machine,
                  const CommandId& id);
  // The agent has durably seen the command.
  static void Acknowledge(Machine& machine, Open& open);
  void TakeStoredWord(Machine& machine, const CommandWord& word,
                      absl::StatusOr<CommandRecord> stored);
  void AppendOutput(const CommandSpec& spec, OutputRecord output,
                    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored);
  absl::Duration LeaseOf(const CommandRecord& command) const {
    return machines_.Find(command.agent)->presence.policy().CommandLease();
  }

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  Machines& machines_;
  const TellWhy why_;
  const Options options_;

  absl::flat_hash_map<CommandId, std::unique_ptr<Open>> open_;
  Deadlines<CommandId> deadlines_;
  std::vector<Moved> moved_;
  MayStill may_still_;
  LogLimit save_failed_log_;
  LogLimit odd_word_log_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_COMMAND_DESK_H_
