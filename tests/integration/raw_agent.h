// An agent that says exactly what a test tells it to, and nothing else.

#ifndef MUSTER_TESTS_INTEGRATION_RAW_AGENT_H_
#define MUSTER_TESTS_INTEGRATION_RAW_AGENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "grpcpp/grpcpp.h"
#include "muster/v1/agent_link.grpc.pb.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {

// RawAgent is one connection with one link on it, and a Transfer on demand.
// Blocks; every stream
// ends after `patience`. One thread, but one may send while
// another reads.
class RawAgent {
 public:
  RawAgent(MiniFleet& fleet, const Credentials& credentials,
           absl::Duration patience = absl::Seconds(30));
  ~RawAgent();

  // False when the stream is over.
  bool Send(const v1::AgentMessage& message) { return link_->Write(message); }
  bool SendHello() { return Send(HelloOf(1, 1)); }
  bool SendHeartbeat(uint64_t sequence, uint64_t acknowledged);
  bool SendUpdate(const v1::CommandUpdate& update);
  static v1::AgentMessage HelloOf(uint32_t protocol_min, uint32_t protocol_max);

  // The next message; nothing when the stream is over.
  std::optional<v1::GatewayMessage> Read();
  // The next message of this kind, skipping others.
  std::optional<v1::GatewayMessage> ReadUntil(
      v1::GatewayMessage::KindCase kind);
  // Reads up to the gateway's last word.
  std::optional<v1::Disconnect> ReadDisconnect();
  // Says hello, and one heartbeat that echoes the welcome.
  bool GoOnline();
  // Of the last welcome.
  uint64_t epoch() const { return epoch_; }

  // Ends the link now, from any thread.
  void Cancel() { link_context_.TryCancel(); }
  // Ends what we say, reads what is left, and returns how the link ended.
  grpc::Status Finish();

  // One chunk on the second stream; nothing when the gateway ended that.
  std::optional<v1::TransferAck> Transfer(const v1::TransferChunk& chunk);
  grpc::Status FinishTransfer();

 private:
  using Link = grpc::ClientReaderWriter<v1::AgentMessage, v1::GatewayMessage>;
  using Output = grpc::ClientReaderWriter<v1::TransferChunk, v1::TransferAck>;

  std::unique_ptr<v1::AgentLink::Stub> stub_;
  grpc::ClientContext link_context_, output_context_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<Output> output_;
  uint64_t epoch_ = 0;
  uint64_t acknowledgement_ = 0;
};

}  // namespace muster::integration

#endif  // MUSTER_TESTS_INTEGRATION_RAW_AGENT_H_
