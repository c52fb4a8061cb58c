// Where the next page begins, as opaque text.

#ifndef MUSTER_GATEWAY_ADMIN_PAGE_TOKEN_H_
#define MUSTER_GATEWAY_ADMIN_PAGE_TOKEN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gateway/fleet/machines.h"

namespace muster::gateway {

std::string EncodePageToken(const ListPosition& position);

// InvalidArgument for anything that EncodePageToken() did not make.
absl::StatusOr<ListPosition> DecodePageToken(std::string_view token);

// Where a page of a history ended: HistoryRange::newest and ::skip of the next.
struct HistoryPosition {
  int64_t newest = 0;
  size_t skip = 0;

  friend bool operator==(const HistoryPosition&,
                         const HistoryPosition&) = default;
};

// `list` is the history's name, "links": a token of another is refused.
std::string EncodeHistoryToken(std::string_view list,
                               const HistoryPosition& position);
absl::StatusOr<HistoryPosition> DecodeHistoryToken(std::string_view list,
                                                   std::string_view token);

// Commands and batches are listed newest first: the id of the last one of the
// page.
absl::StatusOr<std::string> DecodeIdToken(std::string_view token);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_PAGE_TOKEN_H_
