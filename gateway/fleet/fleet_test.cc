#include "gateway/fleet/fleet.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

using absl::Milliseconds;
using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(FleetTest, AnIdleGatewayIsNotBlindHoweverShortTheGap) {
  FleetOptions options;
  options.presence.heartbeat_interval = Seconds(1);
  options.presence.stale_after = Milliseconds(2500);
  options.presence.offline_after = Seconds(4);
  options.presence.reconnect_grace = Milliseconds(100);
  options.presence.blind_gap = Milliseconds(200);
  Start(options);
  const AgentId agent = Admit("web-01");
  Connect(agent, link_);
  loop_.Advance(Seconds(4));
  EXPECT_THAT(History(agent),
              ElementsAre(Status::kOnline, Status::kStale, Status::kOffline));
}

TEST_F(FleetTest, HeartbeatsKeepAMachineOnlineForADay) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  for (int i = 0; i < 2880; ++i) {
    loop_.Advance(Seconds(30));
    ASSERT_TRUE(Beat(a, epoch));
    ASSERT_EQ(StatusOf(a), Status::kOnline);
  }
  EXPECT_THAT(History(a), ElementsAre(Status::kOnline));
}

TEST_F(FleetTest, SilenceIsStaleAt75AndOfflineAt120SecondsExactly) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(45) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  EXPECT_FALSE(link_.closed.has_value());
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kOffline);
  ASSERT_TRUE(link_.closed.has_value());
  EXPECT_EQ(link_.closed->reason, DisconnectReason::kSilent);
  EXPECT_FALSE(Beat(a, epoch)) << "that link is over";
  EXPECT_EQ((journal_.links[{a, epoch}].end), LinkEnd::kSilence);
  EXPECT_THAT(History(a),
              ElementsAre(Status::kOnline, Status::kStale, Status::kOffline));
}

TEST_F(FleetTest, AMachineThatWasOfflineIsOnlineAtItsFirstEcho) {
  const AgentId a = Admit("a");
  loop_.Advance(Seconds(120));
  ASSERT_EQ(StatusOf(a), Status::kOffline);
  Connect(a, link_);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(FleetTest, ASilentLinkOfAnOfflineMachineIsClosed) {
  const AgentId a = Admit("a");
  loop_.Advance(Seconds(120));
  ASSERT_FALSE(fleet_->LinkOpened(a, Hello(a), link_).has_value());
  loop_.Advance(Seconds(120) - kTick);
  EXPECT_FALSE(link_.closed.has_value());
  loop_.Advance(kTick);
  EXPECT_TRUE(link_.closed.has_value());
}

TEST_F(FleetTest, AReconnectWithinTheGraceIsNoTransition) {
  const AgentId a = Admit("a");
  const uint64_t first = Connect(a, link_);
  loop_.Advance(Seconds(20));
  fleet_->LinkClosed(a, first, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(5) - kTick);
  FakeLink second;
  EXPECT_GT(Connect(a, second), first);
  loop_.Advance(Seconds(60));
  EXPECT_THAT(History(a), ElementsAre(Status::kOnline));
  EXPECT_EQ((journal_.links[{a, first}].end), LinkEnd::kClosedByPeer);
}

TEST_F(FleetTest, ALostLinkIsStaleAfterTheGrace) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(20));
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(5) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(95));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
  EXPECT_EQ(fleet_->open_links(), 0u);
}

TEST_F(FleetTest, ANewerLinkSupersedesAndMessagesOfTheOldOneChangeNothing) {
  const AgentId a = Admit("a");
  const uint64_t first = Connect(a, link_);
  FakeLink second;
  const uint64_t newer = Connect(a, second);
  ASSERT_TRUE(link_.closed.has_value());
  EXPECT_EQ(link_.closed->reason, DisconnectReason::kSuperseded);
  loop_.RunReady();
  EXPECT_EQ((journal_.links[{a, first}].end), LinkEnd::kSuperseded);

  loop_.Advance(Seconds(10));
  const MachineRecord before = Of(a).record;
  EXPECT_FALSE(Beat(a, first));
  fleet_->Goodbye(a, first, {});
  fleet_->TakeWord(a, first, CommandWord());
  fleet_->Leave(a, first);
  fleet_->LinkClosed(a, first, LinkEnd::kClosedByPeer);
  loop_.RunReady();
  EXPECT_EQ(Of(a).record, before);
  EXPECT_TRUE(Of(a).presence.link_open());
  EXPECT_EQ(fleet_->open_links(), 1u);
  EXPECT_TRUE(Beat(a, newer));
}

