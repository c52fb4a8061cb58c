#include "tests/simulation/model_disk.h"

#include <charconv>
#include <cstdlib>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/command_rules.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"
#include "tests/simulation/model_host.h"

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
// An agent takes no id that is no UUID.
constexpr std::string_view kCommandPrefix = "00000000-0000-7000-8000-";
CommandId CommandIdOf(uint64_t command) {
  return CommandId(fmt::format("{}{:012x}", kCommandPrefix, command));
}
uint64_t NumberOf(const CommandId& id) {
  uint64_t number = 0;
  const std::string& text = id.str();
  std::from_chars(text.data() + kCommandPrefix.size(),
                  text.data() + text.size(), number, 16);
  return number;
}

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
  Queue([this, command = std::move(command)] { return Add(command); },
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

// A read needs no room, and waits for no commit.
void ModelJournal::LoadCommand(
    CommandId id,
    absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)> done) {
  loop_.PostAt(loop_.Now() + absl::Nanoseconds(mood_.latency),
               [this, id = std::move(id), done = std::move(done)]() mutable {
                 const auto it = image_.commands.find(id);
                 if (it == image_.commands.end()) {
                   done(gateway::UnknownCommand(id));
                 } else {
                   done(it->second);
                 }
               });
}

void ModelJournal::AppendOutput(
    gateway::OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> done) {
  Queue([this, output = std::move(output)] { return Append(output); },
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
    Keep(*c);
  }
  // Links and last_heard are shown only: no rule reads them back.
}

// As the stores do it: what is stored of the output is the store's own.
void ModelJournal::Keep(const gateway::CommandRecord& command) {
  gateway::CommandRecord& kept = image_.commands[command.id];
  const gateway::CommandRecord before = std::exchange(kept, command);
  kept.stdout_bytes = before.stdout_bytes;
  kept.stderr_bytes = before.stderr_bytes;
  NoteEnd(before, kept);
}

void ModelJournal::NoteEnd(const gateway::CommandRecord& before,
                           const gateway::CommandRecord& now) {
  Event event{.what = What::kCommandEnded,
              .flag = now.started_at.has_value(),
              .state = now.state,
              .code = now.exit_code.value_or(0),
              .machine = MachineOf(now.agent),
              .number = NumberOf(now.id)};
  if (gateway::IsTerminal(now.state) && now.state != before.state) {
    recorder_.Record(event);
  }
  if (!now.stdout_total || !gateway::OutputComplete(now) ||
      gateway::OutputComplete(before)) {
    return;
  }
  event.what = What::kOutputComplete;
  event.epoch = *now.stdout_total;
  event.length = static_cast<Nanos>(*now.stderr_total);
  recorder_.Record(event);
}

absl::StatusOr<gateway::CommandRecord> ModelJournal::Add(
    const gateway::CommandRecord& command) {
  const std::string& key = command.idempotency_key;
  const auto used = image_.keys.find(key);
  if (used != image_.keys.end()) {
    return gateway::SameRequest(image_.commands.at(used->second), command);
  }
  if (!key.empty()) image_.keys.emplace(key, command.id);
  return image_.commands.try_emplace(command.id, command).first->second;
}

absl::StatusOr<uint64_t> ModelJournal::Append(
    const gateway::OutputRecord& output) {
  const auto it = image_.commands.find(output.command);
  if (it == image_.commands.end()) {
    return gateway::UnknownCommand(output.command);
  }
  gateway::CommandRecord& command = it->second;
  const gateway::CommandRecord before = command;
  uint64_t& end = output.stream == gateway::Stream::kStdout
                      ? command.stdout_bytes
                      : command.stderr_bytes;
  ASSIGN_OR_RETURN(const gateway::FreshOutput part,
                   gateway::FreshPart(output, end));
  const std::string_view fresh = part.bytes;
  if (fresh.empty()) return end;
  const auto stream = static_cast<uint64_t>(output.stream);
  image_.output[output.command].push_back(
      {output.command, output.stream, end, std::string(fresh)});
  const bool exact =
      fresh == OutputBytes(NumberOf(output.command), stream, end, fresh.size());
  end += fresh.size();
  recorder_.Record({.what = What::kOutputStored,
                    .flag = exact,
                    .machine = MachineOf(command.agent),
                    .epoch = stream,
                    .number = NumberOf(output.command),
                    .length = static_cast<Nanos>(end)});
  NoteEnd(before, command);
  return end;
}

}  // namespace muster::simulation
