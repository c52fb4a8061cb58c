// One connected agent: the gateway's end of AgentLink.Connect and .Transfer.
//
// Translates between messages and the rules of gateway/fleet; decides nothing
// but what is well-formed.

#ifndef MUSTER_GATEWAY_RPC_AGENT_LINK_H_
#define MUSTER_GATEWAY_RPC_AGENT_LINK_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/fleet.h"
#include "gateway/fleet/link_port.h"
#include "gateway/rpc/server_stream.h"
#include "libprotocol/base/thread_event_loop.h"
#include "libprotocol/base/token_bucket.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::gateway {

// A new certificate for the machine that has a link made with the key of this
// pin. Called, and answers, on the fleet loop.
using RenewCertificate = std::function<void(
    const OrgId& org, const AgentId& agent, const std::string& key_pin,
    std::string csr_pem,
    absl::AnyInvocable<void(absl::StatusOr<v1::CertificateIssued>)> issued)>;

struct AgentLinkOptions {
  StreamOptions stream;
  // An agent that connects must say hello within this time.
  absl::Duration hello_timeout = absl::Seconds(10);
  // Told in the welcome; the longest pause between two attempts to reconnect.
  absl::Duration reconnect_max = absl::Seconds(30);
  // What one agent may say; what comes faster waits in the network, and holds
  // up nobody but that agent. Heartbeats are one in many seconds; the answers
  // to a stream of input are the most that an honest one says.
  double messages_per_second_max = 1000;
  double messages_burst = 1000;
  RenewCertificate renew;
};

// Who is at the other end, verified.
struct LinkPeer {
  OrgId org;
  AgentId agent;
  std::string key_pin;
  std::string address;  // Where it came from.
  absl::Time renew_at;  // Two thirds of the life of its certificate.
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
  void OnCertificateRequest(const v1::CertificateRequest& request);
  void Refuse(std::string text);
  // Reads no more until there is room for another message.
  void HoldBack();

  // Constant after construction.
  Fleet& fleet_;
  const AgentLinkOptions options_;
  const LinkPeer peer_;

  EventLoop::TimerId hello_timer_{};
  std::optional<uint64_t> epoch_;  // Set once the link is accepted.
  uint32_t protocol_ = 0;
  LinkEnd end_ = LinkEnd::kClosedByPeer;
  Instant next_renewal_;  // Not before.
  TokenBucket messages_;
  Instant next_complaint_;  // That it says too much; not before.
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
