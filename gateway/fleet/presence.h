// Decides whether one machine is online, stale or offline.
//
//                    silence, link lost, goodbye
//          ┌────────────────────────────────────────────┐
//          │                                            ▼
//      ┌────────┐     echoed heartbeat          ┌────────────┐
//      │ online │ ◀──────────────────────────── │   stale    │ ◀── born here
//      └────────┘                               └────────────┘
//          ▲                                            │ silence of a whole
//          │ echoed heartbeat    ┌─────────┐            │ offline lease, or a
//          └──────────────────── │ offline │ ◀──────────┘ promise that lapsed
//                                └─────────┘
//
// Two ages are judged. *Heard*: since the last message. *Echoed*: since the
// last heartbeat that brought back an acknowledgement of ours; it proves the
// way that commands take. Both run on the gateway's own clock, and only through
// time in which the gateway could hear: Blind() gives back the rest.
//
// This file knows nothing of gRPC, storage or threads, and never reads a clock.

#ifndef MUSTER_GATEWAY_FLEET_PRESENCE_H_
#define MUSTER_GATEWAY_FLEET_PRESENCE_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

// When silence becomes news. Figures: DESIGN "Presence".
struct PresencePolicy {
  // How often agents are told to speak.
  absl::Duration heartbeat_interval = absl::Seconds(30);
  // Both limits are inclusive. Infinite `offline_after`: silence and link loss
  // change nothing.
  absl::Duration stale_after = absl::Seconds(75);
  absl::Duration offline_after = absl::Seconds(120);
  // How long a lost link may be replaced unnoticed.
  absl::Duration reconnect_grace = absl::Seconds(5);
  // A pause of our own loop longer than this is our blindness, not the fleet's
  // silence.
  absl::Duration blind_gap = absl::Seconds(2);
  // A blind interval this long restarts every lease; a shorter one moves them.
  absl::Duration blind_restart = absl::Seconds(10);

  // InvalidArgument naming the first field out of bounds, the bound and the
  // value: 2.2 × heartbeat_interval < stale_after < offline_after,
  // 100 ms ≤ blind_gap < (offline_after − stale_after) / 2, everything
  // positive and at most 7 days, but for an infinite `offline_after`.
  absl::Status Validate() const;

  friend bool operator==(const PresencePolicy&,
                         const PresencePolicy&) = default;

  // How long a machine that was told `interval` may be silent.
  absl::Duration StaleLease(absl::Duration interval) const;
  absl::Duration OfflineLease(absl::Duration interval) const;
  // How long it may be silent before its commands are given up: never for ever.
  absl::Duration CommandLease() const;
};

// The longest promise that is believed; see DESIGN "Presence".
inline constexpr absl::Duration kPromiseMax = absl::Hours(1);

// What a machine said when it left.
struct GoodbyeNotice {
  Cause cause = Cause::kAgentStopped;
  Domain domain = Domain::kAgent;
  std::string summary = {};
  // Expected back within this time; zero: no promise, only the grace.
  absl::Duration back_within = absl::ZeroDuration();
};

// What is known about the end of a link that brought no goodbye.
enum class LinkLoss : uint8_t {
  // The gateway was accepting links freely: the grace decides.
  kPlain,
  // The gateway ended it, or had turned newcomers away just before: the lease
  // that runs decides.
  kNoGrace,
  // Found lost when the gateway could not be trusted (after a blind interval,
  // at start-up, while newcomers were turned away): a whole lease decides.
  kUntrusted,
};

// What Presence returns when the status changes.
struct StatusChange {
  Status from;
  Status to;
  std::optional<Verdict> verdict;  // Absent when `to` is online.

  friend bool operator==(const StatusChange&, const StatusChange&) = default;
};

// Presence is the state machine of one machine. Not thread-safe: it belongs to
// whoever owns the machine. `policy` must be valid and outlive it. Instants
// given to it never decrease.
class Presence {
 public:
  // A machine registered just now: stale, never connected.
  static Presence Newborn(const PresencePolicy& policy, Instant now);

  // A machine known from the store when the gateway starts at `now`: keeps its
  // status and gets a whole lease, whatever happened meanwhile. `promise_end`
  // is the end of a goodbye's promise, if one still runs.
  static Presence Restored(const PresencePolicy& policy, Status status,
                           std::optional<Verdict> verdict,
                           std::optional<Instant> promise_end, Instant now);

