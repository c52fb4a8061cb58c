// Who is in the fleet: every machine, found by id or name, listed in the order
// in which an operator wants to see them.

#ifndef MUSTER_GATEWAY_FLEET_MACHINES_H_
#define MUSTER_GATEWAY_FLEET_MACHINES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/departure.h"
#include "gateway/fleet/findings.h"
#include "gateway/fleet/heartbeat_tap.h"
#include "gateway/fleet/instances.h"
#include "gateway/fleet/link_port.h"
#include "gateway/fleet/mass_silence.h"
#include "gateway/fleet/presence.h"
#include "gateway/fleet/records.h"
#include "libprotocol/base/token_bucket.h"

namespace muster::gateway {

// One machine in memory: what is stored, and what only lives.
struct Machine {
  MachineRecord record;
  Presence presence;
  // What it has of its own in place of its org's; nullptr: nothing. Kept by
  // PresencePolicies. `presence` follows with its next message.
  const PresenceSettings* own_presence = nullptr;

  // The newest accepted link, while it is open.
  LinkPort* link = nullptr;
  LinkRecord link_record = {};
  uint64_t acknowledgement_sent = 0;
  uint64_t acknowledgement_echoed = 0;
  // If ever in this life of the gateway: when it was last heard, when its
  // newest link was opened, when its status changed.
  std::optional<Instant> heard_at = {};
  std::optional<Instant> link_opened_at = {};
  std::optional<Instant> status_changed_at = {};
  bool heard_unflushed = false;  // last_heard is newer than the stored one.
  Instances instances = {};
  Flapping flapping = {};
  Health health = {};  // Changed by Machines only.
  MassSilence::Membership membership = {};
  Departure departure = {};  // Begun only if it is ephemeral and offline.
  // How many gaps (blind.h) it has been told of.
  uint64_t gaps_told = 0;
  std::optional<absl::Duration> round_trip = {};
  std::optional<absl::Duration> clock_skew = {};  // Machine minus gateway.

  // It was held until then: what is due since earlier is late from then on.
  Instant released = {};

  // Of the newest transition that the store has confirmed; record counts on
  // meanwhile.
  uint64_t durable_sequence = 0;

  // Links that it may open: each costs a handshake and leaves a row. A network
  // that flaps makes few in a second, and not for long.
  TokenBucket links = TokenBucket(1, 30);

  // Commands that are not finished, oldest first.
  std::vector<CommandId> open_commands = {};

  // While somebody watches its heartbeats.
  HeartbeatTap* tap = nullptr;
};

// The newer identity of this machine. One that is online was not replaced,
// whatever was said of it.
std::optional<AgentId> ReplacedBy(const MachineRecord& record);

// An operator, or a day offline after it was replaced, says that nobody waits
// for this machine.
bool Silenced(const MachineRecord& record);

// "web-1~c07e55".
std::string LongName(const MachineRecord& record);

// Place in the list: problems first, then by name, then by id.
struct ListPosition {
  uint8_t rank = 0;
  std::string hostname;
  AgentId id;

  friend bool operator==(const ListPosition&, const ListPosition&) = default;
  friend auto operator<=>(const ListPosition&, const ListPosition&) = default;
};

// "key=value", "key!=value" or "key".
struct LabelTerm {
  enum class Kind { kEquals, kDiffers, kPresent };
  Kind kind = Kind::kPresent;
  std::string key;
  std::string value;

  // InvalidArgument if the key is empty.
  static absl::StatusOr<LabelTerm> Parse(std::string_view text);
  bool Holds(const Labels& labels) const;
};

// Whether the whole of `hostname` is as `glob` says: `*` and `?`.
bool MatchesGlob(const std::string& glob, const std::string& hostname);

struct MachineFilter {
  OrgId org;
  std::vector<Status> statuses;   // Any of them; none: all.
  std::string hostname_glob;      // `*` and `?`; empty: all.
  std::vector<LabelTerm> labels;  // All must hold.
  bool silenced = false;          // Silenced machines too.

  bool Selects(const MachineRecord& record) const;
};

struct StatusCounts {
  uint32_t online = 0;
  uint32_t stale = 0;
  uint32_t offline = 0;
  uint32_t degraded = 0;  // Of those online: with a finding.
  uint32_t silenced = 0;  // These are in none of the others.

