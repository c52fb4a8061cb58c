// Time passes: who has become worse, and whose fault is it?

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fleet.h"
#include "gateway/fleet/words.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

void Fleet::Pass(Instant now) {
  if (!open_) return;
  if (const auto deaf = deafness_.Over(now)) AddGap(*deaf);
  Gap still{last_turn_, now, BlindReason::kStoodStill};
  const absl::Duration length = still.to - still.from;
  if (length <= options_.presence.blind_gap) return;
  const absl::Duration suspended = loop_.clock().Suspended();
  if (suspended - suspended_ > length / 2) {
    still.reason = BlindReason::kSuspended;
  }
  last_turn_ = now;
  suspended_ = suspended;
  // Links that broke meanwhile are reported in the next moments.
  trust_links_from_ = now + options_.presence.blind_gap;
  AddGap(still);
}

void Fleet::AddGap(const Gap& gap) {
  Log(kWarning,
      gap.newcomers_only()
          ? "newcomers were turned away: who has no link is excused"
          : "this gateway could not hear: everybody is excused",
      {{"for", gap.to - gap.from}, {"reason", Words(gap.reason)}});
  gaps_.Add(gap);
  vouch_.Add(gap);
  Tell({.what = BlindRecord{WallOf(gap.from), WallOf(gap.to), gap.reason}});
}

void Fleet::Catch(Machine& machine) {
  gaps_.CatchUp(machine.gaps_told, [&](const Gap& gap) {
    if (gap.newcomers_only() && machine.presence.link_open()) return;
    machine.presence.Blind(gap.from, gap.to);
    machine.instances.Excuse(gap.from, gap.to);
    machine.departure.Excuse(gap.from, gap.to,
                             machine.presence.policy().CommandLease());
  });
}

void Fleet::ExcuseNewcomer(Machine& machine, Instant now) {
  if (machine.presence.link_open()) return;
  if (const auto deaf = deafness_.SoFar(now)) {
    machine.presence.Blind(deaf->from, deaf->to);
    machine.instances.Excuse(deaf->from, deaf->to);
  }
}

absl::Time Fleet::WallOf(Instant then) const {
  return loop_.clock().Wall() - (loop_.clock().Now() - then);
}

std::optional<Fleet::Impairment> Fleet::impairment() const {
  if (doubt_) return Impairment{WallOf(doubt_->since), doubt_->reason};
  const auto deaf = deafness_.SoFar(loop_.clock().Now());
  if (!deaf) return std::nullopt;
  return Impairment{WallOf(deaf->from), deaf->reason};
}

std::optional<absl::Time> Fleet::UnconfirmedSince(
    const Machine& machine) const {
  const MachineRecord& record = machine.record;
  const absl::Time wall = loop_.clock().Wall();
  // By the wall if it was heard in a former life only: nothing is decided here.
  const absl::Duration silent =
      machine.heard_at ? loop_.clock().Now() - *machine.heard_at
                       : wall - record.last_heard.value_or(record.status_since);
  const PresencePolicy& policy = machine.presence.policy();
  const absl::Duration lease =
      policy.StaleLease(machine.presence.lease_interval());
  const absl::Duration over = silent - options_.presence.blind_gap;
  if (doubt_ && over >= std::min(lease, policy.CommandLease())) {
    return std::max(wall - silent, WallOf(doubt_->since));
  }
  // Its lease was given back to it, for what this gateway could not hear.
  if (record.status == Status::kOnline && over >= lease) {
    return wall - (silent - lease);
  }
  return std::nullopt;
}

Instant Fleet::NextLook(const Machine& machine) const {
  Instant next = machine.presence.NextDeadline();
  if (machine.link != nullptr) {
    next = std::min(next, machine.presence.SilentAt());
  }
  if (machine.health.contains(kFlappingFinding)) {
    next = std::min(next, machine.flapping.Until());
  }
  next = std::min(next, machine.departure.due());
  return std::min(next, SilencedFrom(machine));
}

void Fleet::Schedule(Machine& machine) {
  if (!open_) return;
  const Instant due = NextLook(machine);
  const bool sooner = due < deadlines_.Earliest();
  deadlines_.Schedule(machine.record.id, due);
  if (sooner) Arm(/*more_due=*/false);
}

void Fleet::Record(Machine& machine, const StatusChange& change,
                   std::optional<absl::Duration> late) {
  machines_.SetStatus(machine, loop_.clock().Wall());
  machine.status_changed_at = loop_.clock().Now();
  MachineRecord& record = machine.record;
  if (change.to == Status::kOnline) {
    record.promised_back.reset();
    IsStillThere(machine);
  }
  if (change.to != Status::kStale) {
    FindShared(machine, change.to == Status::kOnline);
  }
  if (change.to != Status::kOffline) {
    machine.departure.Cancel();
  } else if (record.ephemeral_for) {
    machine.departure.Begin(loop_.clock().Now(), *record.ephemeral_for);
  }
  if (change.to == Status::kOnline) {
    NoLongerSilent(machine);
  } else if (change.to == Status::kOffline) {
    IncidentChanged(
        mass_silence_.WentOffline(machine.record.id, machine.membership));
  }
  Regroup(machine);
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
  Tell({.org = record.org,
        .agent = record.id,
        .hostname = record.facts.hostname,
        .what = std::move(transition),
        .late = late});
}

