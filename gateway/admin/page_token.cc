#include "gateway/admin/page_token.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {

std::string EncodePageToken(const ListPosition& position) {
  return absl::WebSafeBase64Escape(fmt::format(
      "{}\n{}\n{}", position.rank, position.hostname, position.id.str()));
}

absl::StatusOr<ListPosition> DecodePageToken(std::string_view token) {
  std::string text;
  if (absl::WebSafeBase64Unescape(ToAbsl(token), &text)) {
    const std::vector<std::string> parts = absl::StrSplit(text, '\n');
    if (parts.size() == 3 && parts[0].size() == 1 && parts[0][0] >= '0' &&
        parts[0][0] <= '9') {
      return ListPosition{static_cast<uint8_t>(parts[0][0] - '0'), parts[1],
                          AgentId(parts[2])};
    }
  }
  return absl::InvalidArgumentError(
      "page_token: expected the next_page_token of an earlier answer");
}

}  // namespace muster::gateway
