#include "gateway/fleet/fleet.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/intervals.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

// Epochs are the run number, then a counter: a new run is always newer.
constexpr int kLinkBits = 32;
constexpr uint64_t kEpochEnd = uint64_t{1} << 62;

// More at once would keep the loop for longer than a turn may take: 2 ms.
constexpr size_t kLastHeardBatchMax = 512;

// For the log.
const char* NameOf(LinkEnd end) {
  switch (end) {
    case LinkEnd::kOpen:
      return "open";
    case LinkEnd::kGoodbye:
      return "goodbye";
    case LinkEnd::kClosedByPeer:
      return "closed_by_peer";
    case LinkEnd::kClosedByGateway:
      return "closed_by_gateway";
    case LinkEnd::kSilence:
      return "silence";
    case LinkEnd::kSuperseded:
      return "superseded";
    case LinkEnd::kGatewayStopped:
      return "gateway_stopped";
  }
  return "unknown";
}

}  // namespace

Disconnect Fleet::Revoked() {
  return {DisconnectReason::kCredentialRevoked,
          "this key does not speak for this machine any more: its identity was "
          "reissued. On the rightful machine paste the lines that `musterctl "
          "agents reissue` prints; on any other: muster-agent leave --force, "
          "and join with a token of its own",
          absl::Minutes(5)};
}

Disconnect Fleet::Deregistered() {
  return {DisconnectReason::kDeregistered,
          "this machine was deleted; join again with a new token",
          absl::ZeroDuration()};
}

Fleet::Fleet(EventLoop& loop, Journal& journal, FleetOptions options)
    : loop_(loop),
      journal_(journal),
      options_(options),
      watch_every_(
          std::min(options_.watch_every, options_.presence.blind_gap / 4)),
      policies_(options_.presence),
      commands_(
          loop, journal, machines_,
          [this](const Machine& machine) { return Why(machine); },
          options_.commands),
      batches_(loop, journal, machines_, commands_, options_.batches),
      input_(loop, machines_, commands_, options_.input),
      sessions_(loop, journal, commands_, options_.sessions),
      history_(loop, journal, machines_, {}),
      events_(options_.events),
      mass_silence_(options_.mass_silence),
      admission_(options_.admission),
      vouch_(options_.presence.CommandLease()) {}

Fleet::~Fleet() {
  loop_.Cancel(turn_timer_);
  loop_.Cancel(flush_timer_);
}

// --- Start -----------------------------------------------------------------

void Fleet::Restore(uint64_t run, Remembered remembered) {
  run_ = run;
  to_reopen_ = std::move(remembered.open_incidents);
  alive_before_ = remembered.alive_at;
  blind_before_ = std::move(remembered.blind);
  absl::flat_hash_map<AgentId, const PresenceSettings*> own;
  for (const PresenceRecord& record : remembered.presence) {
    if (record.agent.empty()) {
      policies_.SetOrg(record.org, record.settings);
    } else {
      own[record.agent] = policies_.Keep(record.settings);
    }
  }
  const Instant now = loop_.clock().Now();
  const absl::Time wall = loop_.clock().Wall();
  events_.BeginRun(run, wall);
  for (MachineRecord& record : remembered.machines) {
    const auto found = own.find(record.id);
    const PresenceSettings* settings =
        found == own.end() ? nullptr : found->second;
    const PresencePolicy& policy = policies_.For(record.org, settings);
    std::optional<Instant> promise;
    if (record.promised_back) {
      promise =
          now + std::max(*record.promised_back - wall, policy.reconnect_grace);
    }
    Presence restored =
        Presence::Restored(policy, record.status, record.verdict, promise, now);
    Machine& machine = machines_.Add(std::move(record), std::move(restored));
    machine.own_presence = settings;
    machine.durable_sequence = machine.record.transition_sequence;
    if (machine.record.deleted_at) continue;
    TellKey(machine);
    Regroup(machine);
    const auto& known = machine.record.verdict;
    if (machine.record.status == Status::kStale && known &&
        known->cause == Cause::kDuplicateIdentity) {
      machine.instances.ExpectRival(now);
      (void)machine.presence.Contest(*known);  // It is stale already.
    }
  }
  for (const CommandRecord& command : remembered.open_commands) {
    sessions_.Opened(command);
  }
  commands_.Restore(std::move(remembered.open_commands), now);
  batches_.Restore(std::move(remembered.open_batches));
}

