#include "tests/simulation/agent_node.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/protocol_version.h"
#include "tests/simulation/model_disk.h"

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

// Its supervisor starts again what could not start.
constexpr Nanos kStartAgain = 10 * kSecond;

}  // namespace

AgentNode::AgentNode(World world, uint32_t self, uint32_t machine)
    : world_(world),
      self_(self),
      machine_(machine),
      random_(world.seed, uint64_t{0x1000} + self),
      host_({world.timeline, world.recorder, world.seed, self, machine}) {
  booted_ = random_.Between(kMinute, 1000 * kDay);
}

// --- Life and death --------------------------------------------------------

void AgentNode::Start() {
  if (link_ != nullptr || deregistered_) return;
  const ModelHost::Scope here(host_);
  ++life_;
  if (!power_) {
    power_ = true;
    ++boot_;
    booted_ = random_.Between(kSecond, kMinute) - world_.timeline.now();
    world_.network.path(self_).host_up = true;
  }
  said_boot_ = boot_;
  said_life_ = life_;
  if (!StartCommands()) return StartAfter(kStartAgain);
  v1::AgentFacts facts;
  facts.set_hostname(fmt::format("m{}", machine_));
  link_ = std::make_unique<agent::LinkMachine>(
      agent::LinkPolicy{}, std::move(facts), v1::Instance(),
      [this] { return random_.Unit(); },
      [this] { return commands_->courier().ForHello(); });
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
  EndCommands();
  socket_.clear();
  paused_ = false;
  timer_armed_ = kNever;
  world_.network.Close(std::exchange(connection_, {}), Network::kUp);
}

void AgentNode::CrashAfter(uint32_t effects, Nanos down) {
  if (link_ == nullptr) return;
  down_ = down;
  host_.CrashAfter(effects);
}

void AgentNode::PowerOff() {
  world_.network.path(self_).host_up = false;
  world_.network.Close(std::exchange(connection_, {}), Network::kUp, false);
  Kill();
  host_.PowerOff();
  power_ = false;
}

void AgentNode::Pause(Nanos length) {
  if (link_ == nullptr) return;
  if (!paused_) NoteRuns(false);
  paused_ = true;
  paused_until_ = std::max(paused_until_, world_.timeline.now() + length);
  world_.timeline.Add(paused_until_, Due::kAgentResume, self_, ++pause_);
}

void AgentNode::Resume(uint32_t pause) {
  if (pause != pause_ || !paused_) return;
  const ModelHost::Scope here(host_);
  paused_ = false;
  NoteRuns(true);
  const bool timers_first = random_.Chance(0.5);
  if (timers_first) TimerDue();
  while (link_ != nullptr && !socket_.empty()) {
    const auto [id, message] = socket_.front();
    socket_.pop_front();
    if (id == connection_) Take(message);
  }
  while (link_ != nullptr && missed_disk_tasks_ > 0) {
    --missed_disk_tasks_;
    DiskDue(host_.agent_life());
  }
  TimerDue();
}

void AgentNode::Goodbye(uint8_t code, std::optional<Nanos> back_within) {
  if (link_ == nullptr || paused_) return;
  const ModelHost::Scope here(host_);
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
  host_.SetDisk(original.host_.disk());
  world_.recorder.Record({.what = What::kCopied, .machine = machine_});
  PowerOff();
  Start();
}

void AgentNode::TakeSnapshot() {
  if (link_ == nullptr || leaving_ || paused_) return;
  snapshot_ = Snapshot{
      host_.TakeImage(), absl::ToInt64Nanoseconds(Local().since_boot()),
      said_boot_, said_life_, std::make_unique<agent::LinkMachine>(*link_)};
}

void AgentNode::GoBack(bool memory) {
  if (!snapshot_ || deregistered_) return;
  world_.recorder.Record({.what = What::kCopied, .machine = machine_});
  Snapshot then = *std::exchange(snapshot_, std::nullopt);
  PowerOff();
  if (!memory) {
    host_.SetDisk(std::move(then.host.disk));
    return StartAfter(random_.Spread(kSecond, kMinute));
  }
  const ModelHost::Scope here(host_);
  host_.SetImage(std::move(then.host));
  power_ = true;
  world_.network.path(self_).host_up = true;
  // Its clock goes on as if nothing had been.
  booted_ += then.local - absl::ToInt64Nanoseconds(Local().since_boot());
  said_boot_ = then.said_boot;
  said_life_ = then.said_life;
  dialled_in_ = 0;
  ++start_;  // Nobody starts it again.
  // What its executor held in memory is what its disk says.
  if (!StartCommands()) return StartAfter(kStartAgain);
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
  const ModelHost::Scope here(host_);
  SetNow();
  while (!host_.dying() && commands_->loop().RunTimer()) {
    commands_->loop().RunReady();
  }
  CarryOut(link_->Tick(Local(), Wall()));
}

