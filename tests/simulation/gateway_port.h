// The gateway's end of one connection, in a simulation.

#ifndef MUSTER_TESTS_SIMULATION_GATEWAY_PORT_H_
#define MUSTER_TESTS_SIMULATION_GATEWAY_PORT_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/time/time.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/link_port.h"
#include "tests/simulation/gateway_node.h"

namespace muster::simulation {

inline Nanos ToNanos(absl::Duration d) { return absl::ToInt64Nanoseconds(d); }

// As gateway/rpc/agent_link keeps it.
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
  void SendOrder(const gateway::CommandRecord& command) override {
    if (!node_.Effect()) return;
    node_.Ordered(command);
    Send({.say = Say::kOrder,
          .parcel = std::make_shared<const Parcel>(gateway::ToOrder(command))});
  }
  void SendCancel(const CommandId& command) override {
    if (!node_.Effect()) return;
    Send({.say = Say::kCancel,
          .command = static_cast<uint32_t>(NumberOf(command))});
  }
  void SendInput(const gateway::InputPart&) override {}  // Nobody types here.
  void SendUpdateAck(const CommandId& command,
                     gateway::CommandState state) override {
    if (!node_.Effect()) return;
    Send({.say = Say::kUpdateAck,
          .code = static_cast<uint8_t>(state),
          .command = static_cast<uint32_t>(NumberOf(command))});
  }
  void Close(const gateway::Disconnect& why) override {
    if (closing_ || !node_.Effect()) return;
    end_ = why.reason == gateway::DisconnectReason::kSuperseded
               ? gateway::LinkEnd::kSuperseded
           : why.reason == gateway::DisconnectReason::kSilent
               ? gateway::LinkEnd::kSilence
               : gateway::LinkEnd::kClosedByGateway;
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
    if (why.reason == gateway::DisconnectReason::kSuperseded && epoch_) {
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
  // Output, as gateway/rpc/agent_link takes it in.
  void TakeChunk(const Message& message) {
    if (message.command != transfer_) return;  // Of a stream that is over.
    if (unstored_ > kUnstoredMax) {            // It is left in the network.
      paused_.push_back(message);
      return;
    }
    const auto& chunk = std::get<v1::TransferChunk>(*message.parcel);
    gateway::OutputRecord output{
        .command = CommandId(chunk.command_id()),
        .stream = *gateway::ToStream(chunk.chunk().stream()),
        .offset = chunk.chunk().offset(),
        .data = chunk.chunk().data()};
    v1::TransferAck ack;
    ack.set_command_id(chunk.command_id());
    ack.set_stream(chunk.chunk().stream());
    unstored_ += output.data.size();
    node_.world_.recorder.Record({.what = What::kBuffered,
                                  .flag = true,
                                  .machine = agent_,
                                  .length = static_cast<Nanos>(unstored_)});
    node_.fleet_->TakeOutput(
        IdOf(agent_), std::move(output),
        [this, alive = std::weak_ptr<bool>(alive_), bytes = message.bytes,
         transfer = transfer_, ack](absl::StatusOr<uint64_t> end) mutable {
          if (alive.expired()) return;
          unstored_ -= bytes;
          if (transfer == transfer_) Stored(std::move(ack), end);
        });
  }
  void SetEnd(gateway::LinkEnd end) { end_ = end; }
  uint32_t agent() const { return agent_; }
  ConnectionId id() const { return id_; }
  const std::optional<uint64_t>& epoch() const { return epoch_; }

 private:
  // Output that may wait for the disk.
  static constexpr uint64_t kUnstoredMax = 1 << 20;

  void Stored(v1::TransferAck ack, const absl::StatusOr<uint64_t>& end) {
    if (!node_.Effect()) return;
    if (!end.ok()) {
      Send({.say = Say::kTransferOver, .command = transfer_++});
      paused_.clear();
      return;
    }
    ack.set_offset(*end);
    Send({.say = Say::kChunkAck,
          .command = transfer_,
          .parcel = std::make_shared<const Parcel>(std::move(ack))});
    while (unstored_ <= kUnstoredMax && !paused_.empty()) {
      const Message next = std::move(paused_.front());
      paused_.pop_front();
      TakeChunk(next);
    }
  }

  // A closed stream is over when its last write is.
  static constexpr Nanos kCloseMax = 5 * kSecond;

  GatewayNode& node_;
  const uint32_t agent_;
  const ConnectionId id_;
  const uint32_t from_;  // The node.
  const uint64_t instance_;
  const uint64_t last_epoch_;
  std::optional<uint64_t> epoch_;
  // Which stream for output this is, its bytes that wait for the disk, and
  // those that are not yet read.
  uint32_t transfer_ = 0;
  uint64_t unstored_ = 0;
  std::deque<Message> paused_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool closing_ = false;
  bool broken_ = false;
  gateway::LinkEnd end_ = gateway::LinkEnd::kClosedByPeer;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_GATEWAY_PORT_H_