TEST_F(FleetTest, AnEpochIsNewerThanAnyTheAgentHasSeen) {
  const AgentId a = Admit("a");
  const AgentId b = Admit("b");
  HelloNotice hello = Hello(a);
  hello.last_epoch = (uint64_t{9} << 32) + 4;
  ASSERT_FALSE(fleet_->LinkOpened(a, hello, link_).has_value());
  EXPECT_GT(link_.welcome->epoch, hello.last_epoch);
  FakeLink absurd;
  hello = Hello(b);
  hello.last_epoch = ~uint64_t{0};
  ASSERT_FALSE(fleet_->LinkOpened(b, hello, absurd).has_value());
  EXPECT_EQ(absurd.welcome->epoch >> 32, run_) << "nobody could have given it";
}

TEST_F(FleetTest, WhatOneAgentClaimsDoesNotRaiseTheEpochsOfOthers) {
  const AgentId liar = Admit("liar");
  const AgentId other = Admit("other");
  HelloNotice lie = Hello(liar);
  lie.last_epoch = (uint64_t{1} << 62) - 2;
  ASSERT_FALSE(fleet_->LinkOpened(liar, lie, link_));
  loop_.RunReady();
  Start({});
  FakeLink link;
  EXPECT_EQ(Connect(other, link) >> 32, run_);
}

TEST_F(FleetTest, AnEchoMustBeNewerThanTheLastAndOfSomethingSaid) {
  const AgentId a = Admit("a");
  ASSERT_FALSE(fleet_->LinkOpened(a, Hello(a), link_).has_value());
  const uint64_t epoch = link_.welcome->epoch;
  HeartbeatNotice beat;
  beat.acknowledged = 99;
  EXPECT_TRUE(fleet_->Heartbeat(a, epoch, beat));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  beat.acknowledged = 1;
  EXPECT_TRUE(fleet_->Heartbeat(a, epoch, beat));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  for (int i = 0; i < 15; ++i) {
    loop_.Advance(Seconds(10));
    EXPECT_TRUE(fleet_->Heartbeat(a, epoch, beat));
  }
  EXPECT_EQ(StatusOf(a), Status::kStale);
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kNetworkOneWay);
}

TEST_F(FleetTest, AGoodbyeIsStaleAtOnceAndOfflineWhenItsPromiseLapses) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(10));
  fleet_->Goodbye(
      a, epoch,
      {Cause::kAgentUpgrading, Domain::kAgent, "upgrading", Seconds(30)});
  EXPECT_EQ(StatusOf(a), Status::kStale);
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(30) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kOffline);
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kAgentUpgrading);
  EXPECT_EQ((journal_.links[{a, epoch}].end), LinkEnd::kGoodbye);
}

TEST_F(FleetTest, ARestartChangesNobodyAndGivesWholeLeases) {
  const AgentId a = Admit("a");
  const AgentId b = Admit("b");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(110));
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  ASSERT_EQ(StatusOf(a), Status::kStale);
  FakeLink link_b;
  Connect(b, link_b);
  loop_.RunReady();
  fleet_.reset();
  loop_.Advance(absl::Hours(7));
  Start({});
  EXPECT_EQ(StatusOf(a), Status::kStale);
  EXPECT_EQ(StatusOf(b), Status::kOnline);
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(b), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(b), Status::kStale);
  loop_.Advance(Seconds(45) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kOffline);
  EXPECT_EQ(StatusOf(b), Status::kOffline);
}

class StandstillTest : public FleetTest,
                       public ::testing::WithParamInterface<int> {};