void AgentNode::DiskDue(uint32_t life) {
  if (link_ == nullptr || life != host_.agent_life()) return;
  if (paused_) {
    ++missed_disk_tasks_;
    return;
  }
  const ModelHost::Scope here(host_);
  SetNow();
  host_.RunDiskTask(life);
  AfterTask();
}

void AgentNode::WakeDue() {
  wake_armed_ = false;
  if (link_ == nullptr || paused_) return;
  const ModelHost::Scope here(host_);
  SetNow();
  AfterTask();
}

void AgentNode::SetNow() {
  commands_->loop().SetNow(absl::ToInt64Nanoseconds(Local().since_boot()),
                           absl::ToUnixNanos(Wall()));
}

void AgentNode::AfterTask() {
  if (link_ == nullptr) return;
  commands_->loop().RunReady();
  if (!host_.dying()) return Arm();
  Kill();
  StartAfter(down_);
}

void AgentNode::Arm() {
  Nanos at = AtLocal(link_->wake_at());
  const Nanos timer = commands_->loop().NextTimer();
  if (timer != kNever) {
    at = std::min(at, AtLocal(Instant::SinceBoot(absl::Nanoseconds(timer))));
  }
  if (at >= timer_armed_) return;
  timer_armed_ = std::max(at, world_.timeline.now() + 1000);
  world_.timeline.Add(timer_armed_, Due::kAgentTimer, self_);
}

// --- Messages --------------------------------------------------------------

void AgentNode::Hear(ConnectionId id, const Message& message) {
  if (link_ == nullptr || !(id == connection_)) return;
  const ModelHost::Scope here(host_);
  if (paused_) {
    socket_.emplace_back(id, message);
    return;
  }
  Take(message);
}

void AgentNode::Take(const Message& message) {
  SetNow();
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
      *out.mutable_command() = std::get<v1::CommandOrder>(*message.parcel);
      break;
    case Say::kCancel:
      out.mutable_cancel()->set_command_id(CommandIdOf(message.command).str());
      break;
    case Say::kUpdateAck:
      out.mutable_update_ack()->set_command_id(
          CommandIdOf(message.command).str());
      out.mutable_update_ack()->set_state(
          static_cast<v1::CommandState>(message.code));
      break;
    case Say::kChunkAck:
    case Say::kTransferOver:
      TakeAboutOutput(message);
      return AfterTask();
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
  transfer_ = 0;
  NoteNothingOnTheWay();
  world_.recorder.Record(
      {.what = What::kDialled,
       .flag = std::exchange(dialled_in_, life_) != life_,
       .machine = machine_,
       .number = self_,
       .length = std::max<Nanos>(told_back_ - world_.timeline.now(), 0)});
  told_back_ = 0;
}

void AgentNode::CarryOut(const agent::LinkActions& actions) {
  SetNow();
  for (const agent::LinkAction& action : actions) {
    if (host_.dying()) break;
    if (const auto* send = std::get_if<agent::SendMessage>(&action)) {
      SendOut(send->message);
    } else if (std::holds_alternative<agent::DialNow>(action)) {
      Dial();
    } else if (std::holds_alternative<agent::CloseLink>(action) ||
               std::holds_alternative<agent::FinishWrites>(action)) {
      world_.network.Close(std::exchange(connection_, {}), Network::kUp);
    } else if (std::holds_alternative<agent::WentOnline>(action)) {
      commands_->courier().OnOnline();
    } else if (const auto* order = std::get_if<agent::OrderArrived>(&action)) {
      commands_->courier().OnOrder(order->order);
    } else if (const auto* c = std::get_if<agent::CancelArrived>(&action)) {
      commands_->courier().OnCancel(c->command_id);
    } else if (const auto* a =
                   std::get_if<agent::UpdateAcknowledged>(&action)) {
      commands_->courier().OnUpdateAck(a->ack);
    } else if (std::holds_alternative<agent::Deregistered>(action)) {
      deregistered_ = true;
      Kill();
      return;
    } else if (std::holds_alternative<agent::Stopped>(action)) {
      Kill();
      return;
    }
  }
  AfterTask();
}

