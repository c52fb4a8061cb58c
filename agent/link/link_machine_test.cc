#include "agent/link/link_machine.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::agent {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kInterval = absl::Seconds(30);
const absl::Time kWall = absl::FromUnixSeconds(1'700'000'000);

template <typename T>
const T* Find(const LinkActions& actions) {
  for (const LinkAction& a : actions) {
    if (const T* found = std::get_if<T>(&a)) return found;
  }
  return nullptr;
}

// Drives one machine and keeps its time.
class LinkMachineTest : public testing::Test {
 protected:
  LinkActions Start() { return machine_.Start(now_); }

  LinkActions Welcome(absl::Duration interval = kInterval,
                      absl::Duration reconnect_max = absl::ZeroDuration()) {
    v1::GatewayMessage m;
    m.mutable_welcome()->set_protocol(1);
    m.mutable_welcome()->set_epoch(7);
    m.mutable_welcome()->set_acknowledgement(100);
    *m.mutable_welcome()->mutable_heartbeat_interval() =
        wire::ToProto(interval);
    *m.mutable_welcome()->mutable_reconnect_max() =
        wire::ToProto(reconnect_max);
    return Say(m);
  }

  LinkActions Ack(uint64_t sequence, uint64_t acknowledgement,
                  absl::Duration interval = kInterval) {
    v1::GatewayMessage m;
    m.mutable_heartbeat_ack()->set_sequence(sequence);
    m.mutable_heartbeat_ack()->set_acknowledgement(acknowledgement);
    *m.mutable_heartbeat_ack()->mutable_heartbeat_interval() =
        wire::ToProto(interval);
    return Say(m);
  }

  LinkActions Disconnect(v1::DisconnectReason reason,
                         std::optional<absl::Duration> retry_after = {}) {
    v1::GatewayMessage m;
    m.mutable_disconnect()->set_reason(reason);
    m.mutable_disconnect()->set_protocol_min(2);
    m.mutable_disconnect()->set_protocol_max(3);
    if (retry_after) {
      *m.mutable_disconnect()->mutable_retry_after() =
          wire::ToProto(*retry_after);
    }
    return Say(m);
  }

  LinkActions Say(const v1::GatewayMessage& m) {
    return machine_.Message(m, now_, kWall + now_.since_boot());
  }
  LinkActions Tick() { return machine_.Tick(now_, kWall + now_.since_boot()); }
  LinkActions TickAtWake() {
    now_ = machine_.wake_at();
    return Tick();
  }
  void BeUp() {
    Start();
    Welcome();
    Ack(1, 101);
  }

  double random_ = 0.5;
  CommandsForHello commands_;
  Instant now_ = Instant::SinceBoot(absl::Hours(1));
  LinkMachine machine_{LinkPolicy{},
                       {},
                       {},
                       [this] { return random_; },
                       [this] { return commands_; }};
};

TEST_F(LinkMachineTest, TheHelloIsQueuedBehindTheDialAndSaysWhatIsOpen) {
  commands_ = {41, {"c1", "c2"}};
  const LinkActions out = Start();
  ASSERT_EQ(out.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<DialNow>(out[0]));
  const v1::Hello& hello = std::get<SendMessage>(out[1]).message.hello();
  EXPECT_EQ(hello.protocol_min(), 1u);
  EXPECT_EQ(hello.protocol_max(), 1u);
  EXPECT_EQ(hello.seen_high(), 41u);
  EXPECT_EQ(hello.open_command_ids_size(), 2);
  EXPECT_FALSE(hello.has_last_acknowledged_at());
}

TEST_F(LinkMachineTest, AHeartbeatFollowsTheWelcomeAtOnceAndEchoesIt) {
  Start();
  const LinkActions out = Welcome();
  EXPECT_TRUE(machine_.online());
  EXPECT_EQ(Find<WentOnline>(out)->epoch, 7u);
  const v1::Heartbeat& h = Find<SendMessage>(out)->message.heartbeat();
  EXPECT_EQ(h.epoch(), 7u);
  EXPECT_EQ(h.sequence(), 1u);
  EXPECT_EQ(h.acknowledged(), 100u);
  EXPECT_FALSE(h.has_round_trip());
}

TEST_F(LinkMachineTest, EachHeartbeatEchoesTheLastAcknowledgement) {
  Start();
  Welcome();
  now_ += absl::Milliseconds(12);
  const LinkActions acked = Ack(1, 105);
  EXPECT_EQ(Find<HeartbeatAcknowledged>(acked)->round_trip,
            absl::Milliseconds(12));
  const LinkActions out = TickAtWake();
  const v1::Heartbeat& h = Find<SendMessage>(out)->message.heartbeat();
  EXPECT_EQ(h.sequence(), 2u);
  EXPECT_EQ(h.acknowledged(), 105u);
  EXPECT_EQ(wire::FromProto(h.round_trip()), absl::Milliseconds(12));
}

TEST_F(LinkMachineTest, AnAcknowledgementThatIsNotNewerIsNoNews) {
  Start();
  Welcome();
  EXPECT_TRUE(Ack(1, 100).empty());
  EXPECT_FALSE(machine_.round_trip());
  EXPECT_FALSE(Ack(1, 101).empty());
}

TEST_F(LinkMachineTest, TheJitterOfTheHeartbeatStaysWithinTenPercent) {
  Start();
  for (const double r : {0.0, 0.25, 0.999999}) {
    random_ = r;
    Welcome();
    Ack(1, 101);
    const absl::Duration pause = machine_.wake_at() - now_;
    EXPECT_GE(pause, 0.9 * kInterval) << r;
    EXPECT_LE(pause, 1.1 * kInterval) << r;
    machine_.LinkDown("eof", "", now_);
    TickAtWake();
  }
}

TEST_F(LinkMachineTest, ANewIntervalCountsFromTheLastHeartbeat) {
  Start();
  Welcome();
  const Instant sent = now_;
  now_ += absl::Seconds(1);
  Ack(1, 101, absl::Seconds(10));
  EXPECT_EQ(machine_.wake_at(), sent + absl::Seconds(10));
}

TEST_F(LinkMachineTest, AnAbsurdIntervalIsHeldWithinBounds) {
  Start();
  Welcome(absl::Nanoseconds(1));
  EXPECT_EQ(machine_.heartbeat_interval(), absl::Milliseconds(50));
  Ack(1, 101, absl::Hours(100));
  EXPECT_EQ(machine_.heartbeat_interval(), absl::Hours(1));
  TickAtWake();
  Ack(2, 102, absl::ZeroDuration());
  EXPECT_EQ(machine_.heartbeat_interval(), absl::Hours(1));
}

TEST_F(LinkMachineTest, AHeartbeatUnacknowledgedForAnOwnLeaseCondemnsTheLink) {
  Start();
  Welcome();
  const Instant first = now_;
  Instant last = now_;
  for (LinkActions out = TickAtWake(); machine_.online(); out = TickAtWake()) {
    last = now_;
  }
  EXPECT_LT(last, first + 2.5 * kInterval);
  EXPECT_EQ(now_, first + 2.5 * kInterval);
}

TEST_F(LinkMachineTest, JustBeforeTheLeaseAnAcknowledgementSavesTheLink) {
  Start();
  Welcome();
  const Instant first = now_;
  TickAtWake();
  TickAtWake();
  now_ = first + 2.5 * kInterval - absl::Nanoseconds(1);
  EXPECT_EQ(Find<WentOffline>(Tick()), nullptr);
  Ack(1, 101);
  now_ += absl::Nanoseconds(1);
  EXPECT_EQ(Find<WentOffline>(Tick()), nullptr);
  EXPECT_TRUE(machine_.online());
}

TEST_F(LinkMachineTest, NoWelcomeInTimeIsAFailedDial) {
  Start();
  now_ += LinkPolicy{}.welcome_timeout - absl::Nanoseconds(1);
  EXPECT_TRUE(Tick().empty());
  now_ += absl::Nanoseconds(1);
  const LinkActions out = Tick();
  EXPECT_NE(Find<CloseLink>(out), nullptr);
  EXPECT_EQ(Find<WentOffline>(out)->failure_class, "dial_timeout");
}

TEST_F(LinkMachineTest, PausesDoubleUpToTheHeartbeatInterval) {
  random_ = 1.0;  // The upper bound itself.
  Start();
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) {
    const LinkActions out = machine_.LinkDown("refused", "", now_);
    seconds.push_back(absl::ToDoubleSeconds(Find<WentOffline>(out)->retry_in));
    TickAtWake();
  }
  EXPECT_THAT(seconds, testing::ElementsAre(0.5, 1, 2, 4, 8, 16, 30, 30, 30));
}

