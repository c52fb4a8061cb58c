// What an agent says on its link, as far as the gateway reads it before the
// fleet does: facts that pass validation survive conversion, text that may be
// shown is fit to be shown, and no number breaks a time.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gateway/admin/convert.h"
#include "google/protobuf/stubs/logging.h"
#include "libprotocol/base/check.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/utf8.h"
#include "libprotocol/wire/validation.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::gateway {
namespace {

void CheckTime(const google::protobuf::Timestamp& time) {
  const auto again = wire::ToProto(wire::FromProto(time));
  MUSTER_CHECK(again.nanos() >= 0 && again.nanos() < 1'000'000'000);
}

void CheckDuration(const google::protobuf::Duration& duration) {
  const auto again = wire::ToProto(wire::FromProto(duration));
  MUSTER_CHECK(again.nanos() > -1'000'000'000 && again.nanos() < 1'000'000'000);
}

void CheckHello(const v1::Hello& hello) {
  CheckDuration(hello.acknowledged_ago());
  CheckDuration(hello.connected_ago());
  if (!wire::ValidateFacts(hello.facts()).ok()) return;
  const Facts facts = ToFacts(hello.facts());
  MUSTER_CHECK(wire::IsUtf8(facts.hostname) && !facts.hostname.empty());
  MUSTER_CHECK(facts.hostname.size() <= wire::kHostnameBytesMax);
  const v1::AgentFacts shown = ToProto(facts);
  MUSTER_CHECK(ToFacts(shown) == facts);
  MUSTER_CHECK(wire::ValidateFacts(shown).ok());
  v1::AgentFacts read;
  MUSTER_CHECK(wire::JsonToProto(wire::ProtoToJson(shown), read).ok());
}

void CheckMessage(const v1::AgentMessage& message) {
  CheckHello(message.hello());
  CheckTime(message.heartbeat().sent_at());
  CheckDuration(message.heartbeat().round_trip());
  CheckTime(message.command_update().started_at());
  CheckTime(message.command_update().finished_at());
  const auto state = ToCommandState(message.command_update().state());
  MUSTER_CHECK(!state ||
               static_cast<int>(*state) == message.command_update().state());
}

void CheckChunk(const v1::TransferChunk& message) {
  const auto stream = ToStream(message.chunk().stream());
  if (!stream) return;
  const OutputRecord output{.command = CommandId(message.command_id()),
                            .stream = *stream,
                            .offset = message.chunk().offset(),
                            .data = message.chunk().data()};
  const v1::OutputChunk again = ToProto(output);
  MUSTER_CHECK(again.stream() == message.chunk().stream());
  MUSTER_CHECK(again.offset() == message.chunk().offset());
  MUSTER_CHECK(again.data() == message.chunk().data());
}

}  // namespace
}  // namespace muster::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // It tells of every text that is not UTF-8.
  static const auto said = google::protobuf::SetLogHandler(nullptr);
  (void)said;
  muster::v1::AgentMessage message;
  if (message.ParseFromArray(data, static_cast<int>(size))) {
    muster::gateway::CheckMessage(message);
  }
  muster::v1::TransferChunk chunk;
  if (chunk.ParseFromArray(data, static_cast<int>(size))) {
    muster::gateway::CheckChunk(chunk);
  }
  return 0;
}
