// What gRPC alone can do: the link's messages, answered without any rules.

#ifndef MUSTER_TESTS_BENCH_LINK_ECHO_H_
#define MUSTER_TESTS_BENCH_LINK_ECHO_H_

#include "grpcpp/grpcpp.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/agent_link.grpc.pb.h"

namespace muster::bench {

// EchoLink says welcome to a hello and answers every heartbeat with the same
// fields that the gateway fills, right in the reaction of gRPC's thread. One
// operation is in flight at a time, so it needs no lock.
class EchoLink final
    : public grpc::ServerBidiReactor<v1::AgentMessage, v1::GatewayMessage> {
 public:
  EchoLink() { StartRead(&in_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    out_.Clear();
    if (in_.has_hello()) {
      Welcome(*out_.mutable_welcome());
    } else if (in_.has_heartbeat()) {
      Acknowledge(*out_.mutable_heartbeat_ack());
    } else {
      return StartRead(&in_);
    }
    StartWrite(&out_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&in_);
  }
  void OnDone() override { delete this; }

  void Welcome(v1::Welcome& out) {
    out.set_protocol(1);
    out.set_epoch(1);
    out.set_acknowledgement(++acknowledgement_);
    *out.mutable_heartbeat_interval() = wire::ToProto(kInterval);
    *out.mutable_gateway_time() = wire::ToProto(clock_.Wall());
    *out.mutable_reconnect_max() = wire::ToProto(kInterval);
  }
  void Acknowledge(v1::HeartbeatAck& out) {
    out.set_sequence(in_.heartbeat().sequence());
    out.set_acknowledgement(++acknowledgement_);
    *out.mutable_heartbeat_interval() = wire::ToProto(kInterval);
    *out.mutable_gateway_time() = wire::ToProto(clock_.Wall());
  }

  static constexpr absl::Duration kInterval = absl::Seconds(30);

  const SystemClock clock_;
  uint64_t acknowledgement_ = 0;
  v1::AgentMessage in_;
  v1::GatewayMessage out_;
};

// Reads output to its end and then says how much there was.
class TransferSink final
    : public grpc::ServerBidiReactor<v1::TransferChunk, v1::TransferAck> {
 public:
  TransferSink() { StartRead(&in_); }

 private:
  void OnReadDone(bool ok) override {
    if (ok) {
      out_.set_offset(in_.chunk().offset() + in_.chunk().data().size());
      StartRead(&in_);
    } else {
      StartWriteAndFinish(&out_, {}, grpc::Status::OK);
    }
  }
  void OnDone() override { delete this; }

  v1::TransferChunk in_;
  v1::TransferAck out_;
};

class EchoService final : public v1::AgentLink::CallbackService {
 public:
  grpc::ServerBidiReactor<v1::AgentMessage, v1::GatewayMessage>* Connect(
      grpc::CallbackServerContext*) override {
    return new EchoLink;
  }
  grpc::ServerBidiReactor<v1::TransferChunk, v1::TransferAck>* Transfer(
      grpc::CallbackServerContext*) override {
    return new TransferSink;
  }
};

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_LINK_ECHO_H_
