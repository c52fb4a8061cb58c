// Who stands before the gateway's door: connections that its host has answered
// and its process has not accepted yet.

#ifndef MUSTER_TESTS_SIMULATION_ACCEPT_QUEUE_H_
#define MUSTER_TESTS_SIMULATION_ACCEPT_QUEUE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "libprotocol/base/token_bucket.h"
#include "tests/simulation/network.h"

namespace muster::simulation {

struct Arrival {
  uint32_t agent;
  ConnectionId id;
  Message message;
};

// AcceptQueue lets in so many a second, as gateway/rpc/acceptor does. Who finds
// it full tries again as TCP does, twice as long after each time.
class AcceptQueue {
 public:
  explicit AcceptQueue(double per_second)
      : rate_(per_second, std::max(1.0, per_second / 10)),
        // As much as is let in within four seconds.
        places_(std::max<size_t>(4, static_cast<size_t>(4 * per_second))) {}

  // A connection arrives.
  void Arrive(Arrival arrival, Nanos now) {
    Knock({now, kSecond, std::move(arrival)}, now);
  }

  // Accepts the next, if somebody is there and it is not too soon. Those who
  // have given up, says `gone`, do not try again.
  template <typename Gone>
  std::optional<Arrival> Next(Nanos now, Gone gone) {
    if (now >= outside_due_) {
      outside_due_ = kNever;
      for (Outside& one : std::exchange(outside_, {})) {
        if (one.at > now) {
          StayOutside(std::move(one));
        } else if (!gone(one.arrival)) {
          Knock(std::move(one), now);
        }
      }
    }
    if (queue_.empty()) {
      behind_since_ = kNever;
      return std::nullopt;
    }
    if (Wait(now) > 0) {
      behind_since_ = std::min(behind_since_, now);
      return std::nullopt;
    }
    rate_.Take(InstantOf(now));
    Arrival next = std::move(queue_.front());
    queue_.pop_front();
    return next;
  }
  // Somebody has been waiting for so long, without a break, that the rules must
  // be told; and again as long as that lasts.
  bool MustTell(Nanos now) {
    if (now < TellDue()) return false;
    told_at_ = now;
    return true;
  }
  // When Next() may have somebody; kNever: when nobody comes.
  Nanos Due(Nanos now) {
    if (queue_.empty()) return outside_due_;
    return std::min({outside_due_, now + Wait(now), TellDue()});
  }

 private:
  struct Outside {
    Nanos at;  // When it tries again.
    Nanos pause;
    Arrival arrival;
  };

  static constexpr Nanos kUnnoticed = kSecond;

  static Instant InstantOf(Nanos now) {
    return Instant::SinceBoot(absl::Nanoseconds(now));
  }
  Nanos TellDue() const {
    if (behind_since_ == kNever) return kNever;
    return std::max(behind_since_, told_at_) + kUnnoticed;
  }
  // Whole milliseconds, as poll() counts them.
  Nanos Wait(Nanos now) {
    return absl::ToInt64Milliseconds(
               absl::Ceil(rate_.Wait(InstantOf(now)), absl::Milliseconds(1))) *
           kMillisecond;
  }
  void Knock(Outside one, Nanos now) {
    if (queue_.size() < places_) {
      queue_.push_back(std::move(one.arrival));
      return;
    }
    one.at = now + one.pause;
    one.pause *= 2;
    StayOutside(std::move(one));
  }
  void StayOutside(Outside one) {
    outside_due_ = std::min(outside_due_, one.at);
    outside_.push_back(std::move(one));
  }

  TokenBucket rate_;
  const size_t places_;
  Nanos behind_since_ = kNever;  // Somebody waits, without a break.
  Nanos told_at_ = 0;
  std::deque<Arrival> queue_;
  std::vector<Outside> outside_;
  Nanos outside_due_ = kNever;  // When the first of them tries again.
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_ACCEPT_QUEUE_H_
