// The fleet: links come and go, heartbeats arrive, time passes; what does that
// say about each machine?
//
// Fleet ties the rules together on one loop. It performs no I/O: links are
// LinkPorts, storage is a Journal, time and timers are the loop's. The same
// object runs in the gateway and in the simulation.

#ifndef MUSTER_GATEWAY_FLEET_FLEET_H_
#define MUSTER_GATEWAY_FLEET_FLEET_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "gateway/fleet/admission.h"
#include "gateway/fleet/batch_desk.h"
#include "gateway/fleet/blind.h"
#include "gateway/fleet/command_desk.h"
#include "gateway/fleet/counters.h"
#include "gateway/fleet/deadlines.h"
#include "gateway/fleet/event_log.h"
#include "gateway/fleet/history_log.h"
#include "gateway/fleet/input_desk.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/link_port.h"
#include "gateway/fleet/machines.h"
#include "gateway/fleet/presence.h"
#include "gateway/fleet/presence_settings.h"
#include "gateway/fleet/session_desk.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

struct FleetOptions {
  PresencePolicy presence;
  CommandDesk::Options commands;
  BatchDesk::Options batches = {};
  InputDesk::Options input = {};
  SessionDesk::Options sessions = {};
  EventLog::Options events = {};
  AdmissionLimits admission;
  MassSilencePolicy mass_silence;
  // The told interval grows so that the whole fleet stays below this.
  double heartbeats_per_second_max = 2000;
  // How often last_heard is written, in one batch.
  absl::Duration last_heard_every = absl::Seconds(5);
  // How often the loop looks at itself, at most; it is never more than a
  // quarter of presence.blind_gap.
  absl::Duration watch_every = absl::Milliseconds(500);
  // Machines judged in one turn of the loop; the rest follows in the next.
  size_t judged_per_turn_max = 64;
  // For so long after a connection was closed unheard newcomers count as turned
  // away.
  absl::Duration deaf_after_refusal = absl::Seconds(5);
  // For so long TCP may keep one outside that found the door full, until its
  // agent gives up: whoever loses a link then has the lease to be back.
  absl::Duration dial_max = absl::Seconds(30);
  // How long a replaced machine is offline until it is silenced. By the wall
  // clock, as it is shown: it decides no status.
  absl::Duration silence_replaced_after = absl::Hours(24);
};

// What an agent says first on a link, already checked at the wire.
struct HelloNotice {
  Facts facts;
  OrgId org = DefaultOrg();  // Of the peer, as its certificate says.
  // "sha256//…" of the key that the peer has proven to hold.
  std::string key_pin;
  std::string boot_id;
  std::string process_start_id;
  std::string address;
  uint64_t last_epoch = 0;
  // What the agent believes of the link of that epoch; see drift.h.
  std::optional<absl::Duration> acknowledged_ago = {};
  std::optional<absl::Duration> connected_ago = {};
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
  // What the store remembers of former lives.
  struct Remembered {
    std::vector<MachineRecord> machines;
    std::vector<CommandRecord> open_commands = {};
    std::vector<StoredBatch> open_batches = {};
    std::vector<PresenceRecord> presence = {};
    std::vector<IncidentRecord> open_incidents = {};
    std::optional<absl::Time> alive_at = {};  // The last sign of life.
    // The newest; as far back as an ephemeral machine can be offline.
    std::vector<BlindRecord> blind = {};
  };
  // Takes it over. `run`: larger than that of every life the store remembers.
  // Nobody is judged until Open().
  void Restore(uint64_t run, Remembered remembered);
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
  void TakeInput(const AgentId& agent, uint64_t epoch, const InputWord& word);
  // Output needs no epoch: its offsets say what it is.
  void TakeOutput(const AgentId& agent, OutputRecord output,
                  absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored);
  void Goodbye(const AgentId& agent, uint64_t epoch, GoodbyeNotice notice);
  // The agent gives up its identity: like Delete(), by its own wish. It is
  // answered by kDeregistered once that is durable.
  void Leave(const AgentId& agent, uint64_t epoch);
  // Exactly once for every accepted link.
  void LinkClosed(const AgentId& agent, uint64_t epoch, LinkEnd end);
  // Somebody could not speak, whoever it was: the connection was closed
  // (kDescriptors, kOneSource) or had to wait (kAdmission).
  void TurnedAway(BlindReason reason);

