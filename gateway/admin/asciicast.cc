#include "gateway/admin/asciicast.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace muster::gateway {
namespace {

using Json = nlohmann::ordered_json;

// How many bytes at the end of `text` begin a character that is not all there.
size_t UnfinishedTail(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;  // The middle of one.
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return byte >= 0xC0 && length > back ? back : 0;
  }
  return 0;
}

std::string Line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string ToAsciicast(const CommandRecord& session,
                        const std::vector<OutputRecord>& output) {
  const Terminal terminal = session.spec.terminal.value_or(Terminal());
  const absl::Time start = session.started_at.value_or(session.created_at);
  std::string cast = Line({{"version", 2},
                           {"width", terminal.size.columns},
                           {"height", terminal.size.rows},
                           {"timestamp", absl::ToUnixSeconds(start)},
                           {"env", {{"TERM", terminal.type}}}});
  uint64_t end = 0;
  double last = 0;
  std::string text;
  for (const OutputRecord& record : output) {
    if (record.offset > end) {
      text += fmt::format("\r\n[{} bytes were never seen]\r\n",
                          record.offset - end);
    }
    end = record.offset + record.data.size();
    text += record.data;
    std::string rest = text.substr(text.size() - UnfinishedTail(text));
    text.resize(text.size() - rest.size());
    // By the wall clock, which may have been set back.
    last = std::max(last,
                    absl::ToDoubleSeconds(record.at.value_or(start) - start));
    if (!text.empty()) cast += Line(Json::array({last, "o", text}));
    text = std::move(rest);
  }
  if (session.stdout_total.value_or(end) > end) {
    text += fmt::format("\r\n[the recording ends here; {} bytes followed]\r\n",
                        *session.stdout_total - end);
  }
  if (!text.empty()) cast += Line(Json::array({last, "o", text}));
  return cast;
}

}  // namespace muster::gateway
