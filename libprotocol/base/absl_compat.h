// Bridges between std, Abseil and fmt.
//
// Debian's Abseil is built with ABSL_OPTION_USE_STD_STRING_VIEW=0, so there
// absl::string_view and std::string_view are different types with no implicit
// conversion. House rule: our interfaces say std::string_view and
// std::optional; the conversion happens here and nowhere else.

#ifndef MUSTER_LIBPROTOCOL_BASE_ABSL_COMPAT_H_
#define MUSTER_LIBPROTOCOL_BASE_ABSL_COMPAT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fmt/format.h"

namespace muster {

inline std::string_view ToStd(absl::string_view s) {
  return {s.data(), s.size()};
}
inline absl::string_view ToAbsl(std::string_view s) {
  return {s.data(), s.size()};
}

}  // namespace muster

template <>
struct fmt::formatter<absl::Duration> : fmt::formatter<std::string_view> {
  auto format(absl::Duration d, format_context& ctx) const {
    return formatter<std::string_view>::format(absl::FormatDuration(d), ctx);
  }
};
template <>
struct fmt::formatter<absl::Time> : fmt::formatter<std::string_view> {
  auto format(absl::Time t, format_context& ctx) const {
    return formatter<std::string_view>::format(
        absl::FormatTime(absl::RFC3339_full, t, absl::UTCTimeZone()), ctx);
  }
};
template <>
struct fmt::formatter<absl::Status> : fmt::formatter<std::string_view> {
  auto format(const absl::Status& s, format_context& ctx) const {
    return formatter<std::string_view>::format(s.ToString(), ctx);
  }
};

#endif  // MUSTER_LIBPROTOCOL_BASE_ABSL_COMPAT_H_
