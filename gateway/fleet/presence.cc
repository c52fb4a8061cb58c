#include "gateway/fleet/presence.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/words.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

// Nothing here is meant to last longer: `99999d` is a mistake.
constexpr absl::Duration kLongest = absl::Hours(7 * 24);

// The loop looks at itself four times in this, and each pause that is longer is
// a row in the database.
constexpr absl::Duration kBlindGapMin = absl::Milliseconds(100);

absl::Status OutOfBounds(std::string_view field, std::string_view bound,
                         absl::Duration value) {
  return absl::InvalidArgumentError(fmt::format(
      "{} must be {}, got {}", field, bound,
      value == absl::InfiniteDuration() ? "never" : fmt::format("{}", value)));
}

absl::Status TooLong(std::string_view field, absl::Duration value) {
  return OutOfBounds(field, fmt::format("at most {}", kLongest), value);
}

Verdict Undetermined(std::string summary) {
  return {Domain::kUnknown, Cause::kUndetermined, Confidence::kUndetermined,
          std::move(summary)};
}

// Nothing is known but that nothing was heard.
bool IsSilence(const std::optional<Verdict>& verdict) {
  return verdict && (verdict->cause == Cause::kUndetermined ||
                     verdict->cause == Cause::kNetworkGroup);
}

// A goodbye whose promise was not kept. A restart of the gateway knows the
// verdict alone, hence the look at its words.
void SayLapsed(Verdict& verdict) {
  switch (verdict.cause) {
    case Cause::kAgentStopped:
      verdict.summary = "agent was stopped";
      return;
    case Cause::kAgentUpgrading:
      verdict.summary = "agent did not come back from its upgrade";
      return;
    case Cause::kHostShutdown:
      verdict.summary = verdict.summary.starts_with(kRebooting)
                            ? "host did not come back from its reboot"
                            : "host was shut down";
      return;
    default:  // Something else has been found out since.
      return;
  }
}

}  // namespace

absl::Status PresencePolicy::Validate() const {
  if (heartbeat_interval < absl::Milliseconds(100) ||
      heartbeat_interval > absl::Hours(1)) {
    return OutOfBounds("heartbeat_interval", "100ms … 1h", heartbeat_interval);
  }
  if (stale_after <= 2.2 * heartbeat_interval) {
    return OutOfBounds("stale_after",
                       fmt::format("larger than 2.2 × heartbeat_interval = {}",
                                   2.2 * heartbeat_interval),
                       stale_after);
  }
  if (stale_after > kLongest) return TooLong("stale_after", stale_after);
  if (offline_after <= stale_after) {
    return OutOfBounds("offline_after",
                       fmt::format("larger than stale_after = {}", stale_after),
                       offline_after);
  }
  if (offline_after > kLongest && offline_after < absl::InfiniteDuration()) {
    return OutOfBounds("offline_after",
                       fmt::format("at most {}, or never", kLongest),
                       offline_after);
  }
  if (reconnect_grace <= absl::ZeroDuration() ||
      reconnect_grace >= stale_after) {
    return OutOfBounds(
        "reconnect_grace",
        fmt::format("positive and less than stale_after = {}", stale_after),
        reconnect_grace);
  }
  if (blind_gap < kBlindGapMin || blind_gap > kLongest) {
    return OutOfBounds(
        "blind_gap", fmt::format("{} … {}", kBlindGapMin, kLongest), blind_gap);
  }
  const absl::Duration least = stale_after + 2 * blind_gap;
  if (offline_after <= least) {
    return OutOfBounds(
        "offline_after",
        fmt::format("larger than stale_after + 2 × blind_gap = {}", least),
        offline_after);
  }
  if (blind_restart < blind_gap) {
    return OutOfBounds("blind_restart",
                       fmt::format("at least blind_gap = {}", blind_gap),
                       blind_restart);
  }
  if (blind_restart > kLongest) return TooLong("blind_restart", blind_restart);
  return absl::OkStatus();
}

