// Whatever a terminal was sent: its recording is lines of JSON in UTF-8, the
// first an object, the others events that do not go back in time.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/admin/asciicast.h"
#include "libprotocol/base/check.h"
#include "libprotocol/wire/utf8.h"
#include "nlohmann/json.hpp"

namespace muster::gateway {
namespace {

// Records of the bytes, cut where the bytes say; some are missing.
std::vector<OutputRecord> Cut(std::string_view bytes) {
  std::vector<OutputRecord> records;
  uint64_t offset = 0;
  while (!bytes.empty()) {
    const auto length = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (length >= 0xf0) {
      offset += length;  // Never seen.
      continue;
    }
    OutputRecord record;
    record.offset = offset;
    record.data = std::string(bytes.substr(0, length % 32));
    record.at = absl::UnixEpoch() + absl::Milliseconds(length) +
                absl::Seconds(static_cast<int64_t>(records.size()));
    bytes.remove_prefix(record.data.size());
    offset += record.data.size();
    records.push_back(std::move(record));
  }
  return records;
}

void Check(std::string_view bytes) {
  CommandRecord session;
  session.started_at = absl::UnixEpoch();
  const std::string cast = ToAsciicast(session, Cut(bytes));
  MUSTER_CHECK(wire::IsUtf8(cast));
  size_t begin = 0;
  double before = 0;
  while (begin < cast.size()) {
    const size_t end = cast.find('\n', begin);
    MUSTER_CHECK(end != std::string::npos);
    const auto line = nlohmann::json::parse(
        cast.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    MUSTER_CHECK(begin == 0 ? line.is_object()
                            : line.is_array() && line.size() == 3);
    if (begin > 0) {
      MUSTER_CHECK(line[0].get<double>() >= before);
      before = line[0].get<double>();
    }
    begin = end + 1;
  }
}

}  // namespace
}  // namespace muster::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  muster::gateway::Check({reinterpret_cast<const char*>(data), size});
  return 0;
}
