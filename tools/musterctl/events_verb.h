// musterctl events: what changes in the fleet, as it is decided.

#ifndef MUSTER_TOOLS_MUSTERCTL_EVENTS_VERB_H_
#define MUSTER_TOOLS_MUSTERCTL_EVENTS_VERB_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

struct EventsOptions {
  bool follow = false;
  std::string since;              // A version; empty: from now on.
  std::optional<uint32_t> count;  // End after so many; absent: never.
  bool header = true;
};
// A line for each event; what cannot be shown, because the gateway has
// forgotten it, is said on stderr. Without `follow`: what there is.
absl::StatusOr<int> Events(Tool& tool, const EventsOptions& options);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_EVENTS_VERB_H_
