#include "tests/simulation/model_disk.h"

#include <charconv>
#include <cstdlib>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/command_rules.h"

namespace muster::simulation {
namespace {

// As the store's own queue.
constexpr size_t kQueueMax = 10'000;

uint64_t NumberIn(const std::string& text) {
  uint64_t number = 0;
  std::from_chars(text.data() + 1, text.data() + text.size(), number);
  return number;
}

}  // namespace

// Short enough to need no memory of their own.
AgentId IdOf(uint32_t machine) { return AgentId(fmt::format("m{}", machine)); }
uint32_t MachineOf(const AgentId& id) {
  return static_cast<uint32_t>(NumberIn(id.str()));
}
CommandId CommandIdOf(uint64_t command) {
  return CommandId(fmt::format("c{}", command));
}
uint64_t NumberOf(const CommandId& id) { return NumberIn(id.str()); }

template <typename Work, typename Done>
void ModelJournal::Queue(Work work, Done done) {
  using Result = std::invoke_result_t<Work&>;
  if (!effect_()) return;
  if (queue_.size() >= kQueueMax) {
    loop_.Post([done = std::move(done)]() mutable {
      std::move(done)(Result(absl::UnavailableError("the store is behind")));
    });
    return;
  }
  auto result = std::make_shared<std::optional<Result>>();
  queue_.push_back(
      {[result, work = std::move(work)](const absl::Status& failure) mutable {
         result->emplace(failure.ok() ? work() : Result(failure));
       },
       [this, result, done = std::move(done)]() mutable {
         loop_.Post([result, done = std::move(done)]() mutable {
           std::move(done)(std::move(**result));
         });
       }});
  Schedule();
}

void ModelJournal::Schedule() {
  if (scheduled_ || queue_.empty()) return;
  scheduled_ = true;
  timeline_.Add(std::max(timeline_.now() + mood_.latency, mood_.stalled_until),
                Due::kCommit, 0, life_);
}

void ModelJournal::Commit() {
  scheduled_ = false;
  if (timeline_.now() < mood_.stalled_until) {  // It stalled meanwhile.
    Schedule();
    return;
  }
  if (broken_ || std::exchange(mood_.broken, false)) return Break();
  const bool full =
      mood_.full || (mood_.refuses > 0 && random_.Chance(mood_.refuses));
  const absl::Status failure =
      full ? absl::ResourceExhaustedError("storage_full") : absl::OkStatus();
  std::deque<Job> batch = std::exchange(queue_, {});
  for (Job& job : batch) {
    job.run(failure);
    job.answer();
  }
}

void ModelJournal::Break() {
  const bool first = !std::exchange(broken_, true);
  const bool arrived = first && random_.Chance(0.5);
  std::deque<Job> batch = std::exchange(queue_, {});
  for (Job& job : batch) {
    if (arrived) job.run(absl::OkStatus());
    job.run(absl::InternalError("disk I/O error"));
    job.answer();
  }
  if (!first) return;
  recorder_.Record({.what = What::kStoreBroken});
  loop_.Post(on_fatal_);
}

void ModelJournal::Crash(bool arrived) {
  if (!arrived || broken_ || mood_.full) return;
  for (Job& job : queue_) job.run(absl::OkStatus());
}

void ModelJournal::Put(std::vector<gateway::Change> changes,
                       absl::AnyInvocable<void(absl::Status)> done) {
  for (const gateway::Change& change : changes) {
    transition_seen_ |=
        std::holds_alternative<gateway::TransitionRecord>(change);
    if (const auto* m = std::get_if<gateway::MachineRecord>(&change)) {
      transition_seen_ |=
          m->verdict && m->verdict->cause == gateway::Cause::kNetworkGroup;
    }
  }
  Queue(
      [this, changes = std::move(changes)] {
        for (const gateway::Change& change : changes) Keep(change);
        return absl::OkStatus();
      },
      std::move(done));
}

void ModelJournal::AddCommand(
    gateway::CommandRecord command,
    absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)> done) {
  Queue(
      [this, command = std::move(
                 command)]() -> absl::StatusOr<gateway::CommandRecord> {
        return image_.commands.try_emplace(command.id, command).first->second;
      },
      std::move(done));
}

// Nobody submits one here.
void ModelJournal::AddBatch(
    gateway::BatchRecord, std::vector<AgentId>,
    absl::AnyInvocable<void(absl::StatusOr<gateway::BatchRecord>)> done) {
  Queue(
      []() -> absl::StatusOr<gateway::BatchRecord> {
        return absl::UnimplementedError("batches");
      },
      std::move(done));
}

void ModelJournal::LoadCommand(
    CommandId id,
    absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)> done) {
  Queue(
      [this, id = std::move(id)]() -> absl::StatusOr<gateway::CommandRecord> {
        const auto it = image_.commands.find(id);
        if (it == image_.commands.end()) return absl::NotFoundError("command");
        return it->second;
      },
      std::move(done));
}

void ModelJournal::AppendOutput(
    gateway::OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> done) {
  Queue(
      [output = std::move(output)]() -> absl::StatusOr<uint64_t> {
        return output.offset + output.data.size();
      },
      std::move(done));
}

void ModelJournal::Keep(const gateway::Change& change) {
  if (const auto* m = std::get_if<gateway::MachineRecord>(&change)) {
    const auto [it, added] = image_.machines.try_emplace(m->id, *m);
    if (added) return;
    gateway::MachineRecord kept = *m;
    gateway::KeepStatus(it->second, kept);
    it->second = std::move(kept);
  } else if (const auto* t = std::get_if<gateway::TransitionRecord>(&change)) {
    Event event{.what = What::kStored,
                .from = t->from,
                .to = t->to,
                .machine = MachineOf(t->agent),
                .epoch = t->epoch,
                .number = t->sequence};
    if (t->verdict) {
      event.verdict = true;
      event.domain = t->verdict->domain;
      event.cause = t->verdict->cause;
      event.confidence = t->verdict->confidence;
    }
    recorder_.Record(event);
    gateway::TakeStatus(*t, image_.machines[t->agent]);
  } else if (const auto* i = std::get_if<gateway::IncidentRecord>(&change)) {
    recorder_.Record(
        {.what = What::kIncident,
         .flag = i->closed_at.has_value(),
         .group = std::strtoull(i->group.c_str() + i->group.find('.', 3) + 1,
                                nullptr, 10)});
    if (i->closed_at) {
      image_.open_incidents.erase(i->id);
    } else {
      gateway::TakeIncident(
          *i, image_.open_incidents.try_emplace(i->id, *i).first->second);
    }
  } else if (const auto* c = std::get_if<gateway::CommandRecord>(&change)) {
    gateway::CommandRecord& kept = image_.commands[c->id];
    if (gateway::IsTerminal(c->state) && !gateway::IsTerminal(kept.state)) {
      recorder_.Record({.what = What::kCommandEnded,
                        .machine = MachineOf(c->agent),
                        .number = NumberOf(c->id)});
    }
    kept = *c;
  }
  // Links and last_heard are shown only: no rule reads them back.
}

}  // namespace muster::simulation