TEST_F(LinkMachineTest, TheJitterOfThePauseIsFull) {
  random_ = 0.0;
  Start();
  const LinkActions out = machine_.LinkDown("refused", "", now_);
  EXPECT_EQ(Find<WentOffline>(out)->retry_in, absl::ZeroDuration());
}

TEST_F(LinkMachineTest, AGatewayMayRaiseTheCapOfThePause) {
  random_ = 1.0;
  Start();
  Welcome(kInterval, absl::Minutes(2));
  for (int i = 0; i < 12; ++i) {
    machine_.LinkDown("eof", "", now_);
    TickAtWake();
  }
  const LinkActions out = machine_.LinkDown("eof", "", now_);
  EXPECT_EQ(Find<WentOffline>(out)->retry_in, absl::Minutes(2));
}

TEST_F(LinkMachineTest, OnlyAnAcknowledgedHeartbeatMakesTheNextPauseShort) {
  random_ = 1.0;
  Start();
  for (int i = 0; i < 3; ++i) {
    machine_.LinkDown("refused", "", now_);
    TickAtWake();
  }
  Welcome();
  LinkActions out = machine_.LinkDown("eof", "", now_);
  EXPECT_EQ(Find<WentOffline>(out)->retry_in, absl::Seconds(4));
  TickAtWake();
  Welcome();
  Ack(1, 101);
  out = machine_.LinkDown("eof", "", now_);
  EXPECT_EQ(Find<WentOffline>(out)->retry_in, absl::Seconds(0.5));
}