  // --- Operators (called by admin) ----------------------------------------
  // A machine that the store has just admitted, or given another key. Those
  // whose place it takes (Machines::FindReplaced) say so as soon as they are
  // not online. Idempotent.
  void Admit(const MachineRecord& machine, const AgentId& replaces = AgentId());
  // Takes effect at once, as it may be a thief's machine; durable before `done`
  // says OK. If the store is away, `done` says so, and it is written when the
  // store returns. NotFound if there is no such living machine.
  void Delete(const OrgId& org, const AgentId& agent,
              absl::AnyInvocable<void(absl::Status)> done);
  // Durable before `done`, and before anybody sees it. NotFound likewise.
  void SetLabels(const OrgId& org, const AgentId& agent, Labels labels,
                 absl::AnyInvocable<void(absl::Status)> done);
  // Leaves the machine out of lists and counts until it is heard again, or
  // keeps it in sight. `who` is named in its history. FailedPrecondition if it
  // is to be silenced and connected.
  void SetSilenced(const OrgId& org, const AgentId& agent, bool silenced,
                   std::string_view who,
                   absl::AnyInvocable<void(absl::Status)> done);
  // Cuts its link and lets it not connect until Approve(). Takes effect at
  // once, as it may be a thief's machine; durable before `done` says OK.
  // NotFound likewise.
  void Suspend(const OrgId& org, const AgentId& agent, std::string_view who,
               absl::AnyInvocable<void(absl::Status)> done);
  // Lets a machine connect that waits for approval; any other already may.
  // `who` is named in its history. NotFound likewise. If it cannot be stored,
  // `done` says so; until a restart it is approved all the same.
  void Approve(const OrgId& org, const AgentId& agent, std::string_view who,
               absl::AnyInvocable<void(absl::Status)> done);
  // Changes what the org has of its own, or each of these machines: for each
  // machine from its next message on (Presence::Adopt). All or none.
  // InvalidArgument that names the field, its bound and its value, and a
  // machine if it is that machine's settings with which it cannot hold.
  void SetPresence(const OrgId& org, const PresenceEdit& edit,
                   absl::AnyInvocable<void(absl::Status)> done);
  void SetPresence(const OrgId& org, const std::vector<AgentId>& agents,
                   const PresenceEdit& edit,
                   absl::AnyInvocable<void(absl::Status)> done);

  // The store has taken the machine's key away: its link is cut, and whoever
  // holds that key is refused from now on.
  void Reissued(const AgentId& agent, std::string_view who);
  // Why this key does not speak for this machine of this org; nothing: it does.
  std::optional<Disconnect> RefusalOf(const OrgId& org, const AgentId& agent,
                                      std::string_view key_pin);
  // `told` hears, from Restore() on, which key speaks for a machine, whenever
  // that changes; none: no pin.
  using KeyChanged =
      std::function<void(const AgentId& agent, std::string_view key_pin)>;
  void TellKeys(KeyChanged told) { key_changed_ = std::move(told); }

  // One line: status, since when, last heard, why. UTC.
  std::string Why(const Machine& machine) const;

  Machines& machines() { return machines_; }
  CommandDesk& commands() { return commands_; }
  BatchDesk& batches() { return batches_; }
  InputDesk& input() { return input_; }
  SessionDesk& sessions() { return sessions_; }
  const HistoryLog& history() const { return history_; }
  EventLog& events() { return events_; }
  const FleetOptions& options() const { return options_; }
  const PresencePolicies& policies() const { return policies_; }
  // Judged by what is set now? If not: from its next message on.
  bool Adopted(const Machine& machine) {
    return &PolicyOf(machine) == &machine.presence.policy();
  }
  uint32_t open_links() const { return open_links_; }
  // True when presence can be vouched for: links are accepted, and have been
  // for more than half of the last half hour.
  bool confirmed() const { return open_ && !doubt_; }
  bool confirmed(const Machine& machine) const {
    return open_ && !UnconfirmedSince(machine);
  }
  // What keeps this gateway from hearing somebody at this moment, or has so
  // often of late that it cannot be `confirmed`.
  struct Impairment {
    absl::Time since;
    BlindReason reason;
  };
  std::optional<Impairment> impairment() const;
  // Since when the status of this machine is only what it was: presence cannot
  // be vouched for, and nothing was heard of it for a stale lease.
  std::optional<absl::Time> UnconfirmedSince(const Machine& machine) const;
  const FleetCounters& counters() const { return counters_; }
  size_t incidents_open() const { return mass_silence_.open(); }
  // Machines that were called offline and were not, in this life.
  uint64_t false_offlines() const { return false_offlines_; }
  // Decided, and waiting for a store that is away.
  size_t history_waiting() const { return history_.waiting(); }
  // When the loop last looked at itself. Older than presence.blind_gap: it
  // stands still.
  Instant last_turn() const { return last_turn_; }
  // Told to the agent: how often to speak.
  absl::Duration HeartbeatInterval(const Machine& machine) const;
  // Told to agents for which nothing of their own is set.
  absl::Duration HeartbeatInterval() const;

