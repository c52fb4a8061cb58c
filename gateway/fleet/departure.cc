#include "gateway/fleet/departure.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace muster::gateway {

void Departure::Excuse(Instant from, Instant to, absl::Duration rest) {
  if (due_ == Instant::Never()) return;
  from = std::max(from, since_);
  if (to <= from) return;
  due_ = std::max(due_ + (to - from), to + rest);
}

void Departure::NotBefore(Instant at) {
  if (due_ != Instant::Never()) due_ = std::max(due_, at);
}

absl::Duration Listened(absl::Time from, absl::Time to,
                        std::span<const BlindRecord> blind) {
  std::vector<std::pair<absl::Time, absl::Time>> deaf;
  for (const BlindRecord& record : blind) {
    deaf.emplace_back(record.from, record.to);
  }
  std::sort(deaf.begin(), deaf.end());
  absl::Duration heard;
  for (const auto& [begin, end] : deaf) {
    if (begin >= to) break;
    if (begin > from) heard += begin - from;
    from = std::max(from, end);
  }
  return to > from ? heard + (to - from) : heard;
}

}  // namespace muster::gateway
