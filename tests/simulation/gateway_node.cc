#include "tests/simulation/gateway_node.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "fmt/format.h"

namespace muster::simulation {
namespace {

using gateway::AcknowledgementNotice;
using gateway::Cause;
using gateway::CommandRecord;
using gateway::CommandState;
using gateway::Disconnect;
using gateway::DisconnectReason;
using gateway::Domain;
using gateway::Fleet;
using gateway::GoodbyeNotice;
using gateway::HeartbeatNotice;
using gateway::HelloNotice;
using gateway::LinkEnd;
using gateway::Machine;
using gateway::MachineRecord;
using gateway::Status;
using gateway::Verdict;

// A closed stream is over when its last write is.
constexpr Nanos kCloseMax = 5 * kSecond;

Nanos ToNanos(absl::Duration d) { return absl::ToInt64Nanoseconds(d); }

// As the fleet port translates it.
GoodbyeNotice ToNotice(const Message& message) {
  GoodbyeNotice notice;
  notice.back_within =
      std::clamp(absl::Nanoseconds(std::max<Nanos>(message.length, 0)),
                 absl::ZeroDuration(), gateway::kPromiseMax);
  notice.cause = static_cast<Cause>(message.code);
  notice.domain = message.code >= static_cast<uint8_t>(Cause::kHostShutdown)
                      ? Domain::kHost
                      : Domain::kAgent;
  notice.summary = "goodbye";
  return notice;
}

void Describe(Event& event, const std::optional<Verdict>& verdict) {
  if (!verdict) return;
  event.verdict = true;
  event.domain = verdict->domain;
  event.cause = verdict->cause;
  event.confidence = verdict->confidence;
  event.flag = !verdict->summary.empty() && verdict->summary.size() <= 48;
  if (verdict->cause == Cause::kDuplicateIdentity) {
    // Both must be named.
    event.flag &= verdict->summary.find("used at 10.") == 0 &&
                  verdict->summary.find(" and 10.") != std::string::npos;
  }
}

bool IsHeld(const MachineRecord& record) {
  return record.status == Status::kStale && record.verdict &&
         record.verdict->cause == Cause::kNetworkGroup;
}

// Subnets have numbers, from 1 on; 0 if `text` names none.
uint64_t GroupIn(const std::string& text) {
  const size_t subnet = text.find("10.1.");
  return subnet == std::string::npos
             ? 0
             : std::strtoull(text.c_str() + subnet + 5, nullptr, 10);
}
std::string AddressOf(uint32_t node, uint32_t neighbours) {
  return fmt::format("10.1.{}.{}", 1 + node / neighbours, 1 + node % 250);
}

}  // namespace

// The gateway's end of one connection, as gateway/rpc/agent_link keeps it.
class GatewayNode::Port final : public gateway::LinkPort {
 public:
  Port(GatewayNode& node, const Arrival& hello)
      : node_(node),
        agent_(hello.agent),
        id_(hello.id),
        from_(hello.message.command),
        instance_(uint64_t{from_} << 32 |
                  (hello.message.acknowledged & UINT32_MAX)),
        last_epoch_(hello.message.epoch) {}

  void Greeted() const {
    node_.world_.recorder.Record({.what = What::kGreeted,
                                  .machine = agent_,
                                  .epoch = last_epoch_,
                                  .number = instance_});
  }

