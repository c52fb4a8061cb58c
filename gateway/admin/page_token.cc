#include "gateway/admin/page_token.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

// Rows of one key; a page has fewer.
constexpr size_t kSkipMax = 1'000'000;

constexpr size_t kTokenBytesShownMax = 64;

absl::Status NotOurs(std::string_view token) {
  return absl::InvalidArgumentError(fmt::format(
      "page_token: expected the next_page_token of an earlier answer, got {:?}",
      token.substr(0, kTokenBytesShownMax)));
}

std::vector<std::string> Parts(std::string_view token) {
  std::string text;
  if (!absl::WebSafeBase64Unescape(ToAbsl(token), &text)) return {};
  return absl::StrSplit(text, '\n');
}

}  // namespace

std::string EncodePageToken(const ListPosition& position) {
  return absl::WebSafeBase64Escape(fmt::format(
      "{}\n{}\n{}", position.rank, position.hostname, position.id.str()));
}

absl::StatusOr<ListPosition> DecodePageToken(std::string_view token) {
  const std::vector<std::string> parts = Parts(token);
  if (parts.size() == 3 && parts[0].size() == 1 && parts[0][0] >= '0' &&
      parts[0][0] <= '9') {
    return ListPosition{static_cast<uint8_t>(parts[0][0] - '0'), parts[1],
                        AgentId(parts[2])};
  }
  return NotOurs(token);
}

std::string EncodeHistoryToken(std::string_view list,
                               const HistoryPosition& position) {
  return absl::WebSafeBase64Escape(
      fmt::format("{}\n{}\n{}", list, position.newest, position.skip));
}

absl::StatusOr<HistoryPosition> DecodeHistoryToken(std::string_view list,
                                                   std::string_view token) {
  const std::vector<std::string> parts = Parts(token);
  HistoryPosition position;
  if (parts.size() == 3 && parts[0] == list &&
      absl::SimpleAtoi(parts[1], &position.newest) &&
      absl::SimpleAtoi(parts[2], &position.skip) && position.skip <= kSkipMax) {
    return position;
  }
  return NotOurs(token);
}

absl::StatusOr<std::string> DecodeIdToken(std::string_view token) {
  if (IsUuid(token)) return std::string(token);
  return NotOurs(token);
}

}  // namespace muster::gateway
