// What a command's shim and the verbs of muster-agent say to the running agent:
// what can be read is written the same again.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/exec/shim_message.h"
#include "agent/local/control_protocol.h"
#include "libprotocol/base/check.h"

namespace muster::agent {
namespace {

std::string_view WithoutNewline(std::string_view line) {
  MUSTER_CHECK(line.ends_with('\n') && line.find('\n') == line.size() - 1);
  return line.substr(0, line.size() - 1);
}

void CheckShim(std::string_view packet) {
  const auto message = ParseShimMessage(packet);
  if (message) MUSTER_CHECK(ParseShimMessage(Encode(*message)) == message);
}

void CheckControl(std::string_view line) {
  const auto request = ParseRequest(line);
  if (request.ok()) {
    const std::string written = RenderRequest(*request);
    MUSTER_CHECK(ParseRequest(WithoutNewline(written)).value() == *request);
  }
  const auto reply = ParseReply(line);
  if (reply.ok()) {
    const std::string written = RenderReply(*reply);
    const auto again = ParseReply(WithoutNewline(written));
    MUSTER_CHECK(again.ok() && again->ok == reply->ok);
    MUSTER_CHECK(again->text == reply->text && again->fields == reply->fields);
  }
}

}  // namespace
}  // namespace muster::agent

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  muster::agent::CheckShim(text);
  muster::agent::CheckControl(text);
  return 0;
}
