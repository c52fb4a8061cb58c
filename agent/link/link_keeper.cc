#include "agent/link/link_keeper.h"

#include <random>
#include <utility>

#include "libprotocol/base/check.h"

namespace muster::agent {
namespace {

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

std::function<double()> UniformFrom(uint64_t seed) {
  return [engine = std::mt19937_64(seed)]() mutable {
    return std::uniform_real_distribution<double>(0.0, 1.0)(engine);
  };
}

}  // namespace

LinkKeeper::LinkKeeper(EventLoop& loop, Delegate& delegate, Options options)
    : loop_(loop),
      delegate_(delegate),
      options_(std::move(options)),
      random_(UniformFrom(options_.random_seed)),
      dial_(options_.dial),
      machine_(options_.policy, options_.facts, options_.instance, random_,
               [this] { return delegate_.Commands(); }) {}

LinkKeeper::~LinkKeeper() {
  MUSTER_CHECK(attempts_alive_ == 0);
  if (timer_) loop_.Cancel(*timer_);
}

void LinkKeeper::Start() { CarryOut(machine_.Start(Now())); }

bool LinkKeeper::Send(v1::CommandUpdate update) {
  if (!machine_.online() || !link_) return false;
  v1::AgentMessage message;
  *message.mutable_command_update() = std::move(update);
  return link_->Send(std::move(message));
}

bool LinkKeeper::Send(v1::InputTaken taken) {
  if (!machine_.online() || !link_) return false;
  v1::AgentMessage message;
  *message.mutable_input_taken() = std::move(taken);
  return link_->Send(std::move(message));
}

bool LinkKeeper::Send(v1::CertificateRequest request) {
  if (!machine_.online() || !link_) return false;
  v1::AgentMessage message;
  *message.mutable_certificate_request() = std::move(request);
  return link_->Send(std::move(message));
}

void LinkKeeper::Refused(const v1::Disconnect& disconnect) {
  CarryOut(machine_.Refused(disconnect, Now()));
}

bool LinkKeeper::Send(v1::TransferChunk chunk) {
  return machine_.online() && link_ && link_->SendChunk(std::move(chunk));
}

void LinkKeeper::Redial() {
  if (const auto link = std::exchange(link_, nullptr)) {
    link->Close();
    CarryOut(machine_.LinkDown("redial", "asked for", Now()));
  }
  HeartbeatNow();
}

void LinkKeeper::HeartbeatNow() {
  CarryOut(machine_.HeartbeatNow(Now(), loop_.clock().Wall()));
}

void LinkKeeper::RouteChanged() { CarryOut(machine_.RouteChanged(Now())); }

void LinkKeeper::Goodbye(v1::GoodbyeReason reason,
                         std::optional<absl::Duration> back_within) {
  CarryOut(machine_.Goodbye(reason, back_within, Now()));
}

// Late words of an attempt that was given up are not for the machine.
void LinkKeeper::OnMessage(GatewayLink& link, v1::GatewayMessage message) {
  if (&link != link_.get()) return;
  CarryOut(machine_.Message(message, Now(), loop_.clock().Wall()));
}

void LinkKeeper::OnTransferAck(GatewayLink& link, v1::TransferAck ack) {
  if (&link == link_.get()) delegate_.OnTransferAck(ack);
}

void LinkKeeper::OnTransferLost(GatewayLink& link) {
  if (&link == link_.get()) delegate_.OnTransferLost();
}

void LinkKeeper::OnDown(GatewayLink& link, const grpc::Status& status) {
  if (&link != link_.get()) return;
  link_ = nullptr;
  if (status.ok()) return CarryOut(machine_.LinkFinished(Now()));
  CarryOut(machine_.LinkDown(FailureClassName(ClassifyStatus(status)),
                             status.error_message(), Now()));
}

void LinkKeeper::OnGone(GatewayLink&) {
  --attempts_alive_;
  StopWhenGone();
}

void LinkKeeper::StopWhenGone() {
  if (!machine_.stopped() || attempts_alive_ > 0 || stop_told_) return;
  stop_told_ = true;
  // By a task of its own: the delegate may destroy this object.
  loop_.Post([&delegate = delegate_] { delegate.OnStopped(); });
}

void LinkKeeper::CarryOut(LinkActions actions) {
  for (LinkAction& action : actions) CarryOutOne(action);
  Arm();
}

void LinkKeeper::CarryOutOne(LinkAction& action) {
  std::visit(
      Overloaded{
          [this](DialNow) {
            ++attempts_alive_;
            link_ = GatewayLink::Dial(loop_, *this, dial_, random_());
          },
          [this](SendMessage& a) {
            if (link_) link_->Send(std::move(a.message));
          },
          [this](FinishWrites) {
            if (link_) link_->FinishWrites();
          },
          [this](CloseLink) {
            if (const auto link = std::exchange(link_, nullptr)) link->Close();
          },
          [this](const WentOnline& a) { delegate_.OnOnline(a); },
          [this](const WentOffline& a) { delegate_.OnOffline(a); },
          [this](const HeartbeatSent& a) { delegate_.OnHeartbeatSent(a); },
          [this](const HeartbeatAcknowledged& a) {
            delegate_.OnHeartbeatAcknowledged(a);
          },
          [this](OrderArrived& a) { delegate_.OnOrder(std::move(a.order)); },
          [this](const CancelArrived& a) { delegate_.OnCancel(a.command_id); },
          [this](const InputArrived& a) { delegate_.OnCommandInput(a.input); },
          [this](const UpdateAcknowledged& a) { delegate_.OnUpdateAck(a.ack); },
          [this](const CertificateArrived& a) {
            delegate_.OnCertificate(a.issued);
          },
          [this](const Deregistered& a) {
            delegate_.OnDeregistered(a.text);
            StopWhenGone();
          },
          [this](Stopped) { StopWhenGone(); },
      },
      action);
}

void LinkKeeper::Arm() {
  const Instant at = machine_.wake_at();
  if (timer_ && at == timer_at_) return;
  if (timer_) loop_.Cancel(*timer_);
  timer_.reset();
  if (at == Instant::Never()) return;
  timer_at_ = at;
  timer_ = loop_.PostAt(at, [this] { Tick(); });
}

void LinkKeeper::Tick() {
  timer_.reset();
  CarryOut(machine_.Tick(Now(), loop_.clock().Wall()));
}

}  // namespace muster::agent
