// One dial of the gateway: a connection of its own with the link's two streams.

#ifndef MUSTER_AGENT_LINK_GATEWAY_LINK_H_
#define MUSTER_AGENT_LINK_GATEWAY_LINK_H_

#include <memory>
#include <string>

#include "agent/link/client_stream.h"
#include "grpcpp/grpcpp.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/net/failure_class.h"
#include "muster/v1/agent_link.grpc.pb.h"

namespace muster::agent {

// What a dial needs.
struct DialOptions {
  std::string endpoint;  // host:port; resolved anew at every dial.
  std::shared_ptr<grpc::ChannelCredentials> credentials;

  // Empty: none, whatever the environment says. "env": as the environment says.
  // Else the URL of an HTTP proxy.
  std::string proxy;

  // HTTP/2 pings that keep middleboxes awake; presence does not depend on them.
  // Jittered by ±30 %. A timeout below 30 s would cut links when the gateway
  // merely pauses.
  absl::Duration keepalive = absl::Seconds(45);
  absl::Duration keepalive_timeout = absl::Seconds(30);
};

// The fixed name in the gateway's certificate, wherever the gateway lives.
inline constexpr char kGatewayName[] = "gateway.muster.internal";

// Credentials of an agent: trusts `ca_pem` alone, shows the certificate. All
// PEM. The same object may serve any number of dials.
std::shared_ptr<grpc::ChannelCredentials> MakeAgentCredentials(
    const std::string& ca_pem, const std::string& certificate_pem,
    const Secret& key_pem);

// What gRPC's last word on a stream suggests. A probe may know better.
FailureClass ClassifyStatus(const grpc::Status& status);

// GatewayLink is one attempt. Threading: everything on `loop`, the delegate is
// called on it. Lifetime: keeps itself alive until its streams are over and
// says so with `OnGone`, after which `loop` and the delegate may die.
class GatewayLink final : public std::enable_shared_from_this<GatewayLink> {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    virtual void OnMessage(GatewayLink& link, v1::GatewayMessage message) = 0;
    virtual void OnTransferAck(GatewayLink& link, v1::TransferAck ack) = 0;
    // Transfer alone broke; the next SendChunk() opens it again.
    virtual void OnTransferLost(GatewayLink& link) = 0;
    // The link is over, not by Close(). At most once.
    virtual void OnDown(GatewayLink& link, const grpc::Status& status) = 0;
    // Exactly once, last, also after Close().
    virtual void OnGone(GatewayLink& link) = 0;
  };

  // `jitter` in [0, 1) places the keepalive within its ±30 %.
  static std::shared_ptr<GatewayLink> Dial(EventLoop& loop, Delegate& delegate,
                                           const DialOptions& options,
                                           double jitter);

  // False when the link is over or its outbox is full.
  bool Send(v1::AgentMessage message);

  // Sends on Transfer, which opens with the first chunk. False as above.
  bool SendChunk(v1::TransferChunk chunk);

  // The gateway sees the end of what we say after the messages queued so far.
  void FinishWrites();

  // Ends both streams now. Afterwards only OnGone() is called.
  void Close();

 private:
  using Connect = ClientStream<v1::AgentMessage, v1::GatewayMessage>;
  using Transfer = ClientStream<v1::TransferChunk, v1::TransferAck>;

  GatewayLink(EventLoop& loop, Delegate& delegate,
              std::shared_ptr<grpc::Channel> channel);
  void OpenConnect();
  void OpenTransfer();
  void StreamOver();

  // Constant after construction.
  EventLoop& loop_;
  Delegate& delegate_;
  const std::unique_ptr<v1::AgentLink::Stub> stub_;

  // Touched only on loop_.
  std::shared_ptr<Connect> connect_;
  std::shared_ptr<Transfer> transfer_;
  int streams_ = 0;  // Not yet over.
  bool closed_ = false;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LINK_GATEWAY_LINK_H_
