#include "tests/integration/raw_agent.h"

#include "agent/link/gateway_link.h"
#include "fmt/format.h"

namespace muster::integration {
RawAgent::RawAgent(MiniFleet& fleet, const Credentials& credentials,
                   absl::Duration patience) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(agent::kGatewayName);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  stub_ = v1::AgentLink::NewStub(grpc::CreateCustomChannel(
      fmt::format("127.0.0.1:{}", fleet.gateway().fleet_port()),
      agent::MakeAgentCredentials(
          credentials.ca_pem, credentials.certificate_pem, credentials.key_pem),
      arguments));
  for (grpc::ClientContext* context : {&link_context_, &output_context_}) {
    context->set_deadline(absl::ToChronoTime(SystemClock().Wall() + patience));
    context->set_wait_for_ready(true);
  }
  link_ = stub_->Connect(&link_context_);
}

RawAgent::~RawAgent() {
  link_context_.TryCancel();
  output_context_.TryCancel();
  if (link_) link_->Finish();
  if (output_) output_->Finish();
}

v1::AgentMessage RawAgent::HelloOf(uint32_t protocol_min,
                                   uint32_t protocol_max) {
  v1::AgentMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_protocol_min(protocol_min);
  hello.set_protocol_max(protocol_max);
  hello.mutable_facts()->set_hostname("raw");
  hello.mutable_instance()->set_boot_id("boot");
  hello.mutable_instance()->set_process_start_id("process");
  return message;
}

bool RawAgent::SendHeartbeat(uint64_t sequence, uint64_t acknowledged) {
  v1::AgentMessage message;
  message.mutable_heartbeat()->set_epoch(epoch_);
  message.mutable_heartbeat()->set_sequence(sequence);
  message.mutable_heartbeat()->set_acknowledged(acknowledged);
  return Send(message);
}

bool RawAgent::SendUpdate(const v1::CommandUpdate& update) {
  v1::AgentMessage message;
  *message.mutable_command_update() = update;
  return Send(message);
}

std::optional<v1::GatewayMessage> RawAgent::Read() {
  v1::GatewayMessage message;
  if (!link_->Read(&message)) return std::nullopt;
  if (message.has_welcome()) {
    epoch_ = message.welcome().epoch();
    acknowledgement_ = message.welcome().acknowledgement();
  }
  return message;
}

std::optional<v1::GatewayMessage> RawAgent::ReadUntil(
    v1::GatewayMessage::KindCase kind) {
  while (std::optional<v1::GatewayMessage> message = Read()) {
    if (message->kind_case() == kind) return message;
  }
  return std::nullopt;
}

std::optional<v1::Disconnect> RawAgent::ReadDisconnect() {
  const auto message = ReadUntil(v1::GatewayMessage::kDisconnect);
  if (!message) return std::nullopt;
  return message->disconnect();
}

bool RawAgent::GoOnline() {
  return SendHello() && ReadUntil(v1::GatewayMessage::kWelcome) &&
         SendHeartbeat(1, acknowledgement_) &&
         ReadUntil(v1::GatewayMessage::kHeartbeatAck);
}

grpc::Status RawAgent::Finish() {
  link_->WritesDone();
  while (Read()) {
  }
  const grpc::Status status = link_->Finish();
  link_.reset();
  return status;
}

std::optional<v1::TransferAck> RawAgent::Transfer(
    const v1::TransferChunk& chunk) {
  if (!output_) output_ = stub_->Transfer(&output_context_);
  v1::TransferAck ack;
  if (!output_->Write(chunk) || !output_->Read(&ack)) return std::nullopt;
  return ack;
}

grpc::Status RawAgent::FinishTransfer() {
  output_->WritesDone();
  v1::TransferAck ignored;
  while (output_->Read(&ignored)) {
  }
  const grpc::Status status = output_->Finish();
  output_.reset();
  return status;
}

}  // namespace muster::integration
