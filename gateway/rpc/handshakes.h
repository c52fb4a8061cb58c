// How many handshakes are under way?

#ifndef MUSTER_GATEWAY_RPC_HANDSHAKES_H_
#define MUSTER_GATEWAY_RPC_HANDSHAKES_H_

#include <algorithm>
#include <cstddef>
#include <deque>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

// Handshakes counts those that keep the processors busy. One that lasts longer
// than `patience` waits for its peer and does not count any more: nobody can
// hold the door by saying nothing. Not thread-safe.
class Handshakes {
 public:
  explicit Handshakes(absl::Duration patience) : patience_(patience) {}

  void Began(Instant now) { began_.push_back(now); }

  // So many were completed; that they are the oldest makes no difference.
  void Ended(size_t count) {
    const size_t known = std::min(count, began_.size());
    began_.erase(began_.begin(),
                 began_.begin() + static_cast<std::ptrdiff_t>(known));
  }

  size_t UnderWay(Instant now) {
    while (!began_.empty() && now - began_.front() > patience_) {
      began_.pop_front();
    }
    return began_.size();
  }

 private:
  const absl::Duration patience_;
  std::deque<Instant> began_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_HANDSHAKES_H_