void AgentNode::SendOut(const v1::AgentMessage& message) {
  Message out;
  switch (message.kind_case()) {
    case v1::AgentMessage::kHeartbeat: {
      const v1::Heartbeat& heartbeat = message.heartbeat();
      out.say = Say::kHeartbeat;
      if (const Nanos behind = world_.network.Backlog(connection_)) {
        world_.recorder.Record(
            {.what = What::kHeldUp, .machine = machine_, .length = behind});
      }
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
      if (hello.open_command_ids_size() > 0) {
        v1::Hello open;
        *open.mutable_open_command_ids() = hello.open_command_ids();
        out.parcel = std::make_shared<const Parcel>(std::move(open));
      }
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

void AgentNode::NoteRuns(bool runs) {
  world_.recorder.Record({.what = runs ? What::kAgentRuns : What::kAgentLost,
                          .machine = machine_,
                          .group = self_ + 1});
}

bool AgentNode::StartCommands() {
  host_.AgentBegins([this] {
    if (std::exchange(wake_armed_, true)) return;
    world_.timeline.Add(
        world_.timeline.now() + random_.Spread(1000, 2 * kMillisecond),
        Due::kAgentWake, self_);
  });
  commands_ = AgentCommands::Start(
      fmt::format("b{}.{}", self_, boot_),
      {.send_update = [this](auto update) { return SendUpdate(update); },
       .send_chunk =
           [this](v1::TransferChunk chunk) {
             return SendChunk(std::move(chunk));
           },
       .send_taken = [](const v1::InputTaken&) { return true; }},
      absl::ToInt64Nanoseconds(Local().since_boot()),
      absl::ToUnixNanos(Wall()));
  if (commands_ == nullptr || host_.dying()) {
    EndCommands();
    return false;
  }
  NoteRuns(true);
  return true;
}

void AgentNode::EndCommands() {
  if (commands_ != nullptr) NoteRuns(false);
  missed_disk_tasks_ = 0;
  commands_.reset();
  host_.AgentEnds();
}

bool AgentNode::SendUpdate(const v1::CommandUpdate& update) {
  if (link_ == nullptr || !link_->online() || !host_.Effect()) return false;
  const uint64_t command = NumberOf(CommandId(update.command_id()));
  world_.recorder.Record(
      {.what = What::kSaid,
       .state = static_cast<gateway::CommandState>(update.state()),
       .code = update.exit_code(),
       .machine = machine_,
       .epoch = update.dispatch_seq(),
       .number = command,
       .group = self_ + 1});
  return world_.network.Send(
      connection_, Network::kUp,
      {.say = Say::kUpdate, .parcel = std::make_shared<const Parcel>(update)});
}

bool AgentNode::SendChunk(v1::TransferChunk chunk) {
  if (link_ == nullptr || !link_->online() || !host_.Effect()) return false;
  const uint64_t bytes = chunk.chunk().data().size();
  chunks_.push_back(bytes);
  on_the_way_ += bytes;
  world_.recorder.Record({.what = What::kBuffered,
                          .machine = machine_,
                          .length = static_cast<Nanos>(on_the_way_)});
  return world_.network.Send(
      connection_, Network::kUp,
      {.say = Say::kChunk,
       .command = transfer_,
       .bytes = bytes,
       .parcel = std::make_shared<const Parcel>(std::move(chunk))});
}

void AgentNode::TakeAboutOutput(const Message& message) {
  if (message.command != transfer_) return;  // Of one that is over.
  if (message.say == Say::kTransferOver) {
    ++transfer_;
    NoteNothingOnTheWay();
    commands_->courier().OnTransferLost();
    return;
  }
  on_the_way_ -= chunks_.front();
  chunks_.pop_front();
  commands_->courier().OnTransferAck(
      std::get<v1::TransferAck>(*message.parcel));
}

void AgentNode::NoteNothingOnTheWay() {
  chunks_.clear();
  on_the_way_ = 0;
}

}  // namespace muster::simulation