  void SendWelcome(const gateway::WelcomeNotice& w) override {
    epoch_ = w.epoch;
    if (!node_.Effect()) return;
    Greeted();
    node_.world_.recorder.Record({.what = What::kAccepted,
                                  .machine = agent_,
                                  .epoch = w.epoch,
                                  .group = 1 + from_ / node_.world_.neighbours,
                                  .length = ToNanos(w.heartbeat_interval)});
    Send({.say = Say::kWelcome,
          .epoch = w.epoch,
          .acknowledged = w.acknowledgement,
          .length = ToNanos(w.heartbeat_interval)});
  }
  void SendOrder(const CommandRecord& command) override {
    if (!node_.Effect()) return;
    Send({.say = Say::kOrder,
          .command = static_cast<uint32_t>(NumberOf(command.id)),
          .sequence = command.dispatch_seq});
  }
  void SendCancel(const CommandId& command) override {
    if (!node_.Effect()) return;
    Send({.say = Say::kCancel,
          .command = static_cast<uint32_t>(NumberOf(command))});
  }
  void SendUpdateAck(const CommandId& command, CommandState state) override {
    if (!node_.Effect()) return;
    Send({.say = Say::kUpdateAck,
          .code = static_cast<uint8_t>(state),
          .command = static_cast<uint32_t>(NumberOf(command))});
  }
  void Close(const Disconnect& why) override {
    if (closing_ || !node_.Effect()) return;
    end_ = why.reason == DisconnectReason::kSuperseded ? LinkEnd::kSuperseded
           : why.reason == DisconnectReason::kSilent
               ? LinkEnd::kSilence
               : LinkEnd::kClosedByGateway;
    Send({.say = Say::kDisconnect,
          .code = static_cast<uint8_t>(why.reason),
          .length = why.retry_after > absl::ZeroDuration()
                        ? ToNanos(why.retry_after)
                        : -1});
    closing_ = true;
    node_.world_.network.Close(id_, Network::kDown);
    NoteBroken(true);
    // The connection's index may be used again before this stream is over.
    node_.loop_->PostAt(
        node_.loop_->Now() +
            absl::Nanoseconds(node_.random_.Spread(kMillisecond, kCloseMax)),
        [self = std::move(node_.ports_[id_.index])] { self->Over(); });
    if (why.reason == DisconnectReason::kSuperseded && epoch_) {
      node_.SpeakLate(agent_, *epoch_);
    }
  }

  // The stream is gone: exactly once, last.
  void Over() {
    closing_ = true;
    NoteBroken(false);
    node_.world_.network.Close(id_, Network::kDown, false);
    if (epoch_) node_.fleet_->LinkClosed(IdOf(agent_), *epoch_, end_);
  }
  void NoteBroken(bool by_gateway) {
    if (!epoch_ || std::exchange(broken_, true)) return;
    node_.world_.recorder.Record({.what = What::kLinkBroke,
                                  .flag = by_gateway,
                                  .machine = agent_,
                                  .epoch = *epoch_});
  }

  void Send(const Message& message) {
    if (!closing_) node_.world_.network.Send(id_, Network::kDown, message);
  }
  void SetEnd(LinkEnd end) { end_ = end; }
  uint32_t agent() const { return agent_; }
  ConnectionId id() const { return id_; }
  const std::optional<uint64_t>& epoch() const { return epoch_; }

