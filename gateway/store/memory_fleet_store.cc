#include "gateway/store/memory_fleet_store.h"

#include <algorithm>

#include "fmt/format.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/fleet/command_rules.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/presence_settings.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

absl::Status Exists(std::string_view what) {
  return absl::AlreadyExistsError(fmt::format("{} exists already", what));
}

}  // namespace

// --- Transactions -----------------------------------------------------------

absl::Status MemoryFleetStore::Begin() {
  RETURN_IF_ERROR(error());
  marks_.push_back(undo_.size());
  return absl::OkStatus();
}

absl::Status MemoryFleetStore::Commit() {
  MUSTER_CHECK(!marks_.empty());
  if (absl::Status status = error(); !status.ok()) {
    Rollback();
    return status;
  }
  marks_.pop_back();
  if (marks_.empty()) undo_.clear();
  return absl::OkStatus();
}

void MemoryFleetStore::Rollback() {
  MUSTER_CHECK(!marks_.empty());
  while (undo_.size() > marks_.back()) {
    undo_.back()();
    undo_.pop_back();
  }
  marks_.pop_back();
}

// --- Start ------------------------------------------------------------------

absl::StatusOr<uint64_t> MemoryFleetStore::BeginRun(absl::Time now) {
  RETURN_IF_ERROR(error());
  const uint64_t last = run_.empty() ? 0 : run_.begin()->second;
  Put(run_, 0, last + 1);
  const absl::Time ended = alive_at_.empty() ? now : alive_at_.begin()->second;
  for (const auto& [key, link] : std::map(links_)) {
    if (link.end != LinkEnd::kOpen) continue;
    LinkRecord closed = link;
    closed.end = LinkEnd::kGatewayStopped;
    closed.closed_at = std::max(link.opened_at, ended);
    Put(links_, key, closed);
  }
  return run_.begin()->second;
}

absl::StatusOr<std::vector<MachineRecord>> MemoryFleetStore::LoadMachines() {
  RETURN_IF_ERROR(error());
  std::vector<MachineRecord> all;
  for (const auto& [id, machine] : machines_) {
    MachineRecord& loaded = all.emplace_back(machine);
    const auto heard = last_heard_.find(id);
    if (heard != last_heard_.end()) loaded.last_heard = heard->second;
  }
  return all;
}

absl::StatusOr<std::vector<CommandRecord>>
MemoryFleetStore::LoadOpenCommands() {
  RETURN_IF_ERROR(error());
  std::vector<CommandRecord> open;
  for (const auto& [id, command] : commands_) {
    if (IsOpen(command)) open.push_back(command);
  }
  return open;
}

// --- Machines ---------------------------------------------------------------

absl::Status MemoryFleetStore::CheckMachine(const AgentId& id) const {
  if (machines_.contains(id)) return absl::OkStatus();
  return UnknownMachine(id);
}

absl::Status MemoryFleetStore::PutMachine(const MachineRecord& machine) {
  RETURN_IF_ERROR(error());
  MachineRecord stored = machine;
  stored.last_heard.reset();
  const auto before = machines_.find(machine.id);
  if (before != machines_.end()) {
    if (before->second.epoch > machine.epoch) return NewerEpoch(machine);
    KeepStatus(before->second, stored);
    stored.labels = before->second.labels;
    stored.key_pin = before->second.key_pin;
  }
  Put(machines_, machine.id, std::move(stored));
  return absl::OkStatus();
}