  friend bool operator==(const StatusCounts&, const StatusCounts&) = default;
};

// Machines owns all of them, tombstones included. Not thread-safe: it lives on
// the fleet loop. A Machine* stays valid while Machines lives.
class Machines {
 public:
  // Adds a machine, or returns the existing one unchanged.
  Machine& Add(MachineRecord record, Presence presence);

  // Includes tombstones; nullptr if the id was never registered.
  Machine* Find(const AgentId& id);

  // Like Find(), but only a living machine of `org`.
  Machine* FindLiving(const OrgId& org, const AgentId& id);

  // The machines whose place `newcomer`, which has never connected, takes: of
  // its org and machine-id, living, without a link, not replaced by another
  // already; and `named` with one too, because its agent says so. Clones of one
  // image share a machine-id: while another of them is linked, or may be back
  // in a moment as this gateway has just been started, only `named`.
  std::vector<Machine*> FindReplaced(const MachineRecord& newcomer,
                                     const AgentId& named);

  // Changes that move a machine in the list. Status and status_since follow
  // `machine.presence`; the rest of the record is the caller's.
  void SetStatus(Machine& machine, absl::Time now);
  void SetHostname(Machine& machine, std::string hostname);
  void SetReplacedBy(Machine& machine, std::optional<AgentId> newer);
  void SetSilencedAt(Machine& machine, std::optional<absl::Time> at);
  // True if the finding is new; else its text may be.
  bool SetFinding(Machine& machine, const std::string& finding,
                  std::string text);
  void EndFinding(Machine& machine, const std::string& finding);
  // The living machines whose place `machine` took, in order of id.
  std::vector<AgentId> ReplacesOf(const AgentId& machine) const;
  // Makes it a tombstone: not listed, not counted, not found by name.
  void Bury(Machine& machine, absl::Time now);

  // At most `limit` machines after `after`, in list order.
  struct Page {
    std::vector<const Machine*> machines;
    std::optional<ListPosition> next;  // Absent: that was all.
    uint32_t matched = 0;
  };
  Page List(const MachineFilter& filter,
            const std::optional<ListPosition>& after, size_t limit) const;

  StatusCounts Counts(const OrgId& org) const;
  // Of all organisations.
  uint64_t online() const { return online_; }

  // What a person typed: full id, hostname, or name~suffix. A hostname means
  // the machine that has replaced the others of that name.
  struct Resolution {
    std::vector<const Machine*> matches;
    std::vector<std::string> nearest;  // Hostnames, if nothing matches.
  };
  Resolution Resolve(const OrgId& org, std::string_view name) const;

  // The shortest of these that resolves to the living `machine`: its hostname,
  // hostname~suffix, its id.
  std::string NameOf(const Machine& machine) const;

  template <typename F>
  void ForEachLiving(F f) {
    for (auto& [id, machine] : by_id_) {
      if (!machine->record.deleted_at) f(*machine);
    }
  }
  size_t size() const { return by_id_.size(); }

 private:
  static ListPosition PositionOf(const Machine& machine);
  // Whether `old` was replaced by `newer`, or by one that was, and so on.
  bool IsReplaced(const MachineRecord& old, const MachineRecord& newer) const;
  // Each change of what it is listed and counted by stands between the two.
  void Withdraw(const Machine& machine);
  void Enter(const Machine& machine);
  void Count(const Machine& machine, int32_t by);

  absl::flat_hash_map<AgentId, std::unique_ptr<Machine>> by_id_;
  // Living machines only.
  absl::btree_set<ListPosition> listed_;
  absl::btree_set<std::pair<std::string, AgentId>> by_hostname_;
  absl::flat_hash_map<std::string, int> long_names_;  // How many have it.
  absl::flat_hash_map<OrgId, StatusCounts> counts_;
  uint64_t online_ = 0;
  // Newer identity → older ones, as their records say it.
  absl::flat_hash_map<AgentId, std::vector<AgentId>> replaces_;
};

// Number of edits between two names, at most `bound` + 1. For suggestions.
size_t EditDistance(std::string_view a, std::string_view b, size_t bound);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_MACHINES_H_
