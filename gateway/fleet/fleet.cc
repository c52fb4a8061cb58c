#include "gateway/fleet/fleet.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

// Epochs are the run number, then a counter: a new run is always newer.
constexpr int kLinkBits = 32;
constexpr uint64_t kEpochEnd = uint64_t{1} << 62;

std::string_view Name(Status status) {
  switch (status) {
    case Status::kOnline:
      return "online";
    case Status::kStale:
      return "stale";
    case Status::kOffline:
      return "offline";
  }
  return "unknown";
}

// "6 min", "3 d": what a person says.
std::string Spoken(absl::Duration d) {
  if (d < absl::Minutes(2)) return fmt::format("{} s", absl::ToInt64Seconds(d));
  if (d < absl::Hours(2)) return fmt::format("{} min", absl::ToInt64Minutes(d));
  if (d < absl::Hours(48)) return fmt::format("{} h", absl::ToInt64Hours(d));
  return fmt::format("{} d", absl::ToInt64Hours(d) / 24);
}

std::string Stamp(absl::Time t) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", t, absl::UTCTimeZone());
}

}  // namespace

Fleet::Fleet(EventLoop& loop, Journal& journal, FleetOptions options)
    : loop_(loop),
      journal_(journal),
      options_(options),
      commands_(loop, journal, machines_, options_.presence, options_.commands),
      history_(loop, journal, machines_, {}) {}

Fleet::~Fleet() {
  loop_.Cancel(turn_timer_);
  loop_.Cancel(flush_timer_);
}

// --- Start -----------------------------------------------------------------

uint64_t Fleet::RunAfter(const std::vector<MachineRecord>& machines) {
  uint64_t epoch = 0;
  for (const MachineRecord& m : machines) epoch = std::max(epoch, m.epoch);
  return (epoch >> kLinkBits) + 1;
}

void Fleet::Restore(uint64_t run, std::vector<MachineRecord> machines,
                    std::vector<CommandRecord> open_commands) {
  run_ = run;
  const Instant now = loop_.clock().Now();
  const absl::Time wall = loop_.clock().Wall();
  for (MachineRecord& record : machines) {
    std::optional<Instant> promise;
    if (record.status == Status::kStale && record.promised_back) {
      promise = now + std::max(*record.promised_back - wall,
                               options_.presence.reconnect_grace);
    }
    Presence presence = Presence::Restored(options_.presence, record.status,
                                           record.verdict, promise, now);
    machines_.Add(std::move(record), std::move(presence));
  }
  commands_.Restore(std::move(open_commands), now);
}

void Fleet::Open() {
  const Instant now = loop_.clock().Now();
  open_ = true;
  last_turn_ = now;
  trust_links_from_ = now;
  machines_.ForEachLiving([&](Machine& machine) {
    // Until now nobody could have been heard.
    machine.presence.Blind(Instant(), now);
    Schedule(machine);
  });
  Turn();
  FlushEvery();
}

// --- Links -----------------------------------------------------------------

std::optional<Disconnect> Fleet::LinkOpened(const AgentId& agent,
                                            HelloNotice hello, LinkPort& port) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr) {
    return Disconnect{DisconnectReason::kNotRegistered,
                      "this gateway does not know this machine",
                      absl::Minutes(5)};
  }
  if (machine->record.deleted_at) {
    return Disconnect{DisconnectReason::kDeregistered,
                      "this machine was deleted; join again with a new token",
                      absl::ZeroDuration()};
  }
  if (machine->link != nullptr) {
    DropLink(*machine, LinkEnd::kSuperseded,
             {DisconnectReason::kSuperseded,
              "a newer link of this machine was accepted",
              {}});
  }
  const Instant now = loop_.clock().Now();
  MachineRecord& record = machine->record;
  record.epoch = NextEpoch(*machine, hello.last_epoch);
  record.address = hello.address;
  record.promised_back.reset();
  if (record.facts.hostname != hello.facts.hostname) {
    machines_.SetHostname(*machine, hello.facts.hostname);
  }
  record.facts = std::move(hello.facts);
  machine->link = &port;
  machine->link_record = {.agent = agent,
                          .epoch = record.epoch,
                          .boot_id = std::move(hello.boot_id),
                          .process_start_id = std::move(hello.process_start_id),
                          .address = record.address,
                          .opened_at = loop_.clock().Wall(),
                          .closed_at = std::nullopt,
                          .end = LinkEnd::kOpen};
  machine->acknowledgement_sent = 1;
  machine->acknowledgement_echoed = 0;
  ++open_links_;
  machine->presence.LinkOpened(now);
  machine->presence.Told(HeartbeatInterval());
  Heard(*machine, now);
  // Accepting a link waits for no disk.
  history_.Add(machine->link_record);
  Log(kInfo, "link opened",
      {{"agent_id", agent.str()},
       {"hostname", record.facts.hostname},
       {"epoch", record.epoch},
       {"address", record.address}});
  port.SendWelcome(
      {record.epoch, machine->acknowledgement_sent, HeartbeatInterval()});
  commands_.Reconcile(*machine, hello.seen_high, hello.open_commands, now);
  commands_.Dispatch(*machine, now);
  Schedule(*machine);
  return std::nullopt;
}