  // Ends every link; agents come back by themselves, to another life of the
  // gateway: nobody is let in or judged from now on.
  void Close(const Disconnect& why);
  // Writes what is only in memory (last_heard).
  void FlushLastHeard();

 private:
  // What has passed until `now` comes before what happens at `now`: called
  // first for everything that happens.
  void Pass(Instant now);
  void AddGap(const Gap& gap);
  // The machine is told of the gaps that it has missed.
  void Catch(Machine& machine);
  // Who has had no link is let in: while others are still turned away, that
  // time is not yet a gap to catch up with.
  void ExcuseNewcomer(Machine& machine, Instant now);
  absl::Time WallOf(Instant then) const;
  // So that the whole fleet does not speak too often.
  absl::Duration Scaled(absl::Duration interval) const;
  // The machine whose newest link that is, and is open. Current(): a living
  // one.
  Machine* Linked(const AgentId& agent, uint64_t epoch);
  Machine* Current(const AgentId& agent, uint64_t epoch);
  // LinkOpened(), uncounted.
  std::optional<Disconnect> Accept(const AgentId& agent, HelloNotice hello,
                                   LinkPort& port);
  // The port and the row of its new link.
  void TakeLink(Machine& machine, const HelloNotice& hello, LinkPort& port,
                Instant now);
  std::optional<Disconnect> Refuse(Machine& machine, Instant now);
  static Disconnect Revoked();
  static Disconnect Deregistered();
  // Refuses a hello while another live instance holds the link; notes what a
  // new instance means.
  std::optional<Disconnect> CheckInstance(Machine& machine,
                                          const Instance& hello, Instant now);
  // Who has been silent for so long does not hold an identity any more.
  absl::Duration InstanceLease(const Machine& machine) const;
  void Contest(Machine& machine);
  void MaybeEndContest(Machine& machine, Instant now);
  // Remembers, and logs, what is no change of status.
  void Note(Machine& machine, NoteKind kind, std::optional<Verdict> verdict,
            std::string text);
  // Compares what agent and gateway remember of their last link.
  void CheckDrift(Machine& machine, const HelloNotice& hello, Instant now);
  void FindFlapping(Machine& machine, Instant now);
  // The machine is heard, or is not any more, under its machine-id.
  void FindShared(Machine& machine, bool heard);
  // Puts the machine where it counts for mass silence.
  void Regroup(Machine& machine);
  void FellSilent(Machine& machine, Instant now);
  // It is heard, more is known of it, or it is gone.
  void NoLongerSilent(Machine& machine);
  // Holds and releases its machines, and says so when it is over.
  void IncidentChanged(const std::optional<MassSilence::Event>& event);
  // Incidents of a former life go on, with those of their machines that are
  // still away for that.
  void ReopenIncidents(Instant now);
  // Holds members of incidents, releases those of none: some in each turn,
  // there may be thousands. True if more wait.
  bool HoldSome();
  std::string IdOf(const MassSilence::Incident& incident) const;
  IncidentRecord RecordOf(const MassSilence::Incident& incident,
                          Verdict verdict) const;
  void FlushIncidents();
  void TakeFacts(Machine& machine, Facts facts);
  // The gateway could hear nobody since the last sign of its former life.
  void NoteAbsence(Instant now);
  uint64_t NextEpoch(const Machine& machine, uint64_t last_epoch);
  void Heard(Machine& machine, Instant now);
  // What is set for it at this moment.
  const PresencePolicy& PolicyOf(const Machine& machine) {
    return policies_.For(machine.record.org, machine.own_presence);
  }
  // A hello or heartbeat: what is set holds from now on.
  void Adopt(Machine& machine, Instant now);
  // Whether the org may have these; see SetPresence().
  absl::Status CheckOrg(const OrgId& org, const PresenceSettings& wished);
  // When the machine must be judged, or its link be found dead.
  Instant NextLook(const Machine& machine) const;
  // What an ephemeral machine that was offline before this life has left.
  void ResumeDeparture(Machine& machine, Instant now);
  // It is due to leave: buries it, unless this gateway should wait. True if it
  // is gone.
  bool Depart(Machine& machine, Instant now);
  Disconnect PendingApproval(const Machine& machine) const;
  // Which key it is that may open a link for the machine.
  void TellKey(const Machine& machine);
  void SaveApproval(const Machine& machine,
                    absl::AnyInvocable<void(absl::Status)> done);
  // Nobody may speak for it yet, and its verdict says so.
  void WaitForApproval(Machine& machine);
  // Links the histories of two identities of one machine.
  void Replace(Machine& old, Machine& newer);
  // It was heard: it was not replaced, and whoever does not want to hear of it
  // does now.
  void IsStillThere(Machine& machine);
  // When it is silenced without an operator; Never() unless it was replaced.
  Instant SilencedFrom(const Machine& machine) const;
  void Silence(Machine& machine, std::optional<absl::Time> at,
               std::string text);
  void Schedule(Machine& machine);
  // `late`: how long after its deadline, if that decided it.
  void Record(Machine& machine, const StatusChange& change,
              std::optional<absl::Duration> late = {});
  // Says it at once to those who follow the fleet, and has it remembered; a
  // Membership is stored with its machine.
  void Tell(Event event);
  void Count(const Event& event);
  // Ends the machine's open link; its LinkClosed() will count for nothing.
  void DropLink(Machine& machine, LinkEnd end, const Disconnect& why);
  void CloseLinkRecord(Machine& machine, LinkEnd end);
  void Bury(Machine& machine, absl::AnyInvocable<void(absl::Status)> done);
  // Writes the deletion, again until it is done; `done` hears the first result.
  void SaveTombstone(Machine& machine,
                     absl::AnyInvocable<void(absl::Status)> done);
  // The one timer: looks for blindness, judges who is due, arms itself.
  void Turn();
  // At most judged_per_turn_max; true if more are due.
  bool Judge(Instant now);
  void JudgeOne(Machine& machine, Instant now);
  // If more are due, another turn follows those who wait for the loop.
  void Arm(bool more_due);
  void FlushEvery();

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  const FleetOptions options_;
  // A look that comes a moment late must not pass for a gap.
  const absl::Duration watch_every_;

