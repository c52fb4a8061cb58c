#include "gateway/fleet/command_desk.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

void CommandDesk::Restore(std::vector<CommandRecord> commands, Instant now) {
  for (CommandRecord& command : commands) {
    if (machines_.Find(command.agent) == nullptr) continue;
    Add(std::move(command), now);
  }
}

void CommandDesk::Submit(CommandRecord command, Submitted submitted) {
  Machine* machine = machines_.FindLiving(command.org, command.agent);
  if (machine == nullptr) {
    submitted(NotFound("agent", command.agent.str()));
    return;
  }
  if (machine->open_commands.size() >= options_.open_per_machine_max) {
    submitted(absl::ResourceExhaustedError(fmt::format(
        "{} has {} open commands, the limit is {}",
        machine->record.facts.hostname, machine->open_commands.size(),
        options_.open_per_machine_max)));
    return;
  }
  std::string key = command.idempotency_key;
  journal_.AddCommand(
      std::move(command),
      [this, key = std::move(key), submitted = std::move(submitted)](
          absl::StatusOr<CommandRecord> stored) mutable {
        if (!stored.ok()) {
          const bool conflict =
              stored.status().code() == absl::StatusCode::kAlreadyExists;
          submitted(conflict ? IdempotencyConflict(key) : stored.status());
          return;
        }
        const Instant now = loop_.clock().Now();
        if (!IsFinished(*stored) && FindOpen(stored->id) == nullptr) {
          Add(*stored, now);
        }
        submitted(*stored);
        Machine* target = machines_.Find(stored->agent);
        if (target != nullptr) Dispatch(*target, now);
      });
}

void CommandDesk::Cancel(const CommandId& id, Submitted cancelled) {
  Open* open = FindOpen(id);
  if (open == nullptr) {
    cancelled(NotFound("command", id.str()));
    return;
  }
  CommandRecord& record = open->record;
  if (IsTerminal(record.state)) {
    cancelled(record);
    return;
  }
  record.cancel_requested = true;
  // Only what was never sent can be called off here; see DESIGN "Commands".
  if (record.state == CommandState::kQueued) {
    record.state = CommandState::kCancelled;
    record.reason = "cancelled before it was sent";
    record.finished_at = loop_.clock().Wall();
    Moved(*open, loop_.clock().Now());
  }
  open->on_saved.push_back(std::move(cancelled));
  Save(*open);
}

void CommandDesk::Dispatch(Machine& machine, Instant now) {
  if (machine.link == nullptr || machine.presence.status() != Status::kOnline) {
    return;
  }
  const std::vector<CommandId> ids = machine.open_commands;
  for (const CommandId& id : ids) {
    Open& open = *FindOpen(id);
    if (open.record.state != CommandState::kQueued || open.writing) continue;
    open.record.state = CommandState::kDispatched;
    open.record.dispatch_seq = ++machine.record.dispatch_high;
    open.record.dispatched_at = loop_.clock().Wall();
    Moved(open, now);
    Save(open);
  }
}

void CommandDesk::Reconcile(Machine& machine, uint64_t seen_high,
                            const std::vector<CommandId>& open_at_agent,
                            Instant now) {
  const bool gateway_rolled_back = seen_high > machine.record.dispatch_high;
  if (gateway_rolled_back) {
    Log(kWarning, "this gateway knows less than the agent: restored copy?",
        {{"agent_id", machine.record.id.str()},
         {"seen_high", seen_high},
         {"dispatch_high", machine.record.dispatch_high}});
    machine.record.dispatch_high = seen_high;
  }
  // In the order of their numbers: the agent refuses a smaller one after a
  // larger one.
  std::vector<CommandId> ids = machine.open_commands;
  std::sort(ids.begin(), ids.end(),
            [this](const CommandId& a, const CommandId& b) {
              return Find(a)->dispatch_seq < Find(b)->dispatch_seq;
            });
  for (const CommandId& id : ids) {
    Open& open = *FindOpen(id);
    CommandRecord& record = open.record;
    if (IsTerminal(record.state)) continue;
    const bool agent_has_it =
        std::find(open_at_agent.begin(), open_at_agent.end(), id) !=
        open_at_agent.end();
    const bool answered = record.state == CommandState::kReceived ||
                          record.state == CommandState::kRunning;
    std::string reason;
    if (agent_has_it) {
      // It will say itself what became of it.
    } else if (gateway_rolled_back) {
      reason = "gateway_rolled_back";
    } else if (answered) {
      // It had this one and has forgotten it without our leave.
      reason = record.dispatch_seq > seen_high ? "agent_rolled_back"
                                               : "agent_forgot";
    } else if (record.state == CommandState::kDispatched &&
               record.dispatch_seq <= seen_high) {
      reason = "agent_forgot";
    }
    if (!reason.empty()) {
      MarkUnknown(record, std::move(reason), loop_.clock().Wall());
      Moved(open, now);
      Save(open);
    } else if (!open.writing) {
      Tell(open, record);  // The last link may have lost it.
    }
  }
}

