// What the files of validation.h have in common, and nobody else uses.

#ifndef MUSTER_LIBPROTOCOL_WIRE_VALIDATION_PARTS_H_
#define MUSTER_LIBPROTOCOL_WIRE_VALIDATION_PARTS_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "google/protobuf/duration.pb.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/utf8.h"

namespace muster::wire {

template <typename... Args>
absl::Status Invalid(fmt::format_string<Args...> text, Args&&... args) {
  return absl::InvalidArgumentError(
      fmt::format(text, std::forward<Args>(args)...));
}

// What an error quotes of a name: short, printable, valid UTF-8.
inline std::string Shown(std::string_view text) {
  std::string out;
  AppendJsonString(ClipUtf8(text, kLabelKeyBytesMax), out);
  return out;
}

inline absl::Status ValidateDuration(std::string_view field,
                                     const google::protobuf::Duration& value,
                                     absl::Duration min, absl::Duration max) {
  const absl::Duration d = FromProto(value);
  if (d >= min && d <= max) return absl::OkStatus();
  return Invalid("{}: must be {} to {}, got {}", field, min, max, d);
}

inline bool IsLabelEnd(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_VALIDATION_PARTS_H_
