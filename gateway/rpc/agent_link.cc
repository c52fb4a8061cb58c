#include "gateway/rpc/agent_link.h"

#include <utility>

#include "fmt/format.h"
#include "gateway/admin/convert.h"
#include "gateway/fleet/words.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/log.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/protocol_version.h"
#include "libprotocol/wire/validation.h"

namespace muster::gateway {
namespace {

// A hello names at most this many commands; the agent keeps fewer open.
constexpr int kOpenCommandsMax = 10'000;

constexpr size_t kChunkBytesMax = 64 << 10;

// A certificate lasts for weeks; each costs a signature.
constexpr absl::Duration kRenewalPause = absl::Minutes(1);

constexpr absl::Duration kComplaintPause = absl::Minutes(1);

// Output of one agent that may wait for the disk; more is left in the network.
constexpr size_t kUnstoredBytesMax = 1 << 20;
// What each piece of it costs here, however short it is.
constexpr size_t kUnstoredOverhead = 64;

std::optional<absl::Time> TimeIf(bool present,
                                 const google::protobuf::Timestamp& t) {
  if (!present) return std::nullopt;
  return wire::FromProto(t);
}

GoodbyeNotice ToNotice(const v1::Goodbye& goodbye) {
  GoodbyeNotice notice;
  notice.back_within = std::clamp(wire::FromProto(goodbye.back_within()),
                                  absl::ZeroDuration(), kPromiseMax);
  const std::string promise =
      notice.back_within > absl::ZeroDuration()
          ? ", expected back within " + Spoken(notice.back_within)
          : "";
  switch (goodbye.reason()) {
    case v1::GOODBYE_REASON_UPGRADE:
      notice.cause = Cause::kAgentUpgrading;
      notice.summary = "agent is upgrading" + promise;
      break;
    case v1::GOODBYE_REASON_REBOOT:
      notice.domain = Domain::kHost;
      // That it has rebooted is known when it is back.
      notice.cause = Cause::kHostShutdown;
      notice.summary = std::string(kRebooting) + promise;
      break;
    case v1::GOODBYE_REASON_SHUTDOWN:
      notice.domain = Domain::kHost;
      notice.cause = Cause::kHostShutdown;
      notice.summary = "host is shutting down" + promise;
      break;
    case v1::GOODBYE_REASON_TERMINATED:
      notice.summary =
          promise.empty() ? "agent was stopped" : "agent stops" + promise;
      break;
    default:
      notice.summary = "agent was stopped" + promise;
  }
  return notice;
}

std::optional<absl::Duration> DurationIf(bool present,
                                         const google::protobuf::Duration& d) {
  if (!present) return std::nullopt;
  return std::max(wire::FromProto(d), absl::ZeroDuration());
}

std::string_view ReasonText(DisconnectReason reason) {
  return v1::DisconnectReason_Name(static_cast<v1::DisconnectReason>(reason));
}

}  // namespace

AgentLink::AgentLink(ThreadEventLoop& loop, Fleet& fleet,
                     AgentLinkOptions options, LinkPeer peer,
                     grpc::CallbackServerContext& context)
    : ServerStream(loop, options.stream, context),
      fleet_(fleet),
      options_(std::move(options)),
      peer_(std::move(peer)),
      messages_(options_.messages_per_second_max, options_.messages_burst) {}

// --- What the rules say ----------------------------------------------------

void AgentLink::SendWelcome(const WelcomeNotice& welcome) {
  epoch_ = welcome.epoch;
  v1::GatewayMessage message;
  v1::Welcome& out = *message.mutable_welcome();
  out.set_protocol(protocol_);
  out.set_epoch(welcome.epoch);
  out.set_acknowledgement(welcome.acknowledgement);
  *out.mutable_heartbeat_interval() = wire::ToProto(welcome.heartbeat_interval);
  *out.mutable_gateway_time() = wire::ToProto(loop().clock().Wall());
  *out.mutable_reconnect_max() = wire::ToProto(
      std::min(options_.reconnect_max, welcome.heartbeat_interval));
  *out.mutable_renew_certificate_in() = wire::ToProto(
      std::max(absl::ZeroDuration(), peer_.renew_at - loop().clock().Wall()));
  Send(std::move(message));
}

void AgentLink::SendOrder(const CommandRecord& command) {
  v1::GatewayMessage message;
  *message.mutable_command() = ToOrder(command);
  Send(std::move(message));
}

void AgentLink::SendCancel(const CommandId& command) {
  v1::GatewayMessage message;
  message.mutable_cancel()->set_command_id(command.str());
  Send(std::move(message));
}

void AgentLink::SendInput(const InputPart& input) {
  v1::GatewayMessage message;
  v1::CommandInput& out = *message.mutable_input();
  out.set_command_id(input.command.str());
  out.set_offset(input.offset);
  out.set_data(input.data);
  out.set_end(input.end);
  if (input.size) *out.mutable_size() = ToProto(*input.size);
  Send(std::move(message));
}

void AgentLink::SendUpdateAck(const CommandId& command, CommandState state) {
  v1::GatewayMessage message;
  message.mutable_update_ack()->set_command_id(command.str());
  message.mutable_update_ack()->set_state(ToProto(state));
  Send(std::move(message));
}

void AgentLink::Close(const Disconnect& why) {
  if (closing()) return;
  end_ = why.reason == DisconnectReason::kSuperseded ? LinkEnd::kSuperseded
         : why.reason == DisconnectReason::kSilent   ? LinkEnd::kSilence
                                                   : LinkEnd::kClosedByGateway;
  Log(kInfo, "disconnect",
      {{"agent_id", peer_.agent.str()},
       {"reason", ReasonText(why.reason)},
       {"text", why.text}});
  v1::GatewayMessage last;
  v1::Disconnect& out = *last.mutable_disconnect();
  out.set_reason(static_cast<v1::DisconnectReason>(why.reason));
  out.set_text(why.text);
  if (why.retry_after > absl::ZeroDuration()) {
    *out.mutable_retry_after() = wire::ToProto(why.retry_after);
  }
  out.set_protocol_min(wire::kOurProtocol.min);
  out.set_protocol_max(wire::kOurProtocol.max);
  DropQueued();
  CloseStream(grpc::Status::OK, std::move(last));
}

// --- What the agent says ---------------------------------------------------

void AgentLink::OnOpened() {
  hello_timer_ = loop().PostAt(
      loop().clock().Now() + options_.hello_timeout, [weak = weak_from_this()] {
        const auto self = std::static_pointer_cast<AgentLink>(weak.lock());
        if (self && !self->epoch_) self->Refuse("no hello came in time");
      });
}

void AgentLink::OnMessage(v1::AgentMessage message) {
  const Instant now = loop().clock().Now();
  (void)messages_.Take(now);
  if (messages_.Wait(now) > absl::ZeroDuration()) HoldBack();
  if (!epoch_ && !message.has_hello()) {
    Refuse("the first message must be a hello");
    return;
  }
  switch (message.kind_case()) {
    case v1::AgentMessage::kHello:
      OnHello(message.hello());
      return;
    case v1::AgentMessage::kHeartbeat:
      OnHeartbeat(message.heartbeat());
      return;
    case v1::AgentMessage::kGoodbye:
      OnGoodbye(message.goodbye());
      return;
    case v1::AgentMessage::kCommandUpdate:
      OnCommandUpdate(message.command_update());
      return;
    case v1::AgentMessage::kInputTaken:
      OnInputTaken(message.input_taken());
      return;
    case v1::AgentMessage::kCertificateRequest:
      OnCertificateRequest(message.certificate_request());
      return;
    case v1::AgentMessage::KIND_NOT_SET:
      return;  // A newer agent's message: not for us.
  }
}

void AgentLink::HoldBack() {
  const Instant now = loop().clock().Now();
  if (now >= next_complaint_) {
    next_complaint_ = now + kComplaintPause;
    Log(kWarning, "an agent says too much and is held back",
        {{"agent_id", peer_.agent.str()},
         {"address", peer_.address},
         {"messages_per_second_max", options_.messages_per_second_max}});
  }
  Pause();
  loop().PostAt(now + messages_.Wait(now), [weak = weak_from_this()] {
    const auto self = std::static_pointer_cast<AgentLink>(weak.lock());
    if (self) self->Resume();
  });
}

void AgentLink::OnHello(const v1::Hello& hello) {
  if (epoch_) {
    Refuse("a link has one hello");
    return;
  }
  const auto version = wire::NegotiateProtocol(
      {.min = hello.protocol_min(), .max = hello.protocol_max()},
      wire::kOurProtocol);
  if (!version.ok()) {
    Close({DisconnectReason::kVersionRefused,
           std::string(version.status().message()), absl::Minutes(5)});
    return;
  }
  protocol_ = *version;
  if (const absl::Status valid = wire::ValidateFacts(hello.facts());
      !valid.ok()) {
    Refuse(std::string(valid.message()));
    return;
  }
  if (hello.open_command_ids_size() > kOpenCommandsMax) {
    Refuse(fmt::format("open_command_ids: at most {}, got {}", kOpenCommandsMax,
                       hello.open_command_ids_size()));
    return;
  }
  // What the agent itself takes as a number of an order.
  if (hello.seen_high() > INT64_MAX) {
    Refuse(fmt::format("seen_high: must be below 2^63, got {}",
                       hello.seen_high()));
    return;
  }
  HelloNotice notice{
      .facts = ToFacts(hello.facts()),
      .org = peer_.org,
      .key_pin = peer_.key_pin,
      .boot_id = hello.instance().boot_id().substr(0, 64),
      .process_start_id = hello.instance().process_start_id().substr(0, 64),
      .address = peer_.address,
      .last_epoch = hello.last_epoch(),
      .acknowledged_ago =
          DurationIf(hello.has_acknowledged_ago(), hello.acknowledged_ago()),
      .connected_ago =
          DurationIf(hello.has_connected_ago(), hello.connected_ago()),
      .seen_high = hello.seen_high(),
      .open_commands = {}};
  for (const std::string& id : hello.open_command_ids()) {
    notice.open_commands.emplace_back(id);
  }
  loop().Cancel(hello_timer_);
  if (const auto refused =
          fleet_.LinkOpened(peer_.agent, std::move(notice), *this)) {
    Close(*refused);
  }
}

void AgentLink::OnHeartbeat(const v1::Heartbeat& heartbeat) {
  HeartbeatNotice notice{
      .sequence = heartbeat.sequence(),
      .acknowledged = heartbeat.acknowledged(),
      .sent_at = TimeIf(heartbeat.has_sent_at(), heartbeat.sent_at()),
      .round_trip = std::nullopt};
  if (heartbeat.has_round_trip()) {
    notice.round_trip = wire::FromProto(heartbeat.round_trip());
  }
  // A heartbeat that was meant for another link counts for nothing.
  const auto acknowledgement =
      heartbeat.epoch() == *epoch_
          ? fleet_.Heartbeat(peer_.agent, *epoch_, notice)
          : std::nullopt;
  if (!acknowledgement) {
    Close({DisconnectReason::kSuperseded,
           fmt::format("epoch {} is not the newest", heartbeat.epoch()),
           {}});
    return;
  }
  v1::GatewayMessage message;
  v1::HeartbeatAck& out = *message.mutable_heartbeat_ack();
  out.set_sequence(heartbeat.sequence());
  out.set_acknowledgement(acknowledgement->acknowledgement);
  *out.mutable_heartbeat_interval() =
      wire::ToProto(acknowledgement->heartbeat_interval);
  *out.mutable_gateway_time() = wire::ToProto(loop().clock().Wall());
  Send(std::move(message));
}

void AgentLink::OnGoodbye(const v1::Goodbye& goodbye) {
  end_ = LinkEnd::kGoodbye;
  if (goodbye.reason() == v1::GOODBYE_REASON_LEAVE) {
    fleet_.Leave(peer_.agent, *epoch_);
    return;
  }
  const absl::Duration promised = wire::FromProto(goodbye.back_within());
  if (promised > kPromiseMax) {
    Log(kWarning, "a promise to be back is not believed for so long",
        {{"agent_id", peer_.agent.str()},
         {"promised", promised},
         {"believed", kPromiseMax}});
  }
  fleet_.Goodbye(peer_.agent, *epoch_, ToNotice(goodbye));
}

void AgentLink::OnCommandUpdate(const v1::CommandUpdate& update) {
  const auto state = ToCommandState(update.state());
  if (!state) {
    Refuse("command_update.state: unknown value");
    return;
  }
  CommandWord word{
      .id = CommandId(update.command_id()),
      .state = *state,
      .exit_code = std::nullopt,
      .signal = std::nullopt,
      .reason = update.reason().substr(0, 255),
      .started_at = TimeIf(update.has_started_at(), update.started_at()),
      .finished_at = TimeIf(update.has_finished_at(), update.finished_at()),
      .stdout_total = update.stdout_bytes(),
      .stderr_total = update.stderr_bytes(),
      .output_dropped_bytes = update.output_dropped_bytes()};
  if (update.has_exit_code()) word.exit_code = update.exit_code();
  if (update.has_signal()) word.signal = update.signal();
  fleet_.TakeWord(peer_.agent, *epoch_, std::move(word));
}

void AgentLink::OnInputTaken(const v1::InputTaken& taken) {
  fleet_.TakeInput(peer_.agent, *epoch_,
                   {.id = CommandId(taken.command_id()),
                    .taken = taken.offset(),
                    .kept = taken.kept(),
                    .again = taken.again(),
                    .closed = taken.closed()});
}

void AgentLink::OnCertificateRequest(const v1::CertificateRequest& request) {
  const Instant now = loop().clock().Now();
  if (now < next_renewal_) {
    Refuse(fmt::format("certificate_request: at most one every {}",
                       kRenewalPause));
    return;
  }
  next_renewal_ = now + kRenewalPause;
  options_.renew(
      peer_.org, peer_.agent, peer_.key_pin, request.csr_pem(),
      [weak = weak_from_this()](absl::StatusOr<v1::CertificateIssued> issued) {
        const auto self = std::static_pointer_cast<AgentLink>(weak.lock());
        if (!self) return;
        if (absl::IsInvalidArgument(issued.status())) {
          self->Refuse(fmt::format("certificate_request: {}",
                                   ToStd(issued.status().message())));
          return;
        }
        // Ours to mend: the agent asks again, and its certificate is good.
        if (!issued.ok()) {
          Log(kError, "certificate not renewed",
              {{"agent_id", self->peer_.agent.str()},
               {"error", issued.status()}});
          return;
        }
        Log(kInfo, "certificate renewed",
            {{"agent_id", self->peer_.agent.str()}});
        v1::GatewayMessage message;
        *message.mutable_certificate() = *std::move(issued);
        self->Send(std::move(message));
      });
}

void AgentLink::OnOverflow() {
  Close({DisconnectReason::kSlowReader, "too many messages wait", {}});
}

void AgentLink::OnClosed() {
  loop().Cancel(hello_timer_);
  if (epoch_) fleet_.LinkClosed(peer_.agent, *epoch_, end_);
}

void AgentLink::Refuse(std::string text) {
  Close({DisconnectReason::kProtocolError, std::move(text), {}});
}

// --- Output ----------------------------------------------------------------

OutputTransfer::OutputTransfer(ThreadEventLoop& loop, Fleet& fleet,
                               StreamOptions options, LinkPeer peer,
                               grpc::CallbackServerContext& context)
    : ServerStream(loop, options, context),
      fleet_(fleet),
      peer_(std::move(peer)) {}

void OutputTransfer::OnMessage(v1::TransferChunk message) {
  if (fleet_.RefusalOf(peer_.org, peer_.agent, peer_.key_pin)) {
    CloseStream({grpc::StatusCode::UNAUTHENTICATED,
                 "this key does not speak for this machine"});
    return;
  }
  v1::OutputChunk& chunk = *message.mutable_chunk();
  const auto stream = ToStream(chunk.stream());
  if (!stream || chunk.data().size() > kChunkBytesMax) {
    CloseStream({grpc::StatusCode::INVALID_ARGUMENT,
                 fmt::format("chunk: stream must be stdout or stderr, data at "
                             "most {} bytes, got {}",
                             kChunkBytesMax, chunk.data().size())});
    return;
  }
  OutputRecord output{.command = CommandId(message.command_id()),
                      .stream = *stream,
                      .offset = chunk.offset(),
                      .data = std::move(*chunk.mutable_data())};
  v1::TransferAck ack;
  ack.set_command_id(message.command_id());
  ack.set_stream(chunk.stream());
  const size_t bytes = output.data.size() + kUnstoredOverhead;
  unstored_bytes_ += bytes;
  if (unstored_bytes_ > kUnstoredBytesMax) Pause();
  fleet_.TakeOutput(
      peer_.agent, std::move(output),
      [this, keep = shared_from_this(), bytes,
       ack](absl::StatusOr<uint64_t> end) mutable {
        unstored_bytes_ -= bytes;
        if (!end.ok()) {
          // The agent resumes at its last acknowledged offset.
          CloseStream({static_cast<grpc::StatusCode>(end.status().raw_code()),
                       std::string(end.status().message())});
          return;
        }
        ack.set_offset(*end);
        Send(std::move(ack));
        if (unstored_bytes_ <= kUnstoredBytesMax) Resume();
      });
}

}  // namespace muster::gateway