  // A new link was accepted. Changes no status: the first echo does.
  void LinkOpened(Instant now);

  // The link ended. After a goodbye this changes nothing.
  void LinkLost(Instant now, LinkLoss loss);

  // Any message of the current link.
  void Heard(Instant now);

  // `policy` holds from this message on: whole leases by it begin at `now`, so
  // that nobody is worse for the change alone. It must outlive the object.
  void Adopt(const PresencePolicy& policy, Instant now);

  // The answer to a hello or heartbeat tells the agent to speak this often. It
  // may miss one answer, so a shorter interval counts from the second on.
  void Told(absl::Duration interval);

  // The heartbeat just heard brought back a newer acknowledgement. A machine
  // that goes on speaking has not left: an earlier goodbye is forgotten.
  [[nodiscard]] std::optional<StatusChange> Echoed(Instant now);

  // Returns nothing if the machine was not online; its verdict may change.
  // Nothing happens while it is contested: the other one may live.
  [[nodiscard]] std::optional<StatusChange> Goodbye(Instant now,
                                                    GoodbyeNotice notice);

  // Time has passed. Idempotent. Returns at most one change: call again until
  // it returns none.
  [[nodiscard]] std::optional<StatusChange> Tick(Instant now);

  // The gateway could not hear from `from` to `now`: moves every deadline by
  // that time, or starts a whole lease if it was long. A grace that runs gives
  // way to the lease. Call it before anything else is told to have happened at
  // `now`.
  void Blind(Instant from, Instant now);

  // The machine came and was told to come again at `until`: whole leases run
  // from then, unless they end later anyway.
  void Postpone(Instant until);

  // Many fell silent together: offline at most this much later. Until it is
  // heard again or Release(). `verdict` replaces that of a machine that is
  // stale for silence; nothing happens to one of which more is known.
  void Hold(absl::Duration hold, Verdict verdict);
  void Release() { hold_ = absl::ZeroDuration(); }
  bool held() const { return hold_ > absl::ZeroDuration(); }

  // Two live instances use this identity: at most stale until Settle(),
  // whatever is echoed.
  [[nodiscard]] std::optional<StatusChange> Contest(Verdict verdict);
  void Settle() { contested_ = false; }
  bool contested() const { return contested_; }

  // Nobody speaks for it any more: not online, and for this reason, until a
  // link is accepted again.
  [[nodiscard]] std::optional<StatusChange> TakeAway(Verdict verdict);

  // The next instant at which Tick() could change the status without further
  // messages; Never() when none.
  Instant NextDeadline() const;

  // When an open link has been silent for so long that it must be dead.
  Instant SilentAt() const { return heard_from_ + OfflineLease(); }

  const PresencePolicy& policy() const { return *policy_; }
  // The larger of the last two intervals told.
  absl::Duration lease_interval() const { return lease_interval_; }

  Status status() const { return status_; }
  const std::optional<Verdict>& verdict() const { return verdict_; }
  bool link_open() const { return link_open_; }
  std::optional<Instant> promise_end() const { return promise_end_; }

 private:
  Presence(const PresencePolicy& policy, Status status, Instant now)
      : policy_(&policy),
        status_(status),
        told_interval_(policy.heartbeat_interval),
        lease_interval_(policy.heartbeat_interval),
        heard_from_(now),
        echoed_from_(now) {}

  absl::Duration StaleLease() const;
  absl::Duration OfflineLease() const;
  Instant StaleDeadline() const;
  Instant OfflineDeadline() const;
  Verdict SilenceVerdict(Instant now) const;
  std::optional<StatusChange> MoveTo(Status to, std::optional<Verdict> verdict);
  void Replace(std::optional<Verdict> verdict);

  const PresencePolicy* policy_;
  Status status_;
  std::optional<Verdict> verdict_;
  absl::Duration told_interval_;
  absl::Duration lease_interval_;  // The larger of the last two told.
  // Leases run from these: the last message (echo), moved by blind intervals.
  Instant heard_from_;
  Instant echoed_from_;
  bool link_open_ = false;
  // A link was accepted since the verdict was made: that is not why it is away.
  bool relinked_ = false;
  // Set while the grace of a lost link runs.
  std::optional<Instant> grace_end_;
  // Set while a goodbye holds: offline then, whatever the leases say.
  std::optional<Instant> promise_end_;
  absl::Duration hold_;
  bool contested_ = false;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_PRESENCE_H_
