// One table from our errors to HTTP. The table is the policy.

#ifndef MUSTER_LIBPROTOCOL_WIRE_STATUS_CODES_H_
#define MUSTER_LIBPROTOCOL_WIRE_STATUS_CODES_H_

#include <string_view>

#include "absl/status/status.h"

namespace muster::wire {

// google.rpc.Code's published HTTP mapping; 499 for kCancelled.
int ToHttp(absl::StatusCode code);

// The `code` of a problem when the error names none of its own:
// "invalid_argument", "not_found", … google.rpc.Code in lower case.
std::string_view CodeName(absl::StatusCode code);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_STATUS_CODES_H_
