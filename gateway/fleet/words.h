// Words for people, as the rules' texts and logs use them.

#ifndef MUSTER_GATEWAY_FLEET_WORDS_H_
#define MUSTER_GATEWAY_FLEET_WORDS_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// How the summary of a goodbye begins that announces a reboot. A restart of the
// gateway knows by these words what was promised.
inline constexpr std::string_view kRebooting = "host is rebooting";

// "online".
std::string_view Name(Status status);

// "6 min", "3 d": what a person says. Less than nothing is nothing: the wall
// clock may have been set back.
std::string Spoken(absl::Duration d);

// "2026-11-22 19:04:05 UTC".
std::string Stamp(absl::Time t);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_WORDS_H_
