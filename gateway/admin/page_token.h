// Where the next page begins, as opaque text.

#ifndef MUSTER_GATEWAY_ADMIN_PAGE_TOKEN_H_
#define MUSTER_GATEWAY_ADMIN_PAGE_TOKEN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/fleet/machines.h"

namespace muster::gateway {

std::string EncodePageToken(const ListPosition& position);

// InvalidArgument for anything that EncodePageToken() did not make.
absl::StatusOr<ListPosition> DecodePageToken(std::string_view token);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_PAGE_TOKEN_H_
