// Many fell silent at once: one incident, and time to find out.

#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/fleet.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

// What fits beside the words, within the 48 of a summary.
constexpr size_t kGroupShownMax = 25;

Verdict GroupSilent(const std::string& group) {
  return {Domain::kNetwork, Cause::kNetworkGroup, Confidence::kLikely,
          "silent with others of " + group.substr(0, kGroupShownMax)};
}

}  // namespace

void Fleet::Regroup(Machine& machine) {
  const MachineRecord& record = machine.record;
  mass_silence_.Place(machine.membership, record.org, record.address,
                      record.labels,
                      !record.deleted_at && record.status != Status::kOffline);
}

void Fleet::FellSilent(Machine& machine, Instant now) {
  const auto event =
      mass_silence_.FellSilent(machine.record.id, machine.membership, now);
  if (!event) return;
  const MassSilence::Incident& incident = event->incident;
  const Verdict verdict = GroupSilent(incident.group);
  for (const AgentId& id : event->machines) {
    Machine& member = *machines_.Find(id);
    Catch(member);
    member.presence.Hold(options_.mass_silence.hold_max, verdict);
    member.record.verdict = member.presence.verdict();
    journal_.Put({member.record}, [](const absl::Status&) {
      // The next write brings it along.
    });
    Schedule(member);
  }
  const bool opened = event->machines.size() == incident.machines;
  IncidentRecord record = RecordOf(incident, verdict);
  if (opened) {
    Log(kWarning, "incident: a group fell silent",
        {{"incident", record.id},
         {"group", incident.group},
         {"machines", incident.machines}});
    history_.Add(record);
  }
  // Those that join are counted in one write for many.
  incidents_to_write_.insert_or_assign(incident.number, std::move(record));
}

void Fleet::NoLongerSilent(Machine& machine) {
  const auto event =
      mass_silence_.NoLongerSilent(machine.record.id, machine.membership);
  if (!event) return;
  for (const AgentId& id : event->machines) {
    Machine& member = *machines_.Find(id);
    member.presence.Release();
    Schedule(member);
  }
  const MassSilence::Incident& incident = event->incident;
  IncidentRecord record = RecordOf(incident, GroupSilent(incident.group));
  record.closed_at = loop_.clock().Wall();
  Log(kInfo, "incident over",
      {{"incident", record.id},
       {"group", incident.group},
       {"machines", incident.machines},
       {"still_silent", event->machines.size()}});
  incidents_to_write_.erase(incident.number);
  history_.Add(std::move(record));
}

IncidentRecord Fleet::RecordOf(const MassSilence::Incident& incident,
                               Verdict verdict) const {
  return {.id = fmt::format("{:08x}-{:06x}", run_, incident.number),
          .org = incident.org,
          .group = incident.group,
          .opened_at = WallOf(incident.opened),
          .closed_at = std::nullopt,
          .machines = incident.machines,
          .verdict = std::move(verdict)};
}

void Fleet::FlushIncidents() {
  for (auto& [number, record] : std::exchange(incidents_to_write_, {})) {
    history_.Add(std::move(record));
  }
}

}  // namespace muster::gateway
