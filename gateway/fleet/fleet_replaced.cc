// A machine comes back under a new identity: what becomes of the old one?

#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fleet.h"

namespace muster::gateway {

void Fleet::Replace(Machine& old, Machine& newer) {
  machines_.SetReplacedBy(old, newer.record.id);
  Note(old, NoteKind::kReplaced, std::nullopt,
       fmt::format("replaced by {} ({})", LongName(newer.record),
                   newer.record.id.str()));
  Note(newer, NoteKind::kReplaced, std::nullopt,
       fmt::format("takes the place of {} ({})", LongName(old.record),
                   old.record.id.str()));
  Schedule(old);
}

void Fleet::IsStillThere(Machine& machine) {
  machines_.SetReplacedBy(machine, std::nullopt);
  if (Silenced(machine.record)) {
    Silence(machine, std::nullopt, "shown again: it was heard");
  } else {
    machines_.SetSilencedAt(machine, std::nullopt);
  }
}

Instant Fleet::SilencedFrom(const Machine& machine) const {
  const MachineRecord& record = machine.record;
  if (!record.replaced_by || record.silenced_at ||
      record.status != Status::kOffline) {
    return Instant::Never();
  }
  const absl::Duration offline = loop_.clock().Wall() - record.status_since;
  return loop_.clock().Now() + (options_.silence_replaced_after - offline);
}

void Fleet::Silence(Machine& machine, std::optional<absl::Time> at,
                    std::string text) {
  machines_.SetSilencedAt(machine, at);
  // Nobody waits for it: no incident lasts for it.
  if (at && *at < absl::InfiniteFuture()) NoLongerSilent(machine);
  Note(machine, NoteKind::kSilenced, std::nullopt, std::move(text));
}

void Fleet::SetSilenced(const OrgId& org, const AgentId& agent, bool silenced,
                        std::string_view who,
                        absl::AnyInvocable<void(absl::Status)> done) {
  Machine* machine = machines_.FindLiving(org, agent);
  if (machine == nullptr) return done(NotFound("agent", agent.str()));
  const MachineRecord& record = machine->record;
  if (silenced && machine->link != nullptr) {
    return done(absl::FailedPreconditionError(
        fmt::format("{} is connected: only a machine that is not can be "
                    "silenced",
                    record.facts.hostname)));
  }
  if (silenced != Silenced(record)) {
    Silence(
        *machine, silenced ? loop_.clock().Wall() : absl::InfiniteFuture(),
        fmt::format("{} by {}", silenced ? "silenced" : "shown again", who));
  }
  journal_.Put({record}, std::move(done));
}

}  // namespace muster::gateway
