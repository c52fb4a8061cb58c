// Texts of an HTTP request: what is decoded encodes to the same meaning, and a
// range never leaves what there is.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/http/byte_range.h"
#include "gateway/http/url.h"
#include "libprotocol/base/check.h"

namespace muster::gateway {
namespace {

void CheckUrl(std::string_view text) {
  const auto decoded = PercentDecode(text);
  if (decoded) {
    MUSTER_CHECK(PercentDecode(PercentEncode(*decoded)) == decoded);
  }
  MUSTER_CHECK(PercentDecode(PercentEncode(text)) == text);
  const auto query = ParseQuery(text);
  if (!query) return;
  std::string again;
  for (const auto& [name, value] : *query) {
    again += PercentEncode(name) + "=" + PercentEncode(value) + "&";
  }
  MUSTER_CHECK(ParseQuery(again) == query);
}

void CheckRange(std::string_view text) {
  const auto range = ByteRange::Parse(text);
  if (!range) return;
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1000},
                              uint64_t{1} << 40, ~uint64_t{0}}) {
    const auto span = SpanOf(*range, size);
    if (span) MUSTER_CHECK(span->begin < span->end && span->end <= size);
  }
}

}  // namespace
}  // namespace muster::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  muster::gateway::CheckUrl(text);
  muster::gateway::CheckRange(text);
  return 0;
}