absl::Duration PresencePolicy::StaleLease(absl::Duration interval) const {
  if (offline_after == absl::InfiniteDuration()) return offline_after;
  return std::max(stale_after, 2.5 * interval);
}

absl::Duration PresencePolicy::OfflineLease(absl::Duration interval) const {
  return std::max(offline_after, 4 * interval);
}

absl::Duration PresencePolicy::CommandLease() const {
  return offline_after < absl::InfiniteDuration()
             ? OfflineLease(heartbeat_interval)
             : std::max(stale_after, 4 * heartbeat_interval);
}

Presence Presence::Newborn(const PresencePolicy& policy, Instant now) {
  Presence p(policy, Status::kStale, now);
  p.verdict_ = Verdict{Domain::kUnknown, Cause::kNeverConnected,
                       Confidence::kProven, "registered, never connected"};
  return p;
}

Presence Presence::Restored(const PresencePolicy& policy, Status status,
                            std::optional<Verdict> verdict,
                            std::optional<Instant> promise_end, Instant now) {
  Presence p(policy, status, now);
  p.verdict_ = std::move(verdict);
  if (promise_end) p.promise_end_ = std::min(*promise_end, now + kPromiseMax);
  return p;
}

void Presence::LinkOpened(Instant now) {
  link_open_ = true;
  relinked_ = status_ == Status::kStale && !contested_;
  heard_from_ = now;
  grace_end_.reset();
  promise_end_.reset();
}

void Presence::LinkLost(Instant now, LinkLoss loss) {
  if (!link_open_) return;
  link_open_ = false;
  if (promise_end_) return;  // It said goodbye first.
  if (loss == LinkLoss::kUntrusted) {
    heard_from_ = std::max(heard_from_, now);
    echoed_from_ = std::max(echoed_from_, now);
  }
  if (loss == LinkLoss::kPlain) grace_end_ = now + policy_->reconnect_grace;
}

// What was still under way may be heard after Postpone().
void Presence::Heard(Instant now) { heard_from_ = std::max(heard_from_, now); }

void Presence::Adopt(const PresencePolicy& policy, Instant now) {
  policy_ = &policy;
  heard_from_ = std::max(heard_from_, now);
  echoed_from_ = std::max(echoed_from_, now);
}

void Presence::Told(absl::Duration interval) {
  lease_interval_ = std::max(told_interval_, interval);
  told_interval_ = interval;
}

std::optional<StatusChange> Presence::Echoed(Instant now) {
  echoed_from_ = std::max(echoed_from_, now);
  promise_end_.reset();
  if (contested_) return std::nullopt;
  hold_ = absl::ZeroDuration();
  return MoveTo(Status::kOnline, std::nullopt);
}

std::optional<StatusChange> Presence::Goodbye(Instant now,
                                              GoodbyeNotice notice) {
  if (contested_) return std::nullopt;  // Of two lives, one says goodbye.
  promise_end_ = now + std::clamp(notice.back_within, policy_->reconnect_grace,
                                  kPromiseMax);
  grace_end_.reset();
  if (status_ == Status::kOffline) return std::nullopt;
  Verdict verdict{notice.domain, notice.cause, Confidence::kProven,
                  std::move(notice.summary)};
  if (status_ == Status::kStale) {
    Replace(std::move(verdict));
    return std::nullopt;
  }
  return MoveTo(Status::kStale, std::move(verdict));
}

std::optional<StatusChange> Presence::Tick(Instant now) {
  if (status_ == Status::kOnline && now >= StaleDeadline()) {
    return MoveTo(Status::kStale, SilenceVerdict(now));
  }
  if (status_ == Status::kStale && now >= OfflineDeadline()) {
    // What is known stays known: time alone adds no cause.
    std::optional<Verdict> verdict = relinked_ ? SilenceVerdict(now) : verdict_;
    if (promise_end_ && verdict) SayLapsed(*verdict);
    return MoveTo(Status::kOffline, std::move(verdict));
  }
  return std::nullopt;
}

