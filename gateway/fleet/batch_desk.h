// Every batch that has not ended: gives its machines their turn, one after the
// other, and counts how they come out.

#ifndef MUSTER_GATEWAY_FLEET_BATCH_DESK_H_
#define MUSTER_GATEWAY_FLEET_BATCH_DESK_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/fleet/command_desk.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// A machine has had its turn when a command of it is stored that names the
// batch, be it one that was never delivered: after a restart the others are
// still to come, and none has two.
//
// Lives on the fleet loop. Everything given must outlive it.
class BatchDesk {
 public:
  struct Options {
    size_t open_max = 32;  // About 200 bytes for each of their machines.
    // Turns that wait for the store at a time, of one batch.
    uint32_t turns_in_store_max = 64;
    size_t watchers_per_batch_max = 64;
    // Pause before a write that failed is tried again.
    absl::Duration retry_after = absl::Seconds(1);
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<BatchRecord>)>;
  using Changed = absl::AnyInvocable<void()>;

  BatchDesk(EventLoop& loop, Journal& journal, Machines& machines,
            CommandDesk& commands, Options options);

  // Takes back what the store still held open; nobody has a turn until
  // Resume().
  void Restore(std::vector<StoredBatch> batches);
  void Resume();
  // Nobody has a turn any more: the gateway stops.
  void Pause() { resumed_ = false; }

  // `targets`: each once, in the order of their turns. `submitted` hears the
  // record once it is durable: the new one, or the earlier one with the same
  // idempotency key. ResourceExhausted if too many are open.
  void Submit(BatchRecord batch, std::vector<AgentId> targets, Done submitted);

  // Nothing more is started, and what runs is asked to stop. `cancelled` hears
  // the record once that is durable; one that is over is NotFound: ask the
  // store.
  void Cancel(const BatchId& id, Done cancelled);

  // An open batch as it is stored, with the counts of this moment, which follow
  // from what is stored of its commands; or nullptr: ask the store.
  const BatchRecord* Find(const BatchId& id) const;

  // Calls `changed` once: when a machine has come out or the state is another,
  // or at once (posted) if it is not open. False, and it is never called, if
  // too many watch the batch already.
  [[nodiscard]] bool Watch(const BatchId& id, Changed changed);
  void WakeWatchers();

 private:
  using Count = uint32_t BatchCounts::*;
  struct Turn {
    CommandId command;
    Count count = nullptr;
  };
  struct Open {
    BatchRecord record;
    BatchRecord stored;  // What may be shown.
    std::deque<AgentId> waiting;
    absl::flat_hash_map<AgentId, Turn> turns;
    uint32_t in_store = 0;  // Turns that wait for the store.
    bool writing = false;
    bool dirty = false;
    std::vector<Done> on_saved;    // For the next write.
    std::vector<Done> on_written;  // For the write under way.
    std::vector<Changed> watchers;
  };

  Open* FindOpen(const BatchId& id);
  void Add(StoredBatch batch);
  // Gives turns to as many as may have one.
  void GiveTurns(Open& open);
  void Start(CommandRecord command);
  // It has not begun, and will not now.
  void PutBack(Open& open, const AgentId& agent);
  void Started(const CommandRecord& command,
               absl::StatusOr<CommandRecord> stored);
  // Stores that the command did not run there.
  void NotDelivered(CommandRecord command, std::string reason);
  // A command is stored in another state.
  void CommandMoved(const CommandRecord& now);
  void CountAs(Open& open, const AgentId& agent, Count count);
  void CancelRunning(Open& open);
  void AskToCancel(const CommandId& id);
  // Something has changed: what follows from it.
  void Settle(Open& open);
  void Save(Open& open);
  void Saved(Open& open, const BatchRecord& written,
             const absl::Status& status);
  static void Notify(Open& open);

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  Machines& machines_;
  CommandDesk& commands_;
  const Options options_;

  absl::flat_hash_map<BatchId, std::unique_ptr<Open>> open_;
  size_t submitting_ = 0;  // Not stored yet.
  bool resumed_ = false;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_BATCH_DESK_H_