void CommandDesk::TakeWord(Machine& machine, CommandWord word, Instant now) {
  if (!AgentMaySay(word.state)) return;
  Open* open = FindOpen(word.id);
  if (open == nullptr) {
    CommandId id = word.id;
    journal_.LoadCommand(std::move(id),
                         [this, &machine, word = std::move(word)](
                             absl::StatusOr<CommandRecord> stored) {
                           TakeStoredWord(machine, word, std::move(stored));
                         });
    return;
  }
  if (open->record.agent != machine.record.id) {
    Log(kWarning, "an agent spoke of another machine's command",
        {{"agent_id", machine.record.id.str()}, {"command_id", word.id.str()}});
    return;
  }
  open->word_unanswered = true;
  if (ApplyWord(open->record, word, loop_.clock().Wall())) {
    Moved(*open, now);
    Save(*open);
  } else if (!open->writing) {
    Tell(*open, open->record);
    open->word_unanswered = false;
  }
}

void CommandDesk::TakeStoredWord(Machine& machine, const CommandWord& word,
                                 absl::StatusOr<CommandRecord> stored) {
  if (FindOpen(word.id) != nullptr) {  // Came back while we looked.
    TakeWord(machine, word, loop_.clock().Now());
    return;
  }
  if (absl::IsNotFound(stored.status())) {
    // This gateway has forgotten the command; let the agent do so too.
    Log(kWarning, "an agent reported an unknown command",
        {{"agent_id", machine.record.id.str()}, {"command_id", word.id.str()}});
    if (machine.link != nullptr) {
      machine.link->SendUpdateAck(word.id, word.state);
    }
    return;
  }
  if (!stored.ok() || stored->agent != machine.record.id) return;
  if (ApplyWord(*stored, word, loop_.clock().Wall())) {
    Open& open = Add(*std::move(stored), loop_.clock().Now());
    open.word_unanswered = true;
    Save(open);
  } else if (machine.link != nullptr) {
    machine.link->SendUpdateAck(word.id, stored->state);
  }
}

void CommandDesk::TakeOutput(
    Machine& machine, OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored) {
  if (const Open* open = FindOpen(output.command)) {
    if (open->record.agent != machine.record.id) {
      stored(NotFound("command", output.command.str()));
      return;
    }
    AppendOutput(std::move(output), std::move(stored));
    return;
  }
  CommandId id = output.command;
  journal_.LoadCommand(std::move(id),
                       [this, agent = machine.record.id,
                        output = std::move(output), stored = std::move(stored)](
                           absl::StatusOr<CommandRecord> command) mutable {
                         if (absl::IsNotFound(command.status())) {
                           stored(output.offset + output.data.size());
                         } else if (!command.ok()) {
                           stored(command.status());
                         } else if (command->agent != agent) {
                           stored(NotFound("command", output.command.str()));
                         } else {
                           AppendOutput(std::move(output), std::move(stored));
                         }
                       });
}

void CommandDesk::AppendOutput(
    OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored) {
  const CommandId id = output.command;
  const Stream stream = output.stream;
  journal_.AppendOutput(std::move(output),
                        [this, id, stream, stored = std::move(stored)](
                            absl::StatusOr<uint64_t> end) mutable {
                          Open* open = FindOpen(id);
                          if (end.ok() && open != nullptr) {
                            uint64_t& bytes = stream == Stream::kStdout
                                                  ? open->record.stdout_bytes
                                                  : open->record.stderr_bytes;
                            bytes = std::max(bytes, *end);
                            if (IsFinished(open->record)) Save(*open);
                            Notify(*open);
                          }
                          stored(std::move(end));
                        });
}

void CommandDesk::Sweep(Instant now) {
  while (const std::optional<CommandId> id = deadlines_.PopDue(now)) {
    Open* open = FindOpen(*id);
    if (open == nullptr || IsTerminal(open->record.state)) continue;
    const Instant due = open->since + PatienceFor(open->record, Lease());
    if (now < due) {
      deadlines_.Schedule(*id, due);
      continue;
    }
    GiveUp(open->record, loop_.clock().Wall());
    Moved(*open, now);
    Save(*open);
  }
}

