#include "gateway/fleet/batch_desk.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

BatchDesk::BatchDesk(EventLoop& loop, Journal& journal, Machines& machines,
                     CommandDesk& commands, Options options)
    : loop_(loop),
      journal_(journal),
      machines_(machines),
      commands_(commands),
      options_(options) {
  commands_.OnMoved([this](const CommandRecord& now) { CommandMoved(now); });
}

void BatchDesk::Restore(std::vector<StoredBatch> batches) {
  for (StoredBatch& batch : batches) Add(std::move(batch));
}

void BatchDesk::Resume() {
  resumed_ = true;
  std::vector<BatchId> ids;
  for (const auto& [id, open] : open_) ids.push_back(id);
  for (const BatchId& id : ids) {
    Open& open = *open_.at(id);
    if (open.record.state == BatchState::kCancelling) CancelRunning(open);
    Settle(open);
  }
}

void BatchDesk::Submit(BatchRecord batch, std::vector<AgentId> targets,
                       Done submitted) {
  if (open_.size() + submitting_ >= options_.open_max) {
    submitted(TooManyBatches(open_.size() + submitting_, options_.open_max));
    return;
  }
  ++submitting_;
  batch.counts = {.waiting = static_cast<uint32_t>(targets.size())};
  journal_.AddBatch(
      batch, targets,
      [this, targets, submitted = std::move(submitted)](
          absl::StatusOr<BatchRecord> stored) mutable {
        --submitting_;
        if (!stored.ok()) {
          submitted(stored.status());
          return;
        }
        const BatchId id = stored->id;
        if (!HasEnded(stored->state) && FindOpen(id) == nullptr) {
          StoredBatch added{.record = *stored};
          for (AgentId& agent : targets) {
            added.targets.push_back({std::move(agent), std::nullopt});
          }
          Add(std::move(added));
        }
        submitted(*std::move(stored));
        if (Open* open = FindOpen(id)) Settle(*open);
      });
}

void BatchDesk::Cancel(const BatchId& id, Done cancelled) {
  Open* open = FindOpen(id);
  if (open == nullptr) {
    cancelled(NotFound("batch", id.str()));
    return;
  }
  open->on_saved.push_back(std::move(cancelled));
  if (CancelBatch(open->record)) CancelRunning(*open);
  open->dirty = true;
  Settle(*open);
}

const BatchRecord* BatchDesk::Find(const BatchId& id) const {
  const auto it = open_.find(id);
  return it == open_.end() ? nullptr : &it->second->stored;
}

bool BatchDesk::Watch(const BatchId& id, Changed changed) {
  Open* open = FindOpen(id);
  if (open == nullptr) {
    loop_.Post(std::move(changed));
    return true;
  }
  if (open->watchers.size() >= options_.watchers_per_batch_max) return false;
  open->watchers.push_back(std::move(changed));
  return true;
}

void BatchDesk::WakeWatchers() {
  for (auto& [id, open] : open_) Notify(*open);
}

BatchDesk::Open* BatchDesk::FindOpen(const BatchId& id) {
  const auto it = open_.find(id);
  return it == open_.end() ? nullptr : it->second.get();
}

void BatchDesk::Add(StoredBatch batch) {
  auto open = std::make_unique<Open>();
  open->record = std::move(batch.record);
  open->record.counts = {};
  for (BatchTarget& target : batch.targets) {
    if (!target.command) {
      open->waiting.push_back(std::move(target.agent));
      ++open->record.counts.waiting;
      continue;
    }
    const Count count = BatchCountOf(*target.command);
    ++(open->record.counts.*count);
    open->turns[target.agent] = {std::move(target.command->id), count};
  }
  open->stored = open->record;
  const BatchId id = open->record.id;
  open_[id] = std::move(open);
}

void BatchDesk::GiveTurns(Open& open) {
  while (open.in_store < options_.turns_in_store_max &&
         TurnsFree(open.record) > 0) {
    CommandRecord command;
    command.id = CommandId(NewUuid(loop_.clock().Wall()));
    command.agent = std::move(open.waiting.front());
    open.waiting.pop_front();
    command.org = open.record.org;
    command.spec = open.record.spec;
    command.issued_by = open.record.issued_by;
    command.labels = open.record.labels;
    command.purpose = open.record.purpose;
    command.batch = open.record.id;
    command.created_at = loop_.clock().Wall();
    --open.record.counts.waiting;
    ++open.record.counts.running;
    open.turns[command.agent] = {command.id, &BatchCounts::running};
    ++open.in_store;
    // Not from here: the turn may end before it returns.
    loop_.Post([this, command = std::move(command)]() mutable {
      Start(std::move(command));
    });
  }
}

void BatchDesk::Start(CommandRecord command) {
  Open* open = FindOpen(command.batch);
  if (open == nullptr || !resumed_) return;
  const Machine* machine = machines_.FindLiving(command.org, command.agent);
  const BatchRecord& batch = open->record;
  if (batch.state == BatchState::kRunning &&
      !commands_.MayStillRun(batch.issued_by, batch.org, batch.created_at)) {
    StopBatch(open->record, kPermissionRevoked);
    open->dirty = true;
  }
  if (batch.state != BatchState::kRunning) {
    PutBack(*open, command.agent);
  } else if (machine == nullptr) {
    NotDelivered(std::move(command), "agent_deleted");
  } else if (machine->record.status != Status::kOnline &&
             !batch.queue_offline) {
    NotDelivered(std::move(command),
                 fmt::format("agent_unreachable: {}", commands_.Why(*machine)));
  } else {
    commands_.Submit(
        command, [this, command](absl::StatusOr<CommandRecord> stored) mutable {
          const std::string code = ErrorCode(stored.status());
          if (stored.ok() || code.empty()) {
            Started(command, std::move(stored));
          } else {
            NotDelivered(std::move(command), code);
          }
        });
  }
}

