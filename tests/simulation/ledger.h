// What a history says so far, and what the gateway had promised.

#ifndef MUSTER_TESTS_SIMULATION_LEDGER_H_
#define MUSTER_TESTS_SIMULATION_LEDGER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/simulation/command_ledger.h"
#include "tests/simulation/history.h"

namespace muster::simulation {

// The promises that the gateway under test was set up to keep.
struct Promises {
  Nanos heartbeat_interval = 30 * kSecond;
  // Nobody is told to speak less often than so: leases would be longer.
  Nanos interval_max = kNever;
  Nanos stale_after = 75 * kSecond;
  Nanos offline_after = 120 * kSecond;
  Nanos reconnect_grace = 5 * kSecond;
  Nanos promise_max = kHour;
  // A pause of the gateway longer than this is its blindness; one of
  // `blind_restart` starts every lease anew.
  Nanos blind_gap = 2 * kSecond;
  Nanos blind_restart = 10 * kSecond;
  // How long news of an incident may hold machines in stale.
  Nanos hold_max = 180 * kSecond;
  // An incident is so many machines, and this share, of a group that fall
  // silent within so long.
  size_t incident_machines = 5;
  double incident_share = 0.3;
  Nanos incident_window = 15 * kSecond;
  // Somebody may wait so long at the door before newcomers count as hindered.
  Nanos unnoticed_wait = kSecond;
  // TCP may keep one outside for so long that found the door full.
  Nanos dial_max = 30 * kSecond;
  // What scheduling may cost.
  Nanos slack = 2 * kSecond;
  // How fast links may be accepted: so many at once, and so many a second.
  double links_burst = 2000;
  double links_per_second = 2000;
  // After everything is healed, until everybody is online.
  Nanos settle = 15 * kMinute;
  // Until what was decided is stored, and who asked is answered.
  Nanos catch_up = 2 * kMinute;
  // Output of one agent that may be on its way, or wait for the gateway's disk:
  // a window, and as much that was sent once more as a path broke, and whose
  // first copy the gateway acknowledges.
  uint64_t output_waits_max = 2 << 20;
  // The history says when the gateway ends a link.
  bool tells_ended_links = false;
};

// A moment, and how long the gateway had stood still until then: two of them
// say how long it listened in between.
struct Moment {
  Nanos at = kNever;
  // How long the gateway had stood still until then, and may have found that
  // it had.
  Nanos stood_still = 0;
  Nanos stood_still_max = 0;
  bool known() const { return at != kNever; }
};

// A silence that has ended.
struct Silence {
  Nanos ended = 0;
  Nanos length = 0;  // In which the gateway listened.
};

// One that speaks for a machine: a life of an agent's process.
struct Voice {
  uint64_t instance = 0;
  Moment spoke;
  // How often it said hello after another one had, which lived.
  uint32_t returns = 0;
};

// What a history says so far of one machine.
struct MachineFacts {
  bool member = false;
  bool deleting = false;  // Asked for, and nobody knows whether it is durable.
  bool deleted = false;
  // It is there, and stays.
  bool judged() const { return member && !deleting; }
  gateway::Status status = gateway::Status::kStale;
  uint64_t sequence = 0;  // Of the newest decided transition.
  Moment since;           // When it got its status, or was restored with it.

  uint64_t epoch = 0;   // Of the newest accepted link; 0: none.
  uint64_t echoed = 0;  // Newest acknowledgement that came back on it.
  Moment born;
  Moment heard;     // Anything of the newest link arrived.
  Moment fresh;     // A heartbeat with a new echo arrived.
  Silence unheard;  // The last long time without the one / the other.
  Silence unechoed;
  Moment linked;            // The newest link was accepted.
  Moment broke;             // The newest link ended; unknown while it is open.
  bool by_gateway = false;  // The gateway ended it.
  Nanos interval = 0;       // That the agent keeps.
  Nanos told = 0;           // Larger of the last two told.
  Nanos told_last = 0;
  Nanos told_before = 0;  // `told`, when the newest link said hello.
  // It was turned away, and is to come back then.
  Nanos postponed_until = 0;
  // Its connections that stand before the door, and nobody has opened yet.
  uint32_t waiting = 0;
  Moment waits;  // Since when one does.
  // Until when it could not get the link that it has now.
  Nanos excused_until = 0;

  // A goodbye that nothing has taken back.
  bool left = false;
  gateway::Cause left_cause = gateway::Cause::kUndetermined;
  Moment left_at;
  Nanos promise_end = 0;  // 0: none, as a start found it.

  // Who has spoken of late, and who holds the newest link: an index.
  std::vector<Voice> voices;
  size_t speaker = 0;
  Moment restored;
  // Why it was not online, as the last start found it.
  gateway::Cause restored_cause = gateway::Cause::kUndetermined;

  uint64_t group = 0;  // Of neighbours, as of its newest link; 0: none.
  Moment fell_silent;  // It was called stale for that, and is so still.
  Moment held;         // Given time since, as one of many.