void Presence::Blind(Instant from, Instant now) {
  const absl::Duration gap = now - from;
  // Whoever dialled meanwhile does so again, and TCP may wait long: the lease
  // decides.
  grace_end_.reset();
  if (gap >= policy_->blind_restart) {
    heard_from_ = std::max(heard_from_, now);
    echoed_from_ = std::max(echoed_from_, now);
    if (promise_end_) {
      promise_end_ = std::max(*promise_end_, now + policy_->stale_after);
    }
    return;
  }
  // Never beyond `now`: something may have been heard since `from`. Never back:
  // a lease may have been postponed.
  heard_from_ = std::max(heard_from_, std::min(heard_from_ + gap, now));
  echoed_from_ = std::max(echoed_from_, std::min(echoed_from_ + gap, now));
  if (promise_end_) *promise_end_ += gap;
}

void Presence::Postpone(Instant until) {
  heard_from_ = std::max(heard_from_, until);
  echoed_from_ = std::max(echoed_from_, until);
  grace_end_.reset();
  if (promise_end_) {
    promise_end_ = std::max(*promise_end_, until + policy_->stale_after);
  }
}

void Presence::Hold(absl::Duration hold, Verdict verdict) {
  if (status_ != Status::kStale || !IsSilence(verdict_)) return;
  hold_ = hold;
  Replace(std::move(verdict));
}

std::optional<StatusChange> Presence::Contest(Verdict verdict) {
  contested_ = true;
  if (status_ != Status::kStale) {
    return MoveTo(Status::kStale, std::move(verdict));
  }
  Replace(std::move(verdict));
  return std::nullopt;
}

std::optional<StatusChange> Presence::TakeAway(Verdict verdict) {
  contested_ = false;
  if (status_ == Status::kOnline) {
    return MoveTo(Status::kStale, std::move(verdict));
  }
  Replace(std::move(verdict));
  return std::nullopt;
}

Instant Presence::NextDeadline() const {
  switch (status_) {
    case Status::kOnline:
      return StaleDeadline();
    case Status::kStale:
      return OfflineDeadline();
    case Status::kOffline:
      return Instant::Never();
  }
  return Instant::Never();
}

absl::Duration Presence::StaleLease() const {
  return policy_->StaleLease(lease_interval_);
}

absl::Duration Presence::OfflineLease() const {
  return policy_->OfflineLease(lease_interval_);
}

Instant Presence::StaleDeadline() const {
  const Instant lease = std::min(heard_from_, echoed_from_) + StaleLease();
  if (policy_->offline_after == absl::InfiniteDuration()) return lease;
  return grace_end_ ? std::min(*grace_end_, lease) : lease;
}

Instant Presence::OfflineDeadline() const {
  if (promise_end_) return *promise_end_;
  return heard_from_ + OfflineLease() + hold_;
}

Verdict Presence::SilenceVerdict(Instant now) const {
  if (grace_end_ && now >= *grace_end_) {
    return Undetermined("link closed, no goodbye");
  }
  // Without a link a lease may last longer only because nobody could come in.
  if (link_open_ && now < heard_from_ + StaleLease()) {
    return {Domain::kNetwork, Cause::kNetworkOneWay, Confidence::kLikely,
            "heard, but does not hear this gateway"};
  }
  return Undetermined(link_open_ ? "silent, link not closed"
                                 : "silent, no link");
}

std::optional<StatusChange> Presence::MoveTo(Status to,
                                             std::optional<Verdict> verdict) {
  if (to == status_) return std::nullopt;
  const StatusChange change{status_, to, verdict};
  status_ = to;
  Replace(std::move(verdict));
  return change;
}

void Presence::Replace(std::optional<Verdict> verdict) {
  verdict_ = std::move(verdict);
  relinked_ = false;
}

}  // namespace muster::gateway
