#include "tools/swarm/swarm_agent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "libprotocol/base/ids.h"

namespace muster::swarm {
namespace {

// Thousands may say goodbye at once.
constexpr absl::Duration kGoodbyeTimeout = absl::Seconds(5);
constexpr absl::Duration kTransferPause = absl::Seconds(1);

uint64_t RandomSeed() {
  uint64_t seed = 0;
  for (const unsigned char byte : RandomBytes(8)) seed = seed << 8 | byte;
  return seed;
}

}  // namespace

void SwarmAgent::Start() {
  if (!away()) return;
  agent::LinkKeeper::Options options;
  options.dial = dial_;
  options.policy.goodbye_timeout = kGoodbyeTimeout;
  options.facts = facts_;
  options.instance.set_boot_id("swarm");
  options.instance.set_process_start_id(absl::BytesToHexString(RandomBytes(8)));
  options.random_seed = RandomSeed();
  agent::LinkKeeper::Delegate& self = *this;
  keeper_ = std::make_unique<agent::LinkKeeper>(loop_, self, options);
  keeper_->Start();
}

void SwarmAgent::Drop() {
  if (!away()) keeper_->Redial();
}

void SwarmAgent::Leave(v1::GoodbyeReason reason,
                       std::optional<absl::Duration> back_within,
                       std::function<void()> then) {
  if (away()) return then();
  when_away_ = std::move(then);
  SetOnline(false);
  keeper_->Goodbye(reason, back_within);
}

void SwarmAgent::Settle() {
  if (!std::exchange(settled_, true)) ++stats_.settled;
}

void SwarmAgent::SetOnline(bool online) {
  stats_.online += static_cast<int>(online) - static_cast<int>(online_);
  online_ = online;
  const Instant now = loop_.clock().Now();
  const bool all = stats_.online == stats_.machines;
  if (!stats_.all_online_at) {
    if (!all) return;
    stats_.all_online_at = now;
    stats_.online_min = stats_.online;
    return;
  }
  stats_.online_min = std::min(stats_.online_min, stats_.online);
  if (!all) {
    if (!stats_.not_all_since) stats_.not_all_since = now;
  } else if (const auto since = std::exchange(stats_.not_all_since, {})) {
    stats_.not_all_longest = std::max(stats_.not_all_longest, now - *since);
  }
}

void SwarmAgent::OnOnline(const agent::WentOnline&) {
  Settle();
  SetOnline(true);
  ++stats_.links_opened;
  unanswered_.clear();
  due_ = loop_.clock().Now();  // The first heartbeat follows the welcome.
  SayAll();
}

void SwarmAgent::OnOffline(const agent::WentOffline& what) {
  Settle();
  SetOnline(false);
  ++(what.was_online ? stats_.links_lost
                     : stats_.dials_failed)[what.failure_class];
  stats_.last_words[what.failure_class] = what.detail;
}

// `due_` is what the last call of the link's machine planned: a heartbeat that
// this process sends late counts from when it should have left.
void SwarmAgent::OnHeartbeatSent(const agent::HeartbeatSent& sent) {
  ++stats_.heartbeats;
  unanswered_.push_back({sent.sequence, std::min(due_, loop_.clock().Now())});
  due_ = keeper_->machine().wake_at();
}

void SwarmAgent::OnHeartbeatAcknowledged(
    const agent::HeartbeatAcknowledged& acked) {
  const Instant now = loop_.clock().Now();
  while (!unanswered_.empty() &&
         unanswered_.front().sequence <= acked.sequence) {
    stats_.acknowledged.Add(now - unanswered_.front().due);
    unanswered_.pop_front();
  }
  due_ = keeper_->machine().wake_at();
}

void SwarmAgent::OnOrder(v1::CommandOrder order) {
  const bool is_new = book_.Take(order, loop_.clock().Wall());
  ++(is_new ? stats_.commands_run : stats_.commands_repeated);
  const auto open = book_.open().find(order.command_id());
  if (open != book_.open().end()) Say(open->second);
}

void SwarmAgent::OnUpdateAck(const v1::CommandUpdateAck& ack) {
  book_.UpdateAcked(ack);
}

void SwarmAgent::OnTransferAck(const v1::TransferAck& ack) {
  book_.OutputAcked(ack);
}

void SwarmAgent::OnTransferLost() {
  loop_.PostAt(loop_.clock().Now() + kTransferPause, [this] { SayAll(); });
}

void SwarmAgent::OnDeregistered(const std::string&) {
  ++stats_.deregistered;
  Settle();
  SetOnline(false);
}

void SwarmAgent::OnStopped() {
  keeper_.reset();
  if (const auto then = std::exchange(when_away_, nullptr)) then();
}

// What the link cannot take now is said again with the next one.
void SwarmAgent::Say(const CommandBook::Open& open) {
  if (!open.update_acked) keeper_->Send(open.update);
  if (!open.output_acked) keeper_->Send(open.output);
}

void SwarmAgent::SayAll() {
  if (!online_) return;
  for (const auto& [id, open] : book_.open()) Say(open);
}

}  // namespace muster::swarm
