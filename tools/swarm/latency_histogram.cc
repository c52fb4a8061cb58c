#include "tools/swarm/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace muster::swarm {

// Below 16 µs a step is one microsecond; above, a sixteenth of the doubling.
size_t LatencyHistogram::StepOf(uint64_t us) {
  if (us < kStepsPerDoubling) return us;
  const size_t shift = std::bit_width(us) - 5;  // Leaves 16 … 31.
  return shift * kStepsPerDoubling + (us >> shift);
}

uint64_t LatencyHistogram::UpperBoundUs(size_t step) {
  if (step < 2 * kStepsPerDoubling) return step;
  const size_t shift = step / kStepsPerDoubling - 1;
  const uint64_t lower = (step - shift * kStepsPerDoubling) << shift;
  return lower + (uint64_t{1} << shift) - 1;
}

void LatencyHistogram::Add(absl::Duration d) {
  const int64_t us = std::max<int64_t>(absl::ToInt64Microseconds(d), 1);
  const size_t step = StepOf(static_cast<uint64_t>(us));
  ++counts_[std::min(step, counts_.size() - 1)];
  ++count_;
  max_ = std::max(max_, d);
}

absl::Duration LatencyHistogram::Quantile(double quantile) const {
  if (count_ == 0) return absl::ZeroDuration();
  const auto wanted = std::max<uint64_t>(
      1,
      static_cast<uint64_t>(std::ceil(quantile * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t step = 0; step < counts_.size(); ++step) {
    seen += counts_[step];
    if (seen >= wanted) {
      return std::min(
          max_, absl::Microseconds(static_cast<int64_t>(UpperBoundUs(step))));
    }
  }
  return max_;
}

}  // namespace muster::swarm
