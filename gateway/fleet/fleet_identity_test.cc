// Two that use one identity, and one that is many.

#include <string>

#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Minutes;
using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class IdentityTest : public FleetTest {
 protected:
  // One life of the agent, wherever it runs.
  struct Life {
    std::string process;
    std::string address;
    std::string boot = "boot-1";
    FakeLink link = {};
    std::optional<Disconnect> refused = {};
  };
  void SayHello(const AgentId& agent, Life& life) {
    HelloNotice hello = Hello(agent);
    hello.boot_id = life.boot;
    hello.process_start_id = life.process;
    hello.address = life.address;
    life.link = FakeLink();
    life.refused = fleet_->LinkOpened(agent, hello, life.link);
    if (!life.refused) echo_[agent] = life.link.welcome->acknowledgement;
  }
  bool BeatBy(const AgentId& agent, Life& life) {
    return Beat(agent, life.link.welcome->epoch);
  }
  std::vector<NoteKind> Notes(const AgentId& agent) {
    loop_.RunReady();
    std::vector<NoteKind> kinds;
    for (const NoteRecord& note : journal_.notes[agent]) {
      kinds.push_back(note.kind);
    }
    return kinds;
  }
  // Both have spoken, the second one holds the link.
  void Duplicate(const AgentId& agent) {
    SayHello(agent, original_);
    BeatBy(agent, original_);
    loop_.Advance(Seconds(20));
    SayHello(agent, copy_);
    BeatBy(agent, copy_);
    loop_.Advance(Seconds(20));
    SayHello(agent, original_);
    ASSERT_TRUE(original_.refused.has_value());
    EXPECT_EQ(original_.refused->reason, DisconnectReason::kSayAgain);
    EXPECT_EQ(original_.refused->retry_after, Seconds(1));
    EXPECT_EQ(StatusOf(agent), Status::kOnline);
    loop_.Advance(Seconds(1));
    SayHello(agent, original_);
  }

  Life original_{"p1", "10.0.0.1"};
  Life copy_{"p2", "10.0.0.2"};
};

TEST_F(IdentityTest, TwoLiveInstancesAreStaleBothNamedAndTakeNoCommands) {
  const AgentId a = Admit("a");
  Duplicate(a);
  ASSERT_TRUE(original_.refused.has_value());
  EXPECT_EQ(original_.refused->reason, DisconnectReason::kSuperseded);
  EXPECT_THAT(original_.refused->text, HasSubstr("p2"));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  const Verdict& verdict = *Of(a).record.verdict;
  EXPECT_EQ(verdict.cause, Cause::kDuplicateIdentity);
  EXPECT_EQ(verdict.domain, Domain::kIdentity);
  EXPECT_EQ(verdict.summary, "identity at 10.0.0.2 and 10.0.0.1");
  EXPECT_TRUE(BeatBy(a, copy_));
  EXPECT_EQ(StatusOf(a), Status::kStale) << "whoever echoes";
  SubmitCommand(a, "c");
  EXPECT_THAT(copy_.link.orders, IsEmpty());
  EXPECT_THAT(Notes(a), ElementsAre(NoteKind::kInterruption,
                                    NoteKind::kDuplicateIdentity));
  EXPECT_THAT(journal_.notes[a].back().text, HasSubstr("p1"));
  EXPECT_THAT(journal_.notes[a].back().text, HasSubstr("p2"));
}

TEST_F(IdentityTest, AGoodbyeOfOneOfTwoIsNotBelievedForBoth) {
  const AgentId a = Admit("a");
  Duplicate(a);
  loop_.Advance(Seconds(5));
  fleet_->Goodbye(
      a, Of(a).record.epoch,
      {.summary = "agent was stopped", .back_within = absl::Minutes(10)});
  fleet_->LinkClosed(a, Of(a).record.epoch, LinkEnd::kGoodbye);
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kDuplicateIdentity);
  EXPECT_FALSE(Of(a).record.promised_back.has_value());
  loop_.Advance(Seconds(15));
  EXPECT_EQ(StatusOf(a), Status::kStale) << "the other one may live";
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kDuplicateIdentity);
}