TEST_F(LinkMachineTest, RetryAfterComesOnTopOfTheJitter) {
  Start();
  const LinkActions out =
      Disconnect(v1::DISCONNECT_REASON_OVERLOADED, absl::Seconds(20));
  EXPECT_EQ(Find<WentOffline>(out)->retry_in, absl::Seconds(20.25));
  machine_.RouteChanged(now_);
  EXPECT_EQ(machine_.wake_at() - now_, absl::Seconds(20.25));
}

TEST_F(LinkMachineTest, AGatewayThatSaysWhenToComeBackIsNotMadeToWaitLonger) {
  random_ = 1.0;
  Start();
  for (int i = 0; i < 6; ++i) {
    const LinkActions out =
        Disconnect(v1::DISCONNECT_REASON_OVERLOADED, absl::Seconds(20));
    EXPECT_EQ(Find<WentOffline>(out)->retry_in, absl::Seconds(20.5)) << i;
    EXPECT_EQ(machine_.wake_at(), now_ + absl::Seconds(20.5));
    // Nothing but a person makes it come earlier.
    machine_.RouteChanged(now_ + absl::Seconds(1));
    EXPECT_EQ(machine_.wake_at(), now_ + absl::Seconds(20.5));
    EXPECT_NE(Find<DialNow>(TickAtWake()), nullptr);
  }
}

TEST_F(LinkMachineTest, AMachineThatWaitsForApprovalSaysSoAndAsksAgainAsTold) {
  random_ = 1.0;
  Start();
  for (int i = 0; i < 6; ++i) {
    v1::GatewayMessage message;
    v1::Disconnect& why = *message.mutable_disconnect();
    why.set_reason(v1::DISCONNECT_REASON_PENDING_APPROVAL);
    why.set_text("musterctl agents approve web-1");
    *why.mutable_retry_after() = wire::ToProto(absl::Seconds(30));
    const LinkActions out = Say(message);
    const auto* offline = Find<WentOffline>(out);
    ASSERT_NE(offline, nullptr);
    EXPECT_EQ(offline->detail,
              "waits for approval: musterctl agents approve web-1");
    EXPECT_EQ(offline->retry_in, absl::Seconds(30.5)) << i;
    EXPECT_EQ(Find<Deregistered>(out), nullptr);
    EXPECT_NE(Find<DialNow>(TickAtWake()), nullptr);
  }
}

