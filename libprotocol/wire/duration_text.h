// How durations are written for people and in JSON.

#ifndef MUSTER_LIBPROTOCOL_WIRE_DURATION_TEXT_H_
#define MUSTER_LIBPROTOCOL_WIRE_DURATION_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace muster::wire {

// Seconds with as many decimals as needed, at most nine: "30s", "1.5s", "-2s".
// Bounds as in proto_time.h.
std::string DurationText(absl::Duration d);

// One or more numbers with a unit of d, h, m, s or ms, larger units first:
// "500ms", "30s", "1h30m", "1.5s", "2d". InvalidArgument for anything else
// and beyond the bounds of proto_time.h; a number without unit is refused.
absl::StatusOr<absl::Duration> ParseDurationText(std::string_view text);

// The same for a duration that may be without end, or longer than any message
// can say: that is "never".
std::string DurationOrNeverText(absl::Duration d);
absl::StatusOr<absl::Duration> ParseDurationOrNever(std::string_view text);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_DURATION_TEXT_H_
