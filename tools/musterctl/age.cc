#include "tools/musterctl/age.h"

#include <cstdint>

#include "fmt/format.h"

namespace muster::ctl {

std::string AgeText(absl::Duration age) {
  if (age == absl::InfiniteDuration()) return "-";
  if (age < absl::ZeroDuration()) age = absl::ZeroDuration();
  const int64_t seconds = absl::ToInt64Seconds(age);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  const int64_t hours = seconds / 3600, days = hours / 24;
  if (days == 0) return fmt::format("{}h", hours);
  if (days < 10 && hours % 24 != 0) {
    return fmt::format("{}d{}h", days, hours % 24);
  }
  return fmt::format("{}d", days);
}

std::string ShortDuration(absl::Duration d) {
  if (d < absl::ZeroDuration()) return "-" + ShortDuration(-d);
  if (d < absl::Milliseconds(1)) {
    return fmt::format("{}us", absl::ToInt64Microseconds(d));
  }
  if (d < absl::Seconds(1)) {
    return fmt::format("{}ms", absl::ToInt64Milliseconds(d));
  }
  if (d < absl::Minutes(1)) {
    return fmt::format("{:.1f}s", absl::ToDoubleSeconds(
                                      absl::Trunc(d, absl::Milliseconds(100))));
  }
  return AgeText(d);
}

std::string ClockText(absl::Time t, absl::Time now, absl::TimeZone zone) {
  const bool today = absl::ToCivilDay(t, zone) == absl::ToCivilDay(now, zone);
  return absl::FormatTime(today ? "%H:%M:%S %Z" : "%Y-%m-%d %H:%M:%S %Z", t,
                          zone);
}

}  // namespace muster::ctl
