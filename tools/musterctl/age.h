// How long ago, in as few characters as a table has room for.

#ifndef MUSTER_TOOLS_MUSTERCTL_AGE_H_
#define MUSTER_TOOLS_MUSTERCTL_AGE_H_

#include <string>

#include "absl/time/time.h"

namespace muster::ctl {

// "8s", "14m", "2h", "3d4h", "12d": rounded down; below a day one unit, below
// ten days the hours are told too. Negative is "0s", infinite is "-".
std::string AgeText(absl::Duration age);

// "850us", "12ms", "1.3s", "14m": for round trips and skew, which may be
// negative.
std::string ShortDuration(absl::Duration d);

// "02:11:04 CET", or with the date if it is not the day of `now`, both in
// `zone`.
std::string ClockText(absl::Time t, absl::Time now, absl::TimeZone zone);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_AGE_H_