TEST_P(StandstillTest, ALoopThatStoodStillJudgesNobodyForThatTime) {
  const absl::Duration gap = Seconds(GetParam());
  const AgentId alive = Admit("alive");
  const AgentId dead = Admit("dead");
  const AgentId cut = Admit("cut");
  FakeLink dead_link;
  FakeLink cut_link;
  const uint64_t epoch = Connect(alive, link_);
  Connect(dead, dead_link);
  const uint64_t cut_epoch = Connect(cut, cut_link);
  loop_.Advance(Seconds(70));
  Beat(alive, epoch);
  Beat(cut, cut_epoch);
  loop_.SuspendFor(gap);
  fleet_->LinkClosed(cut, cut_epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(5) - kTick);
  for (const AgentId& id : {alive, dead, cut})
    EXPECT_THAT(History(id), ElementsAre(Status::kOnline));
  Beat(alive, epoch);
  // The dead one is judged at its honest time: 70 s were heard in vain.
  const absl::Duration left = GetParam() < 10 ? Seconds(5) : Seconds(75);
  loop_.Advance(left - Seconds(5));
  EXPECT_EQ(StatusOf(dead), Status::kOnline);
  EXPECT_EQ(StatusOf(cut), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(dead), Status::kStale);
  loop_.Advance(Seconds(45));
  EXPECT_EQ(StatusOf(dead), Status::kOffline);
}

INSTANTIATE_TEST_SUITE_P(Gaps, StandstillTest, ::testing::Values(8, 30, 600));

TEST_F(FleetTest, AShortPauseOfTheLoopIsNotBlindness) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(60));
  loop_.SuspendFor(Milliseconds(1500));
  loop_.Advance(Milliseconds(13'500));
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(FleetTest, StepsOfTheWallClockChangeNoTransition) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  for (const absl::Duration step :
       {absl::Hours(24 * 365), -absl::Hours(24 * 800), Seconds(100)}) {
    loop_.StepWall(step);
    loop_.Advance(Seconds(20));
  }
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.StepWall(-absl::Hours(5));
  loop_.Advance(Seconds(15));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(45));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(FleetTest, ADeletedMachineIsClosedRefusedAndStaysSoAfterARestart) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  std::optional<absl::Status> done;
  journal_.Hold();
  fleet_->Delete(kOrg, a, [&](absl::Status s) { done = s; });
  EXPECT_EQ(link_.closed->reason, DisconnectReason::kDeregistered);
  loop_.RunReady();
  EXPECT_FALSE(done.has_value()) << "not durable yet";
  journal_.Release();
  loop_.RunReady();
  EXPECT_TRUE(done->ok());
  FakeLink again;
  for (int life = 0; life < 2; ++life) {
    const auto refused = fleet_->LinkOpened(a, Hello(a), again);
    ASSERT_TRUE(refused.has_value());
    EXPECT_EQ(refused->reason, DisconnectReason::kDeregistered);
    EXPECT_FALSE(again.welcome.has_value());
    Start({});
  }
  fleet_->Delete(kOrg, a, [&](absl::Status s) { done = s; });
  EXPECT_EQ(ErrorCode(*done), "not_found");
}

TEST_F(FleetTest, ADeletionThatTheStoreRefusedIsWrittenAgain) {
  const AgentId a = Admit("a");
  journal_.FailNext(2);
  std::optional<absl::Status> done;
  fleet_->Delete(kOrg, a, [&](absl::Status s) { done = s; });
  loop_.RunReady();
  EXPECT_THAT(ToStd(done->message()), HasSubstr("not stored yet"));
  EXPECT_EQ(fleet_->machines().FindLiving(kOrg, a), nullptr);
  loop_.Advance(Seconds(3));
  EXPECT_TRUE(journal_.machines[a].deleted_at.has_value());
}

TEST_F(FleetTest, HoweverOftenAGoodbyeIsRefusedByTheStoreItIsWrittenAgainOnce) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  journal_.FailNext(100'000);
  for (int i = 0; i < 1000; ++i) {  // 64 are written at once.
    fleet_->Goodbye(a, epoch, {.back_within = absl::Minutes(10)});
  }
  loop_.RunReady();
  journal_.FailNext(0);
  const int before = journal_.puts;
  loop_.Advance(Seconds(6));
  EXPECT_TRUE(journal_.machines[a].promised_back.has_value());
  EXPECT_LT(journal_.puts - before, 10);
}