TEST_F(IdentityTest, ItIsOverWhenOneHasBeenSilentForALease) {
  const AgentId a = Admit("a");
  Duplicate(a);
  for (int i = 0; i < 3; ++i) {
    loop_.Advance(Seconds(25) - (i == 2 ? kTick : absl::ZeroDuration()));
    BeatBy(a, copy_);
    EXPECT_EQ(StatusOf(a), Status::kStale);
  }
  loop_.Advance(kTick);
  BeatBy(a, copy_);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(IdentityTest,
       ItIsOverAlthoughTheSilentOneComesBackAndIsAskedToSayAgain) {
  const AgentId a = Admit("a");
  Duplicate(a);
  for (int i = 0; i < 2; ++i) {
    loop_.Advance(Seconds(38));
    BeatBy(a, copy_);
  }
  loop_.Advance(Seconds(1));
  SayHello(a, original_);
  ASSERT_EQ(original_.refused->reason, DisconnectReason::kSayAgain);
  loop_.Advance(Seconds(30));
  BeatBy(a, copy_);
  EXPECT_EQ(StatusOf(a), Status::kOnline) << "once is not enough";
}

TEST_F(IdentityTest, TheSilenceOfTheOtherOneIsNotCountedWhileNobodyIsHeard) {
  const AgentId a = Admit("a");
  Duplicate(a);
  loop_.SuspendFor(Seconds(8));
  loop_.Advance(Seconds(67));
  BeatBy(a, copy_);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(9));
  BeatBy(a, copy_);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(IdentityTest, TheOtherOneMayTakeOverWhenTheHolderIsGone) {
  const AgentId a = Admit("a");
  Duplicate(a);
  loop_.Advance(Seconds(75));
  SayHello(a, original_);
  EXPECT_FALSE(original_.refused.has_value());
  BeatBy(a, original_);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(IdentityTest, ARestartOfTheGatewayDoesNotMakeADuplicateHealthy) {
  const AgentId a = Admit("a");
  Duplicate(a);
  loop_.RunReady();
  Start({});
  SayHello(a, original_);
  EXPECT_FALSE(original_.refused.has_value());
  BeatBy(a, original_);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(30));
  SayHello(a, copy_);
  EXPECT_TRUE(copy_.refused.has_value());
  loop_.Advance(Seconds(60));
  BeatBy(a, original_);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(15));
  BeatBy(a, original_);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(IdentityTest, ANewInstanceWithinTheGraceIsAnInterruption) {
  const AgentId a = Admit("a");
  SayHello(a, original_);
  BeatBy(a, original_);
  fleet_->LinkClosed(a, original_.link.welcome->epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(3));
  Life next{"p9", "10.0.0.1"};
  SayHello(a, next);
  BeatBy(a, next);
  EXPECT_THAT(History(a), ElementsAre(Status::kOnline));
  ASSERT_THAT(Notes(a), ElementsAre(NoteKind::kInterruption));
  EXPECT_EQ(journal_.notes[a][0].verdict->cause, Cause::kAgentRestarted);

  Life rebooted{"p10", "10.0.0.1", "boot-2"};
  SayHello(a, rebooted);
  ASSERT_THAT(Notes(a), SizeIs(2));
  EXPECT_EQ(journal_.notes[a][1].verdict->domain, Domain::kHost);
}

TEST_F(IdentityTest, ANewLinkOfTheSameInstanceIsNoInterruption) {
  const AgentId a = Admit("a");
  for (int i = 0; i < 3; ++i) {
    SayHello(a, original_);
    BeatBy(a, original_);
    loop_.Advance(Seconds(1));
  }
  EXPECT_THAT(Notes(a), IsEmpty());
}

TEST_F(IdentityTest, FiveLinksInTenMinutesAreAFindingForAsLong) {
  const AgentId a = Admit("a");
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(Of(a).health.contains("flapping")) << i;
    SayHello(a, original_);
    BeatBy(a, original_);
    loop_.Advance(Seconds(30));
  }
  EXPECT_TRUE(Of(a).health.contains("flapping"));
  EXPECT_THAT(Notes(a), ElementsAre(NoteKind::kFlapping));
  while (loop_.Now() < Of(a).flapping.Until() - kTick) {
    BeatBy(a, original_);
    loop_.Advance(
        std::min(Seconds(30), Of(a).flapping.Until() - kTick - loop_.Now()));
  }
  EXPECT_TRUE(Of(a).health.contains("flapping"));
  loop_.Advance(kTick);
  EXPECT_FALSE(Of(a).health.contains("flapping"));
}

TEST_F(IdentityTest, WhatAgentAndGatewayRememberDifferentlyIsRecorded) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(5));
  HelloNotice hello = Hello(a);
  hello.last_epoch = Of(a).record.epoch;
  hello.acknowledged_ago = hello.connected_ago = Seconds(5);
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  EXPECT_THAT(Notes(a), IsEmpty());
  hello.last_epoch = Of(a).record.epoch + (uint64_t{1} << 32);
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  EXPECT_THAT(Notes(a), ElementsAre(NoteKind::kDrift));
  EXPECT_EQ(journal_.notes[a][0].verdict->cause, Cause::kGatewayDrift);
  EXPECT_GT(link_.welcome->epoch, hello.last_epoch) << "repaired";
}

