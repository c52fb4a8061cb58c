// How often may the same thing be said?

#ifndef MUSTER_LIBPROTOCOL_BASE_LOG_LIMIT_H_
#define MUSTER_LIBPROTOCOL_BASE_LOG_LIMIT_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster {

// LogLimit lets one record through in each `every` and counts the rest, for a
// place whose records others can cause without end. Not thread-safe.
//
//   if (const auto held = refused_.Pass(now)) {
//     Log(kWarning, "refused", {{"held_back", *held}});
//   }
class LogLimit {
 public:
  explicit LogLimit(absl::Duration every) : every_(every) {}

  // The number held back since the last one that passed, if this one may.
  std::optional<uint64_t> Pass(Instant now) {
    if (next_ && now < *next_) {
      ++held_;
      return std::nullopt;
    }
    next_ = now + every_;
    return std::exchange(held_, 0);
  }

 private:
  const absl::Duration every_;
  std::optional<Instant> next_;
  uint64_t held_ = 0;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_LOG_LIMIT_H_
