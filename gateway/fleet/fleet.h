// The fleet: links come and go, heartbeats arrive, time passes; what does that
// say about each machine?
//
// Fleet ties the rules together on one loop. It performs no I/O: links are
// LinkPorts, storage is a Journal, time and timers are the loop's. The same
// object runs in the gateway and in the simulation.

#ifndef MUSTER_GATEWAY_FLEET_FLEET_H_
#define MUSTER_GATEWAY_FLEET_FLEET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "gateway/fleet/command_desk.h"
#include "gateway/fleet/deadlines.h"
#include "gateway/fleet/history_log.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/link_port.h"
#include "gateway/fleet/machines.h"
#include "gateway/fleet/presence.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

struct FleetOptions {
  PresencePolicy presence;
  CommandDesk::Options commands;
  // The told interval grows so that the whole fleet stays below this.
  double heartbeats_per_second_max = 2000;
  // How often last_heard is written, in one batch.
  absl::Duration last_heard_every = absl::Seconds(5);
  // How often the loop looks at itself, at most; it is never more than a
  // quarter of presence.blind_gap.
  absl::Duration watch_every = absl::Milliseconds(500);
};

// What an agent says first on a link, already checked at the wire.
struct HelloNotice {
  Facts facts;
  std::string boot_id;
  std::string process_start_id;
  std::string address;
  uint64_t last_epoch = 0;
  uint64_t seen_high = 0;
  std::vector<CommandId> open_commands;
};

struct HeartbeatNotice {
  uint64_t sequence = 0;
  uint64_t acknowledged = 0;
  std::optional<absl::Time> sent_at;
  std::optional<absl::Duration> round_trip;
};

struct AcknowledgementNotice {
  uint64_t acknowledgement = 0;
  absl::Duration heartbeat_interval;
};

// Fleet lives on the fleet loop; every method is called there. `loop` and
// `journal` must outlive it, but run none of its tasks after its end.
class Fleet {
 public:
  Fleet(EventLoop& loop, Journal& journal, FleetOptions options);
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // --- Start --------------------------------------------------------------
  // The smallest run number whose epochs are larger than all that these
  // machines have: a restored copy may have been given a smaller one.
  static uint64_t RunAfter(const std::vector<MachineRecord>& machines);
  // Takes over what the store remembers. Nobody is judged until Open().
  void Restore(uint64_t run, std::vector<MachineRecord> machines,
               std::vector<CommandRecord> open_commands);
  // Links are accepted from now on: leases begin.
  void Open();

  // --- Links (called by rpc) ----------------------------------------------
  // Accepts a link of `agent`: sends the welcome, then what waits for the
  // machine. `port` must stay valid until LinkClosed() with the epoch of that
  // welcome. An older link of the same agent is closed as superseded. Returns
  // why not, if the link is refused; then `port` was not touched.
  std::optional<Disconnect> LinkOpened(const AgentId& agent, HelloNotice hello,
                                       LinkPort& port);
  // Absent if `epoch` is not the newest link: such a message counts for
  // nothing.
  std::optional<AcknowledgementNotice> Heartbeat(const AgentId& agent,
                                                 uint64_t epoch,
                                                 const HeartbeatNotice&);
  void TakeWord(const AgentId& agent, uint64_t epoch, CommandWord word);
  // Output needs no epoch: its offsets say what it is.
  void TakeOutput(const AgentId& agent, OutputRecord output,
                  absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored);
  void Goodbye(const AgentId& agent, uint64_t epoch, GoodbyeNotice notice);
  // The agent gives up its identity: like Delete(), by its own wish.
  void Leave(const AgentId& agent, uint64_t epoch);
  // Exactly once for every accepted link.
  void LinkClosed(const AgentId& agent, uint64_t epoch, LinkEnd end);

  // --- Operators (called by admin) ----------------------------------------
  // A machine that the store has just admitted. If it takes the place of an
  // older one (Machines::FindReplaced), that one says so from now on.
  // Idempotent.
  void Admit(const MachineRecord& machine, const AgentId& replaces = AgentId());
  // Durable before `done`, and before anybody sees it. NotFound if there is no
  // such living machine.
  void Delete(const OrgId& org, const AgentId& agent,
              absl::AnyInvocable<void(absl::Status)> done);
  void SetLabels(const OrgId& org, const AgentId& agent, Labels labels,
                 absl::AnyInvocable<void(absl::Status)> done);

  // One line: status, since when, last heard, why. UTC.
  std::string Why(const Machine& machine) const;

  Machines& machines() { return machines_; }
  CommandDesk& commands() { return commands_; }
  const FleetOptions& options() const { return options_; }
  uint32_t open_links() const { return open_links_; }
  // True once links are accepted: only then can presence be vouched for.
  bool confirmed() const { return open_; }
  // Told to every agent: how often to speak.
  absl::Duration HeartbeatInterval() const;

  // Ends every link; agents come back by themselves.
  void CloseAllLinks(const Disconnect& why);
  // Writes what is only in memory (last_heard).
  void FlushLastHeard();

 private:
  Machine* Current(const AgentId& agent, uint64_t epoch);
  uint64_t NextEpoch(const Machine& machine, uint64_t last_epoch);
  void Heard(Machine& machine, Instant now);
  // When the machine must be judged, or its link be found dead.
  static Instant NextLook(const Machine& machine);
  void Schedule(Machine& machine);
  void Record(Machine& machine, const StatusChange& change);
  // Ends the machine's open link; its LinkClosed() will count for nothing.
  void DropLink(Machine& machine, LinkEnd end, const Disconnect& why);
  void CloseLinkRecord(Machine& machine, LinkEnd end);
  void Bury(Machine& machine, absl::AnyInvocable<void(absl::Status)> done);
  // Writes the deletion, again until it is done; `done` hears the first result.
  void SaveTombstone(Machine& machine,
                     absl::AnyInvocable<void(absl::Status)> done);
  // The one timer: looks for blindness, judges who is due, arms itself.
  void Turn();
  void NoteBlindness(Instant now);
  void Judge(Instant now);
  void Arm();
  void FlushEvery();

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  const FleetOptions options_;

  Machines machines_;
  CommandDesk commands_;
  HistoryLog history_;
  Deadlines<AgentId> deadlines_;
  absl::flat_hash_set<AgentId> heard_since_flush_;
  uint64_t run_ = 0;
  uint64_t links_this_run_ = 0;
  uint32_t open_links_ = 0;
  bool open_ = false;
  Instant last_turn_;
  // Links lost until this instant get a whole lease: we may have missed their
  // last words.
  Instant trust_links_from_;
  EventLoop::TimerId turn_timer_{};
  EventLoop::TimerId flush_timer_{};
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_FLEET_H_