void Fleet::Tell(Event event) {
  event.at = loop_.clock().Wall();
  Count(event);
  events_.Publish(event);
  std::visit(
      [this](auto& what) {
        if constexpr (std::is_constructible_v<Change, decltype(what)>) {
          history_.Add(std::move(what));
        }
      },
      event.what);
}

void Fleet::Count(const Event& event) {
  if (const auto* transition = std::get_if<TransitionRecord>(&event.what)) {
    ++counters_.transitions[transition->to];
    if (event.late) counters_.transition_late.Add(*event.late);
  } else if (const auto* note = std::get_if<NoteRecord>(&event.what)) {
    ++counters_.notes[note->kind];
  } else if (const auto* blind = std::get_if<BlindRecord>(&event.what)) {
    ++counters_.blind_intervals[blind->reason];
    counters_.blind[blind->reason] += blind->to - blind->from;
  }
}

void Fleet::Turn() {
  if (!open_) return;
  const Instant now = loop_.clock().Now();
  Pass(now);
  last_turn_ = now;
  suspended_ = loop_.clock().Suspended();
  doubt_ = vouch_.At(now, deafness_.SoFar(now));
  const bool more_due = Judge(now);
  const bool more_held = HoldSome();
  commands_.Sweep(now);
  Arm(more_due || more_held);
}

bool Fleet::Judge(Instant now) {
  for (size_t i = 0; i < options_.judged_per_turn_max; ++i) {
    const std::optional<AgentId> id = deadlines_.PopDue(now);
    if (!id) break;
    Machine* machine = machines_.Find(*id);
    if (machine != nullptr && !machine->record.deleted_at) {
      JudgeOne(*machine, now);
    }
  }
  if (deadlines_.Earliest() <= now) return true;
  if (marked_offline_ > 0) {
    Log(kWarning, fmt::format("marked {} agents as offline",
                              std::exchange(marked_offline_, 0)));
  }
  return false;
}

void Fleet::JudgeOne(Machine& machine, Instant now) {
  Catch(machine);
  if (machine.link == nullptr && deafness_.Lasts(now)) {
    deadlines_.Schedule(machine.record.id, deafness_.until());
    return;
  }
  Instant due = machine.presence.NextDeadline();
  while (const auto change = machine.presence.Tick(now)) {
    Record(machine, *change,
           loop_.clock().Now() - std::max(due, machine.released));
    due = machine.presence.NextDeadline();
    if (change->to == Status::kStale &&
        change->verdict->cause == Cause::kUndetermined) {
      FellSilent(machine, now);
    }
    if (change->to == Status::kOffline) ++marked_offline_;
  }
  if (Depart(machine, now)) return;
  if (now >= SilencedFrom(machine)) {
    Silence(machine, loop_.clock().Wall(),
            "silenced: it was replaced, and offline for long");
  }
  if (machine.health.contains(kFlappingFinding)) FindFlapping(machine, now);
  if (machine.link != nullptr && now >= machine.presence.SilentAt()) {
    machine.presence.LinkLost(now, LinkLoss::kNoGrace);
    DropLink(machine, LinkEnd::kSilence,
             {DisconnectReason::kSilent, "nothing was heard for too long", {}});
  }
  deadlines_.Schedule(machine.record.id, NextLook(machine));
}

void Fleet::Arm(bool more_due) {
  loop_.Cancel(turn_timer_);
  turn_timer_ = {};
  if (more_due) {
    // By a task, not a timer: what others have posted comes first.
    if (std::exchange(turn_posted_, true)) return;
    loop_.Post([this, alive = std::weak_ptr<Alive>(alive_)] {
      if (alive.expired()) return;
      turn_posted_ = false;
      Turn();
    });
    return;
  }
  turn_due_ = std::min({deadlines_.Earliest(), commands_.NextDeadline(),
                        last_turn_ + watch_every_});
  turn_timer_ = loop_.PostAt(turn_due_, [this] {
    counters_.turn_late.Add(loop_.clock().Now() - turn_due_);
    Turn();
  });
}

void Fleet::FlushLastHeard() {
  LastHeard batch;
  for (Machine* machine : heard_since_flush_) {
    machine->heard_unflushed = false;
    if (machine->record.deleted_at) continue;
    batch.at.emplace_back(machine->record.id, *machine->record.last_heard);
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
  FlushIncidents();
  flush_timer_ = loop_.PostAt(loop_.clock().Now() + options_.last_heard_every,
                              [this] { FlushEvery(); });
}

}  // namespace muster::gateway
