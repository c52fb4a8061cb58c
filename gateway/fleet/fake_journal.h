// A journal in memory that does what the test says: at once, later, or not.

#ifndef MUSTER_GATEWAY_FLEET_FAKE_JOURNAL_H_
#define MUSTER_GATEWAY_FLEET_FAKE_JOURNAL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/presence_settings.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// FakeJournal keeps what it was told in plain maps. A write happens, and its
// `done` is posted, when it is called; or, while Hold() lasts, when the test
// lets it through. FailNext() makes the next writes fail. For tests only; lives
// on the test's thread.
class FakeJournal final : public Journal {
 public:
  explicit FakeJournal(EventLoop& loop) : loop_(&loop) {}

  // Another life of the gateway: answers go to `loop` from now on. What was
  // held is lost, as in a crash.
  void Restart(EventLoop& loop) {
    loop_ = &loop;
    held_.clear();
    holding_ = false;
    failures_ = 0;
  }

  void Hold() { holding_ = true; }
  // Lets the oldest held write through; false if there is none.
  bool ReleaseOne() {
    if (held_.empty()) return false;
    auto write = std::move(held_.front());
    held_.pop_front();
    write();
    return true;
  }
  void Release() {
    holding_ = false;
    while (ReleaseOne()) {
    }
  }
  size_t held() const { return held_.size(); }

  // The next `count` writes fail and change nothing.
  void FailNext(int count) { failures_ = count; }

  // --- Journal ------------------------------------------------------------
  void Put(std::vector<Change> changes,
           absl::AnyInvocable<void(absl::Status)> done) override {
    ++puts;
    Run([this, changes = std::move(changes), done = std::move(done)]() mutable {
      absl::Status status = TakeFailure();
      if (status.ok()) {
        for (const Change& change : changes) {
          std::visit([this](const auto& c) { Keep(c); }, change);
        }
      }
      Answer(std::move(done), std::move(status));
    });
  }

  void AddCommand(
      CommandRecord command,
      absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> done) override {
    Run([this, command = std::move(command), done = std::move(done)]() mutable {
      Answer(std::move(done), Added(command));
    });
  }

  void AddBatch(
      BatchRecord batch, std::vector<AgentId> targets,
      absl::AnyInvocable<void(absl::StatusOr<BatchRecord>)> done) override {
    Run([this, batch = std::move(batch), targets = std::move(targets),
         done = std::move(done)]() mutable {
      absl::StatusOr<BatchRecord> added = batch;
      if (absl::Status failure = TakeFailure(); !failure.ok()) {
        added = failure;
      } else {
        batches[batch.id] = batch;
        batch_targets[batch.id] = std::move(targets);
      }
      Answer(std::move(done), std::move(added));
    });
  }

  void LoadCommand(
      CommandId id,
      absl::AnyInvocable<void(absl::StatusOr<CommandRecord>)> done) override {
    Run([this, id = std::move(id), done = std::move(done)]() mutable {
      const auto it = commands.find(id);
      absl::StatusOr<CommandRecord> found = absl::NotFoundError("command");
      if (it != commands.end()) found = it->second;
      Answer(std::move(done), std::move(found));
    });
  }

  void AppendOutput(
      OutputRecord output,
      absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> done) override {
    Run([this, output = std::move(output), done = std::move(done)]() mutable {
      Answer(std::move(done), Appended(output));
    });
  }

  // --- What is remembered -------------------------------------------------
  std::map<AgentId, MachineRecord> machines;
  std::map<AgentId, std::vector<TransitionRecord>> transitions;
  std::map<std::pair<AgentId, uint64_t>, LinkRecord> links;
  std::map<CommandId, CommandRecord> commands;
  std::map<BatchId, BatchRecord> batches;
  std::map<BatchId, std::vector<AgentId>> batch_targets;
  std::map<AgentId, absl::Time> last_heard;
  std::map<AgentId, std::vector<NoteRecord>> notes;
  std::map<std::string, IncidentRecord> incidents;
  std::vector<BlindRecord> blind;
  std::map<std::pair<OrgId, AgentId>, PresenceSettings> presence;
  // Every state in which a command was written, in order.
  std::map<CommandId, std::vector<CommandState>> history;
  int puts = 0;
  int last_heard_batches = 0;

 private:
  void Run(absl::AnyInvocable<void()> write) {
    if (holding_) {
      held_.push_back(std::move(write));
    } else {
      write();
    }
  }

  template <typename Done, typename Result>
  void Answer(Done done, Result result) {
    loop_->Post([done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  }

  absl::Status TakeFailure() {
    if (failures_ == 0) return absl::OkStatus();
    --failures_;
    return absl::UnavailableError("the disk is away");
  }

  absl::StatusOr<CommandRecord> Added(const CommandRecord& command) {
    absl::Status failure = TakeFailure();
    if (!failure.ok()) return failure;
    for (const auto& [id, other] : commands) {
      if (command.idempotency_key.empty() ||
          other.idempotency_key != command.idempotency_key) {
        continue;
      }
      if (other.agent == command.agent && other.spec == command.spec) {
        return other;
      }
      return absl::AlreadyExistsError("idempotency key");
    }
    Keep(command);
    return command;
  }

  absl::StatusOr<uint64_t> Appended(const OutputRecord& output) {
    absl::Status failure = TakeFailure();
    if (!failure.ok()) return failure;
    CommandRecord& command = commands[output.command];
    uint64_t& end = output.stream == Stream::kStdout ? command.stdout_bytes
                                                     : command.stderr_bytes;
    if (output.offset > end && !output.at) {
      return absl::OutOfRangeError("a hole");
    }
    end = std::max(end, output.offset + output.data.size());
    return end;
  }

  void Keep(const MachineRecord& m) {
    const auto [it, inserted] = machines.try_emplace(m.id, m);
    if (inserted) return;
    MachineRecord kept = m;
    KeepStatus(it->second, kept);
    kept.labels = std::move(it->second.labels);
    it->second = std::move(kept);
  }
  void Keep(const LabelChange& c) { machines[c.agent].labels = c.labels; }
  void Keep(const PresenceChange& c) {
    for (const AgentId& agent : c.agents) {
      PresenceSettings& settings = presence[{c.org, agent}];
      settings = Edited(settings, c.edit);
    }
  }
  void Keep(const NoteRecord& n) { notes[n.agent].push_back(n); }
  void Keep(const IncidentRecord& i) {
    TakeIncident(i, incidents.try_emplace(i.id, i).first->second);
  }
  void Keep(const BlindRecord& b) { blind.push_back(b); }
  void Keep(const TransitionRecord& t) {
    transitions[t.agent].push_back(t);
    TakeStatus(t, machines[t.agent]);
  }
  void Keep(const LinkRecord& l) { links[{l.agent, l.epoch}] = l; }
  void Keep(const CommandRecord& c) {
    commands[c.id] = c;
    history[c.id].push_back(c.state);
  }
  void Keep(const BatchRecord& b) { batches[b.id] = b; }
  void Keep(const LastHeard& batch) {
    ++last_heard_batches;
    for (const auto& [agent, at] : batch.at) last_heard[agent] = at;
  }

  EventLoop* loop_;
  bool holding_ = false;
  int failures_ = 0;
  std::deque<absl::AnyInvocable<void()>> held_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_FAKE_JOURNAL_H_