TEST_F(FleetTest, AMachineThatLeavesIsToldSoWhenItIsStored) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  journal_.Hold();
  fleet_->Leave(a, epoch);
  loop_.RunReady();
  EXPECT_EQ(fleet_->machines().FindLiving(kOrg, a), nullptr);
  EXPECT_FALSE(link_.closed.has_value());
  journal_.Release();
  loop_.RunReady();
  ASSERT_TRUE(link_.closed.has_value());
  EXPECT_EQ(link_.closed->reason, DisconnectReason::kDeregistered);
  EXPECT_TRUE(journal_.machines[a].deleted_at.has_value());
}

TEST_F(FleetTest, AMachineWhoseLeaveIsNotStoredKeepsItsIdentityUntilItIs) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.RunReady();
  journal_.FailNext(2);  // The event, the tombstone.
  fleet_->Leave(a, epoch);
  loop_.RunReady();
  ASSERT_TRUE(link_.closed.has_value());
  EXPECT_EQ(link_.closed->reason, DisconnectReason::kOverloaded);
  loop_.Advance(Seconds(2));
  EXPECT_TRUE(journal_.machines[a].deleted_at.has_value());
  FakeLink again;
  EXPECT_EQ(fleet_->LinkOpened(a, {}, again)->reason,
            DisconnectReason::kDeregistered);
}

TEST_F(FleetTest, AMachineMayBreakOffBeforeItsLeaveIsStored) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  journal_.Hold();
  fleet_->Leave(a, epoch);
  fleet_->LinkClosed(a, epoch, LinkEnd::kGoodbye);
  EXPECT_EQ(fleet_->open_links(), 0u);
  journal_.Release();
  loop_.Advance(Seconds(300));
  EXPECT_FALSE(link_.closed.has_value());
  EXPECT_TRUE(journal_.machines[a].deleted_at.has_value());
}

TEST_F(FleetTest, AnUnknownIdIsRefused) {
  const auto refused = fleet_->LinkOpened(AgentId("who"), {}, link_);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->reason, DisconnectReason::kNotRegistered);
  EXPECT_GT(refused->retry_after, absl::ZeroDuration());
  EXPECT_EQ(fleet_->open_links(), 0u);
}

TEST_F(FleetTest, AGatewayThatIsEndingJudgesNobodyAndLetsNobodyIn) {
  const AgentId lost = Admit("lost");
  const AgentId promised = Admit("promised");
  FakeLink other;
  const uint64_t lost_epoch = Connect(lost, other);
  const uint64_t epoch = Connect(promised, link_);
  fleet_->Goodbye(promised, epoch, {.back_within = Seconds(30)});
  fleet_->LinkClosed(promised, epoch, LinkEnd::kClosedByPeer);
  fleet_->LinkClosed(lost, lost_epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(1));
  fleet_->Close({DisconnectReason::kDraining, "stops", {}});
  const auto refused = fleet_->LinkOpened(promised, Hello(promised), link_);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->reason, DisconnectReason::kDraining);
  loop_.Advance(absl::Minutes(5));
  EXPECT_EQ(StatusOf(promised), Status::kStale);
  EXPECT_EQ(StatusOf(lost), Status::kOnline);
}

class ManyTest : public FleetTest {
 protected:
  // New machines, one on each link, and their epochs.
  std::vector<std::pair<AgentId, uint64_t>> ConnectAll(
      std::vector<FakeLink>& links) {
    std::vector<std::pair<AgentId, uint64_t>> machines;
    for (FakeLink& link : links) {
      const AgentId id = Admit(fmt::format("m{}", machines.size()));
      machines.emplace_back(id, Connect(id, link));
    }
    return machines;
  }
};

TEST_F(ManyTest, ManyLastHeardAreSeveralBatchesNotOneLongTurn) {
  std::vector<FakeLink> links(1200);
  const auto machines = ConnectAll(links);
  loop_.Advance(Seconds(10));
  const int puts = journal_.puts;
  for (const auto& [id, epoch] : machines) Beat(id, epoch);
  loop_.RunReady();
  EXPECT_EQ(journal_.puts, puts + 2);  // The rest is not a whole batch.
  EXPECT_EQ(journal_.last_heard[machines[0].first], loop_.Wall());
  const absl::Time heard = loop_.Wall();
  loop_.Advance(Seconds(5));
  EXPECT_EQ(journal_.puts, puts + 3);
  EXPECT_EQ(journal_.last_heard[machines.back().first], heard);
}