  uint64_t stored_sequence = 0;
  gateway::Status stored_status = gateway::Status::kStale;
  uint64_t stored_epoch = 0;
  bool healthy = false;
  bool copied = false;  // Its agent's memory has been copied, or put back.
};

// Ledger keeps the facts up to the previous event.
class Ledger {
 public:
  explicit Ledger(Promises promises) : promises_(promises) {}

  void Take(const Event& event);

  const Promises& promises() const { return promises_; }
  const MachineFacts& machine(uint32_t m) const { return machines_[m]; }
  const std::vector<MachineFacts>& machines() const { return machines_; }
  const CommandLedger& commands() const { return commands_; }

  // How long the gateway has listened from `since` to `now`.
  Nanos Listened(const Moment& since, Nanos now) const {
    return now - since.at - (stood_still_ - since.stood_still);
  }
  // If every pause counted for all that it may have seemed to be.
  Nanos ListenedMin(const Moment& since, Nanos now) const {
    return now - since.at - (stood_still_max_ - since.stood_still_max);
  }
  // How long nothing was heard of the machine / no echo came back, as far as
  // the gateway can know: what arrives while it stands still it reads later.
  Nanos Unheard(const MachineFacts& m, Nanos now) const {
    return SilenceOf(m.heard.known() ? m.heard : m.born, m.unheard, now);
  }
  Nanos Unechoed(const MachineFacts& m, Nanos now) const {
    return SilenceOf(m.fresh.known() ? m.fresh : m.born, m.unechoed, now);
  }
  // How long a machine may be silent.
  Nanos StaleLease(const MachineFacts& m) const;
  Nanos OfflineLease(const MachineFacts& m) const;

  // Until when, by the clock of listening, a voice counts as living.
  Nanos VoiceLease(const MachineFacts& m) const {
    return std::max(promises_.stale_after,
                    std::max({m.told, m.told_before, told_last_}) * 5 / 2);
  }
  // Two instances of the machine certainly live / perhaps do at `now`.
  bool AreTwo(const MachineFacts& m, Nanos now) const;
  bool MayBeTwo(const MachineFacts& m, Nanos now) const;

  // When silence last began to count from nothing: the end of a pause of
  // blind_restart, or a start.
  Nanos restarted_at() const { return std::max(restarted_at_, opened_at_); }
  // Likewise, if the process was without time for a moment longer than it was
  // stopped.
  const Moment& perhaps_restarted() const { return perhaps_restarted_; }
  // Until when the gateway may have found links lost that it had not watched,
  // and silences that it gives back.
  Nanos excused_until() const {
    return std::max(disturbed_until_ + promises_.blind_gap, opened_at_);
  }
  Nanos opened_at() const { return opened_at_; }
  // Until when newcomers may be turned away.
  Nanos deaf_until() const { return deaf_until_.at; }
  // Likewise, to count how long it listened since.
  const Moment& deaf_end() const { return deaf_until_; }
  bool open() const { return open_; }
  // Since when the store takes no writes / takes them again.
  Nanos store_lost_at() const { return store_lost_at_; }
  Nanos store_found_at() const { return store_found_at_; }
  bool rolled_back() const { return rolled_back_; }
  Nanos healed_at() const { return healed_at_; }

  // Makes room for the machine of an event.
  void Know(uint32_t machine) {
    if (machine >= machines_.size()) machines_.resize(machine + 1);
  }

 private:
  void StoodStill(Nanos at, Nanos length);
  void Deaf(Nanos until);
  Nanos SilenceOf(const Moment& since, const Silence& last, Nanos now) const {
    const Nanos listened = Listened(since, now);
    if (now != stalled_until_ || last.ended <= stalled_from_) return listened;
    // It came in this pause, which counts if it was too short to be noticed.
    const bool noticed = stalled_until_ - stalled_from_ > promises_.blind_gap;
    return std::max(listened,
                    last.length - (noticed ? last.ended - stalled_from_ : 0));
  }
  // Something came, and ends the silence since `last`.
  void End(Silence& silence, const Moment& last, Nanos at) const;
  void TakeLink(const Event& event, MachineFacts& m);
  void TakeHello(const Event& event, MachineFacts& m);
  // What the disk holds is what it held when it was copied.
  void RollBack();
  Moment Now(Nanos at) const { return {at, stood_still_, stood_still_max_}; }

  const Promises promises_;
  std::vector<MachineFacts> machines_;
  CommandLedger commands_;
  Nanos stood_still_ = 0;  // In pauses longer than blind_gap.
  Nanos stood_still_max_ = 0;
  Nanos stalled_from_ = 0;  // The last pause, however short.
  Nanos stalled_until_ = 0;
  Nanos disturbed_until_ = 0;
  Nanos restarted_at_ = 0;
  Moment perhaps_restarted_{0, 0, 0};
  Moment deaf_until_{0, 0, 0};
  Nanos told_last_ = 0;  // To whomever.
  Nanos opened_at_ = 0;
  Nanos healed_at_ = kNever;
  bool open_ = false;
  Nanos store_lost_at_ = kNever;
  Nanos store_found_at_ = 0;
  std::vector<MachineFacts> copy_;  // As they were when the disk was copied.
  Nanos told_before_copy_ = 0;
  bool rolled_back_ = false;  // To nobody knows what.
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_LEDGER_H_