TEST_F(IdentityTest, AnAgentThatIsBehindIsNotTheGatewaysFault) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  HelloNotice hello = Hello(a);
  hello.last_epoch = Of(a).record.epoch - 1;
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  ASSERT_THAT(Notes(a), ElementsAre(NoteKind::kDrift));
  const NoteRecord& note = journal_.notes[a][0];
  EXPECT_EQ(note.verdict->domain, Domain::kUnknown);
  EXPECT_EQ(note.verdict->cause, Cause::kUndetermined);
  EXPECT_THAT(note.text, HasSubstr("or another copy of it is in use"));
}

TEST_F(IdentityTest, WhoIsUsedTwiceKnowsLessForThat) {
  const AgentId a = Admit("a");
  Duplicate(a);
  ASSERT_TRUE(Of(a).presence.contested());
  const size_t before = Notes(a).size();
  // The copy loses its link, and the original gets one.
  fleet_->LinkClosed(a, Of(a).record.epoch, LinkEnd::kClosedByPeer);
  HelloNotice hello = Hello(a);
  hello.process_start_id = original_.process;
  hello.address = original_.address;
  hello.last_epoch = Of(a).record.epoch - 1;
  FakeLink link;
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link).has_value());
  EXPECT_EQ(Notes(a).size(), before);
}

TEST_F(IdentityTest, TwoAtOneAddressAreNamedAsTwo) {
  copy_.address = original_.address;
  const AgentId a = Admit("a");
  Duplicate(a);
  EXPECT_EQ(Of(a).record.verdict->summary, "identity used twice at 10.0.0.1");
}

TEST_F(IdentityTest, AnOfflineThatTheAgentsRecordContradictsIsDisputed) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(130));
  ASSERT_EQ(StatusOf(a), Status::kOffline);
  HelloNotice hello = Hello(a);
  hello.last_epoch = Of(a).record.epoch;
  // It was heard 60 s before it was called offline, and knows that.
  hello.acknowledged_ago = Seconds(70);
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  EXPECT_THAT(Notes(a), ElementsAre(NoteKind::kDrift, NoteKind::kDisputed));
  // By its epoch the note finds the transition.
  EXPECT_EQ(journal_.notes[a].back().epoch,
            journal_.transitions[a].back().epoch);
  EXPECT_EQ(journal_.transitions[a].back().to, Status::kOffline);
  EXPECT_THAT(journal_.notes[a][1].text, HasSubstr("transition 3 to offline"));
  EXPECT_EQ(fleet_->false_offlines(), 1u);
}

TEST_F(IdentityTest, ALateReturnIsNoDispute) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(300));
  HelloNotice hello = Hello(a);
  hello.last_epoch = Of(a).record.epoch;
  hello.acknowledged_ago = hello.connected_ago = Seconds(300);
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  EXPECT_THAT(Notes(a), IsEmpty());
  // Nor is a heartbeat that was acknowledged after it, however forgotten.
  loop_.Advance(Seconds(400));
  ASSERT_EQ(StatusOf(a), Status::kOffline);
  hello.last_epoch = Of(a).record.epoch;
  hello.acknowledged_ago = Seconds(380);
  hello.connected_ago.reset();
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  EXPECT_THAT(Notes(a), ElementsAre(NoteKind::kDrift));
  EXPECT_EQ(fleet_->false_offlines(), 0u);
}

TEST_F(IdentityTest, ACertificateOfAnotherOrgNamesNobodyHere) {
  const AgentId a = Admit("a"), deleted = Admit("b");
  fleet_->Delete(kOrg, deleted, [](auto) {});
  const std::string key = Of(a).record.key_pin;
  for (const AgentId& agent : {a, deleted}) {
    HelloNotice foreign = Hello(agent);
    foreign.org = OrgId("another");
    const auto refused = fleet_->LinkOpened(agent, foreign, link_);
    ASSERT_TRUE(refused.has_value());
    EXPECT_EQ(refused->reason, DisconnectReason::kNotRegistered);
    EXPECT_TRUE(fleet_->RefusalOf(OrgId("another"), agent, key).has_value());
  }
  EXPECT_EQ(Of(a).link, nullptr);
  EXPECT_FALSE(fleet_->RefusalOf(kOrg, a, key).has_value());
  EXPECT_FALSE(fleet_->LinkOpened(a, Hello(a), link_).has_value());
}

