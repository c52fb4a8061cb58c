// When could this gateway not hear, and whom does that excuse?
//
// *Blind*: nobody could be heard. *Deaf*: nobody new could come in; whoever has
// a link was heard all the same.

#ifndef MUSTER_GATEWAY_FLEET_BLIND_H_
#define MUSTER_GATEWAY_FLEET_BLIND_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

struct Gap {
  Instant from;
  Instant to;
  BlindReason reason = BlindReason::kStoodStill;

  bool newcomers_only() const {
    return reason == BlindReason::kDescriptors ||
           reason == BlindReason::kAdmission ||
           reason == BlindReason::kOneSource;
  }
  friend bool operator==(const Gap&, const Gap&) = default;
};

// GapLog remembers gaps for machines that have not been told of them. Each is
// told when it is next looked at: a gap costs nothing when it is found, however
// large the fleet.
class GapLog {
 public:
  // Who has missed more than this many is told of one that covers the rest.
  static constexpr size_t kKept = 256;

  // Gaps are added in the order in which they end.
  void Add(const Gap& gap);
  uint64_t count() const { return count_; }

  // Calls f(gap) for each one after the first `told`, and counts it in.
  template <typename F>
  void CatchUp(uint64_t& told, F f) const {
    if (told == count_) return;
    const uint64_t first = count_ - kept_.size();
    if (told < first) {
      f(Gap{Instant(), forgotten_until_, BlindReason::kStoodStill});
      told = first;
    }
    for (; told < count_; ++told) f(kept_[told - first]);
  }

 private:
  std::deque<Gap> kept_;
  uint64_t count_ = 0;
  Instant forgotten_until_;
};

// Deafness joins single refusals into one time in which newcomers were turned
// away.
class Deafness {
 public:
  // Somebody was turned away at `now` and cannot be in before `until`. First
  // take what is Over().
  void TurnedAway(Instant now, Instant until, BlindReason reason);

  bool Lasts(Instant now) const { return since_ && now < until_; }
  // It lasts, or lasted less than `before` ago.
  bool Lately(Instant now, absl::Duration before) const {
    return until_ != Instant() && now < until_ + before;
  }
  Instant until() const { return until_; }
  // The gap so far, if it lasts.
  std::optional<Gap> SoFar(Instant now) const;

  // The gap that has ended by `now`; once.
  std::optional<Gap> Over(Instant now);

 private:
  std::optional<Instant> since_;
  Instant until_;
  BlindReason reason_ = BlindReason::kDescriptors;
};

// Why presence cannot be vouched for, and since when.
struct Doubt {
  Instant since;
  BlindReason reason = BlindReason::kStoodStill;
};

// VouchWindow sums up the gaps of the last half hour.
class VouchWindow {
 public:
  static constexpr absl::Duration kWindow = absl::Minutes(30);

  // So long after its start a gateway has heard or judged everybody: how long
  // it was away before does not matter any more.
  explicit VouchWindow(absl::Duration settled_after)
      : settled_after_(settled_after) {}

  void Add(const Gap& gap) { gaps_.push_back(gap); }

  // Set while more than half of the window before `now` lies in gaps: the
  // reason that took most of it, since its first gap. `open`: one that has not
  // ended.
  std::optional<Doubt> At(Instant now, const std::optional<Gap>& open);

 private:
  const absl::Duration settled_after_;
  std::deque<Gap> gaps_;
};

// For people: "the process stood still".
std::string_view Words(BlindReason reason);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_BLIND_H_
