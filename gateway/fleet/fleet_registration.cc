// What a registration token said of a machine: that it waits for approval, and
// that it leaves by itself.

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fleet.h"
#include "gateway/fleet/words.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

// A person must act: there is no hurry, and no machine is forgotten for it.
constexpr absl::Duration kAskAgainAfter = absl::Seconds(30);

Verdict NeverConnected(std::string summary) {
  return {Domain::kUnknown, Cause::kNeverConnected, Confidence::kProven,
          std::move(summary)};
}

}  // namespace

// --- Approval ----------------------------------------------------------------

Disconnect Fleet::PendingApproval(const Machine& machine) const {
  return {DisconnectReason::kPendingApproval,
          fmt::format("musterctl agents approve {}", machines_.NameOf(machine)),
          kAskAgainAfter};
}

void Fleet::WaitForApproval(Machine& machine) {
  // It was never online: no status changes.
  (void)machine.presence.TakeAway(NeverConnected("waits for approval"));
  machine.record.verdict = machine.presence.verdict();
}

void Fleet::TellKey(const Machine& machine) {
  const MachineRecord& record = machine.record;
  const bool may = !record.pending && !record.deleted_at;
  key_changed_(record.id, may ? record.key_pin : "");
}

void Fleet::SaveApproval(const Machine& machine,
                         absl::AnyInvocable<void(absl::Status)> done) {
  journal_.Put({machine.record},
               [this, agent = machine.record.id,
                done = std::move(done)](absl::Status status) mutable {
                 if (!status.ok()) to_hold_again_.insert(agent);
                 done(std::move(status));
               });
}

void Fleet::Suspend(const OrgId& org, const AgentId& agent,
                    std::string_view who,
                    absl::AnyInvocable<void(absl::Status)> done) {
  Machine* machine = machines_.FindLiving(org, agent);
  if (machine == nullptr) return done(NotFound("agent", agent.str()));
  if (!std::exchange(machine->record.pending, true)) {
    const Instant now = loop_.clock().Now();
    Pass(now);
    Catch(*machine);
    TellKey(*machine);
    const Verdict verdict{Domain::kIdentity, Cause::kCredentialRevoked,
                          Confidence::kProven, "suspended: waits for approval"};
    if (const auto change = machine->presence.TakeAway(verdict)) {
      Record(*machine, *change);
    }
    machine->record.verdict = machine->presence.verdict();
    NoLongerSilent(*machine);
    Note(*machine, NoteKind::kSuspended, verdict,
         fmt::format("suspended by {}", who));
    if (machine->link != nullptr) {
      DropLink(*machine, LinkEnd::kClosedByGateway, PendingApproval(*machine));
      machine->presence.LinkLost(now, LinkLoss::kNoGrace);
    }
    Schedule(*machine);
  }
  SaveApproval(*machine, std::move(done));
}

void Fleet::Approve(const OrgId& org, const AgentId& agent,
                    std::string_view who,
                    absl::AnyInvocable<void(absl::Status)> done) {
  Machine* machine = machines_.FindLiving(org, agent);
  if (machine == nullptr) return done(NotFound("agent", agent.str()));
  // Written again if it was approved before: that may not be stored yet.
  if (std::exchange(machine->record.pending, false)) {
    TellKey(*machine);
    (void)machine->presence.TakeAway(
        machine->record.epoch == 0
            ? NeverConnected("approved, never connected")
            : Verdict{Domain::kUnknown, Cause::kUndetermined,
                      Confidence::kUndetermined, "approved, not back yet"});
    machine->record.verdict = machine->presence.verdict();
    Note(*machine, NoteKind::kApproved, std::nullopt,
         fmt::format("approved by {}", who));
    for (Machine* old : machines_.FindReplaced(machine->record, AgentId())) {
      Replace(*old, *machine);
    }
    // While it waited it could not come.
    machine->departure.NotBefore(loop_.clock().Now() +
                                 machine->presence.policy().CommandLease());
    Schedule(*machine);
  }
  SaveApproval(*machine, std::move(done));
}

// --- Leaving -----------------------------------------------------------------

void Fleet::ResumeDeparture(Machine& machine, Instant now) {
  const MachineRecord& record = machine.record;
  if (!record.ephemeral_for || record.status != Status::kOffline) return;
  const absl::Duration listened =
      Listened(record.status_since, alive_before_.value_or(record.status_since),
               blind_before_);
  machine.departure.Begin(now,
                          std::max(*record.ephemeral_for - listened,
                                   machine.presence.policy().CommandLease()));
}

bool Fleet::Depart(Machine& machine, Instant now) {
  if (now < machine.departure.due()) return false;
  if (machine.link != nullptr || doubt_) {
    machine.departure.NotBefore(now + machine.presence.policy().CommandLease());
    return false;
  }
  const MachineRecord& record = machine.record;
  Note(machine, NoteKind::kLeft, record.verdict,
       fmt::format("left by itself: it is ephemeral, and was offline for {}",
                   Spoken(*record.ephemeral_for)));
  Bury(machine, [](const absl::Status&) {
    // Written again until it is done.
  });
  return true;
}

}  // namespace muster::gateway
