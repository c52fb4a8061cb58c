#include "gateway/fleet/command_desk.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

void CommandDesk::Submit(CommandRecord command, Submitted submitted) {
  Machine* machine = machines_.FindLiving(command.org, command.agent);
  if (machine == nullptr) {
    submitted(NotFound("agent", command.agent.str()));
    return;
  }
  if (machine->open_commands.size() >= options_.open_per_machine_max) {
    submitted(TooManyCommands(machine->record.facts.hostname,
                              machine->open_commands.size(),
                              options_.open_per_machine_max));
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

void CommandDesk::Cancel(const CommandId& id, Submitted cancelled,
                         std::string_view why) {
  Open* open = FindOpen(id);
  if (open == nullptr) {
    cancelled(NotFound("command", id.str()));
    return;
  }
  CommandRecord& record = open->record;
  if (IsTerminal(record.state)) {
    if (open->durable()) {
      cancelled(record);
    } else {
      open->on_saved.push_back(std::move(cancelled));
      Save(*open);
    }
    return;
  }
  record.cancel_requested = true;
  if (!why.empty()) record.reason = why;
  // Only what was never sent can be called off here; see DESIGN "Commands".
  if (record.state == CommandState::kQueued) CallOff(record);
  open->on_saved.push_back(std::move(cancelled));
  Save(*open);
}

void CommandDesk::CallOff(CommandRecord& record) {
  record.state = CommandState::kCancelled;
  if (record.reason.empty()) record.reason = "cancelled before it was sent";
  record.finished_at = loop_.clock().Wall();
}

void CommandDesk::Dispatch(Machine& machine, Instant now) {
  if (machine.link == nullptr || machine.presence.status() != Status::kOnline) {
    return;
  }
  const std::vector<CommandId> ids = machine.open_commands;
  for (const CommandId& id : ids) {
    Open& open = *FindOpen(id);
    if (open.record.state != CommandState::kQueued || !open.durable()) continue;
    if (MayStillRun(open.record)) {
      open.record.state = CommandState::kDispatched;
      open.record.dispatch_seq = ++machine.record.dispatch_high;
      open.record.dispatched_at = loop_.clock().Wall();
    } else {
      RejectRevoked(open.record, loop_.clock().Wall());
    }
    Schedule(open, now);
    Save(open);
  }
}

void CommandDesk::GiveUpAll(Machine& machine, Instant now) {
  const std::vector<CommandId> ids = machine.open_commands;
  for (const CommandId& id : ids) {
    Open& open = *FindOpen(id);
    if (IsTerminal(open.record.state)) {
      Forgo(open);
      continue;
    }
    if (open.record.state == CommandState::kQueued) {
      CallOff(open.record);
      open.record.reason = "agent_deleted";
    } else {
      MarkUnknown(open.record, "agent_deleted", loop_.clock().Wall());
    }
    Schedule(open, now);
    Save(open);
  }
}

void CommandDesk::Forgo(Open& open) {
  if (IsFinished(open.record)) return;
  ForgoOutput(open.record);
  Save(open);
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
    LogOddWord("an agent spoke of another machine's command", machine, word.id);
    return;
  }
  Acknowledge(machine, *open);
  open->word_unanswered = true;
  const bool news = ApplyWord(open->record, word, loop_.clock().Wall());
  if (news && open->output_lost) ForgoOutput(open->record);
  if (news) Schedule(*open, now);
  if (news || open->proves_more) {
    Save(*open);
  } else if (open->durable()) {
    Tell(*open, open->record);
  }
}

void CommandDesk::Acknowledge(Machine& machine, Open& open) {
  if (open.record.dispatch_seq <= machine.record.acknowledged_high) return;
  machine.record.acknowledged_high = open.record.dispatch_seq;
  open.proves_more = true;
}

void CommandDesk::TakeStoredWord(Machine& machine, const CommandWord& word,
                                 absl::StatusOr<CommandRecord> stored) {
  if (FindOpen(word.id) != nullptr) {  // Came back while we looked.
    TakeWord(machine, word, loop_.clock().Now());
    return;
  }
  if (absl::IsNotFound(stored.status())) {
    // This gateway has forgotten the command; let the agent do so too.
    LogOddWord("an agent reported an unknown command", machine, word.id);
    if (machine.link != nullptr) {
      machine.link->SendUpdateAck(word.id, word.state);
    }
    return;
  }
  if (!stored.ok() || stored->agent != machine.record.id) return;
  CommandRecord refined = *stored;
  if (ApplyWord(refined, word, loop_.clock().Wall())) {
    Open& open = Add(*std::move(stored), loop_.clock().Now());
    open.record = std::move(refined);
    Acknowledge(machine, open);
    open.word_unanswered = true;
    Save(open);
  } else if (machine.link != nullptr) {
    // Whatever it said: the end stands, and the agent may forget the command.
    machine.link->SendUpdateAck(word.id, word.state);
  }
}

void CommandDesk::LogOddWord(std::string_view what, const Machine& machine,
                             const CommandId& id) {
  const auto held = odd_word_log_.Pass(loop_.clock().Now());
  if (!held) return;
  Log(kWarning, what,
      {{"agent_id", machine.record.id.str()},
       {"command_id", id.str()},
       {"held_back", *held}});
}

void CommandDesk::TakeOutput(
    Machine& machine, OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored) {
  if (const Open* open = FindOpen(output.command)) {
    if (open->record.agent != machine.record.id) {
      stored(NotFound("command", output.command.str()));
      return;
    }
    AppendOutput(open->record.spec, std::move(output), std::move(stored));
    return;
  }
  CommandId id = output.command;
  journal_.LoadCommand(
      std::move(id), [this, agent = machine.record.id,
                      output = std::move(output), stored = std::move(stored)](
                         absl::StatusOr<CommandRecord> command) mutable {
        if (absl::IsNotFound(command.status())) {
          stored(output.offset + output.data.size());
        } else if (!command.ok()) {
          stored(command.status());
        } else if (command->agent != agent) {
          stored(NotFound("command", output.command.str()));
        } else {
          AppendOutput(command->spec, std::move(output), std::move(stored));
        }
      });
}

void CommandDesk::AppendOutput(
    const CommandSpec& spec, OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored) {
  if (spec.terminal) {  // Of a session that is over: nobody looks any more.
    stored(output.offset + output.data.size());
    return;
  }
  // The agent was told the limit; one that errs must not fill our disk.
  if (output.offset > spec.output_bytes_max ||
      output.data.size() > spec.output_bytes_max - output.offset) {
    stored(absl::InvalidArgumentError(fmt::format(
        "output of command {}: at most {} bytes, got {} at offset {}",
        output.command.str(), spec.output_bytes_max, output.data.size(),
        output.offset)));
    return;
  }
  const CommandId id = output.command;
  const Stream stream = output.stream;
  const uint64_t behind = output.offset + output.data.size();
  journal_.AppendOutput(std::move(output),
                        [this, id, stream, behind, stored = std::move(stored)](
                            absl::StatusOr<uint64_t> end) mutable {
                          Open* open = FindOpen(id);
                          if (absl::IsOutOfRange(end.status())) {
                            // What is before it was acknowledged by a life of
                            // the gateway of which nothing is left, and will
                            // not come again: nor can this be kept.
                            if (open != nullptr) LoseOutput(*open);
                            stored(behind);
                            return;
                          }
                          if (end.ok() && open != nullptr) {
                            uint64_t& bytes = stream == Stream::kStdout
                                                  ? open->record.stdout_bytes
                                                  : open->record.stderr_bytes;
                            bytes = std::max(bytes, *end);
                            open->ShowOutput();
                            if (IsFinished(open->record)) Save(*open);
                            Notify(*open);
                          }
                          stored(std::move(end));
                        });
}

void CommandDesk::LoseOutput(Open& open) {
  open.output_lost = true;
  if (IsTerminal(open.record.state)) Forgo(open);
}

void CommandDesk::Sweep(Instant now) {
  while (const std::optional<CommandId> id = deadlines_.PopDue(now)) {
    Open* open = FindOpen(*id);
    if (open == nullptr || IsTerminal(open->record.state)) continue;
    const Instant due =
        open->since + PatienceFor(open->record, LeaseOf(open->record));
    if (now < due) {
      deadlines_.Schedule(*id, due);
      continue;
    }
    GiveUp(open->record, loop_.clock().Wall());
    const Machine& machine = *machines_.Find(open->record.agent);
    if (open->record.state == CommandState::kExpired &&
        machine.record.status != Status::kOnline) {
      open->record.reason += ": " + why_(machine);
    }
    Schedule(*open, now);
    Save(*open);
  }
}

const CommandRecord* CommandDesk::Find(const CommandId& id) const {
  const auto it = open_.find(id);
  return it == open_.end() ? nullptr : &it->second->stored;
}

bool CommandDesk::Watch(const CommandId& id, Changed changed) {
  Open* open = FindOpen(id);
  if (open == nullptr) {
    loop_.Post(std::move(changed));
    return true;
  }
  if (open->watchers.size() >= options_.watchers_per_command_max) return false;
  open->watchers.push_back(std::move(changed));
  return true;
}

void CommandDesk::WakeWatchers() {
  for (auto& [id, open] : open_) Notify(*open);
}

CommandDesk::Open* CommandDesk::FindOpen(const CommandId& id) {
  const auto it = open_.find(id);
  return it == open_.end() ? nullptr : it->second.get();
}

CommandDesk::Open& CommandDesk::Add(CommandRecord record, Instant now) {
  const CommandId id = record.id;
  Machine& machine = *machines_.Find(record.agent);
  auto open = std::make_unique<Open>();
  open->stored = record;
  open->record = std::move(record);
  open->numbered = open->record.dispatch_seq > 0;
  Open& added = *(open_[id] = std::move(open));
  auto& ids = machine.open_commands;
  ids.insert(std::upper_bound(ids.begin(), ids.end(), id), id);
  Schedule(added, now);
  return added;
}

void CommandDesk::Remove(Open& open) {
  const CommandId id = open.record.id;
  std::erase(machines_.Find(open.record.agent)->open_commands, id);
  deadlines_.Remove(id);
  open_.erase(id);
}

void CommandDesk::Schedule(Open& open, Instant now) {
  open.since = now;
  deadlines_.Schedule(open.record.id,
                      now + PatienceFor(open.record, LeaseOf(open.record)));
}

void CommandDesk::Save(Open& open) {
  open.dirty = true;
  if (open.writing) return;
  open.writing = true;
  open.dirty = false;
  open.on_written = std::exchange(open.on_saved, {});
  const bool proves_more = std::exchange(open.proves_more, false);
  std::vector<Change> changes{open.record};
  if ((!open.numbered && open.record.dispatch_seq > 0) || proves_more) {
    // The counters never go back: they are stored with what moved them.
    changes.push_back(machines_.Find(open.record.agent)->record);
  }
  journal_.Put(std::move(changes), [this, written = open.record,
                                    proves_more](const absl::Status& status) {
    Open* saved = FindOpen(written.id);
    if (saved == nullptr) return;
    saved->proves_more |= proves_more && !status.ok();
    Saved(*saved, written, status);
  });
}

void CommandDesk::Saved(Open& open, const CommandRecord& written,
                        const absl::Status& status) {
  open.writing = false;
  if (!status.ok()) {
    SaveFailed(open, status);
    return;
  }
  open.numbered = written.dispatch_seq > 0;
  open.stored = written;
  for (const Moved& moved : moved_) moved(written);
  open.ShowOutput();
  Tell(open, written);
  for (Submitted& saved : std::exchange(open.on_written, {})) saved(written);
  Notify(open);
  if (open.dirty) {
    Save(open);
  } else if (open.durable() && IsFinished(open.record)) {
    Remove(open);
  }
}

void CommandDesk::SaveFailed(Open& open, const absl::Status& status) {
  if (const auto held = save_failed_log_.Pass(loop_.clock().Now())) {
    Log(kError, "command not saved, trying again",
        {{"command_id", open.record.id.str()},
         {"error", status},
         {"held_back", *held}});
  }
  open.dirty = true;
  CommandRecord& record = open.record;
  if (record.state == CommandState::kDispatched && !open.numbered) {
    // Never sent, so it may wait as if nothing had happened. It gets a new
    // number next time: a later one may already be on its way.
    record.state = CommandState::kQueued;
    record.dispatch_seq = 0;
    record.dispatched_at.reset();
    open.dirty = record.cancel_requested;
    if (record.cancel_requested) CallOff(record);
  }
  loop_.PostAt(
      loop_.clock().Now() + options_.retry_after, [this, id = record.id] {
        Open* again = FindOpen(id);
        if (again == nullptr || again->writing) return;
        if (again->dirty) {
          Save(*again);
        } else {
          Dispatch(*machines_.Find(again->record.agent), loop_.clock().Now());
        }
      });
  for (Submitted& saved : std::exchange(open.on_written, {})) saved(status);
}

void CommandDesk::SendOrder(Open& open) {
  const Machine& machine = *machines_.Find(open.record.agent);
  if (machine.link == nullptr || !open.numbered ||
      open.record.state != CommandState::kDispatched ||
      open.sent_epoch == machine.record.epoch) {
    return;
  }
  // The disk may have been slow. Nothing of it has left this gateway.
  if (open.sent_epoch == 0 && !MayStillRun(open.record)) {
    RejectRevoked(open.record, loop_.clock().Wall());
    Schedule(open, loop_.clock().Now());
    Save(open);
    return;
  }
  open.sent_epoch = machine.record.epoch;
  machine.link->SendOrder(open.record);
}

void CommandDesk::Tell(Open& open, const CommandRecord& written) {
  SendOrder(open);
  LinkPort* link = machines_.Find(written.agent)->link;
  if (link == nullptr) return;
  // `written` is durable; the command may have moved on since.
  if (written.cancel_requested && written.dispatch_seq > 0 &&
      !IsTerminal(open.record.state)) {
    link->SendCancel(written.id);
  }
  if (open.word_unanswered) link->SendUpdateAck(written.id, written.state);
  // A word that came during the write is answered after the next one.
  open.word_unanswered = open.word_unanswered && open.dirty;
}

void CommandDesk::Notify(Open& open) {
  for (Changed& changed : std::exchange(open.watchers, {})) changed();
}

}  // namespace muster::gateway