void Fleet::Open() {
  const Instant now = loop_.clock().Now();
  open_ = true;
  last_turn_ = now;
  suspended_ = loop_.clock().Suspended();
  trust_links_from_ = now;
  machines_.ForEachLiving([&](Machine& machine) {
    // Until now nobody could have been heard, and who had a link keeps the
    // interval that the former life told it.
    if (machine.record.epoch != 0) {
      machine.presence.Told(HeartbeatInterval(machine));
    }
    machine.presence.Blind(Instant(), now);
    ResumeDeparture(machine, now);
    Schedule(machine);
  });
  blind_before_.clear();
  NoteAbsence(now);
  ReopenIncidents(now);
  batches_.Resume();
  Turn();
  FlushEvery();
}

void Fleet::NoteAbsence(Instant now) {
  absl::Time last = absl::InfinitePast();
  machines_.ForEachLiving([&](const Machine& machine) {
    last = std::max(last, alive_before_.value_or(last));
    last = std::max(last, machine.record.last_heard.value_or(last));
    if (machine.record.transition_sequence > 0) {
      last = std::max(last, machine.record.status_since);
    }
  });
  if (last == absl::InfinitePast()) return;
  const absl::Time wall = WallOf(now);
  last = std::min(last, wall);
  vouch_.Add({now - (wall - last), now, BlindReason::kNotRunning});
  Tell({.what = BlindRecord{last, wall, BlindReason::kNotRunning}});
}

// --- Links -----------------------------------------------------------------

std::optional<Disconnect> Fleet::LinkOpened(const AgentId& agent,
                                            HelloNotice hello, LinkPort& port) {
  std::optional<Disconnect> refused = Accept(agent, std::move(hello), port);
  if (refused) {
    ++counters_.links_refused[refused->reason];
  } else {
    ++counters_.links_accepted;
  }
  return refused;
}

std::optional<Disconnect> Fleet::Accept(const AgentId& agent, HelloNotice hello,
                                        LinkPort& port) {
  if (auto refusal = RefusalOf(hello.org, agent, hello.key_pin)) return refusal;
  if (!open_) {
    return Disconnect{
        DisconnectReason::kDraining, "the gateway is stopping", {}};
  }
  Machine* machine = machines_.Find(agent);
  const Instant now = loop_.clock().Now();
  if (!machine->links.Take(now)) {
    return Disconnect{DisconnectReason::kOverloaded,
                      "this machine opens links too often",
                      machine->links.Wait(now)};
  }
  Pass(now);
  Catch(*machine);
  if (auto refused = Refuse(*machine, now)) return refused;
  ExcuseNewcomer(*machine, now);
  if (auto refused = CheckInstance(
          *machine, {hello.boot_id, hello.process_start_id, hello.address},
          now)) {
    return refused;
  }
  CheckDrift(*machine, hello, now);
  if (machine->link != nullptr) {
    DropLink(*machine, LinkEnd::kSuperseded,
             {DisconnectReason::kSuperseded,
              "a newer link of this machine was accepted",
              {}});
  }
  MachineRecord& record = machine->record;
  record.epoch = NextEpoch(*machine, hello.last_epoch);
  record.address = hello.address;
  record.promised_back.reset();
  IsStillThere(*machine);
  TakeFacts(*machine, std::move(hello.facts));
  Regroup(*machine);
  TakeLink(*machine, hello, port, now);
  Adopt(*machine, now);
  machine->presence.LinkOpened(now);
  machine->presence.Told(HeartbeatInterval(*machine));
  Heard(*machine, now);
  // Accepting a link waits for no disk.
  history_.Add(machine->link_record);
  Log(kInfo, "link opened",
      {{"agent_id", agent.str()},
       {"hostname", record.facts.hostname},
       {"epoch", record.epoch},
       {"address", record.address}});
  port.SendWelcome({record.epoch, machine->acknowledgement_sent,
                    HeartbeatInterval(*machine)});
  commands_.Reconcile(*machine, hello.seen_high, hello.open_commands, now);
  commands_.Dispatch(*machine, now);
  Schedule(*machine);
  return std::nullopt;
}

