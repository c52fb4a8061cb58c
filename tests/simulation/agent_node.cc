#include "tests/simulation/agent_node.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/protocol_version.h"

namespace muster::simulation {
namespace {

constexpr int64_t kEpochWall = 1'700'000'000 * kSecond;

// As the gateway announces it.
constexpr Nanos kReconnectMax = 30 * kSecond;

Nanos ToNanos(const google::protobuf::Duration& d) {
  return d.seconds() * kSecond + d.nanos();
}
void SetNanos(Nanos nanos, google::protobuf::Duration& d) {
  d.set_seconds(nanos / kSecond);
  d.set_nanos(static_cast<int32_t>(nanos % kSecond));
}

uint32_t CommandIn(const std::string& id) {
  uint32_t number = 0;
  std::from_chars(id.data() + 1, id.data() + id.size(), number);
  return number;
}

// The agent's own commands end well, at once.
constexpr auto kSucceeded =
    static_cast<uint8_t>(gateway::CommandState::kSucceeded);

}  // namespace

AgentNode::AgentNode(World world, uint32_t self, uint32_t machine)
    : world_(world),
      self_(self),
      machine_(machine),
      random_(world.seed, uint64_t{0x1000} + self) {
  booted_ = random_.Between(kMinute, 1000 * kDay);
}

// --- Life and death --------------------------------------------------------

void AgentNode::Start() {
  if (link_ != nullptr || deregistered_) return;
  ++life_;
  if (!power_) {
    power_ = true;
    ++boot_;
    booted_ = random_.Between(kSecond, kMinute) - world_.timeline.now();
    world_.network.path(self_).host_up = true;
  }
  said_boot_ = boot_;
  said_life_ = life_;
  v1::AgentFacts facts;
  facts.set_hostname(fmt::format("m{}", machine_));
  link_ = std::make_unique<agent::LinkMachine>(
      agent::LinkPolicy{}, std::move(facts), v1::Instance(),
      [this] { return random_.Unit(); },
      [this] {
        agent::CommandsForHello commands;
        commands.seen_high = disk_.seen_high;
        return commands;
      });
  CarryOut(link_->Start(Local()));
}

void AgentNode::StartAfter(Nanos pause) {
  world_.timeline.Add(world_.timeline.now() + pause, Due::kAgentStart, self_,
                      ++start_);
}

void AgentNode::StartDue(uint32_t start) {
  if (start != start_) return;
  // The process that says goodbye must be gone before the next one is there.
  if (leaving_) return StartAfter(kSecond);
  Start();
}

void AgentNode::Kill() {
  if (link_ == nullptr) return;
  told_back_ = 0;
  leaving_ = false;
  link_.reset();
  socket_.clear();
  paused_ = false;
  timer_armed_ = kNever;
  world_.network.Close(std::exchange(connection_, {}), Network::kUp);
}

void AgentNode::PowerOff() {
  world_.network.path(self_).host_up = false;
  world_.network.Close(std::exchange(connection_, {}), Network::kUp, false);
  Kill();
  power_ = false;
}

void AgentNode::Pause(Nanos length) {
  if (link_ == nullptr) return;
  paused_ = true;
  paused_until_ = std::max(paused_until_, world_.timeline.now() + length);
  world_.timeline.Add(paused_until_, Due::kAgentResume, self_, ++pause_);
}

void AgentNode::Resume(uint32_t pause) {
  if (pause != pause_ || !paused_) return;
  paused_ = false;
  const bool timers_first = random_.Chance(0.5);
  if (timers_first) TimerDue();
  while (link_ != nullptr && !socket_.empty()) {
    const auto [id, message] = socket_.front();
    socket_.pop_front();
    if (id == connection_) Take(message);
  }
  TimerDue();
}

void AgentNode::Goodbye(uint8_t code, std::optional<Nanos> back_within) {
  if (link_ == nullptr || paused_) return;
  // The rules know causes, the wire knows reasons.
  v1::GoodbyeReason reason = v1::GOODBYE_REASON_TERMINATED;
  switch (static_cast<gateway::Cause>(code)) {
    case gateway::Cause::kAgentUpgrading:
      reason = v1::GOODBYE_REASON_UPGRADE;
      break;
    case gateway::Cause::kHostRebooted:
      reason = v1::GOODBYE_REASON_REBOOT;
      break;
    case gateway::Cause::kHostShutdown:
      reason = v1::GOODBYE_REASON_SHUTDOWN;
      break;
    default:
      break;
  }
  std::optional<absl::Duration> promise;
  if (back_within) promise = absl::Nanoseconds(*back_within);
  leaving_ = true;
  CarryOut(link_->Goodbye(reason, promise, Local()));
}

void AgentNode::StartAsCopyOf(const AgentNode& original) {
  if (link_ != nullptr) return;
  disk_ = original.disk_;
  world_.recorder.Record({.what = What::kCopied, .machine = machine_});
  PowerOff();
  Start();
}

void AgentNode::TakeSnapshot() {
  if (link_ == nullptr || leaving_ || paused_) return;
  snapshot_ = Snapshot{disk_, absl::ToInt64Nanoseconds(Local().since_boot()),
                       said_boot_, said_life_,
                       std::make_unique<agent::LinkMachine>(*link_)};
}

void AgentNode::GoBack(bool memory) {
  if (!snapshot_ || deregistered_) return;
  world_.recorder.Record({.what = What::kCopied, .machine = machine_});
  Snapshot then = *std::exchange(snapshot_, std::nullopt);
  PowerOff();
  disk_ = std::move(then.disk);
  if (!memory) return StartAfter(random_.Spread(kSecond, kMinute));
  power_ = true;
  world_.network.path(self_).host_up = true;
  // Its clock goes on as if nothing had been.
  booted_ += then.local - absl::ToInt64Nanoseconds(Local().since_boot());
  said_boot_ = then.said_boot;
  said_life_ = then.said_life;
  dialled_in_ = 0;
  ++start_;  // Nobody starts it again.
  link_ = std::move(then.link);
  CarryOut(link_->LinkDown("connection_reset", "", Local()));
}

void AgentNode::SetDrift(int64_t ppm) {
  const Nanos now = world_.timeline.now();
  // The clock goes on from where it is.
  booted_ += now / 1'000'000 * (drift_ppm_ - ppm);
  drift_ppm_ = ppm;
}

// --- Time ------------------------------------------------------------------

Instant AgentNode::Local() const {
  const Nanos now = world_.timeline.now();
  return Instant::SinceBoot(
      absl::Nanoseconds(now + booted_ + now / 1'000'000 * drift_ppm_));
}

Nanos AgentNode::AtLocal(Instant local) const {
  if (local == Instant::Never()) return kNever;
  const Nanos rest = absl::ToInt64Nanoseconds(local.since_boot()) - booted_;
  // A microsecond late rather than early: an early tick does nothing.
  return rest - rest / (1'000'000 + drift_ppm_) * drift_ppm_ + 1000;
}

absl::Time AgentNode::Wall() const {
  return absl::UnixEpoch() +
         absl::Nanoseconds(kEpochWall + wall_step_ + world_.timeline.now());
}

void AgentNode::TimerDue() {
  if (world_.timeline.now() >= timer_armed_) timer_armed_ = kNever;
  if (link_ == nullptr || paused_) return;
  CarryOut(link_->Tick(Local(), Wall()));
}

void AgentNode::Arm() {
  if (link_ == nullptr) return;
  const Nanos at = AtLocal(link_->wake_at());
  if (at >= timer_armed_) return;
  timer_armed_ = std::max(at, world_.timeline.now() + 1000);
  world_.timeline.Add(timer_armed_, Due::kAgentTimer, self_);
}

// --- Messages --------------------------------------------------------------

void AgentNode::Hear(ConnectionId id, const Message& message) {
  if (link_ == nullptr || !(id == connection_)) return;
  if (paused_) {
    socket_.emplace_back(id, message);
    return;
  }
  Take(message);
}

void AgentNode::Take(const Message& message) {
  if (message.say == Say::kAck) {
    v1::HeartbeatAck& ack = *ack_.mutable_heartbeat_ack();
    ack.set_sequence(message.sequence);
    ack.set_acknowledgement(message.acknowledged);
    SetNanos(message.length, *ack.mutable_heartbeat_interval());
    CarryOut(link_->Message(ack_, Local(), Wall()));
    return;
  }
  v1::GatewayMessage out;
  switch (message.say) {
    case Say::kWelcome: {
      v1::Welcome& welcome = *out.mutable_welcome();
      welcome.set_protocol(wire::kOurProtocol.max);
      welcome.set_epoch(message.epoch);
      welcome.set_acknowledgement(message.acknowledged);
      SetNanos(message.length, *welcome.mutable_heartbeat_interval());
      SetNanos(std::min(kReconnectMax, message.length),
               *welcome.mutable_reconnect_max());
      break;
    }
    case Say::kOrder:
      out.mutable_command()->set_command_id(
          fmt::format("c{}", message.command));
      out.mutable_command()->set_dispatch_seq(message.sequence);
      break;
    case Say::kCancel:
      out.mutable_cancel()->set_command_id(fmt::format("c{}", message.command));
      break;
    case Say::kUpdateAck:
      if (message.code == kSucceeded) std::erase(disk_.words, message.command);
      return;
    case Say::kDisconnect:
      out.mutable_disconnect()->set_reason(
          static_cast<v1::DisconnectReason>(message.code));
      if (message.length >= 0) {
        told_back_ = world_.timeline.now() + message.length;
        SetNanos(message.length,
                 *out.mutable_disconnect()->mutable_retry_after());
      }
      break;
    case Say::kEnd:
    case Say::kReset:
      world_.network.Close(std::exchange(connection_, {}), Network::kUp, false);
      CarryOut(link_->LinkDown("connection_reset", "", Local()));
      return;
    default:
      return;
  }
  CarryOut(link_->Message(out, Local(), Wall()));
}

void AgentNode::Dial() {
  connection_ = world_.network.Dial(self_);
  world_.recorder.Record(
      {.what = What::kDialled,
       .flag = std::exchange(dialled_in_, life_) != life_,
       .machine = machine_,
       .number = self_,
       .length = std::max<Nanos>(told_back_ - world_.timeline.now(), 0)});
  told_back_ = 0;
}

void AgentNode::CarryOut(const agent::LinkActions& actions) {
  for (const agent::LinkAction& action : actions) {
    if (const auto* send = std::get_if<agent::SendMessage>(&action)) {
      SendOut(send->message);
    } else if (std::holds_alternative<agent::DialNow>(action)) {
      Dial();
    } else if (std::holds_alternative<agent::CloseLink>(action) ||
               std::holds_alternative<agent::FinishWrites>(action)) {
      world_.network.Close(std::exchange(connection_, {}), Network::kUp);
    } else if (std::holds_alternative<agent::WentOnline>(action)) {
      SayAll();
    } else if (const auto* order = std::get_if<agent::OrderArrived>(&action)) {
      TakeOrder(order->order);
    } else if (std::holds_alternative<agent::Deregistered>(action)) {
      deregistered_ = true;
      Kill();
      return;
    } else if (std::holds_alternative<agent::Stopped>(action)) {
      Kill();
      return;
    }
  }
  Arm();
}

void AgentNode::SendOut(const v1::AgentMessage& message) {
  Message out;
  switch (message.kind_case()) {
    case v1::AgentMessage::kHeartbeat: {
      const v1::Heartbeat& heartbeat = message.heartbeat();
      out.say = Say::kHeartbeat;
      out.epoch = heartbeat.epoch();
      out.sequence = heartbeat.sequence();
      out.acknowledged = heartbeat.acknowledged();
      out.wall =
          heartbeat.sent_at().seconds() * kSecond + heartbeat.sent_at().nanos();
      if (heartbeat.has_round_trip()) {
        out.round_trip = ToNanos(heartbeat.round_trip());
      }
      break;
    }
    case v1::AgentMessage::kHello: {
      const v1::Hello& hello = message.hello();
      out.say = Say::kHello;
      out.epoch = hello.last_epoch();
      out.sequence = hello.seen_high();
      out.command = self_;
      out.acknowledged = uint64_t{said_boot_} << 32 | said_life_;
      out.length =
          hello.has_acknowledged_ago() ? ToNanos(hello.acknowledged_ago()) : -1;
      out.round_trip =
          hello.has_connected_ago() ? ToNanos(hello.connected_ago()) : -1;
      break;
    }
    case v1::AgentMessage::kGoodbye:
      out.say = Say::kGoodbye;
      out.length = message.goodbye().has_back_within()
                       ? ToNanos(message.goodbye().back_within())
                       : 0;
      switch (message.goodbye().reason()) {
        case v1::GOODBYE_REASON_UPGRADE:
          out.code = static_cast<uint8_t>(gateway::Cause::kAgentUpgrading);
          break;
        case v1::GOODBYE_REASON_REBOOT:
          out.code = static_cast<uint8_t>(gateway::Cause::kHostRebooted);
          break;
        case v1::GOODBYE_REASON_SHUTDOWN:
          out.code = static_cast<uint8_t>(gateway::Cause::kHostShutdown);
          break;
        default:
          out.code = static_cast<uint8_t>(gateway::Cause::kAgentStopped);
      }
      break;
    default:
      return;
  }
  out.interval = absl::ToInt64Nanoseconds(link_->heartbeat_interval());
  world_.network.Send(connection_, Network::kUp, out);
}

// --- Commands --------------------------------------------------------------

void AgentNode::TakeOrder(const v1::CommandOrder& order) {
  const uint32_t command = CommandIn(order.command_id());
  if (order.dispatch_seq() > disk_.seen_high) {
    disk_.seen_high = order.dispatch_seq();
    disk_.words.push_back(command);
    world_.recorder.Record(
        {.what = What::kStarted, .machine = machine_, .number = command});
  }
  SayAll();
}

void AgentNode::SayAll() {
  for (const uint32_t command : disk_.words) {
    world_.network.Send(
        connection_, Network::kUp,
        {.say = Say::kUpdate, .code = kSucceeded, .command = command});
  }
}

}  // namespace muster::simulation
