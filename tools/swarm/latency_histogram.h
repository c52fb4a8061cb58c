// How long things took, in bounded memory.

#ifndef MUSTER_TOOLS_SWARM_LATENCY_HISTOGRAM_H_
#define MUSTER_TOOLS_SWARM_LATENCY_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace muster::swarm {

// LatencyHistogram counts durations from 1 µs to over an hour in 16 steps per
// doubling: a percentile is at most 7 % above the truth, never below it. Not
// thread-safe. 4 KiB.
class LatencyHistogram {
 public:
  // Less than 1 µs counts as that.
  void Add(absl::Duration d);

  // The duration that a share of `quantile` (0 … 1) does not exceed; zero if
  // nothing was added.
  absl::Duration Quantile(double quantile) const;
  absl::Duration max() const { return max_; }
  uint64_t count() const { return count_; }

 private:
  static constexpr size_t kStepsPerDoubling = 16;
  static constexpr size_t kDoublings = 32;

  static size_t StepOf(uint64_t us);
  static uint64_t UpperBoundUs(size_t step);

  std::array<uint64_t, kStepsPerDoubling * kDoublings> counts_{};
  uint64_t count_ = 0;
  absl::Duration max_;
};

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_LATENCY_HISTOGRAM_H_
