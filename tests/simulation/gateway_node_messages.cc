// What reaches the gateway of a simulation: over connections, and from
// operators.

#include <algorithm>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/simulation/gateway_node.h"
#include "tests/simulation/gateway_port.h"

namespace muster::simulation {
namespace {

using gateway::AcknowledgementNotice;
using gateway::Cause;
using gateway::CommandRecord;
using gateway::DisconnectReason;
using gateway::Domain;
using gateway::GoodbyeNotice;
using gateway::HeartbeatNotice;
using gateway::HelloNotice;
using gateway::LinkEnd;
using gateway::Machine;
using gateway::MachineRecord;
using gateway::Status;
using gateway::Verdict;

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

gateway::CommandWord ToWord(const v1::CommandUpdate& update) {
  gateway::CommandWord word{
      .id = CommandId(update.command_id()),
      .state = *gateway::ToCommandState(update.state()),
      .exit_code = std::nullopt,
      .signal = std::nullopt,
      .reason = update.reason(),
      .started_at = std::nullopt,
      .finished_at = std::nullopt,
      .stdout_total = update.stdout_bytes(),
      .stderr_total = update.stderr_bytes(),
      .output_dropped_bytes = update.output_dropped_bytes()};
  if (update.has_exit_code()) word.exit_code = update.exit_code();
  if (update.has_signal()) word.signal = update.signal();
  if (update.has_started_at()) {
    word.started_at = wire::FromProto(update.started_at());
  }
  return word;
}

std::string AddressOf(uint32_t node, uint32_t neighbours) {
  return fmt::format("10.1.{}.{}", 1 + node / neighbours, 1 + node % 250);
}

}  // namespace

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
    case Say::kChunk:  // On a stream of its own.
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
      const Event taken{.what = What::kGoodbye,
                        .cause = static_cast<Cause>(message.code),
                        .machine = agent,
                        .epoch = *port->epoch(),
                        .length = message.length};
      const gateway::Presence& presence =
          fleet_->machines().Find(IdOf(agent))->presence;
      // What it decides comes after; but of two that live, one says goodbye.
      const bool contested = presence.contested();
      if (!contested) world_.recorder.Record(taken);
      fleet_->Goodbye(IdOf(agent), *port->epoch(), ToNotice(message));
      if (contested && !presence.contested()) world_.recorder.Record(taken);
      Look(agent);
      return;
    }
    case Say::kUpdate: {
      fleet_->TakeWord(IdOf(agent), *port->epoch(),
                       ToWord(std::get<v1::CommandUpdate>(*message.parcel)));
      return;
    }
    case Say::kChunk:
      port->TakeChunk(message);
      return;
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
  if (message.parcel != nullptr) {
    for (const std::string& open :
         std::get<v1::Hello>(*message.parcel).open_command_ids()) {
      hello.open_commands.emplace_back(open);
    }
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

bool GatewayNode::Submit(CommandRecord command, bool queue, Answer answer) {
  if (!reachable()) return false;
  SetNow();
  const Machine* machine =
      fleet_->machines().FindLiving(DefaultOrg(), command.agent);
  if (machine == nullptr ||
      (machine->record.status != Status::kOnline && !queue)) {
    answer(absl::FailedPreconditionError("agent_unreachable"));
    return true;
  }
  command.org = DefaultOrg();
  command.created_at = loop_->Wall();
  fleet_->commands().Submit(std::move(command), std::move(answer));
  AfterTask();
  return true;
}

void GatewayNode::Ordered(const CommandRecord& command) {
  world_.recorder.Record({.what = What::kOrdered,
                          .machine = MachineOf(command.agent),
                          .number = NumberOf(command.id)});
}

bool GatewayNode::Cancel(const CommandId& command) {
  if (!reachable()) return false;
  SetNow();
  fleet_->commands().Cancel(command, [](const auto&) {
    // What became of it is in the store.
  });
  AfterTask();
  return true;
}

std::vector<gateway::OutputRecord> GatewayNode::ReadOutput(
    const CommandId& command, gateway::Stream stream, uint64_t offset) const {
  std::vector<gateway::OutputRecord> found;
  const auto it = image_.output.find(command);
  if (!reachable() || it == image_.output.end()) return found;
  for (const gateway::OutputRecord& stored : it->second) {
    if (stored.stream != stream ||
        stored.offset + stored.data.size() <= offset) {
      continue;
    }
    gateway::SkipBefore(found.emplace_back(stored), offset);
  }
  return found;
}

}  // namespace muster::simulation
