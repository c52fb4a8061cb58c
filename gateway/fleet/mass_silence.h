// Did one machine fall silent, or a whole group of them at once?
//
// A group is a subnet, as the gateway saw the machines' addresses, or the value
// of the label muster.group. When so many of one fall silent together that it
// is one event and not many, they are one incident: held in stale for a while,
// and the cause names the group. It is over when they are back, and not because
// they are offline.

#ifndef MUSTER_GATEWAY_FLEET_MASS_SILENCE_H_
#define MUSTER_GATEWAY_FLEET_MASS_SILENCE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

struct MassSilencePolicy {
  // An incident needs so many machines …
  size_t machines_min = 5;
  // … and this share of those of the group that are not offline …
  double share_min = 0.3;
  // … that fall silent within this time.
  absl::Duration window = absl::Seconds(15);
  // They are offline at most this much later than they would be alone.
  absl::Duration hold_max = absl::Seconds(180);
};

// The label that puts machines into one group.
inline constexpr std::string_view kGroupLabel = "muster.group";

// "10.2.3.0/24", "2001:db8:1:2::/64"; empty if `address` is none, or that of
// this host itself: machines behind a local relay have nothing in common.
std::string SubnetOf(std::string_view address);

// MassSilence counts who is silent in which group, per org. Not thread-safe.
class MassSilence {
 public:
  explicit MassSilence(MassSilencePolicy policy) : policy_(policy) {}
  MassSilence(const MassSilence&) = delete;
  MassSilence& operator=(const MassSilence&) = delete;

  struct Group;
  // Where a machine counts; kept with the machine, filled in by Place().
  struct Membership {
    std::array<Group*, 2> groups = {};  // Subnet, label; nullptr: none.
    bool present = false;
    std::optional<Instant> fell_silent;
  };

  // The machine belongs to these groups from now on. `present`: it is living
  // and not offline. Cheap if nothing changed.
  // Who is silent and changes its group is not counted as silent in the new
  // one.
  void Place(const AgentId& agent, Membership& membership, const OrgId& org,
             std::string_view address, const Labels& labels, bool present);

  // What an incident is, or was when it closed.
  struct Incident {
    uint64_t number = 0;  // 1, 2, … in this life of the gateway.
    std::string id;       // If it was opened in a former life.
    OrgId org;
    std::string group;
    Instant opened;
    uint32_t machines = 0;  // That fell silent in it so far.
  };
  struct Event {
    Incident incident;
    // Machines that are held as one of it since this moment, or are not any
    // more: Holds() says which.
    std::vector<AgentId> machines;
    bool over = false;
  };

  // The machine fell silent. Set if that makes or enlarges an incident.
  std::optional<Event> FellSilent(const AgentId& agent, Membership& membership,
                                  Instant now);

  // It is heard again, more is known of it, or it is gone. Set if so few of its
  // incident are still silent that nothing holds them any more, or if so few
  // are not back that it is over.
  std::optional<Event> NoLongerSilent(const AgentId& agent,
                                      Membership& membership);
  // It is offline: not held any more, and not back. Set likewise.
  std::optional<Event> WentOffline(const AgentId& agent,
                                   Membership& membership);

  // One that fell silent with others in a former life; it is placed.
  struct Member {
    AgentId agent;
    Membership* membership = nullptr;
    bool offline = false;
  };
  // The incident goes on with those that are `away` since; or it is over.
  Event Reopen(Incident incident, const std::vector<Member>& away);

  // The incident in which the machine fell silent; nullptr: none. Valid until
  // the next call that is not const.
  const Incident* IncidentOf(const AgentId& agent) const;
  // It is held for that.
  bool Holds(const AgentId& agent) const;

  // Incidents that are not over.
  size_t open() const { return open_.size(); }

 private:
  struct Open : Incident {
    Group* place = nullptr;  // nullptr: it holds nobody, and nobody joins.
    absl::btree_set<AgentId> silent;
    absl::btree_set<AgentId> offline;
    // Whoever fell silent in it, back or not: each counts once.
    absl::btree_set<AgentId> ever;
  };
  using Key = std::pair<OrgId, std::string>;

  Group* Enter(const OrgId& org, std::string name, bool present);
  void Leave(Group*& group, bool present);
  void Forget(Group& group);
  bool Enough(const Group& group, size_t silent) const;
  std::optional<Event> Join(Open& open, const AgentId& agent);
  std::optional<Event> MaybeOpen(Group& group, Instant now);
  // Out of the time in which it may become one of many.
  static void Unlist(const AgentId& agent, const Membership& membership);
  std::optional<Event> MaybeClose(uint64_t number);

  const MassSilencePolicy policy_;
  absl::flat_hash_map<Key, std::unique_ptr<Group>> groups_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Open>> open_;
  absl::btree_map<AgentId, uint64_t> incident_of_;
  uint64_t last_number_ = 0;
};

struct MassSilence::Group {
  OrgId org;
  std::string name;
  size_t members = 0;
  size_t present = 0;
  uint64_t incident = 0;  // 0: none is open.
  // Those without an incident, for as long as the window lasts.
  absl::btree_set<std::pair<Instant, AgentId>> fell_silent;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_MASS_SILENCE_H_