TEST_F(LinkMachineTest, TheHelloSaysHowLongAgoTheLastLinkWasHeard) {
  EXPECT_FALSE(
      std::get<SendMessage>(Start()[1]).message.hello().has_acknowledged_ago());
  now_ += absl::Seconds(2);
  Welcome();  // A heartbeat follows at once …
  now_ += absl::Seconds(3);
  Ack(1, 101);  // … and is answered late.
  now_ += absl::Seconds(10);
  machine_.LinkDown("eof", "", now_);
  machine_.HeartbeatNow(now_, kWall);
  now_ += absl::Seconds(1);
  machine_.LinkDown("eof", "", now_);
  const LinkActions out = machine_.HeartbeatNow(now_, kWall);
  const v1::Hello& hello = Find<SendMessage>(out)->message.hello();
  EXPECT_EQ(wire::FromProto(hello.acknowledged_ago()), absl::Seconds(14))
      << "since it was sent";
  EXPECT_EQ(wire::FromProto(hello.connected_ago()), absl::Seconds(14));
}

TEST_F(LinkMachineTest, DeregisteredEndsEverything) {
  BeUp();
  const LinkActions out = Disconnect(v1::DISCONNECT_REASON_DEREGISTERED);
  EXPECT_NE(Find<CloseLink>(out), nullptr);
  EXPECT_NE(Find<Deregistered>(out), nullptr);
  EXPECT_TRUE(machine_.stopped());
  EXPECT_EQ(machine_.wake_at(), Instant::Never());
  EXPECT_TRUE(machine_.LinkDown("eof", "", now_).empty());
}

TEST_F(LinkMachineTest, WhatIsLearnedElsewhereCountsAsIfItWereSaidOnALink) {
  v1::Disconnect refusal;
  refusal.set_reason(v1::DISCONNECT_REASON_CREDENTIAL_REVOKED);
  *refusal.mutable_retry_after() = wire::ToProto(absl::Minutes(5));
  BeUp();
  EXPECT_TRUE(machine_.Refused(refusal, now_).empty()) << "it has a link";
  machine_.LinkDown("eof", "", now_);
  const LinkActions out = machine_.Refused(refusal, now_);
  EXPECT_GE(Find<WentOffline>(out)->retry_in, absl::Minutes(5));
  EXPECT_EQ(Find<WentOffline>(out)->failure_class, "refused_by_gateway");
  refusal.set_reason(v1::DISCONNECT_REASON_DEREGISTERED);
  EXPECT_NE(Find<Deregistered>(machine_.Refused(refusal, now_)), nullptr);
  EXPECT_TRUE(machine_.stopped());
}

TEST_F(LinkMachineTest, TheWelcomeSaysWhenANewCertificateIsDue) {
  Start();
  v1::GatewayMessage m;
  m.mutable_welcome()->set_protocol(1);
  LinkActions out = machine_.Message(m, now_, kWall);
  EXPECT_EQ(Find<WentOnline>(out)->renew_certificate_in, std::nullopt);
  machine_.LinkDown("eof", "", now_);
  machine_.HeartbeatNow(now_, kWall);
  *m.mutable_welcome()->mutable_renew_certificate_in() =
      wire::ToProto(absl::Hours(480));
  out = machine_.Message(m, now_, kWall);
  EXPECT_EQ(Find<WentOnline>(out)->renew_certificate_in, absl::Hours(480));
  v1::GatewayMessage issued;
  issued.mutable_certificate()->set_certificate_pem("pem");
  out = machine_.Message(issued, now_, kWall);
  EXPECT_EQ(Find<CertificateArrived>(out)->issued.certificate_pem(), "pem");
}

TEST_F(LinkMachineTest, NotRegisteredIsRetriedSlowly) {
  Start();
  const LinkActions out = Disconnect(v1::DISCONNECT_REASON_NOT_REGISTERED);
  EXPECT_GE(Find<WentOffline>(out)->retry_in, absl::Minutes(5));
  EXPECT_EQ(Find<WentOffline>(out)->failure_class, "refused_by_gateway");
}

TEST_F(LinkMachineTest, ARefusedVersionNamesBothRanges) {
  Start();
  const LinkActions out = Disconnect(v1::DISCONNECT_REASON_VERSION_REFUSED);
  EXPECT_THAT(
      Find<WentOffline>(out)->detail,
      HasSubstr("this agent speaks protocol 1 to 1, the gateway 2 to 3"));
  EXPECT_GE(Find<WentOffline>(out)->retry_in, absl::Minutes(5));
}

TEST_F(LinkMachineTest, AWelcomeInAVersionWeDoNotSpeakIsRefused) {
  Start();
  v1::GatewayMessage m;
  m.mutable_welcome()->set_protocol(2);
  const LinkActions out = Say(m);
  EXPECT_FALSE(machine_.online());
  EXPECT_THAT(Find<WentOffline>(out)->detail, HasSubstr("protocol 2"));
}

