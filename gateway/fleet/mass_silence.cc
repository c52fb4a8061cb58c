#include "gateway/fleet/mass_silence.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "fmt/format.h"

namespace muster::gateway {

std::string SubnetOf(std::string_view address) {
  const std::string text(address);
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    const uint32_t host = ntohl(v4.s_addr);
    if (host >> 24 == 127) return "";
    return fmt::format("{}.{}.{}.0/24", host >> 24, host >> 16 & 255,
                       host >> 8 & 255);
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return "";
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return "";
  std::memset(v6.s6_addr + 8, 0, 8);
  char prefix[INET6_ADDRSTRLEN];
  inet_ntop(AF_INET6, &v6, prefix, sizeof prefix);
  return fmt::format("{}/64", prefix);
}

void MassSilence::Place(const AgentId& agent, Membership& membership,
                        const OrgId& org, std::string_view address,
                        const Labels& labels, bool present) {
  const auto label = labels.find(std::string(kGroupLabel));
  std::array<std::string, 2> names = {
      SubnetOf(address),
      label == labels.end() ? ""
                            : fmt::format("{}={}", kGroupLabel, label->second)};
  for (size_t i = 0; i < names.size(); ++i) {
    Group*& group = membership.groups[i];
    const bool same =
        group == nullptr ? names[i].empty() : group->name == names[i];
    if (same) {
      if (group != nullptr) {
        group->present += present;
        group->present -= membership.present;
      }
      continue;
    }
    if (group != nullptr) {
      if (membership.fell_silent) {
        group->fell_silent.erase({*membership.fell_silent, agent});
      }
      Leave(group, membership.present);
    }
    if (!names[i].empty()) group = Enter(org, std::move(names[i]), present);
  }
  membership.present = present;
}

MassSilence::Group* MassSilence::Enter(const OrgId& org, std::string name,
                                       bool present) {
  std::unique_ptr<Group>& group = groups_[{org, name}];
  if (!group) {
    group = std::make_unique<Group>();
    group->org = org;
    group->name = std::move(name);
  }
  ++group->members;
  group->present += present;
  return group.get();
}

void MassSilence::Leave(Group*& group, bool present) {
  --group->members;
  group->present -= present;
  Forget(*group);
  group = nullptr;
}

void MassSilence::Forget(Group& group) {
  if (group.members > 0 || group.incident != 0) return;
  const Key key(group.org, group.name);
  groups_.erase(key);
}

bool MassSilence::Enough(const Group& group, size_t silent) const {
  return silent >= policy_.machines_min &&
         static_cast<double>(silent) >=
             policy_.share_min * static_cast<double>(group.present);
}

std::optional<MassSilence::Event> MassSilence::FellSilent(
    const AgentId& agent, Membership& membership, Instant now) {
  if (membership.fell_silent) return std::nullopt;
  membership.fell_silent = now;
  for (Group* group : membership.groups) {
    if (group != nullptr && group->incident != 0) {
      return Join(*open_.at(group->incident), agent);
    }
  }
  std::optional<Event> event;
  for (Group* group : membership.groups) {
    if (group == nullptr) continue;
    group->fell_silent.insert({now, agent});
    if (!event) event = MaybeOpen(*group, now);
  }
  return event;
}

std::optional<MassSilence::Event> MassSilence::Join(Open& open,
                                                    const AgentId& agent) {
  open.silent.insert(agent);
  incident_of_[agent] = open.number;
  open.ever.insert(agent);
  // Of a former life only the number is known.
  open.machines =
      std::max(open.machines, static_cast<uint32_t>(open.ever.size()));
  return Event{open, {agent}};
}

std::optional<MassSilence::Event> MassSilence::MaybeOpen(Group& group,
                                                         Instant now) {
  auto& fell = group.fell_silent;
  while (!fell.empty() && fell.begin()->first < now - policy_.window) {
    fell.erase(fell.begin());
  }
  if (!Enough(group, fell.size())) return std::nullopt;
  // A machine may meanwhile belong to the incident of its other group.
  absl::erase_if(fell, [this](const auto& entry) {
    return incident_of_.contains(entry.second);
  });
  if (!Enough(group, fell.size())) return std::nullopt;
  auto open = std::make_unique<Open>();
  open->number = ++last_number_;
  open->org = group.org;
  open->group = group.name;
  open->opened = now;
  open->place = &group;
  group.incident = open->number;
  Event event;
  for (const auto& [when, agent] : fell) {
    event.machines.push_back(agent);
    (void)Join(*open, agent);
  }
  fell.clear();
  event.incident = *open;
  open_[open->number] = std::move(open);
  return event;
}

MassSilence::Event MassSilence::Reopen(Incident incident,
                                       const std::vector<Member>& away) {
  const uint64_t number = ++last_number_;
  auto open = std::make_unique<Open>();
  static_cast<Incident&>(*open) = std::move(incident);
  open->number = number;
  Event event;
  for (const Member& member : away) {
    member.membership->fell_silent = open->opened;
    incident_of_[member.agent] = number;
    open->ever.insert(member.agent);
    (member.offline ? open->offline : open->silent).insert(member.agent);
    if (!member.offline) event.machines.push_back(member.agent);
    for (Group* group : member.membership->groups) {
      if (group != nullptr && group->name == open->group) open->place = group;
    }
  }
  if (open->place != nullptr) {
    if (open->place->incident == 0) {
      open->place->incident = number;
    } else {
      open->place = nullptr;
    }
  }
  // Those that fell silent last may not have been counted yet.
  open->machines = std::max(open->machines, static_cast<uint32_t>(away.size()));
  event.incident = *open;
  open_[number] = std::move(open);
  if (auto closed = MaybeClose(number)) return *std::move(closed);
  return event;
}

const MassSilence::Incident* MassSilence::IncidentOf(
    const AgentId& agent) const {
  const auto it = incident_of_.find(agent);
  return it == incident_of_.end() ? nullptr : open_.at(it->second).get();
}

bool MassSilence::Holds(const AgentId& agent) const {
  const auto it = incident_of_.find(agent);
  return it != incident_of_.end() && open_.at(it->second)->place != nullptr;
}

void MassSilence::Unlist(const AgentId& agent, const Membership& membership) {
  for (Group* group : membership.groups) {
    if (group != nullptr) {
      group->fell_silent.erase({*membership.fell_silent, agent});
    }
  }
}

std::optional<MassSilence::Event> MassSilence::NoLongerSilent(
    const AgentId& agent, Membership& membership) {
  if (!membership.fell_silent) return std::nullopt;
  Unlist(agent, membership);
  membership.fell_silent.reset();
  const auto found = incident_of_.find(agent);
  if (found == incident_of_.end()) return std::nullopt;
  const uint64_t number = found->second;
  incident_of_.erase(found);
  Open& open = *open_.at(number);
  open.silent.erase(agent);
  open.offline.erase(agent);
  return MaybeClose(number);
}

std::optional<MassSilence::Event> MassSilence::WentOffline(
    const AgentId& agent, Membership& membership) {
  const auto found = incident_of_.find(agent);
  if (found == incident_of_.end()) return NoLongerSilent(agent, membership);
  Open& open = *open_.at(found->second);
  open.silent.erase(agent);
  open.offline.insert(agent);
  return MaybeClose(found->second);
}

std::optional<MassSilence::Event> MassSilence::MaybeClose(uint64_t number) {
  Open& open = *open_.at(number);
  const bool held = open.place != nullptr;
  const bool holds = held && Enough(*open.place, open.silent.size());
  const bool over =
      open.silent.size() + open.offline.size() < policy_.machines_min;
  if (held == holds && !over) return std::nullopt;
  Event event{open, {open.silent.begin(), open.silent.end()}, over};
  if (held) {
    open.place->incident = 0;
    Forget(*std::exchange(open.place, nullptr));
  }
  if (!over) return event;
  for (const AgentId& still : open.silent) incident_of_.erase(still);
  for (const AgentId& still : open.offline) incident_of_.erase(still);
  open_.erase(number);
  return event;
}

}  // namespace muster::gateway