absl::Status MemoryFleetStore::SetLabels(const AgentId& agent,
                                         const Labels& labels) {
  RETURN_IF_ERROR(error());
  RETURN_IF_ERROR(CheckMachine(agent));
  MachineRecord changed = machines_.at(agent);
  changed.labels = labels;
  Put(machines_, agent, std::move(changed));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PresenceRecord>> MemoryFleetStore::LoadPresence() {
  RETURN_IF_ERROR(error());
  std::vector<PresenceRecord> all;
  for (const auto& [whose, settings] : presence_) {
    if (settings == PresenceSettings()) continue;
    all.push_back({whose.first, whose.second, settings});
  }
  return all;
}

absl::Status MemoryFleetStore::EditPresence(const OrgId& org,
                                            const AgentId& agent,
                                            const PresenceEdit& edit) {
  RETURN_IF_ERROR(error());
  if (!agent.empty()) RETURN_IF_ERROR(CheckMachine(agent));
  const std::pair whose(org, agent);
  const auto it = presence_.find(whose);
  Put(presence_, whose,
      Edited(it == presence_.end() ? PresenceSettings() : it->second, edit));
  return absl::OkStatus();
}

absl::Status MemoryFleetStore::PutLastHeard(
    std::span<const std::pair<AgentId, absl::Time>> heard) {
  RETURN_IF_ERROR(error());
  for (const auto& [id, at] : heard) {
    if (machines_.contains(id)) Put(last_heard_, id, at);
  }
  return absl::OkStatus();
}

// --- Commands ---------------------------------------------------------------

absl::StatusOr<CommandRecord> MemoryFleetStore::AddCommand(
    const CommandRecord& command) {
  RETURN_IF_ERROR(error());
  const std::pair key(command.org, command.idempotency_key);
  if (const auto used = keys_.find(key); used != keys_.end()) {
    return SameRequest(commands_.at(used->second.command), command);
  }
  if (commands_.contains(command.id)) return Exists("this command");
  RETURN_IF_ERROR(CheckMachine(command.agent));
  CommandRecord added = command;
  added.stdout_bytes = 0;
  added.stderr_bytes = 0;
  Put(commands_, command.id, added);
  if (!command.idempotency_key.empty()) {
    Put(keys_, key, IdempotencyKey{command.id, command.created_at});
  }
  return added;
}

absl::StatusOr<CommandRecord> MemoryFleetStore::FindCommand(
    const OrgId& org, const std::string& key) {
  RETURN_IF_ERROR(error());
  const auto used = keys_.find({org, key});
  if (used == keys_.end()) return UnknownKey(key);
  return commands_.at(used->second.command);
}

absl::Status MemoryFleetStore::PutCommand(const CommandRecord& command) {
  RETURN_IF_ERROR(error());
  const auto it = commands_.find(command.id);
  if (it == commands_.end()) return UnknownCommand(command.id);
  const CommandRecord& old = it->second;
  CommandRecord changed = command;
  changed.agent = old.agent;
  changed.org = old.org;
  changed.spec = old.spec;
  changed.issued_by = old.issued_by;
  changed.idempotency_key = old.idempotency_key;
  changed.labels = old.labels;
  changed.purpose = old.purpose;
  changed.batch = old.batch;
  changed.created_at = old.created_at;
  changed.stdout_bytes = old.stdout_bytes;
  changed.stderr_bytes = old.stderr_bytes;
  const auto batch = batches_.find(old.batch);
  if (batch != batches_.end() && HasEnded(batch->second.state)) {
    BatchRecord counted = batch->second;
    CountAnew(counted.counts, old, changed);
    Put(batches_, old.batch, std::move(counted));
  }
  Put(commands_, command.id, std::move(changed));
  return absl::OkStatus();
}

absl::StatusOr<CommandRecord> MemoryFleetStore::GetCommand(
    const CommandId& id) {
  RETURN_IF_ERROR(error());
  const auto it = commands_.find(id);
  if (it == commands_.end()) return UnknownCommand(id);
  return it->second;
}

absl::StatusOr<std::vector<CommandRecord>> MemoryFleetStore::ListCommands(
    const CommandFilter& filter, size_t limit) {
  RETURN_IF_ERROR(error());
  const auto selected = [&](const CommandRecord& c) {
    return (filter.org.empty() || c.org == filter.org) &&
           (!filter.agent.has_value() || c.agent == *filter.agent) &&
           (filter.batch.empty() || c.batch == filter.batch) &&
           c.spec.terminal.has_value() == filter.sessions &&
           (filter.states.empty() ||
            std::find(filter.states.begin(), filter.states.end(), c.state) !=
                filter.states.end());
  };
  std::vector<CommandRecord> found;
  auto it = filter.before.has_value() ? commands_.lower_bound(*filter.before)
                                      : commands_.end();
  while (it != commands_.begin() && found.size() < limit) {
    --it;
    if (selected(it->second)) found.push_back(it->second);
  }
  return found;
}

absl::StatusOr<uint64_t> MemoryFleetStore::AppendOutput(
    const OutputRecord& output) {
  RETURN_IF_ERROR(error());
  const auto it = commands_.find(output.command);
  if (it == commands_.end()) return UnknownCommand(output.command);
  CommandRecord command = it->second;
  uint64_t& end = output.stream == Stream::kStdout ? command.stdout_bytes
                                                   : command.stderr_bytes;
  ASSIGN_OR_RETURN(const FreshOutput fresh, FreshPart(output, end));
  if (fresh.bytes.empty()) return end;
  Put(output_, {output.command, ++last_arrival_},
      OutputRecord{output.command, output.stream, fresh.start,
                   std::string(fresh.bytes), output.at});
  end = fresh.start + fresh.bytes.size();
  const uint64_t stored = end;
  Put(commands_, output.command, std::move(command));
  return stored;
}

absl::StatusOr<std::vector<OutputRecord>> MemoryFleetStore::ReadOutput(
    const CommandId& id, uint64_t stdout_offset, uint64_t stderr_offset,
    size_t bytes_max) {
  RETURN_IF_ERROR(error());
  if (!commands_.contains(id)) return UnknownCommand(id);
  std::vector<OutputRecord> found;
  size_t bytes = 0;
  for (auto it = output_.lower_bound({id, 0});
       it != output_.end() && it->first.first == id && bytes < bytes_max;
       ++it) {
    const OutputRecord& stored = it->second;
    const uint64_t offset =
        stored.stream == Stream::kStdout ? stdout_offset : stderr_offset;
    if (stored.offset + stored.data.size() <= offset) continue;
    OutputRecord& record = found.emplace_back(stored);
    SkipBefore(record, offset);
    bytes += record.data.size();
  }
  return found;
}

// --- Care -------------------------------------------------------------------

absl::StatusOr<size_t> MemoryFleetStore::DeleteExpired(
    const Retention& retention, absl::Time now, size_t rows_max) {
  RETURN_IF_ERROR(error());
  const auto command_before = [this](const CommandId& id, absl::Time before) {
    const CommandRecord& command = commands_.at(id);
    return IsTerminal(command.state) && command.created_at < before;
  };
  const absl::Time commands_before = now - retention.commands;
  const absl::Time output_before =
      std::max(now - retention.output, commands_before);
  size_t deleted =
      EraseExpired(output_, rows_max, [&](const auto& key, const auto&) {
        return command_before(key.first, output_before);
      });
  deleted += EraseExpired(
      keys_, rows_max - deleted, [&](const auto&, const IdempotencyKey& key) {
        return key.created_at < now - retention.idempotency_keys ||
               command_before(key.command, commands_before);
      });
  deleted += EraseExpired(transitions_, rows_max - deleted,
                          [&](const auto&, const auto& t) {
                            return t.at < now - retention.transitions;
                          });
  deleted +=
      EraseExpired(links_, rows_max - deleted, [&](const auto&, const auto& l) {
        return l.closed_at.has_value() && *l.closed_at < now - retention.links;
      });
  const absl::Time history_before = now - retention.transitions;
  deleted += EraseExpired(
      notes_, rows_max - deleted,
      [&](const auto&, const auto& n) { return n.at < history_before; });
  deleted += EraseExpired(
      blind_, rows_max - deleted,
      [&](const auto&, const auto& b) { return b.to < history_before; });
  deleted += EraseExpired(incidents_, rows_max - deleted,
                          [&](const auto&, const auto& i) {
                            return i.closed_at && *i.closed_at < history_before;
                          });
  const auto over = [&](const BatchId& id) {
    const auto& finished = batches_.at(id).finished_at;
    return finished && *finished < commands_before;
  };
  EraseExpired(batch_targets_, rows_max,
               [&](const auto& id, const auto&) { return over(id); });
  deleted +=
      EraseExpired(batches_, rows_max - deleted,
                   [&](const auto& id, const auto&) { return over(id); });
  // What still refers to a command is gone if there was room for it.
  if (deleted < rows_max) {
    deleted += EraseExpired(commands_, rows_max - deleted,
                            [&](const auto& id, const auto&) {
                              return command_before(id, commands_before) &&
                                     !batches_.contains(commands_.at(id).batch);
                            });
  }
  deleted += DeleteAudit(now - retention.audit, rows_max - deleted);
  return deleted;
}

absl::StatusOr<std::map<std::string, uint64_t>>
MemoryFleetStore::StoredBytes() {
  RETURN_IF_ERROR(error());
  uint64_t output = 0;
  for (const auto& [key, record] : output_) output += record.data.size();
  std::map<std::string, uint64_t> bytes = {
      {"machines", machines_.size() * sizeof(MachineRecord)},
      {"transitions", transitions_.size() * sizeof(TransitionRecord)},
      {"links", links_.size() * sizeof(LinkRecord)},
      {"notes", notes_.size() * sizeof(NoteRecord)},
      {"incidents", incidents_.size() * sizeof(IncidentRecord)},
      {"blind_intervals", blind_.size() * sizeof(BlindRecord)},
      {"commands", commands_.size() * sizeof(CommandRecord)},
      {"batches", batches_.size() * sizeof(BatchRecord)},
      {"output", output},
      {"audit", audit_.size() * sizeof(AuditRecord)},
      {"tokens", tokens_.size() * sizeof(TokenRecord)}};
  uint64_t file = 0;
  for (const auto& [kind, size] : bytes) file += size;
  bytes["file"] = file;
  return bytes;
}

absl::Status MemoryFleetStore::BackupTo(const std::string& path) {
  RETURN_IF_ERROR(error());
  return absl::UnimplementedError(
      fmt::format("a fleet kept in memory has no backup in {}", path));
}

}  // namespace muster::gateway