TEST_F(LinkMachineTest, ASupersededLinkWaitsAnIntervalBeforeItReturns) {
  BeUp();
  const LinkActions out = Disconnect(v1::DISCONNECT_REASON_SUPERSEDED);
  EXPECT_GE(Find<WentOffline>(out)->retry_in, kInterval);
}

TEST_F(LinkMachineTest, AGatewayThatSpeaksOutOfTurnIsLeft) {
  Start();
  EXPECT_EQ(Find<WentOffline>(Ack(1, 1))->failure_class, "protocol_error");
  TickAtWake();
  Welcome();
  EXPECT_EQ(Find<WentOffline>(Welcome())->failure_class, "protocol_error");
  TickAtWake();
  Welcome();
  EXPECT_TRUE(Say({}).empty());  // Unknown to us, not wrong.
  EXPECT_TRUE(machine_.online());
}

TEST_F(LinkMachineTest, OrdersCancelsAndUpdateAcksArePassedOnOnlyWhenUp) {
  BeUp();
  v1::GatewayMessage order, cancel, ack, input;
  input.mutable_input()->set_command_id("c1");
  order.mutable_command()->set_command_id("c1");
  cancel.mutable_cancel()->set_command_id("c1");
  ack.mutable_update_ack()->set_command_id("c1");
  EXPECT_EQ(Find<OrderArrived>(Say(order))->order.command_id(), "c1");
  EXPECT_EQ(Find<CancelArrived>(Say(cancel))->command_id, "c1");
  EXPECT_EQ(Find<UpdateAcknowledged>(Say(ack))->ack.command_id(), "c1");
  EXPECT_EQ(Find<InputArrived>(Say(input))->input.command_id(), "c1");
  machine_.LinkDown("eof", "", now_);
  EXPECT_TRUE(Say(order).empty());
}

TEST_F(LinkMachineTest, TheNextHelloTellsOfTheLastLink) {
  BeUp();
  machine_.LinkDown("eof", "", now_);
  const LinkActions out = TickAtWake();
  const v1::Hello& hello = Find<SendMessage>(out)->message.hello();
  EXPECT_EQ(hello.last_epoch(), 7u);
  EXPECT_TRUE(hello.has_last_acknowledged_at());
  EXPECT_TRUE(hello.has_connected_since());
}

TEST_F(LinkMachineTest, HeartbeatNowSendsOneAtOnceAndAFloodIsBounded) {
  BeUp();
  int sent = 0;
  for (int i = 0; i < 100; ++i) {
    const LinkActions out = machine_.HeartbeatNow(now_, kWall);
    sent += Find<HeartbeatSent>(out) != nullptr;
  }
  EXPECT_EQ(sent, 16);
}

TEST_F(LinkMachineTest, HeartbeatNowBetweenTwoLinksDialsAtOnce) {
  Start();
  Disconnect(v1::DISCONNECT_REASON_NOT_REGISTERED);
  EXPECT_NE(Find<DialNow>(machine_.HeartbeatNow(now_, kWall)), nullptr);
}

TEST_F(LinkMachineTest, ARouteChangeEndsABackoffWithinASecond) {
  random_ = 0.999;
  Start();
  for (int i = 0; i < 8; ++i) {
    machine_.LinkDown("dial_timeout", "", now_);
    if (i < 7) TickAtWake();
  }
  ASSERT_GT(machine_.wake_at() - now_, absl::Seconds(20));
  machine_.RouteChanged(now_);
  EXPECT_LE(machine_.wake_at() - now_, absl::Seconds(1));
  const Instant at = machine_.wake_at();
  now_ += absl::Milliseconds(10);
  machine_.RouteChanged(now_);
  EXPECT_EQ(machine_.wake_at(), at);
}

TEST_F(LinkMachineTest, AGoodbyeIsSentWithItsPromiseThenTheLinkEnds) {
  BeUp();
  const LinkActions out =
      machine_.Goodbye(v1::GOODBYE_REASON_TERMINATED, absl::Seconds(30), now_);
  const v1::Goodbye& goodbye = Find<SendMessage>(out)->message.goodbye();
  EXPECT_EQ(goodbye.reason(), v1::GOODBYE_REASON_TERMINATED);
  EXPECT_EQ(wire::FromProto(goodbye.back_within()), absl::Seconds(30));
  EXPECT_NE(Find<FinishWrites>(out), nullptr);
  EXPECT_FALSE(machine_.online());
  EXPECT_NE(Find<Stopped>(machine_.LinkDown("eof", "", now_)), nullptr);
  EXPECT_TRUE(machine_.stopped());
}