TEST_F(IdentityTest, AReissueEndsADisputeAndOnlyTheNewKeyIsLetIn) {
  const AgentId a = Admit("a");
  const auto hello = [&](const std::string& key, const std::string& process) {
    HelloNotice notice = Hello(a);
    notice.key_pin = key;
    notice.process_start_id = process;
    return notice;
  };
  MachineRecord record = Of(a).record;
  record.key_pin = "k1";
  fleet_->Admit(record);
  ASSERT_FALSE(fleet_->LinkOpened(a, hello("k1", "p1"), link_).has_value());
  echo_[a] = link_.welcome->acknowledgement;
  ASSERT_TRUE(Beat(a, link_.welcome->epoch));
  ASSERT_EQ(StatusOf(a), Status::kOnline);
  FakeLink other;
  ASSERT_FALSE(fleet_->LinkOpened(a, hello("k1", "p2"), other).has_value());
  EXPECT_TRUE(fleet_->LinkOpened(a, hello("k1", "p1"), link_).has_value());
  EXPECT_TRUE(fleet_->LinkOpened(a, hello("k1", "p1"), link_).has_value());
  ASSERT_TRUE(Of(a).presence.contested());

  std::vector<std::string> pins;
  fleet_->TellKeys([&](const AgentId& agent, std::string_view pin) {
    EXPECT_EQ(agent, a);
    pins.emplace_back(pin);
  });
  fleet_->Reissued(a, "admin");
  EXPECT_FALSE(Of(a).presence.contested());
  EXPECT_EQ(StatusOf(a), Status::kStale);
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kCredentialRevoked);
  EXPECT_EQ(other.closed->reason, DisconnectReason::kCredentialRevoked);
  EXPECT_EQ(fleet_->RefusalOf(kOrg, a, "k1")->reason,
            DisconnectReason::kCredentialRevoked);
  for (const char* process : {"p1", "p2"}) {
    const auto refused = fleet_->LinkOpened(a, hello("k1", process), link_);
    ASSERT_TRUE(refused.has_value());
    EXPECT_EQ(refused->reason, DisconnectReason::kCredentialRevoked);
    EXPECT_THAT(refused->text, HasSubstr("musterctl agents reissue"));
  }
  record = Of(a).record;
  record.key_pin = "k2";
  fleet_->Admit(record);
  FakeLink back;
  ASSERT_FALSE(fleet_->LinkOpened(a, hello("k2", "p1"), back).has_value());
  echo_[a] = back.welcome->acknowledgement;
  ASSERT_TRUE(Beat(a, back.welcome->epoch));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  EXPECT_FALSE(fleet_->RefusalOf(kOrg, a, "k2").has_value());
  EXPECT_THAT(History(a),
              ElementsAre(Status::kOnline, Status::kStale, Status::kOnline));
  EXPECT_EQ(journal_.notes[a].back().kind, NoteKind::kReissued);
  fleet_->Delete(kOrg, a, [](auto) {});
  EXPECT_THAT(pins, ElementsAre("", "k2", ""));
}

TEST_F(IdentityTest, AReissuedMachineThatNobodyBringsBackGoesOfflineForThat) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  fleet_->Reissued(a, "admin");
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(120));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kCredentialRevoked);
  fleet_->Reissued(a, "admin");
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(IdentityTest, TwoOnlineMachinesWithOneMachineIdSayWithWhom) {
  const AgentId a = AdmitFrom("m", "a");
  const AgentId b = AdmitFrom("m", "b");
  FakeLink link_b;
  Connect(a, link_);
  EXPECT_FALSE(Of(a).health.contains("shared_machine_id"));
  const uint64_t epoch = Connect(b, link_b);
  EXPECT_EQ(Of(a).health.at("shared_machine_id"), "2 machines, also b~b");
  EXPECT_EQ(Of(b).health.at("shared_machine_id"), "2 machines, also a~a");
  EXPECT_THAT(Notes(a),
              ElementsAre(NoteKind::kReplaced, NoteKind::kSharedMachineId));
  EXPECT_EQ(fleet_->machines().Counts(kOrg).degraded, 2u);
  fleet_->Goodbye(b, epoch, {});
  loop_.Advance(Seconds(5));
  ASSERT_EQ(StatusOf(b), Status::kOffline);
  EXPECT_FALSE(Of(a).health.contains("shared_machine_id"));
  EXPECT_FALSE(Of(b).health.contains("shared_machine_id"));
  EXPECT_EQ(fleet_->machines().Counts(kOrg).degraded, 0u);
}

TEST_F(IdentityTest, ThatTwoShareAMachineIdIsFoundAgainAfterARestart) {
  const AgentId a = AdmitFrom("m", "a");
  const AgentId b = AdmitFrom("m", "b");
  FakeLink link_b;
  Connect(a, link_);
  Connect(b, link_b);
  loop_.RunReady();
  Start({});
  ASSERT_EQ(StatusOf(a), Status::kOnline);
  for (const AgentId& id : {a, b}) {
    HelloNotice hello = Hello(id);
    hello.facts.machine_id = "m";
    ASSERT_FALSE(fleet_->LinkOpened(id, hello, link_).has_value());
  }
  EXPECT_EQ(Of(a).health.at("shared_machine_id"), "2 machines, also b~b");
  EXPECT_EQ(Of(b).health.at("shared_machine_id"), "2 machines, also a~a");
}

}  // namespace
}  // namespace muster::gateway