void Fleet::TakeLink(Machine& machine, const HelloNotice& hello, LinkPort& port,
                     Instant now) {
  machine.link = &port;
  machine.link_record = {.agent = machine.record.id,
                         .epoch = machine.record.epoch,
                         .boot_id = hello.boot_id,
                         .process_start_id = hello.process_start_id,
                         .address = machine.record.address,
                         .opened_at = loop_.clock().Wall(),
                         .closed_at = std::nullopt,
                         .end = LinkEnd::kOpen};
  machine.acknowledgement_sent = 1;
  machine.acknowledgement_echoed = 0;
  ++open_links_;
  machine.link_opened_at = now;
  machine.flapping.LinkOpened(now);
  FindFlapping(machine, now);
}

void Fleet::TakeFacts(Machine& machine, Facts facts) {
  MachineRecord& record = machine.record;
  if (record.facts.hostname != facts.hostname) {
    machines_.SetHostname(machine, facts.hostname);
  }
  if (record.facts.machine_id != facts.machine_id) FindShared(machine, false);
  record.facts = std::move(facts);
  // Also who was online in a former life of this gateway.
  if (record.status == Status::kOnline) FindShared(machine, true);
}

std::optional<Disconnect> Fleet::Refuse(Machine& machine, Instant now) {
  const auto wait = admission_.Ask(now);
  if (!wait) return std::nullopt;
  ++counters_.turned_away[BlindReason::kAdmission];
  deafness_.TurnedAway(now, now + *wait, BlindReason::kAdmission);
  machine.presence.Postpone(now + *wait);
  Schedule(machine);
  return Disconnect{DisconnectReason::kOverloaded,
                    "too many machines connect at once; come back later",
                    *wait};
}

std::optional<AcknowledgementNotice> Fleet::Heartbeat(
    const AgentId& agent, uint64_t epoch, const HeartbeatNotice& heartbeat) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) {
    ++counters_.heartbeats_ignored;
    return std::nullopt;
  }
  ++counters_.heartbeats;
  const Instant now = loop_.clock().Now();
  Pass(now);
  Heard(*machine, now);
  Adopt(*machine, now);
  const AcknowledgementNotice answer{++machine->acknowledgement_sent,
                                     HeartbeatInterval(*machine)};
  machine->presence.Told(answer.heartbeat_interval);
  if (heartbeat.round_trip) machine->round_trip = heartbeat.round_trip;
  if (heartbeat.sent_at) {
    machine->clock_skew = *heartbeat.sent_at - loop_.clock().Wall();
  }
  if (machine->tap != nullptr) {
    machine->tap->OnHeartbeat({.epoch = epoch,
                               .sequence = heartbeat.sequence,
                               .at = *machine->record.last_heard,
                               .round_trip = heartbeat.round_trip,
                               .clock_skew = machine->clock_skew});
  }
  MaybeEndContest(*machine, now);
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

void Fleet::Goodbye(const AgentId& agent, uint64_t epoch,
                    GoodbyeNotice notice) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  Pass(now);
  Heard(*machine, now);
  MaybeEndContest(*machine, now);
  machine->record.promised_back.reset();
  if (notice.back_within > absl::ZeroDuration() &&
      !machine->presence.contested()) {
    machine->record.promised_back =
        loop_.clock().Wall() + std::min(notice.back_within, kPromiseMax);
  }
  if (const auto change = machine->presence.Goodbye(now, std::move(notice))) {
    Record(*machine, *change);
  } else {
    NoLongerSilent(*machine);
    machine->record.verdict = machine->presence.verdict();
    journal_.Put({machine->record}, [this, agent](const absl::Status& put) {
      // No other write may come for as long as the promise lasts.
      if (!put.ok()) to_hold_again_.insert(agent);
    });
  }
  Schedule(*machine);
}