std::optional<AcknowledgementNotice> Fleet::Heartbeat(
    const AgentId& agent, uint64_t epoch, const HeartbeatNotice& heartbeat) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return std::nullopt;
  const Instant now = loop_.clock().Now();
  Heard(*machine, now);
  const AcknowledgementNotice answer{++machine->acknowledgement_sent,
                                     HeartbeatInterval()};
  machine->presence.Told(answer.heartbeat_interval);
  if (heartbeat.round_trip) machine->round_trip = heartbeat.round_trip;
  if (heartbeat.sent_at) {
    machine->clock_skew = *heartbeat.sent_at - loop_.clock().Wall();
  }
  // An echo must be newer than the last, and of something that was said.
  if (heartbeat.acknowledged > machine->acknowledgement_echoed &&
      heartbeat.acknowledged < answer.acknowledgement) {
    machine->acknowledgement_echoed = heartbeat.acknowledged;
    if (const auto change = machine->presence.Echoed(now)) {
      Record(*machine, *change);
      commands_.Dispatch(*machine, now);
    }
  }
  Schedule(*machine);
  return answer;
}

void Fleet::TakeWord(const AgentId& agent, uint64_t epoch, CommandWord word) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  Heard(*machine, now);
  commands_.TakeWord(*machine, std::move(word), now);
}

void Fleet::TakeOutput(
    const AgentId& agent, OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->record.deleted_at) {
    stored(NotFound("agent", agent.str()));
    return;
  }
  commands_.TakeOutput(*machine, std::move(output), std::move(stored));
}

void Fleet::Goodbye(const AgentId& agent, uint64_t epoch,
                    GoodbyeNotice notice) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  NoteBlindness(now);
  Heard(*machine, now);
  machine->record.promised_back = loop_.clock().Wall() + notice.back_within;
  if (const auto change = machine->presence.Goodbye(now, std::move(notice))) {
    Record(*machine, *change);
  } else {
    machine->record.verdict = machine->presence.verdict();
    journal_.Put({machine->record}, [](const absl::Status&) {
      // The next write brings it along.
    });
  }
  Schedule(*machine);
}

void Fleet::Leave(const AgentId& agent, uint64_t epoch) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  Bury(*machine, [](const absl::Status&) {});
}

void Fleet::LinkClosed(const AgentId& agent, uint64_t epoch, LinkEnd end) {
  --open_links_;
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  NoteBlindness(now);
  machine->link = nullptr;
  if (end == LinkEnd::kClosedByPeer && machine->presence.promise_end()) {
    end = LinkEnd::kGoodbye;
  }
  CloseLinkRecord(*machine, end);
  LinkLoss loss = LinkLoss::kPlain;
  if (end == LinkEnd::kClosedByGateway) loss = LinkLoss::kByGateway;
  if (now <= trust_links_from_) loss = LinkLoss::kUntrusted;
  machine->presence.LinkLost(now, loss);
  Schedule(*machine);
}

// --- Operators -------------------------------------------------------------

void Fleet::Admit(const MachineRecord& machine, const AgentId& replaces) {
  Machine& added = machines_.Add(
      machine, Presence::Newborn(options_.presence, loop_.clock().Now()));
  Schedule(added);
  Machine* old = machines_.FindReplaced(added.record, replaces);
  if (old == nullptr) return;
  old->record.replaced_by = added.record.id;
  Log(kInfo, "machine replaced",
      {{"agent_id", old->record.id.str()},
       {"hostname", old->record.facts.hostname},
       {"replaced_by", added.record.id.str()}});
  journal_.Put({old->record}, [](const absl::Status&) {
    // The next write of that machine brings it along.
  });
}

void Fleet::Delete(const OrgId& org, const AgentId& agent,
                   absl::AnyInvocable<void(absl::Status)> done) {
  Machine* machine = machines_.FindLiving(org, agent);
  if (machine == nullptr) {
    done(NotFound("agent", agent.str()));
    return;
  }
  Bury(*machine, std::move(done));
}

