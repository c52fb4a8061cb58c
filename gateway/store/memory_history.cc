// MemoryFleetStore: what happened to machines, to groups, to the gateway.

#include <algorithm>
#include <limits>
#include <tuple>

#include "gateway/store/memory_fleet_store.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

// The entries of `map` whose key begins with `first`, last one first.
template <typename Map>
auto NewestFirst(const Map& map, const AgentId& agent, size_t limit) {
  std::vector<typename Map::mapped_type> found;
  auto it = map.upper_bound({agent, std::numeric_limits<uint64_t>::max()});
  while (it != map.begin() && found.size() < limit) {
    --it;
    if (it->first.first != agent) break;
    found.push_back(it->second);
  }
  return found;
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
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TransitionRecord>> MemoryFleetStore::ListTransitions(
    const AgentId& agent, size_t limit) {
  RETURN_IF_ERROR(error());
  return NewestFirst(transitions_, agent, limit);
}

absl::Status MemoryFleetStore::PutLink(const LinkRecord& link) {
  RETURN_IF_ERROR(error());
  RETURN_IF_ERROR(CheckMachine(link.agent));
  Put(links_, {link.agent, link.epoch}, link);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LinkRecord>> MemoryFleetStore::ListLinks(
    const AgentId& agent, size_t limit) {
  RETURN_IF_ERROR(error());
  return NewestFirst(links_, agent, limit);
}

absl::Status MemoryFleetStore::AddNote(const NoteRecord& note) {
  RETURN_IF_ERROR(error());
  RETURN_IF_ERROR(CheckMachine(note.agent));
  Put(notes_, {note.agent, ++last_row_}, note);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NoteRecord>> MemoryFleetStore::ListNotes(
    const AgentId& agent, size_t limit) {
  RETURN_IF_ERROR(error());
  return NewestFirst(notes_, agent, limit);
}

// --- The gateway itself -----------------------------------------------------

absl::Status MemoryFleetStore::AddBlindInterval(const BlindRecord& blind) {
  RETURN_IF_ERROR(error());
  Put(blind_, ++last_row_, blind);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BlindRecord>> MemoryFleetStore::ListBlindIntervals(
    size_t limit) {
  RETURN_IF_ERROR(error());
  std::vector<std::pair<uint64_t, BlindRecord>> rows(blind_.begin(),
                                                     blind_.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.second.to, a.first) > std::tie(b.second.to, b.first);
  });
  std::vector<BlindRecord> found;
  for (auto& [row, blind] : rows) {
    if (found.size() < limit) found.push_back(std::move(blind));
  }
  return found;
}

absl::Status MemoryFleetStore::PutIncident(const IncidentRecord& incident) {
  RETURN_IF_ERROR(error());
  Put(incidents_, incident.id, incident);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<IncidentRecord>> MemoryFleetStore::ListIncidents(
    const OrgId& org, size_t limit) {
  RETURN_IF_ERROR(error());
  std::vector<IncidentRecord> found;
  for (const auto& [id, incident] : incidents_) {
    if (incident.org == org) found.push_back(incident);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.opened_at, a.id) > std::tie(b.opened_at, b.id);
  });
  if (found.size() > limit) found.resize(limit);
  return found;
}

absl::Status MemoryFleetStore::ProveWritable(absl::Time) { return error(); }

}  // namespace muster::gateway
