// What operators ask of the fleet.

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fleet.h"
#include "gateway/fleet/words.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

void Fleet::Admit(const MachineRecord& machine, const AgentId& replaces) {
  const bool news = machines_.Find(machine.id) == nullptr;
  Machine& added = machines_.Add(
      machine, Presence::Newborn(policies_.For(machine.org, nullptr),
                                 loop_.clock().Now()));
  added.record.key_pin = machine.key_pin;
  TellKey(added);
  if (added.gaps_told == 0) added.gaps_told = gaps_.count();
  // What is not approved takes nobody's place.
  const bool pending = added.record.pending;
  if (pending && news) WaitForApproval(added);
  Regroup(added);
  Schedule(added);
  if (news) {
    Tell({.org = machine.org,
          .agent = machine.id,
          .hostname = machine.facts.hostname,
          .what = Membership::kAdmitted});
  }
  if (pending) return;
  for (Machine* old : machines_.FindReplaced(added.record, replaces)) {
    Replace(*old, added);
  }
}

void Fleet::Delete(const OrgId& org, const AgentId& agent,
                   absl::AnyInvocable<void(absl::Status)> done) {
  Machine* machine = machines_.FindLiving(org, agent);
  if (machine == nullptr) {
    done(NotFound("agent", agent.str()));
    return;
  }
  Bury(*machine, std::move(done));
  if (machine->link != nullptr) {
    DropLink(*machine, LinkEnd::kClosedByGateway, Deregistered());
  }
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
               [this, machine, labels = std::move(labels),
                done = std::move(done)](absl::Status status) mutable {
                 if (status.ok()) {
                   machine->record.labels = std::move(labels);
                   if (!machine->record.deleted_at) Regroup(*machine);
                 }
                 done(std::move(status));
               });
}

void Fleet::Bury(Machine& machine,
                 absl::AnyInvocable<void(absl::Status)> done) {
  NoLongerSilent(machine);
  FindShared(machine, false);
  key_changed_(machine.record.id, "");
  machines_.Bury(machine, loop_.clock().Wall());
  mass_silence_.Place(machine.record.id, machine.membership, machine.record.org,
                      "", {}, false);
  deadlines_.Remove(machine.record.id);
  Tell({.org = machine.record.org,
        .agent = machine.record.id,
        .hostname = machine.record.facts.hostname,
        .what = Membership::kDeleted});
  Log(kInfo, "machine deleted",
      {{"agent_id", machine.record.id.str()},
       {"hostname", machine.record.facts.hostname}});
  SaveTombstone(machine, std::move(done));
  commands_.GiveUpAll(machine, loop_.clock().Now());
}

void Fleet::SaveTombstone(Machine& machine,
                          absl::AnyInvocable<void(absl::Status)> done) {
  journal_.Put({machine.record}, [this, &machine, done = std::move(done)](
                                     const absl::Status& status) mutable {
    if (status.ok()) {
      done(status);
      return;
    }
    loop_.PostAt(loop_.clock().Now() + options_.commands.retry_after,
                 [this, &machine] {
                   SaveTombstone(machine, [](const absl::Status&) {});
                 });
    done(absl::Status(
        status.code(),
        fmt::format("agent {} is refused from now on, but that is not stored "
                    "yet and a restart of the gateway would bring it back; it "
                    "is written as soon as the store takes it: {}",
                    machine.record.id.str(), ToStd(status.message()))));
  });
}

std::string Fleet::Why(const Machine& machine) const {
  const MachineRecord& record = machine.record;
  const absl::Time now = loop_.clock().Wall();
  const std::string heard =
      record.last_heard
          ? fmt::format("last heartbeat {}", Stamp(*record.last_heard))
          : "never heard";
  std::string text = fmt::format("{} is {} for {}, since {} ({})",
                                 machines_.NameOf(machine), Name(record.status),
                                 // The wall clock may have been set back since.
                                 Spoken(now - record.status_since),
                                 Stamp(record.status_since), heard);
  if (record.verdict && !record.verdict->summary.empty()) {
    text += ": " + record.verdict->summary;
  }
  if (record.promised_back) {
    text += fmt::format("; promised back by {}", Stamp(*record.promised_back));
  }
  return text;
}

}  // namespace muster::gateway