void Fleet::Leave(const AgentId& agent, uint64_t epoch) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  Bury(*machine, [this, machine, epoch](const absl::Status& stored) {
    if (machine->link == nullptr || machine->record.epoch != epoch) return;
    // It wipes its identity when it is told so: not before nothing can bring
    // the machine back.
    DropLink(*machine, LinkEnd::kGoodbye,
             stored.ok()
                 ? Deregistered()
                 : Disconnect{DisconnectReason::kOverloaded,
                              "that this machine leaves is not stored yet",
                              {}});
  });
}

void Fleet::LinkClosed(const AgentId& agent, uint64_t epoch, LinkEnd end) {
  --open_links_;
  Machine* machine = Linked(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  Pass(now);
  Catch(*machine);
  machine->link = nullptr;
  if (end == LinkEnd::kClosedByPeer && machine->presence.promise_end()) {
    end = LinkEnd::kGoodbye;
  }
  CloseLinkRecord(*machine, end);
  if (machine->record.deleted_at) return;
  LinkLoss loss = LinkLoss::kPlain;
  if (end == LinkEnd::kClosedByGateway ||
      deafness_.Lately(now, options_.dial_max)) {
    loss = LinkLoss::kNoGrace;
  }
  if (now <= trust_links_from_ || deafness_.Lasts(now)) {
    loss = LinkLoss::kUntrusted;
  }
  machine->presence.LinkLost(now, loss);
  Schedule(*machine);
}

void Fleet::TurnedAway(BlindReason reason) {
  ++counters_.turned_away[reason];
  const Instant now = loop_.clock().Now();
  Pass(now);
  deafness_.TurnedAway(now, now + options_.deaf_after_refusal, reason);
}

absl::Duration Fleet::HeartbeatInterval(const Machine& machine) const {
  return Scaled(machine.presence.policy().heartbeat_interval);
}

absl::Duration Fleet::HeartbeatInterval() const {
  return Scaled(options_.presence.heartbeat_interval);
}

absl::Duration Fleet::Scaled(absl::Duration interval) const {
  // Whoever is online comes back: after a start the fleet is as large as
  // before.
  const uint64_t links = std::max<uint64_t>(open_links_, machines_.online());
  return ScaledInterval(interval, links, options_.heartbeats_per_second_max);
}

void Fleet::Adopt(Machine& machine, Instant now) {
  const PresencePolicy& policy = PolicyOf(machine);
  if (&policy != &machine.presence.policy()) {
    machine.presence.Adopt(policy, now);
  }
}

void Fleet::Close(const Disconnect& why) {
  open_ = false;
  loop_.Cancel(turn_timer_);
  batches_.Pause();
  std::vector<Machine*> linked;
  machines_.ForEachLiving([&](Machine& machine) {
    if (machine.link != nullptr) linked.push_back(&machine);
  });
  // The same order every time, as everything the rules do.
  std::sort(linked.begin(), linked.end(),
            [](const Machine* a, const Machine* b) {
              return a->record.id < b->record.id;
            });
  for (Machine* machine : linked) machine->link->Close(why);
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
       {"end", NameOf(end)}});
}

Machine* Fleet::Linked(const AgentId& agent, uint64_t epoch) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->link == nullptr) return nullptr;
  return machine->record.epoch == epoch ? machine : nullptr;
}

Machine* Fleet::Current(const AgentId& agent, uint64_t epoch) {
  Machine* machine = Linked(agent, epoch);
  return machine == nullptr || machine->record.deleted_at ? nullptr : machine;
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
  Catch(machine);
  // "Never" is no matter of age: the first time is written at once.
  const bool first = !machine.record.last_heard;
  machine.record.last_heard = loop_.clock().Wall();
  machine.heard_at = now;
  machine.presence.Heard(now);
  machine.departure.NotBefore(now + machine.presence.policy().CommandLease());
  if (std::exchange(machine.heard_unflushed, true)) return;
  heard_since_flush_.push_back(&machine);
  if (first || heard_since_flush_.size() >= kLastHeardBatchMax) {
    FlushLastHeard();
  }
}

}  // namespace muster::gateway