const CommandRecord* CommandDesk::Find(const CommandId& id) const {
  const auto it = open_.find(id);
  return it == open_.end() ? nullptr : &it->second->record;
}

void CommandDesk::Watch(const CommandId& id, Changed changed) {
  Open* open = FindOpen(id);
  if (open == nullptr ||
      open->watchers.size() >= options_.watchers_per_command_max) {
    loop_.Post(std::move(changed));
    return;
  }
  open->watchers.push_back(std::move(changed));
}

CommandDesk::Open* CommandDesk::FindOpen(const CommandId& id) {
  const auto it = open_.find(id);
  return it == open_.end() ? nullptr : it->second.get();
}

CommandDesk::Open& CommandDesk::Add(CommandRecord record, Instant now) {
  const CommandId id = record.id;
  Machine& machine = *machines_.Find(record.agent);
  auto open = std::make_unique<Open>();
  open->record = std::move(record);
  Open& added = *(open_[id] = std::move(open));
  auto& ids = machine.open_commands;
  ids.insert(std::upper_bound(ids.begin(), ids.end(), id), id);
  Moved(added, now);
  return added;
}

void CommandDesk::Remove(Open& open) {
  const CommandId id = open.record.id;
  std::erase(machines_.Find(open.record.agent)->open_commands, id);
  deadlines_.Remove(id);
  open_.erase(id);
}

void CommandDesk::Moved(Open& open, Instant now) {
  open.since = now;
  deadlines_.Schedule(open.record.id, now + PatienceFor(open.record, Lease()));
}

void CommandDesk::Save(Open& open) {
  if (open.writing) {
    open.dirty = true;
    return;
  }
  open.writing = true;
  open.dirty = false;
  std::vector<Change> changes{open.record};
  if (open.record.state == CommandState::kDispatched) {
    // The counter never goes back: it is stored with the number it gave.
    changes.push_back(machines_.Find(open.record.agent)->record);
  }
  journal_.Put(std::move(changes),
               [this, written = open.record](const absl::Status& status) {
                 Saved(written, status);
               });
}

void CommandDesk::Saved(const CommandRecord& written,
                        const absl::Status& status) {
  Open* open = FindOpen(written.id);
  if (open == nullptr) return;
  open->writing = false;
  if (!status.ok()) {
    SaveFailed(*open, written, status);
    return;
  }
  Tell(*open, written);
  open->word_unanswered = false;
  for (Submitted& saved : std::exchange(open->on_saved, {})) saved(written);
  Notify(*open);
  if (open->dirty) {
    Save(*open);
  } else if (IsFinished(open->record)) {
    Remove(*open);
  }
}

void CommandDesk::SaveFailed(Open& open, const CommandRecord& written,
                             const absl::Status& status) {
  Log(kError, "command not saved, trying again",
      {{"command_id", written.id.str()}, {"error", status}});
  for (Submitted& saved : std::exchange(open.on_saved, {})) saved(status);
  if (open.record.state == CommandState::kDispatched) {
    // Never sent, so it may wait as if nothing had happened. It gets a new
    // number next time: a later one may already be on its way.
    open.record.state = CommandState::kQueued;
    open.record.dispatch_seq = 0;
    open.record.dispatched_at.reset();
  }
  loop_.PostAt(
      loop_.clock().Now() + options_.retry_after, [this, id = written.id] {
        Open* again = FindOpen(id);
        if (again == nullptr) return;
        if (again->record.state == CommandState::kQueued) {
          Dispatch(*machines_.Find(again->record.agent), loop_.clock().Now());
        } else {
          Save(*again);
        }
      });
}

void CommandDesk::Tell(const Open& open, const CommandRecord& written) {
  LinkPort* link = machines_.Find(written.agent)->link;
  if (link == nullptr) return;
  // `written` is durable; the command may have moved on since.
  if (written.state == CommandState::kDispatched &&
      open.record.state == CommandState::kDispatched) {
    link->SendOrder(written);
  }
  if (written.cancel_requested && written.dispatch_seq > 0 &&
      !IsTerminal(open.record.state)) {
    link->SendCancel(written.id);
  }
  if (open.word_unanswered) link->SendUpdateAck(written.id, written.state);
}

void CommandDesk::Notify(Open& open) {
  for (Changed& changed : std::exchange(open.watchers, {})) changed();
}

}  // namespace muster::gateway
