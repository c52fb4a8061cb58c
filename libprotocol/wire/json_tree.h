// JSON text → tree, strictly.

#ifndef MUSTER_LIBPROTOCOL_WIRE_JSON_TREE_H_
#define MUSTER_LIBPROTOCOL_WIRE_JSON_TREE_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace muster::wire {

// InvalidArgument naming the byte for malformed text, invalid UTF-8 and bytes
// after the value; naming the key for a duplicate one; naming the bound for
// nesting deeper than limits.h allows. The caller bounds the length.
absl::StatusOr<nlohmann::json> ParseJsonTree(std::string_view text);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_JSON_TREE_H_