TEST_F(LinkMachineTest, AStartPacesItselfByWhatTheGatewayToldBefore) {
  LinkMachine machine(
      {.heartbeat_interval = absl::Seconds(1)}, {}, {}, [] { return 1.0; },
      [] { return CommandsForHello(); });
  machine.Start(now_);
  for (int i = 0; i < 20; ++i) {
    machine.LinkDown("refused", "", now_);
    EXPECT_LE(machine.wake_at() - now_, absl::Seconds(1));
    now_ = machine.wake_at();
    machine.Tick(now_, kWall);
  }
}

TEST_F(LinkMachineTest, AGoodbyeIsHeardIfTheGatewayEndsTheLinkInOrder) {
  BeUp();
  machine_.Goodbye(v1::GOODBYE_REASON_STOP, std::nullopt, now_);
  EXPECT_FALSE(machine_.goodbye_heard());
  EXPECT_NE(Find<Stopped>(machine_.LinkFinished(now_)), nullptr);
  EXPECT_TRUE(machine_.goodbye_heard());
}

TEST_F(LinkMachineTest, AGoodbyeMayBeTooLateForAGatewayThatEndsTheLink) {
  BeUp();
  machine_.Goodbye(v1::GOODBYE_REASON_LEAVE, std::nullopt, now_);
  Disconnect(v1::DISCONNECT_REASON_DRAINING);
  machine_.LinkFinished(now_);
  EXPECT_FALSE(machine_.goodbye_heard());
}

TEST_F(LinkMachineTest, ALinkThatEndsIsNoAnswerToALeave) {
  BeUp();
  machine_.Goodbye(v1::GOODBYE_REASON_LEAVE, std::nullopt, now_);
  machine_.LinkFinished(now_);
  EXPECT_FALSE(machine_.goodbye_heard());
}

TEST_F(LinkMachineTest, ALeaveIsAnsweredByADeregistration) {
  BeUp();
  const LinkActions out =
      machine_.Goodbye(v1::GOODBYE_REASON_LEAVE, std::nullopt, now_);
  EXPECT_EQ(Find<FinishWrites>(out), nullptr) << "it waits for the answer";
  Disconnect(v1::DISCONNECT_REASON_DEREGISTERED);
  machine_.LinkFinished(now_);
  EXPECT_TRUE(machine_.goodbye_heard());
}

TEST_F(LinkMachineTest, AGoodbyeOnALinkThatBreaksMayNotHaveBeenHeard) {
  BeUp();
  machine_.Goodbye(v1::GOODBYE_REASON_STOP, std::nullopt, now_);
  machine_.LinkDown("eof", "", now_);
  EXPECT_FALSE(machine_.goodbye_heard());
}

TEST_F(LinkMachineTest, AStopPromisesNothing) {
  BeUp();
  const LinkActions out =
      machine_.Goodbye(v1::GOODBYE_REASON_STOP, std::nullopt, now_);
  EXPECT_FALSE(Find<SendMessage>(out)->message.goodbye().has_back_within());
}

TEST_F(LinkMachineTest, AGoodbyeThatNobodyTakesEndsAfterASecond) {
  BeUp();
  machine_.Goodbye(v1::GOODBYE_REASON_STOP, std::nullopt, now_);
  EXPECT_EQ(machine_.wake_at(), now_ + absl::Seconds(1));
  const LinkActions out = TickAtWake();
  EXPECT_NE(Find<CloseLink>(out), nullptr);
  EXPECT_NE(Find<Stopped>(out), nullptr);
}

TEST_F(LinkMachineTest, AGoodbyeWithoutALinkAndASecondOneStopAtOnce) {
  Start();
  machine_.LinkDown("refused", "", now_);
  EXPECT_NE(Find<Stopped>(machine_.Goodbye(v1::GOODBYE_REASON_STOP, {}, now_)),
            nullptr);
  EXPECT_TRUE(machine_.Goodbye(v1::GOODBYE_REASON_STOP, {}, now_).empty());
}

}  // namespace
}  // namespace muster::agent
