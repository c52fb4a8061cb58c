// MemoryFleetStore: what happened to machines, to groups, to the gateway.

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include "gateway/fleet/journal.h"
#include "gateway/store/memory_fleet_store.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

// Of the entries of `agent` those that `range` means and `selected` takes.
template <typename Record, typename Map, typename Selected>
std::vector<Record> NewestFirst(const Map& map, const AgentId& agent,
                                const HistoryRange& range, Selected selected) {
  std::vector<Record> found;
  size_t skipped = 0;
  auto it = map.upper_bound({agent, static_cast<uint64_t>(range.newest)});
  while (it != map.begin() && found.size() < range.limit) {
    --it;
    if (it->first.first != agent) break;
    if (!selected(it->second) || skipped++ < range.skip) continue;
    Record& record = found.emplace_back();
    static_cast<typename Map::mapped_type&>(record) = it->second;
    if constexpr (requires { record.arrival; }) {
      record.arrival = static_cast<int64_t>(it->first.second);
    }
  }
  return found;
}

// The part of `rows`, which are sorted and selected, that `range` means.
template <typename Record, typename Key>
std::vector<Record> PartOf(std::vector<Record> rows, const HistoryRange& range,
                           Key key) {
  std::erase_if(rows, [&](const Record& r) {
    return absl::ToUnixMicros(key(r)) > range.newest;
  });
  rows.erase(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(std::min(
                                              range.skip, rows.size())));
  if (rows.size() > range.limit) {
    rows.erase(rows.begin() + static_cast<ptrdiff_t>(range.limit), rows.end());
  }
  return rows;
}

}  // namespace

absl::Status MemoryFleetStore::AddTransition(
    const TransitionRecord& transition) {
  RETURN_IF_ERROR(error());
  RETURN_IF_ERROR(CheckMachine(transition.agent));
  const std::pair key(transition.agent, transition.sequence);
  if (transitions_.contains(key))
    return absl::AlreadyExistsError("this transition exists already");
  Put(transitions_, key, transition);
  MachineRecord machine = machines_.at(transition.agent);
  TakeStatus(transition, machine);
  Put(machines_, transition.agent, std::move(machine));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredTransition>> MemoryFleetStore::ListTransitions(
    const AgentId& agent, const HistoryRange& range) {
  RETURN_IF_ERROR(error());
  std::vector<StoredTransition> found = NewestFirst<StoredTransition>(
      transitions_, agent, range,
      [&](const TransitionRecord& t) { return range.Covers(t.at); });
  for (StoredTransition& t : found) {
    const auto next = transitions_.find({agent, t.sequence + 1});
    t.disputed =
        t.to == Status::kOffline &&
        (next == transitions_.end() || next->second.epoch != t.epoch) &&
        std::ranges::any_of(notes_, [&](const auto& entry) {
          const NoteRecord& note = entry.second;
          return note.agent == agent && note.kind == NoteKind::kDisputed &&
                 note.epoch == t.epoch;
        });
  }
  return found;
}

absl::Status MemoryFleetStore::PutLink(const LinkRecord& link) {
  RETURN_IF_ERROR(error());
  RETURN_IF_ERROR(CheckMachine(link.agent));
  Put(links_, {link.agent, link.epoch}, link);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LinkRecord>> MemoryFleetStore::ListLinks(
    const AgentId& agent, const HistoryRange& range) {
  RETURN_IF_ERROR(error());
  return NewestFirst<LinkRecord>(
      links_, agent, range, [&](const LinkRecord& l) {
        return range.Overlaps(l.opened_at,
                              l.closed_at.value_or(absl::InfiniteFuture()));
      });
}

absl::Status MemoryFleetStore::AddNote(const NoteRecord& note) {
  RETURN_IF_ERROR(error());
  RETURN_IF_ERROR(CheckMachine(note.agent));
  Put(notes_, {note.agent, ++last_row_}, note);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredNote>> MemoryFleetStore::ListNotes(
    const AgentId& agent, const HistoryRange& range) {
  RETURN_IF_ERROR(error());
  return NewestFirst<StoredNote>(
      notes_, agent, range,
      [&](const NoteRecord& n) { return range.Covers(n.at); });
}

// --- The gateway itself -----------------------------------------------------

absl::Status MemoryFleetStore::AddBlindInterval(const BlindRecord& blind) {
  RETURN_IF_ERROR(error());
  Put(blind_, ++last_row_, blind);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BlindRecord>> MemoryFleetStore::ListBlindIntervals(
    const HistoryRange& range) {
  RETURN_IF_ERROR(error());
  std::vector<std::pair<uint64_t, BlindRecord>> rows(blind_.begin(),
                                                     blind_.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.second.to, a.first) > std::tie(b.second.to, b.first);
  });
  std::vector<BlindRecord> found;
  for (const auto& [arrival, blind] : rows) {
    if (range.Overlaps(blind.from, blind.to)) found.push_back(blind);
  }
  return PartOf(std::move(found), range,
                [](const BlindRecord& b) { return b.to; });
}

absl::Status MemoryFleetStore::PutIncident(const IncidentRecord& incident) {
  RETURN_IF_ERROR(error());
  IncidentRecord stored = incident;
  if (const auto it = incidents_.find(incident.id); it != incidents_.end()) {
    stored = it->second;
    TakeIncident(incident, stored);
  }
  Put(incidents_, incident.id, std::move(stored));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<IncidentRecord>> MemoryFleetStore::ListIncidents(
    const OrgId& org, const HistoryRange& range) {
  RETURN_IF_ERROR(error());
  std::vector<IncidentRecord> found;
  for (const auto& [id, i] : incidents_) {
    const absl::Time end = i.closed_at.value_or(absl::InfiniteFuture());
    if (i.org == org && range.Overlaps(i.opened_at, end)) found.push_back(i);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.opened_at, a.id) > std::tie(b.opened_at, b.id);
  });
  return PartOf(std::move(found), range,
                [](const IncidentRecord& i) { return i.opened_at; });
}

absl::StatusOr<std::vector<IncidentRecord>>
MemoryFleetStore::LoadOpenIncidents() {
  RETURN_IF_ERROR(error());
  std::vector<IncidentRecord> open;
  for (const auto& [id, incident] : incidents_) {
    if (!incident.closed_at) open.push_back(incident);
  }
  std::stable_sort(open.begin(), open.end(),
                   [](const IncidentRecord& a, const IncidentRecord& b) {
                     return a.opened_at < b.opened_at;
                   });
  return open;
}

absl::Status MemoryFleetStore::SignOfLife(absl::Time now) {
  RETURN_IF_ERROR(error());
  Put(alive_at_, 0, now);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<absl::Time>> MemoryFleetStore::LastSignOfLife() {
  RETURN_IF_ERROR(error());
  std::optional<absl::Time> last;
  if (!alive_at_.empty()) last = alive_at_.begin()->second;
  return last;
}

}  // namespace muster::gateway
