// What a Range header asks for (RFC 9110, 14.1.2): one range of bytes.

#ifndef MUSTER_GATEWAY_HTTP_BYTE_RANGE_H_
#define MUSTER_GATEWAY_HTTP_BYTE_RANGE_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace muster::gateway {

// "bytes=a-b", "bytes=a-", or with `suffix` "bytes=-n": the last n.
struct ByteRange {
  uint64_t first = 0;
  uint64_t last = std::numeric_limits<uint64_t>::max();  // Included.
  std::optional<uint64_t> suffix = {};

  // Nothing if the header is to be ignored, as the RFC has it: other units,
  // several ranges, and what is no range at all.
  static std::optional<ByteRange> Parse(std::string_view header);

  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// Some of so many bytes.
struct ByteSpan {
  uint64_t begin = 0;
  uint64_t end = 0;  // Excluded.

  friend bool operator==(const ByteSpan&, const ByteSpan&) = default;
};

// What there is of `range` in `size` bytes; nothing if that is not a single
// byte.
std::optional<ByteSpan> SpanOf(const ByteRange& range, uint64_t size);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_BYTE_RANGE_H_
