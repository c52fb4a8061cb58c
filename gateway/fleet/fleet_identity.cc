// Who is it that says hello? One life of an agent or two, one machine or two.

#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/drift.h"
#include "gateway/fleet/fleet.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

constexpr size_t kSummaryMax = 48;
// A former instance that lives can say hello again after this time.
constexpr absl::Duration kSayAgainAfter = absl::Seconds(1);

Verdict Contested(const Instance& a, const Instance& b) {
  std::string where =
      a.address == b.address
          ? fmt::format("identity used twice at {}", a.address)
          : fmt::format("identity at {} and {}", a.address, b.address);
  return {Domain::kIdentity, Cause::kDuplicateIdentity, Confidence::kProven,
          where.substr(0, kSummaryMax)};
}

std::string FullName(const Instance& instance) {
  return fmt::format("process {} of boot {} at {}", instance.process_start_id,
                     instance.boot_id, instance.address);
}

// A new instance while nobody had noticed that the old one was gone.
Verdict Interrupted(const Instance& before, const Instance& after) {
  if (before.boot_id != after.boot_id) {
    return {Domain::kHost, Cause::kUndetermined, Confidence::kUndetermined,
            "the host was restarted"};
  }
  return {Domain::kAgent, Cause::kAgentRestarted, Confidence::kLikely,
          "the agent was restarted"};
}

}  // namespace

absl::Duration Fleet::InstanceLease(const Machine& machine) const {
  return std::max(machine.presence.policy().stale_after,
                  2.5 * std::max(HeartbeatInterval(machine),
                                 machine.presence.lease_interval()));
}

std::optional<Disconnect> Fleet::CheckInstance(Machine& machine,
                                               const Instance& hello,
                                               Instant now) {
  Instances& instances = machine.instances;
  const Instance before = instances.present();
  const auto answer =
      instances.Hello(hello, now, InstanceLease(machine), machine.heard_at,
                      machine.link != nullptr);
  const Instance* rival = instances.rival();
  if (rival != nullptr && !rival->empty()) {
    Contest(machine);
  } else {
    MaybeEndContest(machine, now);
  }
  if (answer == Instances::Answer::kSayAgain) {
    return Disconnect{DisconnectReason::kSayAgain,
                      "another instance of this identity is connected: say "
                      "hello again",
                      kSayAgainAfter};
  }
  if (answer == Instances::Answer::kRefuse) {
    return Disconnect{
        DisconnectReason::kSuperseded,
        fmt::format("this identity is in use by {}: reissue one of the two",
                    FullName(instances.present())),
        absl::ZeroDuration()};
  }
  if (!before.empty() && !hello.IsSame(before) &&
      machine.record.status == Status::kOnline) {
    Note(machine, NoteKind::kInterruption, Interrupted(before, hello),
         fmt::format("{} followed {} before anybody noticed", FullName(hello),
                     FullName(before)));
  }
  return std::nullopt;
}

void Fleet::Contest(Machine& machine) {
  const Instances& instances = machine.instances;
  const bool news = !machine.presence.contested();
  const Verdict verdict = Contested(instances.present(), *instances.rival());
  NoLongerSilent(machine);
  const auto change = machine.presence.Contest(verdict);
  machine.record.verdict = machine.presence.verdict();
  if (change) Record(machine, *change);
  if (news) {
    Note(machine, NoteKind::kDuplicateIdentity, verdict,
         fmt::format("two live instances use this identity: {}; {}",
                     FullName(instances.present()),
                     FullName(*instances.rival())));
  }
  Schedule(machine);
}

void Fleet::MaybeEndContest(Machine& machine, Instant now) {
  if (!machine.presence.contested()) return;
  machine.instances.ForgetSilent(now, InstanceLease(machine));
  if (machine.instances.rival() != nullptr) return;
  machine.presence.Settle();
  Log(kInfo, "one instance of the identity is left",
      {{"agent_id", machine.record.id.str()},
       {"hostname", machine.record.facts.hostname},
       {"instance", FullName(machine.instances.present())}});
}

void Fleet::Reissued(const AgentId& agent, std::string_view who) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->record.deleted_at) return;
  const Instant now = loop_.clock().Now();
  Pass(now);
  Catch(*machine);
  machine->record.key_pin.clear();
  TellKey(*machine);
  machine->instances = {};
  const Verdict verdict{Domain::kIdentity, Cause::kCredentialRevoked,
                        Confidence::kProven, "reissued: waits to join again"};
  if (const auto change = machine->presence.TakeAway(verdict)) {
    Record(*machine, *change);
  }
  machine->record.verdict = machine->presence.verdict();
  NoLongerSilent(*machine);
  Note(*machine, NoteKind::kReissued, verdict,
       fmt::format("reissued by {}: the key that spoke for it was taken away",
                   who));
  if (machine->link != nullptr) {
    DropLink(*machine, LinkEnd::kClosedByGateway, Revoked());
    machine->presence.LinkLost(now, LinkLoss::kNoGrace);
  }
  Schedule(*machine);
}