 private:
  GatewayNode& node_;
  const uint32_t agent_;
  const ConnectionId id_;
  const uint32_t from_;  // The node.
  const uint64_t instance_;
  const uint64_t last_epoch_;
  std::optional<uint64_t> epoch_;
  bool closing_ = false;
  bool broken_ = false;
  LinkEnd end_ = LinkEnd::kClosedByPeer;
};

GatewayNode::GatewayNode(World world, gateway::FleetOptions options)
    : world_(world),
      options_(std::move(options)),
      random_(world.seed, 'G'),
      known_(world.machines) {
  host_booted_ = random_.Between(kMinute, 1000 * kDay);
}

GatewayNode::~GatewayNode() { fleet_.reset(); }

// --- Life and death --------------------------------------------------------

void GatewayNode::Start(Nanos opens_after) {
  ++life_;
  power_ = true;
  world_.network.SetGatewayHostUp(true);
  loop_ = std::make_unique<SimLoop>(host_booted_);
  SetNow();
  effects_left_ = 0;
  dying_ = false;
  published_ = 0;
  journal_ = std::make_unique<ModelJournal>(
      *loop_, world_.timeline, world_.recorder, image_, mood_, life_,
      world_.seed, [this] { return Effect(); }, [this] { dying_ = true; });
  fleet_ = std::make_unique<Fleet>(*loop_, *journal_, options_);
  if (world_.accepts_per_second > 0) door_.emplace(world_.accepts_per_second);
  std::vector<MachineRecord> machines;
  for (const auto& [id, machine] : image_.machines) {
    machines.push_back(machine);
  }
  image_.run = std::max(image_.run + 1, Fleet::RunAfter(machines));
  std::vector<CommandRecord> commands;
  for (const auto& [id, command] : image_.commands) {
    if (!gateway::IsFinished(command)) commands.push_back(command);
  }
  fleet_->Restore(image_.run, std::move(machines), std::move(commands));
  world_.timeline.Add(world_.timeline.now() + opens_after, Due::kGatewayOpen, 0,
                      life_);
}

void GatewayNode::StartDue(uint32_t life) {
  if (life == life_ && fleet_ == nullptr) Start(start_time_);
}

void GatewayNode::Open(uint32_t life) {
  if (life != life_ || fleet_ == nullptr || open_) return;
  SetNow();
  fleet_->Open();
  open_ = true;
  world_.recorder.Record(
      {.what = What::kStalled, .length = world_.timeline.now() - down_since_});
  world_.recorder.Record(
      {.what = What::kOpened, .length = ToNanos(fleet_->HeartbeatInterval())});
  for (uint32_t i = 0; i < known_.size(); ++i) {
    known_[i] = {};
    Machine* machine = fleet_->machines().Find(IdOf(i));
    if (machine == nullptr || machine->record.deleted_at) continue;
    known_[i] = {machine, machine->record.status,
                 machine->record.transition_sequence};
    known_[i].held = IsHeld(machine->record);
    Event restored{.what = What::kRestored,
                   .to = machine->presence.status(),
                   .machine = i,
                   .number = known_[i].sequence,
                   .group = GroupIn(machine->record.address)};
    if (const auto promise = machine->presence.promise_end()) {
      restored.length = ToNanos(*promise - loop_->Now());
    }
    Describe(restored, machine->record.verdict);
    world_.recorder.Record(restored);
  }
  AfterTask();
}

void GatewayNode::Crash(bool power) {
  if (power_ && power) {
    power_ = false;
    world_.network.SetGatewayHostUp(false);
    host_booted_ = random_.Between(kSecond, kMinute) - world_.timeline.now();
  }
  if (fleet_ == nullptr) return;
  world_.recorder.Record({.what = What::kCrashed, .flag = power});
  if (open_) {
    down_since_ = stalled_ ? stalled_since_ : world_.timeline.now();
  }
  journal_->Crash(random_.Chance(0.5));
  fleet_.reset();
  ports_.clear();
  journal_.reset();
  loop_.reset();
  door_.reset();
  socket_.clear();
  open_ = stopping_ = stalled_ = store_stalled_ = commit_missed_ = false;
  timer_armed_ = door_armed_ = kNever;
  world_.timeline.Add(world_.timeline.now() + down_time_, Due::kGatewayStart, 0,
                      ++life_);
  world_.network.ForEach([&](ConnectionId id, uint32_t) {
    world_.network.Close(id, Network::kDown, !power);
  });
}

void GatewayNode::Stop(Nanos drain) {
  if (fleet_ == nullptr || !open_ || stalled_) return Crash(false);
  world_.recorder.Record({.what = What::kStopping});
  down_since_ = world_.timeline.now();
  open_ = false;
  stopping_ = true;
  SetNow();
  fleet_->Close({DisconnectReason::kDraining, "stops", {}});
  world_.timeline.Add(down_since_ + drain, Due::kGatewayEnd, 0, life_);
  AfterTask();
}

void GatewayNode::EndDue(uint32_t life) {
  if (life == life_ && fleet_ != nullptr) Crash(false);
}

void GatewayNode::BackUp() {
  copy_ = image_;
  world_.recorder.Record({.what = What::kBackedUp});
}

void GatewayNode::RestoreCopy() {
  if (!copy_) return;
  Crash(false);
  image_ = *copy_;
  world_.recorder.Record({.what = What::kRolledBack});
}

bool GatewayNode::Effect() {
  if (dying_) return false;
  if (effects_left_ > 0 && --effects_left_ == 0) dying_ = true;
  return !dying_;
}

void GatewayNode::Stall(Nanos length, bool store) {
  if (fleet_ == nullptr || !open_) return;
  if (!stalled_) {
    stalled_ = true;
    stalled_since_ = stalled_until_ = world_.timeline.now();
  }
  store_stalled_ |= store;
  stalled_until_ = std::max(stalled_until_, world_.timeline.now() + length);
  world_.timeline.Add(stalled_until_, Due::kGatewayResume, 0, ++pause_);
}

void GatewayNode::Resume(uint32_t pause) {
  if (pause != pause_ || !stalled_) return;
  stalled_ = store_stalled_ = false;
  SetNow();
  world_.recorder.Record({.what = What::kStalled,
                          .length = world_.timeline.now() - stalled_since_});
  if (std::exchange(commit_missed_, false)) journal_->Commit();
  const bool timers_first = random_.Chance(0.5);
  if (timers_first) RunTimers();
  DrainSockets();
  RunTimers();
  AfterTask();
  LetIn();
}

void GatewayNode::Heal() {
  if (stalled_) Resume(pause_);
  mood_ = {};
  down_time_ = start_time_ = kSecond;
  if (fleet_ == nullptr) Start(start_time_);
}

// --- Tasks -----------------------------------------------------------------

void GatewayNode::SetNow() {
  const Nanos now = world_.timeline.now();
  loop_->SetNow(now, wall_.At(now));
}

void GatewayNode::TimerDue() {
  if (world_.timeline.now() < timer_armed_) return;  // An earlier one came.
  timer_armed_ = kNever;
  if (fleet_ == nullptr || stalled_) return;
  SetNow();
  RunTimers();
  AfterTask();
}

void GatewayNode::RunTimers() {
  while (!dying_ && loop_->RunTimer()) loop_->RunReady();
  LookIfChanged();  // Before anything else is handled.
}

void GatewayNode::CommitDue(uint32_t life) {
  if (life != life_ || journal_ == nullptr) return;
  if (store_stalled_) {
    commit_missed_ = true;
    return;
  }
  SetNow();
  journal_->Commit();
  if (!stalled_) AfterTask();
}

void GatewayNode::AfterTask() {
  loop_->RunReady();
  if (dying_) {
    Crash(false);
    return;
  }
  LookIfChanged();
  const Nanos next = loop_->NextTimer();
  if (next < timer_armed_) {
    timer_armed_ = next;
    world_.timeline.Add(next, Due::kGatewayTimer);
  }
}

void GatewayNode::LookIfChanged() {
  if (!open_ && !stopping_) return;
  const uint64_t published = fleet_->events().published();
  if (!journal_->TakeTransitionSeen() && published == published_) return;
  published_ = published;
  LookAtAll();
}

void GatewayNode::LookAtAll() {
  for (uint32_t i = 0; i < known_.size(); ++i) Look(i);
  for (uint32_t i = 0; i < known_.size(); ++i) LookWhetherHeld(i);
}

void GatewayNode::LookWhetherHeld(uint32_t machine) {
  Known& known = known_[machine];
  if (known.machine == nullptr) return;
  const auto& verdict = known.machine->record.verdict;
  const bool held = IsHeld(known.machine->record);
  if (std::exchange(known.held, held) || !held) return;
  // "silent with others of 10.1.7.0/24"
  const uint64_t group = GroupIn(verdict->summary);
  world_.recorder.Record(
      {.what = What::kHeld, .machine = machine, .group = group});
}

void GatewayNode::Look(uint32_t machine) {
  Known& known = known_[machine];
  if (known.machine == nullptr) return;
  const MachineRecord& record = known.machine->record;
  if (record.transition_sequence == known.sequence &&
      record.status == known.status) {
    return;
  }
  Event event{.what = What::kDecided,
              .from = known.status,
              .to = record.status,
              .machine = machine,
              .epoch = record.epoch,
              .number = record.transition_sequence};
  Describe(event, record.verdict);
  if (event.to == Status::kStale && event.cause == Cause::kNetworkGroup) {
    // What was said first has already been replaced; LookWhetherHeld() tells.
    event.domain = Domain::kUnknown;
    event.cause = Cause::kUndetermined;
    event.confidence = gateway::Confidence::kUndetermined;
  }
  if (record.transition_sequence == known.sequence + 2) {
    // Two steps in one task: the way to offline leads through stale.
    Event first = event;
    first.to = event.from = Status::kStale;
    first.number = known.sequence + 1;
    world_.recorder.Record(first);
  }
  world_.recorder.Record(event);
  known.status = record.status;
  known.sequence = record.transition_sequence;
}

void GatewayNode::Audit() {
  if (!open_ || stalled_) return;
  LookAtAll();
  gateway::StatusCounts counted;
  for (const Known& known : known_) {
    if (known.machine == nullptr || known.machine->record.deleted_at) continue;
    if (gateway::Silenced(known.machine->record)) {
      ++counted.silenced;
      continue;
    }
    switch (known.machine->record.status) {
      case Status::kOnline:
        ++counted.online;
        counted.degraded += !known.machine->health.empty();
        break;
      case Status::kStale:
        ++counted.stale;
        break;
      case Status::kOffline:
        ++counted.offline;
        break;
    }
  }
  if (!(counted == fleet_->machines().Counts(DefaultOrg()))) {
    world_.recorder.Record({.what = What::kMiscounted});
  }
  if (!follower_.ReadOn(*fleet_).empty()) {
    world_.recorder.Record({.what = What::kMiscounted, .flag = true});
  }
}

GatewayNode::Known& GatewayNode::KnownOf(uint32_t machine) {
  Known& known = known_[machine];
  if (known.machine == nullptr) {
    known.machine = fleet_->machines().Find(IdOf(machine));
    if (known.machine != nullptr) {
      known.status = known.machine->record.status;
      known.sequence = known.machine->record.transition_sequence;
      known.held = IsHeld(known.machine->record);
    }
  }
  return known;
}

// --- Messages --------------------------------------------------------------

GatewayNode::Port* GatewayNode::PortOf(ConnectionId id) {
  if (id.index >= ports_.size()) return nullptr;
  Port* port = ports_[id.index].get();
  return port != nullptr && port->id() == id ? port : nullptr;
}

void GatewayNode::Arrive(uint32_t agent, ConnectionId id,
                         const Message& message) {
  const bool listens = open_ || (stopping_ && message.say != Say::kHello);
  if (fleet_ == nullptr || !listens) {
    world_.network.Close(id, Network::kDown);
    return;
  }
  if (door_ && message.say == Say::kHello) {
    world_.recorder.Record({.what = What::kWaits, .machine = agent});
    door_->Arrive({agent, id, message}, world_.timeline.now());
    LetIn();
    return;
  }
  NoteArrival(agent, id, message);
  if (stalled_) {
    socket_.push_back({agent, id, message});
    return;
  }
  SetNow();
  Handle({agent, id, message});
  AfterTask();
}

void GatewayNode::AcceptDue(uint32_t life) {
  if (life != life_ || fleet_ == nullptr) return;
  door_armed_ = kNever;
  LetIn();
}

void GatewayNode::LetIn() {
  // The thread that accepts stands still with the whole process only.
  if (!door_ || store_stalled_) return;
  const Nanos now = world_.timeline.now();
  const auto waits_no_longer = [this](const Arrival& arrival) {
    world_.recorder.Record(
        {.what = What::kWaits, .flag = true, .machine = arrival.agent});
  };
  const auto gone = [&](const Arrival& arrival) {
    if (world_.network.Holds(arrival.id, Network::kUp)) return false;
    world_.network.Close(arrival.id, Network::kDown, false);
    waits_no_longer(arrival);
    return true;
  };
  while (auto next = door_->Next(now, gone)) {
    waits_no_longer(*next);
    socket_.push_back(*next);
    if (stalled_) continue;
    SetNow();
    DrainSockets();
    AfterTask();
    if (fleet_ == nullptr) return;
  }
  if (door_->MustTell(now)) {
    socket_.push_back({0, {}, {.say = Say::kWait}});
    if (!stalled_) {
      SetNow();
      DrainSockets();
      AfterTask();
      if (fleet_ == nullptr) return;
    }
  }
  const Nanos due = door_->Due(now);
  if (due >= door_armed_) return;
  door_armed_ = due;
  world_.timeline.Add(due, Due::kAccept, 0, life_);
}

void GatewayNode::NoteArrival(uint32_t agent, ConnectionId id,
                              const Message& message) {
  Port* port = PortOf(id);
  switch (message.say) {
    case Say::kHello:
      return;
    case Say::kEnd:
    case Say::kReset:
      if (port != nullptr) port->NoteBroken(false);
      return;
    default:
      break;
  }
  if (port == nullptr || !port->epoch()) return;
  const bool heartbeat = message.say == Say::kHeartbeat;
  world_.recorder.Record(
      {.what = heartbeat ? What::kArrived : What::kArrivedOther,
       .machine = agent,
       .epoch = *port->epoch(),
       .number = message.acknowledged,
       .length = message.interval});
}

void GatewayNode::DrainSockets() {
  while (!socket_.empty() && !dying_ && !stalled_) {
    const Arrival arrival = socket_.front();
    socket_.pop_front();
    Handle(arrival);
    loop_->RunReady();
  }
}

void GatewayNode::Handle(const Arrival& arrival) {
  const auto& [agent, id, message] = arrival;
  Port* port = PortOf(id);
  if (message.say == Say::kHello) return TakeHello(arrival);
  if (message.say == Say::kWait) {
    world_.recorder.Record({.what = What::kHindered,
                            .length = ToNanos(options_.deaf_after_refusal)});
    fleet_->TurnedAway(gateway::BlindReason::kAdmission);
    return;
  }
  if (port == nullptr) return;  // It is over already, or never began.
  switch (message.say) {
    case Say::kHeartbeat:
      TakeHeartbeat(*port, message);
      return;
    case Say::kGoodbye: {
      port->SetEnd(LinkEnd::kGoodbye);
      world_.recorder.Record({.what = What::kGoodbye,
                              .cause = static_cast<Cause>(message.code),
                              .machine = agent,
                              .epoch = *port->epoch(),
                              .length = message.length});
      fleet_->Goodbye(IdOf(agent), *port->epoch(), ToNotice(message));
      Look(agent);
      return;
    }
    case Say::kUpdate: {
      gateway::CommandWord word;
      word.id = CommandIdOf(message.command);
      word.state = static_cast<CommandState>(message.code);
      fleet_->TakeWord(IdOf(agent), *port->epoch(), std::move(word));
      return;
    }
    case Say::kEnd:
    case Say::kReset:
      std::exchange(ports_[id.index], nullptr)->Over();
      return;
    default:
      return;
  }
}

void GatewayNode::TakeHello(const Arrival& arrival) {
  const auto& [agent, id, message] = arrival;
  if (!world_.network.Holds(id, Network::kUp)) {
    // It gave up while nobody shook hands with it.
    world_.network.Close(id, Network::kDown, false);
    return;
  }
  if (ports_.size() <= id.index) ports_.resize(id.index + 1);
  ports_[id.index] = std::make_unique<Port>(*this, arrival);
  HelloNotice hello;
  hello.facts.hostname = IdOf(agent).str();
  hello.last_epoch = message.epoch;
  hello.seen_high = message.sequence;
  hello.boot_id =
      fmt::format("b{}.{}", message.command, message.acknowledged >> 32);
  hello.process_start_id =
      fmt::format("p{}.{}", message.command, message.acknowledged & UINT32_MAX);
  hello.address = AddressOf(message.command, world_.neighbours);
  if (message.length >= 0) {
    hello.acknowledged_ago = absl::Nanoseconds(message.length);
  }
  if (message.round_trip >= 0) {
    hello.connected_ago = absl::Nanoseconds(message.round_trip);
  }
  Port& port = *ports_[id.index];
  if (const auto refused =
          fleet_->LinkOpened(IdOf(agent), std::move(hello), port)) {
    const bool full = refused->reason == DisconnectReason::kOverloaded &&
                      !refused->text.starts_with("another instance");
    if (full) {
      world_.recorder.Record({.what = What::kRefused,
                              .machine = agent,
                              .length = ToNanos(refused->retry_after)});
    } else {
      port.Greeted();
    }
    port.Close(*refused);
  }
  KnownOf(agent);
}

void GatewayNode::TakeHeartbeat(Port& port, const Message& message) {
  ++heartbeats_;
  HeartbeatNotice notice{
      .sequence = message.sequence,
      .acknowledged = message.acknowledged,
      .sent_at = absl::UnixEpoch() + absl::Nanoseconds(message.wall),
      .round_trip = std::nullopt};
  if (message.round_trip >= 0) {
    notice.round_trip = absl::Nanoseconds(message.round_trip);
  }
  const uint64_t epoch = *port.epoch();
  const Known& known = KnownOf(port.agent());
  const std::optional<AcknowledgementNotice> answer =
      message.epoch == epoch
          ? fleet_->Heartbeat(known.machine->record.id, epoch, notice)
          : std::nullopt;
  if (!answer) {
    port.Close({DisconnectReason::kSuperseded, "not the newest", {}});
    return;
  }
  Look(port.agent());
  const Nanos told = ToNanos(answer->heartbeat_interval);
  world_.recorder.Record({.what = What::kHandled,
                          .flag = true,
                          .to = known.machine->record.status,
                          .machine = port.agent(),
                          .epoch = epoch,
                          .number = message.acknowledged,
                          .length = told});
  port.Send({.say = Say::kAck,
             .sequence = message.sequence,
             .acknowledged = answer->acknowledgement,
             .length = told});
}

void GatewayNode::SpeakLate(uint32_t agent, uint64_t epoch) {
  loop_->PostAt(loop_->Now() + absl::Nanoseconds(random_.Spread(1000, kSecond)),
                [this, agent, epoch] {
                  const Known& known = KnownOf(agent);
                  if (known.machine == nullptr) return;
                  const MachineRecord before = known.machine->record;
                  HeartbeatNotice notice;
                  notice.acknowledged = known.machine->acknowledgement_sent;
                  const auto answer =
                      fleet_->Heartbeat(IdOf(agent), epoch, notice);
                  fleet_->Goodbye(IdOf(agent), epoch, {});
                  if (answer || !(known.machine->record == before)) {
                    world_.recorder.Record({.what = What::kOldLinkCounted,
                                            .machine = agent,
                                            .epoch = epoch});
                  }
                });
}

// --- Operators -------------------------------------------------------------

void GatewayNode::Admit(uint32_t machine) {
  MachineRecord record;
  record.id = IdOf(machine);
  record.org = DefaultOrg();
  record.facts.hostname = record.id.str();
  record.verdict = Verdict{Domain::kUnknown, Cause::kNeverConnected,
                           gateway::Confidence::kProven, "never connected"};
  if (fleet_ == nullptr || !open_) {  // As if it had been so at the start.
    image_.machines[record.id] = record;
    world_.recorder.Record({.what = What::kAdmitted, .machine = machine});
    return;
  }
  SetNow();
  record.registered_at = record.status_since = loop_->Wall();
  image_.machines[record.id] = record;
  fleet_->Admit(record);
  world_.recorder.Record({.what = What::kAdmitted, .machine = machine});
  known_[machine] = {};
  KnownOf(machine);
  AfterTask();
}

void GatewayNode::Delete(uint32_t machine) {
  if (fleet_ == nullptr || !open_ || stalled_) return;
  SetNow();
  world_.recorder.Record({.what = What::kDeleting, .machine = machine});
  fleet_->Delete(DefaultOrg(), IdOf(machine), [this, machine](auto status) {
    world_.recorder.Record(
        {.what = What::kDeleted, .flag = status.ok(), .machine = machine});
  });
  AfterTask();
}

void GatewayNode::Submit(uint32_t machine, uint64_t command) {
  if (fleet_ == nullptr || !open_ || stalled_) return;
  Machine* known = fleet_->machines().FindLiving(DefaultOrg(), IdOf(machine));
  if (known == nullptr || known->record.status != Status::kOnline) return;
  SetNow();
  CommandRecord record;
  record.id = CommandIdOf(command);
  record.agent = IdOf(machine);
  record.org = DefaultOrg();
  record.created_at = loop_->Wall();
  record.spec.timeout = absl::Minutes(1);
  record.spec.delivery_timeout = absl::Seconds(30);
  record.spec.kill_grace = absl::Seconds(5);
  world_.recorder.Record(
      {.what = What::kCommandAsked, .machine = machine, .number = command});
  fleet_->commands().Submit(record, [this, machine, command](auto result) {
    world_.recorder.Record(
        {.what = result.ok() ? What::kCommandAccepted : What::kCommandRefused,
         .machine = machine,
         .number = command});
  });
  AfterTask();
}

}  // namespace muster::simulation
