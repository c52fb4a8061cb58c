// musterctl status, version.

#ifndef MUSTER_TOOLS_MUSTERCTL_STATUS_VERBS_H_
#define MUSTER_TOOLS_MUSTERCTL_STATUS_VERBS_H_

#include "absl/status/statusor.h"
#include "tools/musterctl/console.h"
#include "tools/musterctl/output_format.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// How the gateway and its fleet are.
absl::StatusOr<int> ShowStatus(Tool& tool);

// Of this program; asks nobody.
absl::StatusOr<int> ShowVersion(Console& console, OutputFormat format);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_STATUS_VERBS_H_