void Fleet::SetLabels(const OrgId& org, const AgentId& agent, Labels labels,
                      absl::AnyInvocable<void(absl::Status)> done) {
  Machine* machine = machines_.FindLiving(org, agent);
  if (machine == nullptr) {
    done(NotFound("agent", agent.str()));
    return;
  }
  LabelChange change{agent, labels};
  journal_.Put({std::move(change)},
               [machine, labels = std::move(labels),
                done = std::move(done)](absl::Status status) mutable {
                 if (status.ok()) machine->record.labels = std::move(labels);
                 done(std::move(status));
               });
}

void Fleet::Bury(Machine& machine,
                 absl::AnyInvocable<void(absl::Status)> done) {
  machines_.Bury(machine, loop_.clock().Wall());
  deadlines_.Remove(machine.record.id);
  heard_since_flush_.erase(machine.record.id);
  Log(kInfo, "machine deleted",
      {{"agent_id", machine.record.id.str()},
       {"hostname", machine.record.facts.hostname}});
  SaveTombstone(machine, std::move(done));
  commands_.GiveUpAll(machine, loop_.clock().Now());
  if (machine.link != nullptr) {
    DropLink(machine, LinkEnd::kClosedByGateway,
             {DisconnectReason::kDeregistered,
              "this machine was deleted; join again with a new token",
              {}});
  }
}

void Fleet::SaveTombstone(Machine& machine,
                          absl::AnyInvocable<void(absl::Status)> done) {
  journal_.Put({machine.record}, [this, &machine, done = std::move(done)](
                                     const absl::Status& status) mutable {
    if (!status.ok()) {
      // It is refused from now on; a restart must not bring it back.
      loop_.PostAt(loop_.clock().Now() + options_.commands.retry_after,
                   [this, &machine] {
                     SaveTombstone(machine, [](const absl::Status&) {});
                   });
    }
    done(status);
  });
}

std::string Fleet::Why(const Machine& machine) const {
  const MachineRecord& record = machine.record;
  const absl::Time now = loop_.clock().Wall();
  const std::string heard =
      record.last_heard
          ? fmt::format("last heartbeat {}", Stamp(*record.last_heard))
          : "never heard";
  std::string text = fmt::format(
      "{} is {} for {}, since {} ({})", record.facts.hostname,
      Name(record.status),
      // The wall clock may have been set back since.
      Spoken(std::max(now - record.status_since, absl::ZeroDuration())),
      Stamp(record.status_since), heard);
  if (record.verdict && !record.verdict->summary.empty()) {
    text += ": " + record.verdict->summary;
  }
  return text;
}

absl::Duration Fleet::HeartbeatInterval() const {
  const absl::Duration scaled = absl::Seconds(
      static_cast<double>(open_links_) / options_.heartbeats_per_second_max);
  return std::max(options_.presence.heartbeat_interval, scaled);
}

void Fleet::CloseAllLinks(const Disconnect& why) {
  machines_.ForEachLiving([&](Machine& machine) {
    if (machine.link != nullptr) machine.link->Close(why);
  });
}

// --- Judging ---------------------------------------------------------------

Machine* Fleet::Current(const AgentId& agent, uint64_t epoch) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->record.deleted_at) return nullptr;
  if (machine->link == nullptr) return nullptr;
  return machine->record.epoch == epoch ? machine : nullptr;
}

uint64_t Fleet::NextEpoch(const Machine& machine, uint64_t last_epoch) {
  // A larger number comes from a life of this gateway that it has forgotten (a
  // restored copy); go on from there. An agent's claim concerns only itself,
  // and one that no gateway could have given is ignored.
  const uint64_t claimed = last_epoch < kEpochEnd ? last_epoch : 0;
  const uint64_t seen = std::max(machine.record.epoch, claimed);
  return std::max(run_ << kLinkBits | ++links_this_run_, seen + 1);
}

void Fleet::Heard(Machine& machine, Instant now) {
  machine.record.last_heard = loop_.clock().Wall();
  machine.presence.Heard(now);
  heard_since_flush_.insert(machine.record.id);
}

Instant Fleet::NextLook(const Machine& machine) {
  const Instant next = machine.presence.NextDeadline();
  return machine.link == nullptr ? next
                                 : std::min(next, machine.presence.SilentAt());
}

void Fleet::Schedule(Machine& machine) {
  if (!open_) return;
  const Instant due = NextLook(machine);
  const bool sooner = due < deadlines_.Earliest();
  deadlines_.Schedule(machine.record.id, due);
  if (sooner) Arm();
}