TEST_F(FleetTest, ThatAMachineWasHeardAtAllIsWrittenAtOnce) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.RunReady();
  EXPECT_EQ(journal_.last_heard.count(a), 1u);
}

TEST_F(ManyTest, LastHeardIsWrittenInBatchesAndAHeartbeatWritesNothing) {
  std::vector<FakeLink> links(10);
  const auto machines = ConnectAll(links);
  loop_.Advance(Seconds(10));
  const int puts = journal_.puts;
  for (const auto& [id, epoch] : machines) Beat(id, epoch);
  const absl::Time heard = loop_.Wall();
  loop_.RunReady();
  EXPECT_EQ(journal_.puts, puts);
  loop_.Advance(Seconds(20));
  EXPECT_EQ(journal_.puts, puts + 1);
  for (const auto& [id, epoch] : machines)
    EXPECT_EQ(journal_.last_heard[id], heard);
}

TEST_F(FleetTest, TheToldIntervalGrowsWithTheFleetAndSoDoesTheLease) {
  FleetOptions options;
  options.heartbeats_per_second_max = 0.05;
  Start(options);
  std::vector<FakeLink> links(4);
  const AgentId first = Admit("m0");
  Connect(first, links[0]);
  EXPECT_EQ(fleet_->HeartbeatInterval(Of(first)), Seconds(30));
  for (size_t i = 1; i < links.size(); ++i)
    Connect(Admit(fmt::format("m{}", i)), links[i]);
  EXPECT_EQ(fleet_->HeartbeatInterval(Of(first)), Seconds(80));
  EXPECT_TRUE(Beat(first, links[0].welcome->epoch));
  loop_.Advance(Seconds(200) - kTick);
  EXPECT_EQ(StatusOf(first), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(first), Status::kStale);
}

TEST_F(FleetTest, AfterARestartTheFleetCountsAsLargeAsItWas) {
  FleetOptions options;
  options.heartbeats_per_second_max = 0.05;
  Start(options);
  std::vector<FakeLink> links(4);
  for (size_t i = 0; i < links.size(); ++i)
    Connect(Admit(fmt::format("m{}", i)), links[i]);
  const AgentId never = Admit("never");
  loop_.RunReady();
  Start(options);
  EXPECT_EQ(fleet_->HeartbeatInterval(Of(AgentId("m0"))), Seconds(80));
  loop_.Advance(Seconds(200) - kTick);
  EXPECT_EQ(StatusOf(AgentId("m0")), Status::kOnline) << "it was told 80 s";
  EXPECT_EQ(StatusOf(never), Status::kOffline) << "nobody told it anything";
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(AgentId("m0")), Status::kStale);
}

TEST_F(FleetTest, ACommandForAMachineBetweenLinksIsSentWhenItIsBack) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  SubmitCommand(a, "c");
  loop_.Advance(Seconds(2));
  FakeLink second;
  Connect(a, second);
  loop_.RunReady();
  ASSERT_EQ(second.orders.size(), 1u);
  EXPECT_EQ(second.orders[0].dispatch_seq, 1u);
  EXPECT_EQ(journal_.machines[a].dispatch_high, 1u);
}

TEST_F(FleetTest, ARestartedGatewayNoticesAnAgentThatWasRolledBack) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  SubmitCommand(a, "c1");
  Say(a, epoch, "c1", CommandState::kSucceeded);
  SubmitCommand(a, "c2");
  EXPECT_EQ(journal_.machines[a].acknowledged_high, 1u);
  Start({});
  FakeLink second;
  HelloNotice hello = Hello(a);
  hello.seen_high = 0;  // It had seen 1.
  fleet_->LinkOpened(a, hello, second);
  loop_.RunReady();
  EXPECT_THAT(second.orders, IsEmpty());
  EXPECT_EQ(journal_.commands[CommandId("c2")].state,
            CommandState::kOutcomeUnknown);
  EXPECT_EQ(journal_.commands[CommandId("c2")].reason, "agent_rolled_back");
  // The doubt is settled: it is not raised again by the next restart.
  EXPECT_EQ(journal_.machines[a].acknowledged_high, 0u);
}

