#include "gateway/fleet/machines.h"

#include <fnmatch.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "fmt/format.h"

namespace muster::gateway {
namespace {

bool Degraded(const Machine& machine) {
  return machine.record.status == Status::kOnline && !machine.health.empty();
}

// Offline machines are shown first.
uint8_t Rank(const Machine& machine) {
  switch (machine.record.status) {
    case Status::kOffline:
      return 0;
    case Status::kStale:
      return 1;
    case Status::kOnline:
      return Degraded(machine) ? 2 : 3;
  }
  return 3;
}

uint32_t& CountOf(StatusCounts& counts, Status status) {
  switch (status) {
    case Status::kOnline:
      return counts.online;
    case Status::kStale:
      return counts.stale;
    case Status::kOffline:
      return counts.offline;
  }
  return counts.offline;
}

constexpr size_t kSuggestionsMax = 3;
constexpr size_t kSuggestionEditsMax = 2;
// A typo is looked for among this many names at most: 1 µs each.
constexpr size_t kSuggestionNamesMax = 2000;
// Identities that one machine had one after the other.
constexpr int kReplacementsMax = 100;

}  // namespace

std::optional<AgentId> ReplacedBy(const MachineRecord& record) {
  return record.status == Status::kOnline ? std::nullopt : record.replaced_by;
}

bool Silenced(const MachineRecord& record) {
  return record.silenced_at && *record.silenced_at != absl::InfiniteFuture();
}

std::string LongName(const MachineRecord& record) {
  return fmt::format("{}~{}", record.facts.hostname, record.id.suffix());
}

absl::StatusOr<LabelTerm> LabelTerm::Parse(std::string_view text) {
  LabelTerm term;
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    term.key = text;
  } else {
    const bool differs = equals > 0 && text[equals - 1] == '!';
    term.kind = differs ? Kind::kDiffers : Kind::kEquals;
    term.key = text.substr(0, differs ? equals - 1 : equals);
    term.value = text.substr(equals + 1);
  }
  if (term.key.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "label: expected key=value, key!=value or key; got \"{}\"", text));
  }
  return term;
}

bool LabelTerm::Holds(const Labels& labels) const {
  const auto it = labels.find(key);
  switch (kind) {
    case Kind::kEquals:
      return it != labels.end() && it->second == value;
    case Kind::kDiffers:
      return it == labels.end() || it->second != value;
    case Kind::kPresent:
      return it != labels.end();
  }
  return false;
}

bool MatchesGlob(const std::string& glob, const std::string& hostname) {
  return fnmatch(glob.c_str(), hostname.c_str(), FNM_NOESCAPE) == 0;
}

bool MachineFilter::Selects(const MachineRecord& record) const {
  if (record.org != org) return false;
  if (Silenced(record) && !silenced) return false;
  if (!statuses.empty() && std::find(statuses.begin(), statuses.end(),
                                     record.status) == statuses.end()) {
    return false;
  }
  if (!hostname_glob.empty() &&
      !MatchesGlob(hostname_glob, record.facts.hostname)) {
    return false;
  }
  return std::all_of(
      labels.begin(), labels.end(),
      [&record](const LabelTerm& term) { return term.Holds(record.labels); });
}

ListPosition Machines::PositionOf(const Machine& machine) {
  const MachineRecord& record = machine.record;
  return {Rank(machine), record.facts.hostname, record.id};
}

void Machines::Enter(const Machine& machine) {
  const MachineRecord& record = machine.record;
  if (record.deleted_at) return;
  listed_.insert(PositionOf(machine));
  by_hostname_.insert({record.facts.hostname, record.id});
  ++long_names_[LongName(record)];
  Count(machine, 1);
}

void Machines::Withdraw(const Machine& machine) {
  const MachineRecord& record = machine.record;
  if (record.deleted_at) return;
  listed_.erase(PositionOf(machine));
  by_hostname_.erase({record.facts.hostname, record.id});
  if (const auto it = long_names_.find(LongName(record)); --it->second == 0) {
    long_names_.erase(it);
  }
  Count(machine, -1);
}

