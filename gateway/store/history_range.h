// Which part of a history is asked for?

#ifndef MUSTER_GATEWAY_STORE_HISTORY_RANGE_H_
#define MUSTER_GATEWAY_STORE_HISTORY_RANGE_H_

#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/time/time.h"

namespace muster::gateway {

// Rows of one list, newest first. Every list orders its rows by one number, its
// key: the sequence of a transition, the epoch of a link, the arrival of a
// note, the time (in microseconds) of what the gateway itself lived through.
struct HistoryRange {
  // The newest `rows`.
  // NOLINTNEXTLINE(google-explicit-constructor): a number is such a range.
  HistoryRange(size_t rows) : limit(rows) {}

  size_t limit;
  // Only what happened at or after `since` and before `until`; of what lasts,
  // whatever overlaps that time.
  absl::Time since = absl::InfinitePast();
  absl::Time until = absl::InfiniteFuture();
  // Only rows whose key is at most this, without the first `skip` of them: an
  // earlier page ended there.
  int64_t newest = std::numeric_limits<int64_t>::max();
  size_t skip = 0;

  bool Covers(absl::Time at) const { return since <= at && at < until; }
  bool Overlaps(absl::Time from, absl::Time to) const {
    return since <= to && from < until;
  }
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_HISTORY_RANGE_H_
