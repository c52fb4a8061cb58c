#include "gateway/fleet/words.h"

#include <algorithm>

#include "fmt/format.h"

namespace muster::gateway {

std::string_view Name(Status status) {
  switch (status) {
    case Status::kOnline:
      return "online";
    case Status::kStale:
      return "stale";
    case Status::kOffline:
      return "offline";
  }
  return "unknown";
}

std::string Spoken(absl::Duration d) {
  d = std::max(d, absl::ZeroDuration());
  if (d < absl::Minutes(2)) return fmt::format("{} s", absl::ToInt64Seconds(d));
  if (d < absl::Hours(2)) return fmt::format("{} min", absl::ToInt64Minutes(d));
  if (d < absl::Hours(48)) return fmt::format("{} h", absl::ToInt64Hours(d));
  return fmt::format("{} d", absl::ToInt64Hours(d) / 24);
}

std::string Stamp(absl::Time t) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", t, absl::UTCTimeZone());
}

}  // namespace muster::gateway