void Machines::Count(const Machine& machine, int32_t by) {
  StatusCounts& counts = counts_[machine.record.org];
  const auto add = [by](uint32_t& count) {
    count += static_cast<uint32_t>(by);
  };
  if (machine.record.status == Status::kOnline) {
    online_ += static_cast<uint64_t>(int64_t{by});
  }
  if (Silenced(machine.record)) return add(counts.silenced);
  add(CountOf(counts, machine.record.status));
  if (Degraded(machine)) add(counts.degraded);
}

Machine& Machines::Add(MachineRecord record, Presence presence) {
  std::unique_ptr<Machine>& slot = by_id_[record.id];
  if (!slot) {
    slot = std::make_unique<Machine>(
        Machine{.record = std::move(record), .presence = std::move(presence)});
    Enter(*slot);
    SetReplacedBy(*slot, std::exchange(slot->record.replaced_by, {}));
  }
  return *slot;
}

Machine* Machines::Find(const AgentId& id) {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second.get();
}

Machine* Machines::FindLiving(const OrgId& org, const AgentId& id) {
  Machine* machine = Find(id);
  if (machine == nullptr || machine->record.deleted_at) return nullptr;
  return machine->record.org == org ? machine : nullptr;
}

std::vector<Machine*> Machines::FindReplaced(const MachineRecord& newcomer,
                                             const AgentId& named) {
  std::vector<Machine*> found;
  if (newcomer.facts.machine_id.empty() || newcomer.epoch > 0 ||
      newcomer.replaced_by) {
    return found;
  }
  bool clones = false;
  Machine* gave_up = nullptr;
  ForEachLiving([&](Machine& machine) {
    const MachineRecord& old = machine.record;
    if (old.id == newcomer.id || old.org != newcomer.org ||
        old.facts.machine_id != newcomer.facts.machine_id) {
      return;
    }
    if (old.id == named) {
      gave_up = &machine;
    } else if (machine.link != nullptr ||
               (old.status == Status::kOnline && !machine.heard_at)) {
      clones = true;  // It lives, or did before this gateway was started.
    } else if (!old.replaced_by) {
      found.push_back(&machine);
    }
  });
  if (clones) found.clear();
  if (gave_up != nullptr && !gave_up->record.replaced_by) {
    found.push_back(gave_up);
  }
  return found;
}

bool Machines::IsReplaced(const MachineRecord& old,
                          const MachineRecord& newer) const {
  std::optional<AgentId> next = ReplacedBy(old);
  // Registrations follow each other; the bound is for a damaged database.
  for (int i = 0; next && i < kReplacementsMax; ++i) {
    if (*next == newer.id) return true;
    const auto it = by_id_.find(*next);
    if (it == by_id_.end()) return false;
    next = ReplacedBy(it->second->record);
  }
  return false;
}

void Machines::SetStatus(Machine& machine, absl::Time now) {
  Withdraw(machine);
  machine.record.status = machine.presence.status();
  machine.record.verdict = machine.presence.verdict();
  machine.record.status_since = now;
  Enter(machine);
}

void Machines::SetHostname(Machine& machine, std::string hostname) {
  Withdraw(machine);
  machine.record.facts.hostname = std::move(hostname);
  Enter(machine);
}

void Machines::SetReplacedBy(Machine& machine, std::optional<AgentId> newer) {
  std::optional<AgentId>& known = machine.record.replaced_by;
  if (known == newer) return;
  if (known) std::erase(replaces_[*known], machine.record.id);
  if (newer) replaces_[*newer].push_back(machine.record.id);
  known = std::move(newer);
}

std::vector<AgentId> Machines::ReplacesOf(const AgentId& machine) const {
  const auto it = replaces_.find(machine);
  if (it == replaces_.end()) return {};
  std::vector<AgentId> living = it->second;
  std::erase_if(living, [&](const AgentId& id) {
    const MachineRecord& old = by_id_.at(id)->record;
    return old.deleted_at || ReplacedBy(old) != machine;
  });
  std::ranges::sort(living);
  return living;
}

void Machines::SetSilencedAt(Machine& machine, std::optional<absl::Time> at) {
  if (machine.record.silenced_at == at) return;
  Withdraw(machine);
  machine.record.silenced_at = at;
  Enter(machine);
}

