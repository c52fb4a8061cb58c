// Keeps one agent linked to its gateway: the machine's decisions, carried out.

#ifndef MUSTER_AGENT_LINK_LINK_KEEPER_H_
#define MUSTER_AGENT_LINK_LINK_KEEPER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/link/gateway_link.h"
#include "agent/link/link_machine.h"
#include "libprotocol/base/event_loop.h"

namespace muster::agent {

// LinkKeeper joins a LinkMachine with GatewayLinks and a timer.
//
// Threading: everything on `loop`, the delegate is called on it; no thread per
// link, so one process may run thousands. Lifetime: create, Start(), end with
// Goodbye(); destroy only after OnStopped(), which comes exactly once, when no
// stream of any attempt is left. `loop` and `delegate` outlive the keeper.
class LinkKeeper final : private GatewayLink::Delegate {
 public:
  struct Options {
    DialOptions dial;
    LinkPolicy policy;
    v1::AgentFacts facts;
    v1::Instance instance;
    uint64_t random_seed = 0;
  };

  class Delegate {
   public:
    virtual ~Delegate() = default;
    // What the next hello says of commands.
    virtual CommandsForHello Commands() { return {}; }
    virtual void OnOnline(const WentOnline&) {}
    virtual void OnOffline(const WentOffline&) {}
    virtual void OnHeartbeatSent(const HeartbeatSent&) {}
    virtual void OnHeartbeatAcknowledged(const HeartbeatAcknowledged&) {}
    virtual void OnOrder(v1::CommandOrder) {}
    virtual void OnCancel(const std::string& /*command_id*/) {}
    virtual void OnCommandInput(const v1::CommandInput&) {}
    virtual void OnUpdateAck(const v1::CommandUpdateAck&) {}
    virtual void OnTransferAck(const v1::TransferAck&) {}
    virtual void OnCertificate(const v1::CertificateIssued&) {}
    // Chunks that are not acknowledged are lost, the link itself is up.
    virtual void OnTransferLost() {}
    // The gateway has deleted this identity. OnStopped() follows.
    virtual void OnDeregistered(const std::string& /*text*/) {}
    virtual void OnStopped() {}
  };

  LinkKeeper(EventLoop& loop, Delegate& delegate, Options options);
  ~LinkKeeper() override;
  LinkKeeper(const LinkKeeper&) = delete;
  LinkKeeper& operator=(const LinkKeeper&) = delete;

  void Start();

  // False when not online, or the outbox is full: send again after OnOnline().
  bool Send(v1::CommandUpdate update);
  bool Send(v1::TransferChunk chunk);
  bool Send(v1::InputTaken taken);
  bool Send(v1::CertificateRequest request);

  // For every dial from now on.
  void UseCredentials(std::shared_ptr<grpc::ChannelCredentials> credentials) {
    dial_.credentials = std::move(credentials);
  }
  // What the gateway said elsewhere than on a link.
  void Refused(const v1::Disconnect& disconnect);

  // The link, if there is one, ends without a word; a dial follows at once.
  void Redial();

  void HeartbeatNow();
  void RouteChanged();
  void Goodbye(v1::GoodbyeReason reason,
               std::optional<absl::Duration> back_within);

  const LinkMachine& machine() const { return machine_; }

 private:
  void OnMessage(GatewayLink& link, v1::GatewayMessage message) override;
  void OnTransferAck(GatewayLink& link, v1::TransferAck ack) override;
  void OnTransferLost(GatewayLink& link) override;
  void OnDown(GatewayLink& link, const grpc::Status& status) override;
  void OnGone(GatewayLink& link) override;

  void CarryOut(LinkActions actions);
  void CarryOutOne(LinkAction& action);
  void Arm();
  void Tick();
  void StopWhenGone();
  Instant Now() const { return loop_.clock().Now(); }

  // Constant after construction.
  EventLoop& loop_;
  Delegate& delegate_;
  const Options options_;
  const std::function<double()> random_;

  // Touched only on loop_.
  DialOptions dial_;
  LinkMachine machine_;
  std::shared_ptr<GatewayLink> link_;  // The present attempt.
  int attempts_alive_ = 0;
  bool stop_told_ = false;
  std::optional<EventLoop::TimerId> timer_;
  Instant timer_at_ = Instant::Never();
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LINK_LINK_KEEPER_H_
