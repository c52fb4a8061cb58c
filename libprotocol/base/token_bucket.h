// How often may something happen?

#ifndef MUSTER_LIBPROTOCOL_BASE_TOKEN_BUCKET_H_
#define MUSTER_LIBPROTOCOL_BASE_TOKEN_BUCKET_H_

#include <algorithm>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster {

// TokenBucket is told the time. It holds `burst` tokens at most, is full at
// first, and gets `per_second` new ones. Not thread-safe.
class TokenBucket {
 public:
  // Both above zero; `burst` at least 1.
  TokenBucket(double per_second, double burst)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  // Takes one token; false, and nothing taken, if there is none at `now`.
  bool Take(Instant now) {
    Fill(now);
    if (tokens_ < 1) return false;
    --tokens_;
    return true;
  }

  // How long from `now` until Take() succeeds; zero if it does at once.
  absl::Duration Wait(Instant now) {
    Fill(now);
    return absl::Seconds(std::max(0.0, (1 - tokens_) / per_second_));
  }

  // Whether all tokens are there at `now`.
  bool Full(Instant now) {
    Fill(now);
    return tokens_ >= burst_;
  }

 private:
  void Fill(Instant now) {
    if (now <= filled_at_) return;
    const double seconds = absl::ToDoubleSeconds(now - filled_at_);
    tokens_ = std::min(burst_, tokens_ + seconds * per_second_);
    filled_at_ = now;
  }

  const double per_second_;
  const double burst_;
  double tokens_;
  Instant filled_at_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_TOKEN_BUCKET_H_
