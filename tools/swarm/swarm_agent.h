// One honest machine of the swarm.

#ifndef MUSTER_TOOLS_SWARM_SWARM_AGENT_H_
#define MUSTER_TOOLS_SWARM_SWARM_AGENT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "agent/link/link_keeper.h"
#include "libprotocol/base/event_loop.h"
#include "tools/swarm/command_book.h"
#include "tools/swarm/swarm_stats.h"

namespace muster::swarm {

// SwarmAgent keeps one link with the agent's own code and answers commands from
// its CommandBook.
//
// Threading: everything on `loop`. Lifetime: destroy only while away().
class SwarmAgent final : private agent::LinkKeeper::Delegate {
 public:
  // `loop` and `stats` must outlive it.
  SwarmAgent(EventLoop& loop, SwarmStats& stats, agent::DialOptions dial,
             v1::AgentFacts facts)
      : loop_(loop),
        stats_(stats),
        dial_(std::move(dial)),
        facts_(std::move(facts)) {}

  // Begins a life: a new instance of the same machine. A no-op unless away().
  void Start();

  // The link breaks without a word and is dialled again at once. A no-op while
  // away.
  void Drop();

  // Says goodbye and ends this life; `then` is called once it is away, at once
  // if it is already.
  void Leave(v1::GoodbyeReason reason,
             std::optional<absl::Duration> back_within,
             std::function<void()> then);

  bool away() const { return keeper_ == nullptr; }
  bool leaving() const { return when_away_ != nullptr; }

 private:
  struct Sent {
    uint64_t sequence;
    Instant due;
  };

  agent::CommandsForHello Commands() override { return book_.ForHello(); }
  void OnOnline(const agent::WentOnline&) override;
  void OnOffline(const agent::WentOffline& what) override;
  void OnHeartbeatSent(const agent::HeartbeatSent& sent) override;
  void OnHeartbeatAcknowledged(
      const agent::HeartbeatAcknowledged& acked) override;
  void OnOrder(v1::CommandOrder order) override;
  void OnUpdateAck(const v1::CommandUpdateAck& ack) override;
  void OnTransferAck(const v1::TransferAck& ack) override;
  void OnTransferLost() override;
  void OnDeregistered(const std::string& text) override;
  void OnStopped() override;

  void Say(const CommandBook::Open& open);
  void SayAll();
  void Settle();
  void SetOnline(bool online);

  // Constant after construction.
  EventLoop& loop_;
  SwarmStats& stats_;
  const agent::DialOptions dial_;
  const v1::AgentFacts facts_;

  // Touched only on loop_.
  CommandBook book_;
  std::unique_ptr<agent::LinkKeeper> keeper_;
  std::function<void()> when_away_;
  bool online_ = false;
  bool settled_ = false;
  std::deque<Sent> unanswered_;     // Oldest first; of the present link.
  Instant due_ = Instant::Never();  // Of the next heartbeat.
};

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_SWARM_AGENT_H_
