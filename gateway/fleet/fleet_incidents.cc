// Many fell silent at once: one incident, and time to find out.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
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
  mass_silence_.Place(record.id, machine.membership, record.org, record.address,
                      record.labels,
                      !record.deleted_at && record.status != Status::kOffline);
}

void Fleet::FellSilent(Machine& machine, Instant now) {
  const auto event =
      mass_silence_.FellSilent(machine.record.id, machine.membership, now);
  if (!event) return;
  const MassSilence::Incident& incident = event->incident;
  const Verdict verdict = GroupSilent(incident.group);
  to_hold_.insert(to_hold_.end(), event->machines.begin(),
                  event->machines.end());
  const bool opened = event->machines.size() == incident.machines;
  IncidentRecord record = RecordOf(incident, verdict);
  if (opened) {
    Log(kWarning, "incident: a group fell silent",
        {{"incident", record.id},
         {"group", incident.group},
         {"machines", incident.machines}});
    ++counters_.incidents;
    Tell({.org = record.org, .what = record});
  }
  // Those that join are counted in one write for many.
  incidents_to_write_.insert_or_assign(incident.number, std::move(record));
}

void Fleet::NoLongerSilent(Machine& machine) {
  IncidentChanged(
      mass_silence_.NoLongerSilent(machine.record.id, machine.membership));
  machine.record.incident.clear();
}

void Fleet::IncidentChanged(const std::optional<MassSilence::Event>& event) {
  if (!event) return;
  to_hold_.insert(to_hold_.end(), event->machines.begin(),
                  event->machines.end());
  if (!to_hold_.empty()) Arm(/*more_due=*/true);
  if (!event->over) return;
  const MassSilence::Incident& incident = event->incident;
  IncidentRecord record = RecordOf(incident, GroupSilent(incident.group));
  record.closed_at = loop_.clock().Wall();
  Log(kInfo, "incident over",
      {{"incident", record.id},
       {"group", incident.group},
       {"machines", incident.machines}});
  incidents_to_write_.erase(incident.number);
  Tell({.org = incident.org, .what = std::move(record)});
}

bool Fleet::HoldSome() {
  std::vector<Change> changes;
  std::vector<AgentId> agents;
  absl::btree_map<uint64_t, IncidentRecord> incidents;
  const size_t some = std::min(
      to_hold_.size(), hold_singly_ ? size_t{1} : options_.judged_per_turn_max);
  for (size_t i = 0; i < some; ++i) {
    Machine& machine = *machines_.Find(to_hold_.front());
    to_hold_.pop_front();
    MachineRecord& record = machine.record;
    if (record.deleted_at) continue;
    Catch(machine);
    const auto* incident = mass_silence_.IncidentOf(record.id);
    record.incident = incident == nullptr ? "" : IdOf(*incident);
    if (!mass_silence_.Holds(record.id)) {
      if (machine.presence.held()) machine.released = loop_.clock().Now();
      machine.presence.Release();
    } else {
      machine.presence.Hold(options_.mass_silence.hold_max,
                            GroupSilent(incident->group));
      record.verdict = machine.presence.verdict();
    }
    if (incident != nullptr) {
      // Whoever names it must find it.
      incidents.insert_or_assign(
          incident->number, RecordOf(*incident, GroupSilent(incident->group)));
    }
    agents.push_back(record.id);
    changes.emplace_back(record);
    Schedule(machine);
  }
  for (auto& [number, incident] : incidents) {
    changes.emplace_back(std::move(incident));
  }
  if (!changes.empty()) {
    journal_.Put(std::move(changes), [this, agents](const absl::Status& put) {
      if (put.ok()) return;
      if (!MayPass(put) && agents.size() == 1) {
        Log(kError, "incident of a machine lost: the store does not take it",
            {{"agent_id", agents[0].str()}, {"error", put}});
        return;
      }
      hold_singly_ |= !MayPass(put);
      // With the next flush.
      to_hold_again_.insert(agents.begin(), agents.end());
    });
  }
  if (some > 0 && to_hold_.empty()) hold_singly_ = false;
  return !to_hold_.empty();
}

std::string Fleet::IdOf(const MassSilence::Incident& incident) const {
  if (!incident.id.empty()) return incident.id;
  return fmt::format("{:08x}-{:06x}", run_, incident.number);
}

IncidentRecord Fleet::RecordOf(const MassSilence::Incident& incident,
                               Verdict verdict) const {
  return {.id = IdOf(incident),
          .org = incident.org,
          .group = incident.group,
          .opened_at = WallOf(incident.opened),
          .closed_at = std::nullopt,
          .machines = incident.machines,
          .verdict = std::move(verdict)};
}

void Fleet::ReopenIncidents(Instant now) {
  absl::flat_hash_map<std::string, std::vector<MassSilence::Member>> away;
  machines_.ForEachLiving([&](Machine& machine) {
    MachineRecord& record = machine.record;
    if (record.incident.empty()) return;
    if (record.status == Status::kOnline || Silenced(record)) {
      // Its transition was not stored in time, or nobody waits for it.
      record.incident.clear();
      return;
    }
    away[record.incident].push_back(
        {record.id, &machine.membership, record.status == Status::kOffline});
  });
  const std::vector<IncidentRecord> incidents = std::exchange(to_reopen_, {});
  // The newest of a group first: that one holds.
  for (auto it = incidents.rbegin(); it != incidents.rend(); ++it) {
    const IncidentRecord& record = *it;
    MassSilence::Incident incident;
    incident.id = record.id;
    incident.org = record.org;
    incident.group = record.group;
    incident.opened = now - (WallOf(now) - record.opened_at);
    incident.machines = record.machines;
    const auto event =
        mass_silence_.Reopen(std::move(incident), away[record.id]);
    if (event.incident.machines > record.machines) {
      incidents_to_write_.insert_or_assign(
          event.incident.number, RecordOf(event.incident, record.verdict));
    }
    IncidentChanged(event);
  }
}

void Fleet::FlushIncidents() {
  if (!to_hold_again_.empty()) {
    to_hold_.insert(to_hold_.end(), to_hold_again_.begin(),
                    to_hold_again_.end());
    to_hold_again_.clear();
    Arm(/*more_due=*/true);
  }
  for (auto& [number, record] : std::exchange(incidents_to_write_, {})) {
    const OrgId org = record.org;
    Tell({.org = org, .what = std::move(record)});
  }
}

}  // namespace muster::gateway