  PresencePolicies policies_;
  Machines machines_;
  CommandDesk commands_;
  BatchDesk batches_;
  InputDesk input_;
  SessionDesk sessions_;
  HistoryLog history_;
  EventLog events_;
  FleetCounters counters_;
  KeyChanged key_changed_ = [](const AgentId&, std::string_view) {};
  Deadlines<AgentId> deadlines_;
  std::vector<Machine*> heard_since_flush_;
  MassSilence mass_silence_;
  std::deque<AgentId> to_hold_;  // Or to release, or only to write.
  // The store had refused it. Each once, however often its agent asks for it.
  absl::btree_set<AgentId> to_hold_again_;
  bool hold_singly_ = false;  // To find the one that it will never take.
  absl::btree_map<uint64_t, IncidentRecord> incidents_to_write_;
  std::vector<IncidentRecord> to_reopen_;  // Until Open().
  std::optional<absl::Time> alive_before_;
  std::vector<BlindRecord> blind_before_;  // Until Open().
  SharedIds shared_ids_;
  Admission admission_;
  GapLog gaps_;
  Deafness deafness_;
  VouchWindow vouch_;
  std::optional<Doubt> doubt_;  // As of the last turn.
  uint64_t run_ = 0;
  uint64_t links_this_run_ = 0;
  uint32_t open_links_ = 0;
  bool open_ = false;
  Instant last_turn_;
  absl::Duration suspended_;  // What the clock said at the last turn.
  uint64_t false_offlines_ = 0;
  size_t marked_offline_ = 0;  // Since the last line in the log about them.
  // Links lost until this instant get a whole lease: we may have missed their
  // last words.
  Instant trust_links_from_;
  // Says to a posted turn whether there is still a fleet.
  struct Alive {};
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
  bool turn_posted_ = false;
  EventLoop::TimerId turn_timer_{};
  Instant turn_due_;  // When it is armed.
  EventLoop::TimerId flush_timer_{};
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_FLEET_H_
