#include "agent/link/link_machine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/protocol_version.h"

namespace muster::agent {
namespace {

// What a gateway may tell. Outside it the nearest bound holds: a gateway that
// errs must neither silence a fleet nor make it a flood.
constexpr absl::Duration kIntervalMin = absl::Milliseconds(50);
constexpr absl::Duration kIntervalMax = absl::Hours(1);
constexpr absl::Duration kPauseMax = absl::Hours(1);

// ±10 %, so that a fleet that started together does not speak together.
constexpr double kJitter = 0.1;

// Heartbeats without an answer before HeartbeatNow() sends no more of them.
constexpr size_t kUnansweredMax = 16;

std::string_view ReasonWords(v1::DisconnectReason reason) {
  switch (reason) {
    case v1::DISCONNECT_REASON_DRAINING:
      return "the gateway stops";
    case v1::DISCONNECT_REASON_VERSION_REFUSED:
      return "version refused";
    case v1::DISCONNECT_REASON_DEREGISTERED:
      return "deregistered";
    case v1::DISCONNECT_REASON_NOT_REGISTERED:
      return "not registered";
    case v1::DISCONNECT_REASON_SUPERSEDED:
      return "superseded by a newer link of this identity";
    case v1::DISCONNECT_REASON_SILENT:
      return "the gateway heard nothing";
    case v1::DISCONNECT_REASON_OVERLOADED:
      return "the gateway is overloaded";
    case v1::DISCONNECT_REASON_PROTOCOL_ERROR:
      return "protocol error";
    case v1::DISCONNECT_REASON_SLOW_READER:
      return "this agent reads too slowly";
    case v1::DISCONNECT_REASON_CREDENTIAL_REVOKED:
      return "credential revoked";
    case v1::DISCONNECT_REASON_SAY_AGAIN:
      return "asked to say hello again";
    case v1::DISCONNECT_REASON_PENDING_APPROVAL:
      return "waits for approval";
    default:
      return "unknown reason";
  }
}

}  // namespace

LinkMachine::LinkMachine(LinkPolicy policy, v1::AgentFacts facts,
                         v1::Instance instance, std::function<double()> random,
                         std::function<CommandsForHello()> commands)
    : policy_(policy),
      facts_(std::move(facts)),
      instance_(std::move(instance)),
      random_(std::move(random)),
      commands_(std::move(commands)),
      interval_(policy.heartbeat_interval),
      reconnect_max_(policy.reconnect_max) {}

LinkActions LinkMachine::Start(Instant now) {
  if (state_ != State::kIdle) return {};
  return Dial(now);
}

LinkActions LinkMachine::Dial(Instant now) {
  state_ = State::kGreeting;
  deadline_ = now + policy_.welcome_timeout;
  told_pause_.reset();
  LinkActions out;
  out.emplace_back(DialNow{});
  out.emplace_back(SendMessage{Hello(now)});
  return out;
}

v1::AgentMessage LinkMachine::Hello(Instant now) const {
  v1::AgentMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_protocol_min(wire::kOurProtocol.min);
  hello.set_protocol_max(wire::kOurProtocol.max);
  *hello.mutable_facts() = facts_;
  *hello.mutable_instance() = instance_;
  hello.set_last_epoch(epoch_);
  if (last_acknowledged_at_) {
    *hello.mutable_last_acknowledged_at() =
        wire::ToProto(*last_acknowledged_at_);
  }
  if (connected_since_) {
    *hello.mutable_connected_since() = wire::ToProto(*connected_since_);
  }
  if (acknowledged_sent_) {
    *hello.mutable_acknowledged_ago() =
        wire::ToProto(now - *acknowledged_sent_);
  }
  if (welcomed_) {
    *hello.mutable_connected_ago() = wire::ToProto(now - *welcomed_);
  }
  const CommandsForHello commands = commands_();
  hello.set_seen_high(commands.seen_high);
  for (const std::string& id : commands.open_command_ids)
    hello.add_open_command_ids(id);
  return message;
}

LinkActions LinkMachine::Message(const v1::GatewayMessage& message, Instant now,
                                 absl::Time wall) {
  if (state_ == State::kLeaving && message.has_disconnect()) {
    // It ends the link for a reason of its own; what it has not read by now it
    // does not read any more. To a leave this is the answer.
    deregistered_ =
        message.disconnect().reason() == v1::DISCONNECT_REASON_DEREGISTERED;
    cut_off_ |= !deregistered_;
  }
  if (state_ == State::kLeaving || state_ == State::kStopped ||
      state_ == State::kIdle || state_ == State::kWaiting) {
    return {};
  }
  if (message.has_disconnect()) return Disconnected(message.disconnect(), now);
  if (state_ == State::kGreeting) {
    if (message.has_welcome()) return Welcomed(message.welcome(), now, wall);
    return Fail("protocol_error", "the gateway spoke before its welcome", now);
  }
  LinkActions out;
  switch (message.kind_case()) {
    case v1::GatewayMessage::kHeartbeatAck:
      return Acknowledged(message.heartbeat_ack(), now, wall);
    case v1::GatewayMessage::kCommand:
      out.emplace_back(OrderArrived{message.command()});
      return out;
    case v1::GatewayMessage::kInput:
      out.emplace_back(InputArrived{message.input()});
      return out;
    case v1::GatewayMessage::kCancel:
      out.emplace_back(CancelArrived{message.cancel().command_id()});
      return out;
    case v1::GatewayMessage::kUpdateAck:
      out.emplace_back(UpdateAcknowledged{message.update_ack()});
      return out;
    case v1::GatewayMessage::kCertificate:
      out.emplace_back(CertificateArrived{message.certificate()});
      return out;
    case v1::GatewayMessage::kWelcome:
      return Fail("protocol_error", "a second welcome on one link", now);
    case v1::GatewayMessage::kDisconnect:
    case v1::GatewayMessage::KIND_NOT_SET:
      return {};  // A newer gateway says something that we need not know.
  }
  return {};
}

LinkActions LinkMachine::Welcomed(const v1::Welcome& welcome, Instant now,
                                  absl::Time wall) {
  if (welcome.protocol() < wire::kOurProtocol.min ||
      welcome.protocol() > wire::kOurProtocol.max) {
    told_pause_ = policy_.slow_retry;
    return Fail(
        "refused_by_gateway",
        fmt::format("the gateway chose protocol {}; this agent speaks {} to {}",
                    welcome.protocol(), wire::kOurProtocol.min,
                    wire::kOurProtocol.max),
        now);
  }
  state_ = State::kUp;
  deadline_ = Instant::Never();
  epoch_ = welcome.epoch();
  acknowledgement_ = welcome.acknowledgement();
  sequence_ = 0;
  unanswered_.clear();
  round_trip_.reset();
  connected_since_ = wall;
  last_acknowledged_at_ = wall;
  welcomed_ = now;
  acknowledged_sent_.reset();
  TellInterval(welcome.heartbeat_interval());
  reconnect_max_ = std::clamp(wire::FromProto(welcome.reconnect_max()),
                              absl::ZeroDuration(), kPauseMax);
  LinkActions out;
  out.emplace_back(
      WentOnline{epoch_, interval_, reconnect_max_,
                 welcome.has_renew_certificate_in()
                     ? std::optional(std::max(
                           absl::ZeroDuration(),
                           wire::FromProto(welcome.renew_certificate_in())))
                     : std::nullopt});
  SendHeartbeat(now, wall, out);
  return out;
}

void LinkMachine::SendHeartbeat(Instant now, absl::Time wall,
                                LinkActions& out) {
  v1::AgentMessage message;
  v1::Heartbeat& heartbeat = *message.mutable_heartbeat();
  heartbeat.set_epoch(epoch_);
  heartbeat.set_sequence(++sequence_);
  heartbeat.set_acknowledged(acknowledgement_);
  *heartbeat.mutable_sent_at() = wire::ToProto(wall);
  if (round_trip_)
    *heartbeat.mutable_round_trip() = wire::ToProto(*round_trip_);
  out.emplace_back(SendMessage{std::move(message)});
  out.emplace_back(HeartbeatSent{sequence_});
  unanswered_.push_back({sequence_, now});
  last_sent_ = now;
  heartbeat_at_ = NextHeartbeat(now);
}

LinkActions LinkMachine::Acknowledged(const v1::HeartbeatAck& ack, Instant now,
                                      absl::Time wall) {
  LinkActions out;
  // A repeated or older number is no news: it proves no round trip.
  if (ack.acknowledgement() <= acknowledgement_) return out;
  acknowledgement_ = ack.acknowledgement();
  while (!unanswered_.empty() &&
         unanswered_.front().sequence <= ack.sequence()) {
    if (unanswered_.front().sequence == ack.sequence()) {
      acknowledged_sent_ = unanswered_.front().sent;
      round_trip_ = now - *acknowledged_sent_;
      out.emplace_back(HeartbeatAcknowledged{ack.sequence(), *round_trip_});
    }
    unanswered_.pop_front();
  }
  if (out.empty()) return out;  // It answers nothing that was asked.
  failures_ = 0;
  last_acknowledged_at_ = wall;
  const absl::Duration before = interval_;
  TellInterval(ack.heartbeat_interval());
  if (interval_ != before) heartbeat_at_ = NextHeartbeat(last_sent_);
  return out;
}

LinkActions LinkMachine::Disconnected(const v1::Disconnect& disconnect,
                                      Instant now) {
  std::string why(ReasonWords(disconnect.reason()));
  if (!disconnect.text().empty()) why += ": " + disconnect.text();
  if (disconnect.has_retry_after()) {
    told_pause_ = std::clamp(wire::FromProto(disconnect.retry_after()),
                             absl::ZeroDuration(), kPauseMax);
  }
  switch (disconnect.reason()) {
    case v1::DISCONNECT_REASON_DEREGISTERED: {
      state_ = State::kStopped;
      LinkActions out;
      out.emplace_back(CloseLink{});
      out.emplace_back(Deregistered{std::move(why)});
      return out;
    }
    case v1::DISCONNECT_REASON_VERSION_REFUSED:
      told_pause_ = std::max(told_pause_.value_or(absl::ZeroDuration()),
                             policy_.slow_retry);
      why = fmt::format(
          "{}; this agent speaks protocol {} to {}, the gateway {} to {}", why,
          wire::kOurProtocol.min, wire::kOurProtocol.max,
          disconnect.protocol_min(), disconnect.protocol_max());
      break;
    case v1::DISCONNECT_REASON_NOT_REGISTERED:
      told_pause_ = std::max(told_pause_.value_or(absl::ZeroDuration()),
                             policy_.slow_retry);
      break;
    case v1::DISCONNECT_REASON_OVERLOADED:
    case v1::DISCONNECT_REASON_SAY_AGAIN:
    case v1::DISCONNECT_REASON_PENDING_APPROVAL:
      // It serves, and says when: no reason to come later than told.
      failures_ = 0;
      break;
    case v1::DISCONNECT_REASON_SUPERSEDED:
    case v1::DISCONNECT_REASON_PROTOCOL_ERROR:
      // Two who hold one identity must not take turns every half second.
      told_pause_ =
          std::max(told_pause_.value_or(absl::ZeroDuration()), interval_);
      break;
    default:
      break;
  }
  return Fail("refused_by_gateway", why, now);
}

LinkActions LinkMachine::Refused(const v1::Disconnect& disconnect,
                                 Instant now) {
  if (state_ != State::kWaiting && state_ != State::kGreeting) return {};
  return Disconnected(disconnect, now);
}

LinkActions LinkMachine::LinkFinished(Instant now) {
  goodbye_heard_ = state_ == State::kLeaving &&
                   (leaves_for_good_ ? deregistered_ : !cut_off_);
  return LinkDown("eof", "", now);
}

LinkActions LinkMachine::LinkDown(std::string_view failure_class,
                                  std::string_view detail, Instant now) {
  if (state_ == State::kLeaving) {
    state_ = State::kStopped;
    return {Stopped{}};
  }
  if (state_ != State::kGreeting && state_ != State::kUp) return {};
  LinkActions out = Fail(failure_class, detail, now);
  out.erase(out.begin());  // It is closed already.
  return out;
}

// First action: CloseLink. A fresh link is dialled after a pause.
LinkActions LinkMachine::Fail(std::string_view failure_class,
                              std::string_view detail, Instant now) {
  const bool was_online = state_ == State::kUp;
  absl::Duration pause = BackoffPause();
  pause_is_told_ = told_pause_.has_value();
  if (told_pause_) pause += *told_pause_;
  ++failures_;
  state_ = State::kWaiting;
  deadline_ = now + pause;
  heartbeat_at_ = Instant::Never();
  unanswered_.clear();
  LinkActions out;
  out.emplace_back(CloseLink{});
  out.emplace_back(WentOffline{was_online, std::string(failure_class),
                               std::string(detail), pause});
  return out;
}

// Full jitter: anything up to a bound that doubles with every failure.
absl::Duration LinkMachine::BackoffPause() {
  const absl::Duration cap = std::max(interval_, reconnect_max_);
  const double doublings = std::min(failures_, 20);
  return random_() *
         std::min(cap, policy_.reconnect_base * std::exp2(doublings));
}

LinkActions LinkMachine::Tick(Instant now, absl::Time wall) {
  if (now < wake_at()) return {};
  switch (state_) {
    case State::kWaiting:
      return Dial(now);
    case State::kGreeting:
      return Fail("dial_timeout",
                  fmt::format("no welcome within {}", policy_.welcome_timeout),
                  now);
    case State::kUp: {
      if (!unanswered_.empty() && now - unanswered_.front().sent >=
                                      policy_.lease_intervals * interval_) {
        return Fail("no_answer",
                    fmt::format("heartbeat {} unacknowledged for {}",
                                unanswered_.front().sequence,
                                now - unanswered_.front().sent),
                    now);
      }
      LinkActions out;
      SendHeartbeat(now, wall, out);
      return out;
    }
    case State::kLeaving:
      state_ = State::kStopped;
      return {CloseLink{}, Stopped{}};
    case State::kIdle:
    case State::kStopped:
      return {};
  }
  return {};
}

LinkActions LinkMachine::HeartbeatNow(Instant now, absl::Time wall) {
  if (state_ == State::kWaiting) return Dial(now);
  LinkActions out;
  if (state_ == State::kUp && unanswered_.size() < kUnansweredMax)
    SendHeartbeat(now, wall, out);
  return out;
}

LinkActions LinkMachine::RouteChanged(Instant now) {
  if (state_ != State::kWaiting || pause_is_told_) return {};
  failures_ = 0;
  deadline_ = std::min(deadline_, now + absl::Milliseconds(100) +
                                      random_() * absl::Seconds(0.9));
  return {};
}

LinkActions LinkMachine::Goodbye(v1::GoodbyeReason reason,
                                 std::optional<absl::Duration> back_within,
                                 Instant now) {
  if (state_ == State::kStopped) return {};
  if (state_ != State::kUp) {
    const bool open = state_ == State::kGreeting || state_ == State::kLeaving;
    state_ = State::kStopped;
    LinkActions out;
    if (open) out.emplace_back(CloseLink{});
    out.emplace_back(Stopped{});
    return out;
  }
  state_ = State::kLeaving;
  deadline_ = now + policy_.goodbye_timeout;
  v1::AgentMessage message;
  message.mutable_goodbye()->set_reason(reason);
  if (back_within) {
    *message.mutable_goodbye()->mutable_back_within() =
        wire::ToProto(*back_within);
  }
  leaves_for_good_ = reason == v1::GOODBYE_REASON_LEAVE;
  LinkActions out{SendMessage{std::move(message)}};
  // A leave is answered when it is stored; the link waits for that.
  if (!leaves_for_good_) out.emplace_back(FinishWrites{});
  return out;
}

Instant LinkMachine::wake_at() const {
  switch (state_) {
    case State::kUp: {
      if (unanswered_.empty()) return heartbeat_at_;
      return std::min(heartbeat_at_, unanswered_.front().sent +
                                         policy_.lease_intervals * interval_);
    }
    case State::kWaiting:
    case State::kGreeting:
    case State::kLeaving:
      return deadline_;
    case State::kIdle:
    case State::kStopped:
      return Instant::Never();
  }
  return Instant::Never();
}

void LinkMachine::TellInterval(const google::protobuf::Duration& told) {
  const absl::Duration d = wire::FromProto(told);
  if (d > absl::ZeroDuration())
    interval_ = std::clamp(d, kIntervalMin, kIntervalMax);
}

Instant LinkMachine::NextHeartbeat(Instant sent) {
  return sent + interval_ * (1.0 - kJitter + 2.0 * kJitter * random_());
}

}  // namespace muster::agent
