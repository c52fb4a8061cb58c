// One connected agent: the gateway's end of AgentLink.Connect and .Transfer.
//
// Translates between messages and the rules of gateway/fleet; decides nothing
// but what is well-formed.

#ifndef MUSTER_GATEWAY_RPC_AGENT_LINK_H_
#define MUSTER_GATEWAY_RPC_AGENT_LINK_H_

#include <memory>
#include <optional>
#include <string>

#include "gateway/fleet/fleet.h"
#include "gateway/fleet/link_port.h"
#include "gateway/rpc/server_stream.h"
#include "libprotocol/base/thread_event_loop.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::gateway {

struct AgentLinkOptions {
  StreamOptions stream;
  // An agent that connects must say hello within this time.
  absl::Duration hello_timeout = absl::Seconds(10);
  // Told in the welcome; the longest pause between two attempts to reconnect.
  absl::Duration reconnect_max = absl::Seconds(30);
};

// Who is at the other end, verified.
struct LinkPeer {
  AgentId agent;
  std::string key_pin;
  std::string address;  // Where it came from.
};

// AgentLink carries control messages. Everything runs on the fleet loop.
class AgentLink final
    : public ServerStream<v1::AgentMessage, v1::GatewayMessage>,
      public LinkPort {
 public:
  // `fleet` must outlive the link.
  AgentLink(ThreadEventLoop& loop, Fleet& fleet, AgentLinkOptions options,
            LinkPeer peer, grpc::CallbackServerContext& context);

  void SendWelcome(const WelcomeNotice& welcome) override;
  void SendOrder(const CommandRecord& command) override;
  void SendCancel(const CommandId& command) override;
  void SendInput(const InputPart& input) override;
  void SendUpdateAck(const CommandId& command, CommandState state) override;
  void Close(const Disconnect& why) override;

 private:
  void OnOpened() override;
  void OnMessage(v1::AgentMessage message) override;
  void OnClosed() override;
  void OnOverflow() override;

  void OnHello(const v1::Hello& hello);
  void OnHeartbeat(const v1::Heartbeat& heartbeat);
  void OnGoodbye(const v1::Goodbye& goodbye);
  void OnCommandUpdate(const v1::CommandUpdate& update);
  void OnInputTaken(const v1::InputTaken& taken);
  void Refuse(std::string text);

  // Constant after construction.
  Fleet& fleet_;
  const AgentLinkOptions options_;
  const LinkPeer peer_;

  EventLoop::TimerId hello_timer_{};
  std::optional<uint64_t> epoch_;  // Set once the link is accepted.
  uint32_t protocol_ = 0;
  LinkEnd end_ = LinkEnd::kClosedByPeer;
};

// OutputTransfer takes in the output of one agent's commands.
class OutputTransfer final
    : public ServerStream<v1::TransferChunk, v1::TransferAck> {
 public:
  OutputTransfer(ThreadEventLoop& loop, Fleet& fleet, StreamOptions options,
                 LinkPeer peer, grpc::CallbackServerContext& context);

 private:
  void OnMessage(v1::TransferChunk message) override;
  void OnClosed() override {}

  Fleet& fleet_;
  const LinkPeer peer_;
  size_t unstored_bytes_ = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_AGENT_LINK_H_