bool Machines::SetFinding(Machine& machine, const std::string& finding,
                          std::string text) {
  Withdraw(machine);
  const bool news =
      machine.health.insert_or_assign(finding, std::move(text)).second;
  Enter(machine);
  return news;
}

void Machines::EndFinding(Machine& machine, const std::string& finding) {
  if (!machine.health.contains(finding)) return;
  Withdraw(machine);
  machine.health.erase(finding);
  Enter(machine);
}

void Machines::Bury(Machine& machine, absl::Time now) {
  Withdraw(machine);
  machine.record.deleted_at = now;
}

Machines::Page Machines::List(const MachineFilter& filter,
                              const std::optional<ListPosition>& after,
                              size_t limit) const {
  Page page;
  const ListPosition* last = nullptr;
  for (const ListPosition& position : listed_) {
    const Machine& machine = *by_id_.at(position.id);
    if (!filter.Selects(machine.record)) continue;
    ++page.matched;
    if (after && position <= *after) continue;
    if (page.machines.size() < limit) {
      page.machines.push_back(&machine);
      last = &position;
    } else if (last != nullptr && !page.next) {
      page.next = *last;
    }
  }
  return page;
}

StatusCounts Machines::Counts(const OrgId& org) const {
  const auto it = counts_.find(org);
  return it == counts_.end() ? StatusCounts{} : it->second;
}

Machines::Resolution Machines::Resolve(const OrgId& org,
                                       std::string_view name) const {
  Resolution out;
  if (const auto it = by_id_.find(AgentId(std::string(name)));
      it != by_id_.end() && !it->second->record.deleted_at &&
      it->second->record.org == org) {
    out.matches.push_back(it->second.get());
    return out;
  }
  const size_t tilde = name.rfind('~');
  const std::string hostname(name.substr(0, tilde));
  const std::string_view suffix =
      tilde == std::string_view::npos ? "" : name.substr(tilde + 1);
  for (auto it = by_hostname_.lower_bound({hostname, AgentId()});
       it != by_hostname_.end() && it->first == hostname; ++it) {
    const Machine& machine = *by_id_.at(it->second);
    if (machine.record.org != org) continue;
    if (suffix.empty() || it->second.suffix() == suffix) {
      out.matches.push_back(&machine);
    }
  }
  if (suffix.empty()) {
    const auto newest = std::ranges::find_if(out.matches, [&](auto* newer) {
      return std::ranges::all_of(out.matches, [&](auto* old) {
        return old == newer || IsReplaced(old->record, newer->record);
      });
    });
    if (newest != out.matches.end()) out.matches = {*newest};
  }
  if (!out.matches.empty()) return out;

  std::vector<std::pair<size_t, std::string>> near;
  size_t looked_at = 0;
  for (const auto& [other, id] : by_hostname_) {
    if (++looked_at > kSuggestionNamesMax) break;
    if (by_id_.at(id)->record.org != org) continue;
    const size_t edits = EditDistance(hostname, other, kSuggestionEditsMax);
    if (edits <= kSuggestionEditsMax) near.emplace_back(edits, other);
  }
  std::sort(near.begin(), near.end());
  near.erase(std::unique(near.begin(), near.end()), near.end());
  for (auto& [edits, other] : near) {
    if (out.nearest.size() == kSuggestionsMax) break;
    out.nearest.push_back(std::move(other));
  }
  return out;
}

std::string Machines::NameOf(const Machine& machine) const {
  const MachineRecord& record = machine.record;
  const std::string& hostname = record.facts.hostname;
  bool alone = true;
  for (auto it = by_hostname_.lower_bound({hostname, AgentId()});
       alone && it != by_hostname_.end() && it->first == hostname; ++it) {
    const MachineRecord& other = by_id_.at(it->second)->record;
    alone = other.id == record.id || other.org != record.org ||
            IsReplaced(other, record);
  }
  if (alone) return hostname;
  std::string name = LongName(record);
  return long_names_.at(name) == 1 ? name : record.id.str();
}

size_t EditDistance(std::string_view a, std::string_view b, size_t bound) {
  if (a.size() > b.size() + bound || b.size() > a.size() + bound) {
    return bound + 1;
  }
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return std::min(row[b.size()], bound + 1);
}

}  // namespace muster::gateway
