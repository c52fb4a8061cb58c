// The running agent: link, commands and control, put together.

#ifndef MUSTER_AGENT_APP_AGENT_H_
#define MUSTER_AGENT_APP_AGENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/app/agent_state.h"
#include "agent/app/command_courier.h"
#include "agent/app/command_policy.h"
#include "agent/app/farewell.h"
#include "agent/app/prober.h"
#include "agent/app/renewal.h"
#include "agent/link/link_keeper.h"
#include "agent/local/control_server.h"
#include "libprotocol/base/event_loop.h"

namespace muster::agent {

// Agent speaks for this machine under one identity until its end.
//
// Threading: everything on `loop`. Lifetime: made and destroyed on `loop`,
// after `on_end` was called, which happens exactly once.
class Agent final : private LinkKeeper::Delegate {
 public:
  enum class End {
    kStopped,       // Asked to, by a signal or an operator.
    kLeft,          // The identity ended at our own wish; the state is wiped.
    kAgain,         // Start with the identity that is saved now.
    kDeregistered,  // The gateway ended the identity.
  };

  struct Options {
    Identity identity;
    Secret key;
    v1::AgentFacts facts;
    v1::Instance instance;
    std::string exec_path;
    std::string policy_file = kDefaultPolicyFile;
    std::string proxy;
    LinkPolicy policy = {};
    uint64_t random_seed = 0;
  };

  // Recovers the commands of an earlier life, then dials. Errors are those of
  // the command folders. Blocks on the disk.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(
      EventLoop& loop, AgentState state, Options options,
      std::function<void(End)> on_end);
  ~Agent() override;

  void Goodbye(const Farewell& farewell);
  void RouteChanged() { keeper_.RouteChanged(); }

  // A request of the control socket.
  void Control(const ControlRequest& request, ControlServer::Reply reply);

 private:
  struct Waiter {  // For a heartbeat that was asked for.
    uint64_t sequence;
    ControlServer::Reply reply;
    EventLoop::TimerId timer;
  };

  Agent(EventLoop& loop, AgentState state, Options options,
        std::function<void(End)> on_end);
  absl::Status OpenCommands();

  CommandsForHello Commands() override { return courier_.ForHello(); }
  void OnOnline(const WentOnline& online) override;
  void OnOffline(const WentOffline& offline) override;
  void OnHeartbeatSent(const HeartbeatSent& heartbeat) override;
  void OnHeartbeatAcknowledged(const HeartbeatAcknowledged& heartbeat) override;
  void OnOrder(v1::CommandOrder order) override { courier_.OnOrder(order); }
  void OnCancel(const std::string& command_id) override {
    courier_.OnCancel(command_id);
  }
  void OnCommandInput(const v1::CommandInput& input) override {
    courier_.OnCommandInput(input);
  }
  void OnUpdateAck(const v1::CommandUpdateAck& ack) override {
    courier_.OnUpdateAck(ack);
  }
  void OnTransferAck(const v1::TransferAck& ack) override {
    courier_.OnTransferAck(ack);
  }
  void OnTransferLost() override { courier_.OnTransferLost(); }
  void OnCertificate(const v1::CertificateIssued& issued) override {
    renewal_.OnIssued(issued);
  }
  void OnDeregistered(const std::string& text) override;
  void OnStopped() override;

  void UseCertificate(const Identity& renewed);
  ControlReply Status() const;
  void HeartbeatNow(ControlServer::Reply reply);
  // Logs, and tells who waits, when the own probe has told what gRPC's text
  // alone does not, or was not made.
  void TellFailure(const WentOffline& offline,
                   const std::optional<ProbeResult>& probe);
  void AnswerWaiters(const ControlReply& reply, uint64_t up_to_sequence);
  // Remembers it for the next start, unless it is nearly what is remembered.
  void KeepPace(const Pace& pace);
  void SayGoodbye(const Farewell& farewell);
  // What is said when the goodbye is over.
  ControlReply Left();
  ControlReply StoppedWith(const Farewell& farewell) const;
  // Replies when the goodbye is over.
  void Stop(const Farewell& farewell, ControlServer::Reply reply);
  void Leave(ControlServer::Reply reply);

  // Constant after construction.
  EventLoop& loop_;
  const AgentState state_;
  const Options options_;
  const std::function<void(End)> on_end_;

  // Touched only on loop_.
  End end_ = End::kStopped;
  std::optional<WentOffline> offline_;
  Instant next_dial_;
  uint64_t sequence_ = 0;  // Of the last heartbeat on this link.
  std::vector<Waiter> waiters_;
  // Who asked to stop, and what was to be said.
  std::vector<std::pair<ControlServer::Reply, Farewell>> at_end_;
  ControlServer::Reply leave_reply_;
  bool stop_asked_ = false;    // By a signal, or by an operator.
  bool said_goodbye_ = false;  // There was a link to say it on.
  LinkKeeper keeper_;
  CommandCourier courier_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<CommandRunner> runner_;
  // The threads of both post to what is above.
  Prober prober_;
  Renewal renewal_;
  Pace pace_;  // As it is remembered.
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_AGENT_H_
