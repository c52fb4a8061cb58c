// Time in messages ⇄ time in code.

#ifndef MUSTER_LIBPROTOCOL_WIRE_PROTO_TIME_H_
#define MUSTER_LIBPROTOCOL_WIRE_PROTO_TIME_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace muster::wire {

// What a Timestamp and a Duration can hold: years 1 … 9999, ± 10 000 years.
inline constexpr int64_t kTimestampSecondsMin = -62'135'596'800;
inline constexpr int64_t kTimestampSecondsMax = 253'402'300'799;
inline constexpr int64_t kDurationSecondsMax = 315'576'000'000;

// Times outside the range become its nearest end.
inline google::protobuf::Timestamp ToProto(absl::Time t) {
  t = std::clamp(t, absl::FromUnixSeconds(kTimestampSecondsMin),
                 absl::FromUnixSeconds(kTimestampSecondsMax));
  google::protobuf::Timestamp out;
  const int64_t seconds = absl::ToUnixSeconds(t);  // Rounds down.
  out.set_seconds(seconds);
  out.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(t - absl::FromUnixSeconds(seconds))));
  return out;
}

inline absl::Time FromProto(const google::protobuf::Timestamp& t) {
  return absl::FromUnixSeconds(t.seconds()) + absl::Nanoseconds(t.nanos());
}

// Durations outside the range, infinite ones included, become its nearest end.
// In JSON the longest one is "never".
inline google::protobuf::Duration ToProto(absl::Duration d) {
  d = std::clamp(d, -absl::Seconds(kDurationSecondsMax),
                 absl::Seconds(kDurationSecondsMax));
  google::protobuf::Duration out;
  out.set_seconds(absl::IDivDuration(d, absl::Seconds(1), &d));
  out.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(d)));
  return out;
}

inline absl::Duration FromProto(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
}

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_PROTO_TIME_H_