void BatchDesk::PutBack(Open& open, const AgentId& agent) {
  --open.in_store;
  --open.record.counts.running;
  ++open.record.counts.waiting;
  open.turns.erase(agent);
  open.waiting.push_front(agent);
  Settle(open);
}

void BatchDesk::NotDelivered(CommandRecord command, std::string reason) {
  command.state = CommandState::kRejected;
  command.reason = std::move(reason);
  command.finished_at = loop_.clock().Wall();
  journal_.AddCommand(command,
                      [this, command](absl::StatusOr<CommandRecord> stored) {
                        Started(command, std::move(stored));
                      });
}

void BatchDesk::Started(const CommandRecord& command,
                        absl::StatusOr<CommandRecord> stored) {
  Open* open = FindOpen(command.batch);
  if (open == nullptr) return;
  if (!stored.ok() && MayPass(stored.status())) {
    // The store is away; the turn waits for it.
    CommandRecord again = command;
    again.state = CommandState::kQueued;
    again.reason.clear();
    again.finished_at.reset();
    loop_.PostAt(loop_.clock().Now() + options_.retry_after,
                 [this, again = std::move(again)] { Start(again); });
    return;
  }
  --open->in_store;
  if (!stored.ok()) {
    Log(kError, "a turn of a batch is lost: the store does not take it",
        {{"batch_id", command.batch.str()},
         {"agent_id", command.agent.str()},
         {"error", stored.status()}});
    CountAs(*open, command.agent, &BatchCounts::unknown);
    Settle(*open);
    return;
  }
  // It may have moved on meanwhile.
  const CommandRecord* now = commands_.Find(stored->id);
  CountAs(*open, command.agent, BatchCountOf(now ? *now : *stored));
  if (open->record.state == BatchState::kCancelling) AskToCancel(stored->id);
  Settle(*open);
}

void BatchDesk::CommandMoved(const CommandRecord& now) {
  if (now.batch.empty()) return;
  Open* open = FindOpen(now.batch);
  if (open == nullptr) return;  // The store counts it anew.
  CountAs(*open, now.agent, BatchCountOf(now));
  open->dirty |= HasEnded(open->record.state);
  Settle(*open);
}

void BatchDesk::CountAs(Open& open, const AgentId& agent, Count count) {
  Turn& turn = open.turns[agent];
  if (turn.count == count) return;
  --(open.record.counts.*turn.count);
  ++(open.record.counts.*count);
  turn.count = count;
}

void BatchDesk::CancelRunning(Open& open) {
  std::vector<CommandId> ids;
  for (const auto& [agent, turn] : open.turns) {
    if (turn.count == &BatchCounts::running) ids.push_back(turn.command);
  }
  for (const CommandId& id : ids) AskToCancel(id);
}

void BatchDesk::AskToCancel(const CommandId& id) {
  commands_.Cancel(id, [](const absl::StatusOr<CommandRecord>&) {
    // It says itself what became of it.
  });
}

void BatchDesk::Settle(Open& open) {
  if (!resumed_) return;
  const BatchState before = open.record.state;
  Advance(open.record);
  const bool ended = HasEnded(open.record.state);
  if (ended && !open.record.finished_at) {
    open.record.finished_at = loop_.clock().Wall();
  }
  GiveTurns(open);
  Notify(open);
  if (open.record.state != before || open.dirty) Save(open);
}

void BatchDesk::Save(Open& open) {
  open.dirty = true;
  if (open.writing) return;
  open.writing = true;
  open.dirty = false;
  open.on_written = std::exchange(open.on_saved, {});
  journal_.Put({open.record},
               [this, written = open.record](const absl::Status& status) {
                 if (Open* saved = FindOpen(written.id)) {
                   Saved(*saved, written, status);
                 }
               });
}

void BatchDesk::Saved(Open& open, const BatchRecord& written,
                      const absl::Status& status) {
  open.writing = false;
  if (status.ok()) open.stored = written;
  for (Done& done : std::exchange(open.on_written, {})) {
    if (status.ok()) {
      done(written);
    } else {
      done(status);
    }
  }
  if (!status.ok()) {
    Log(kError, "batch not saved, trying again",
        {{"batch_id", written.id.str()}, {"error", status}});
    open.dirty = true;
    loop_.PostAt(loop_.clock().Now() + options_.retry_after,
                 [this, id = written.id] {
                   Open* again = FindOpen(id);
                   if (again != nullptr && again->dirty) Save(*again);
                 });
    return;
  }
  Notify(open);
  if (open.dirty) {
    Save(open);
  } else if (!open.writing && HasEnded(written.state)) {
    open_.erase(written.id);
  }
}

void BatchDesk::Notify(Open& open) {
  // Of the rest only what is stored is shown.
  open.stored.counts = open.record.counts;
  for (Changed& changed : std::exchange(open.watchers, {})) changed();
}

}  // namespace muster::gateway
