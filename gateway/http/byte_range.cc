#include "gateway/http/byte_range.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

// Digits only. A number beyond all bounds is beyond every size.
std::optional<uint64_t> Number(std::string_view text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  if (text.empty() || !absl::ascii_isdigit(text.front())) return std::nullopt;
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (stopped != end) return std::nullopt;
  if (error != std::errc()) return std::numeric_limits<uint64_t>::max();
  return number;
}

}  // namespace

std::optional<ByteRange> ByteRange::Parse(std::string_view header) {
  constexpr std::string_view kUnit = "bytes=";
  if (!absl::StartsWithIgnoreCase(ToAbsl(header), ToAbsl(kUnit))) {
    return std::nullopt;
  }
  const std::string_view text =
      ToStd(absl::StripAsciiWhitespace(ToAbsl(header.substr(kUnit.size()))));
  const size_t dash = text.find('-');
  if (dash == text.npos) return std::nullopt;
  const auto before = Number(text.substr(0, dash));
  const auto after = Number(text.substr(dash + 1));
  if (dash == 0) {
    return after ? std::optional(ByteRange{.suffix = after}) : std::nullopt;
  }
  if (!before) return std::nullopt;
  if (dash + 1 == text.size()) return ByteRange{.first = *before};
  if (!after || *after < *before) return std::nullopt;
  return ByteRange{.first = *before, .last = *after};
}

std::optional<ByteSpan> SpanOf(const ByteRange& range, uint64_t size) {
  const uint64_t begin =
      range.suffix ? size - std::min(*range.suffix, size) : range.first;
  if (begin >= size) return std::nullopt;
  return ByteSpan{begin, std::min(range.last, size - 1) + 1};
}

}  // namespace muster::gateway