TEST_F(FleetTest, AWordIsAcknowledgedOnlyWithTheNumberThatItProves) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  SubmitCommand(a, "c1");
  journal_.FailNext(1);
  Say(a, epoch, "c1", CommandState::kReceived);
  EXPECT_EQ(journal_.machines[a].acknowledged_high, 0u);
  EXPECT_THAT(link_.acks, IsEmpty());
  loop_.Advance(Seconds(1));
  loop_.RunReady();
  EXPECT_EQ(journal_.machines[a].acknowledged_high, 1u);
  EXPECT_EQ(link_.acks.size(), 1u);
}

TEST_F(FleetTest, WhySaysStatusSinceAndLastHeard) {
  const AgentId a = Admit("a");
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr("never heard"));
  Connect(a, link_);
  const std::string heard = absl::FormatTime("%Y-%m-%d %H:%M:%S UTC",
                                             loop_.Wall(), absl::UTCTimeZone());
  loop_.Advance(Seconds(180));
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr("a is offline for 60 s"));
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr("last heartbeat " + heard));
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr("silent, link not closed"));
}

TEST_F(FleetTest, WhySaysWhichOfSeveralOfOneName) {
  const AgentId a = AdmitFrom("m1", "a-1");
  const AgentId b = AdmitFrom("m2", "b-2");
  FakeLink other;
  for (const auto& [id, link] : {std::pair(a, &link_), std::pair(b, &other)}) {
    HelloNotice hello = Hello(id);
    hello.facts.hostname = "vm";
    ASSERT_FALSE(fleet_->LinkOpened(id, hello, *link).has_value());
  }
  EXPECT_THAT(fleet_->Why(Of(a)), testing::StartsWith("vm~a-1 is stale"));
  EXPECT_THAT(fleet_->Why(Of(b)), testing::StartsWith("vm~b-2 is stale"));
}

TEST_F(FleetTest, APromiseIsShownUntilTheMachineIsBack) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  fleet_->Goodbye(a, epoch,
                  {.summary = "upgrading", .back_within = Seconds(30)});
  const std::string promise =
      "; promised back by " + absl::FormatTime("%Y-%m-%d %H:%M:%S UTC",
                                               loop_.Wall() + Seconds(30),
                                               absl::UTCTimeZone());
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr("upgrading" + promise));
  loop_.Advance(Seconds(60));
  ASSERT_EQ(StatusOf(a), Status::kOffline);
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr(promise));
  FakeLink again;
  const uint64_t second = Connect(a, again);
  EXPECT_EQ(Of(a).record.promised_back, std::nullopt);
  fleet_->Goodbye(a, second, {});
  EXPECT_EQ(Of(a).record.promised_back, std::nullopt) << "promised nothing";
}

TEST_F(FleetTest, APromiseIsBelievedForAnHourAtMost) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  fleet_->Goodbye(a, epoch, {.back_within = absl::Hours(5)});
  EXPECT_EQ(Of(a).record.promised_back, loop_.Wall() + kPromiseMax);
  loop_.Advance(kPromiseMax - Seconds(1));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(1));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(FleetTest, WhyKnowsNoNegativeTime) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.StepWall(-absl::Hours(2));
  EXPECT_THAT(fleet_->Why(Of(a)), HasSubstr("a is online for 0 s"));
}

TEST_F(FleetTest, LabelsAreSeenOnceTheyAreDurable) {
  const AgentId a = Admit("a");
  std::optional<absl::Status> done;
  const auto set = [&](Labels labels) {
    done.reset();
    fleet_->SetLabels(kOrg, a, std::move(labels),
                      [&](absl::Status s) { done = std::move(s); });
  };
  journal_.Hold();
  set({{"env", "prod"}});
  // Whatever else is written of the machine meanwhile leaves the labels alone.
  Connect(a, link_);
  EXPECT_THAT(Of(a).record.labels, IsEmpty());
  journal_.Release();
  loop_.RunReady();
  EXPECT_TRUE(done->ok());
  EXPECT_EQ(Of(a).record.labels, (Labels{{"env", "prod"}}));
  EXPECT_EQ(journal_.machines[a].labels, (Labels{{"env", "prod"}}));

  journal_.FailNext(1);
  set({{"env", "test"}});
  loop_.RunReady();
  EXPECT_FALSE(done->ok());
  EXPECT_EQ(Of(a).record.labels, (Labels{{"env", "prod"}}));
}

}  // namespace
}  // namespace muster::gateway