std::optional<Disconnect> Fleet::RefusalOf(const OrgId& org,
                                           const AgentId& agent,
                                           std::string_view key_pin) {
  const Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->record.org != org) {
    return Disconnect{DisconnectReason::kNotRegistered,
                      "this gateway does not know this machine",
                      absl::Minutes(5)};
  }
  if (machine->record.deleted_at) return Deregistered();
  if (machine->record.key_pin != key_pin) return Revoked();
  if (machine->record.pending) return PendingApproval(*machine);
  return std::nullopt;
}

void Fleet::Note(Machine& machine, NoteKind kind,
                 std::optional<Verdict> verdict, std::string text) {
  Log(kWarning, text,
      {{"agent_id", machine.record.id.str()},
       {"hostname", machine.record.facts.hostname},
       {"kind", static_cast<int>(kind)}});
  Tell({.org = machine.record.org,
        .agent = machine.record.id,
        .hostname = machine.record.facts.hostname,
        .what = NoteRecord{.agent = machine.record.id,
                           .at = loop_.clock().Wall(),
                           .kind = kind,
                           .epoch = machine.record.epoch,
                           .verdict = std::move(verdict),
                           .text = std::move(text)}});
}

void Fleet::CheckDrift(Machine& machine, const HelloNotice& hello,
                       Instant now) {
  // Which of the two remembers what is no news: that they are two is.
  if (machine.presence.contested()) return;
  const auto ago = [now](std::optional<Instant> then) {
    return then ? std::optional(now - *then) : std::nullopt;
  };
  const auto drift = CompareViews({.epoch = hello.last_epoch,
                                   .acknowledged_ago = hello.acknowledged_ago,
                                   .connected_ago = hello.connected_ago},
                                  {.epoch = machine.record.epoch,
                                   .echoed = machine.acknowledgement_echoed > 0,
                                   .heard_ago = ago(machine.heard_at),
                                   .opened_ago = ago(machine.link_opened_at)});
  if (!drift) return;
  Note(machine, NoteKind::kDrift, drift->verdict, drift->text);
  // Was it called offline although it was heard within the lease before?
  if (!drift->acknowledged_ago || machine.record.status != Status::kOffline ||
      !machine.status_changed_at) {
    return;
  }
  const Instant heard = now - *drift->acknowledged_ago;
  if (heard > *machine.status_changed_at ||
      heard + machine.presence.policy().OfflineLease(
                  HeartbeatInterval(machine)) <=
          *machine.status_changed_at) {
    return;
  }
  ++false_offlines_;
  Note(machine, NoteKind::kDisputed, drift->verdict,
       fmt::format("transition {} to offline should not have been: {}",
                   machine.record.transition_sequence, drift->text));
}

// --- Findings --------------------------------------------------------------

void Fleet::FindFlapping(Machine& machine, Instant now) {
  if (!machine.flapping.Lasts(now)) {
    machines_.EndFinding(machine, kFlappingFinding);
    return;
  }
  if (machines_.SetFinding(
          machine, kFlappingFinding,
          fmt::format("{} links or more in 10 min", Flapping::kLinks))) {
    Note(machine, NoteKind::kFlapping, std::nullopt,
         machine.health.at(kFlappingFinding));
  }
}

void Fleet::FindShared(Machine& machine, bool heard) {
  const MachineRecord& record = machine.record;
  const std::string& machine_id = record.facts.machine_id;
  if (!heard) machines_.EndFinding(machine, kSharedIdFinding);
  const std::vector<AgentId>& sharers =
      heard ? shared_ids_.Enter(record.org, machine_id, record.id)
            : shared_ids_.Leave(record.org, machine_id, record.id);
  for (const AgentId& id : sharers) {
    Machine& sharer = *machines_.Find(id);
    if (sharers.size() < 2) {
      machines_.EndFinding(sharer, kSharedIdFinding);
      continue;
    }
    const AgentId& other = sharers.front() == id ? sharers[1] : sharers[0];
    if (machines_.SetFinding(
            sharer, kSharedIdFinding,
            fmt::format("{} machines, also {}~{}", sharers.size(),
                        machines_.Find(other)->record.facts.hostname,
                        other.suffix()))) {
      Note(sharer, NoteKind::kSharedMachineId, std::nullopt,
           "other machines have the same machine-id: " +
               sharer.health.at(kSharedIdFinding));
    }
  }
}

}  // namespace muster::gateway
