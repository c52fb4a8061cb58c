// What is read from JSON can be written, and reads back as the same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "libprotocol/base/check.h"
#include "libprotocol/wire/proto_json.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::wire {
namespace {

void RoundTrip(std::string_view json, google::protobuf::Message& message) {
  if (!JsonToProto(json, message).ok()) return;
  const std::string written = ProtoToJson(message);
  message.Clear();
  MUSTER_CHECK(JsonToProto(written, message).ok());
  MUSTER_CHECK(ProtoToJson(message) == written);
}

}  // namespace
}  // namespace muster::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  muster::v1::SubmitCommandRequest request;
  muster::wire::RoundTrip(json, request);
  muster::v1::Agent agent;  // Timestamps, durations, enums, maps.
  muster::wire::RoundTrip(json, agent);
  return 0;
}