void Fleet::Record(Machine& machine, const StatusChange& change) {
  machines_.SetStatus(machine, loop_.clock().Wall());
  MachineRecord& record = machine.record;
  if (change.to == Status::kOnline) {
    record.promised_back.reset();
    record.replaced_by.reset();  // It is still there.
  }
  TransitionRecord transition{.agent = record.id,
                              .sequence = ++record.transition_sequence,
                              .from = change.from,
                              .to = change.to,
                              .at = record.status_since,
                              .epoch = record.epoch,
                              .verdict = change.verdict};
  Log(change.to == Status::kOnline ? kInfo : kWarning,
      fmt::format("machine {}", Name(change.to)),
      {{"agent_id", record.id.str()},
       {"hostname", record.facts.hostname},
       {"from", Name(change.from)},
       {"last_heartbeat",
        record.last_heard ? Stamp(*record.last_heard) : "never"},
       {"summary", change.verdict ? change.verdict->summary : ""}});
  history_.Add(std::move(transition));
}

void Fleet::DropLink(Machine& machine, LinkEnd end, const Disconnect& why) {
  LinkPort* link = std::exchange(machine.link, nullptr);
  CloseLinkRecord(machine, end);
  link->Close(why);
}

void Fleet::CloseLinkRecord(Machine& machine, LinkEnd end) {
  machine.link_record.closed_at = loop_.clock().Wall();
  machine.link_record.end = end;
  history_.Add(machine.link_record);
  Log(kInfo, "link closed",
      {{"agent_id", machine.record.id.str()},
       {"hostname", machine.record.facts.hostname},
       {"epoch", machine.link_record.epoch},
       {"end", static_cast<int>(end)}});
}

void Fleet::Turn() {
  const Instant now = loop_.clock().Now();
  NoteBlindness(now);
  last_turn_ = now;
  Judge(now);
  commands_.Sweep(now);
  turn_timer_ = {};
  Arm();
}

void Fleet::NoteBlindness(Instant now) {
  const Instant from = last_turn_;
  const absl::Duration gap = now - from;
  if (gap <= options_.presence.blind_gap) return;
  last_turn_ = now;
  // Links that broke meanwhile are reported in the next moments.
  trust_links_from_ = now + options_.presence.blind_gap;
  Log(kWarning, "this gateway stood still: nobody is judged for that time",
      {{"for", gap}});
  machines_.ForEachLiving(
      [&](Machine& machine) { machine.presence.Blind(from, now); });
}

void Fleet::Judge(Instant now) {
  std::vector<const Machine*> offline;
  while (const std::optional<AgentId> id = deadlines_.PopDue(now)) {
    Machine* machine = machines_.Find(*id);
    if (machine == nullptr || machine->record.deleted_at) continue;
    while (const auto change = machine->presence.Tick(now)) {
      Record(*machine, *change);
      if (change->to == Status::kOffline) offline.push_back(machine);
    }
    if (machine->link != nullptr && now >= machine->presence.SilentAt()) {
      machine->presence.LinkLost(now, LinkLoss::kByGateway);
      DropLink(
          *machine, LinkEnd::kSilence,
          {DisconnectReason::kSilent, "nothing was heard for too long", {}});
    }
    deadlines_.Schedule(*id, NextLook(*machine));
  }
  if (!offline.empty()) {
    Log(kWarning, fmt::format("marked {} agents as offline", offline.size()));
  }
}

void Fleet::Arm() {
  loop_.Cancel(turn_timer_);
  // A look that comes a moment late must not pass for a gap.
  const absl::Duration watch_every =
      std::min(options_.watch_every, options_.presence.blind_gap / 4);
  const Instant next =
      std::min({deadlines_.Earliest(), commands_.NextDeadline(),
                last_turn_ + watch_every});
  turn_timer_ = loop_.PostAt(next, [this] { Turn(); });
}

void Fleet::FlushLastHeard() {
  LastHeard batch;
  for (const AgentId& id : heard_since_flush_) {
    const Machine* machine = machines_.Find(id);
    batch.at.emplace_back(id, *machine->record.last_heard);
  }
  heard_since_flush_.clear();
  if (batch.at.empty()) return;
  std::sort(batch.at.begin(), batch.at.end());
  journal_.Put({std::move(batch)}, [](const absl::Status&) {
    // Shown only; whoever speaks is in the next batch.
  });
}

void Fleet::FlushEvery() {
  FlushLastHeard();
  flush_timer_ = loop_.PostAt(loop_.clock().Now() + options_.last_heard_every,
                              [this] { FlushEvery(); });
}

}  // namespace muster::gateway
