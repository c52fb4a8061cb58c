// Many of one group fall silent at once.

#include <string>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::SizeIs;

class IncidentTest : public FleetTest {
 protected:
  // `count` machines of one subnet, online now.
  void ConnectMany(int count) {
    links_.resize(count);
    for (int i = 0; i < count; ++i) {
      const AgentId id = Admit(fmt::format("m{:02}", i));
      HelloNotice hello = Hello(id);
      hello.address = fmt::format("10.2.3.{}", i + 1);
      EXPECT_FALSE(fleet_->LinkOpened(id, hello, links_[i]));
      echo_[id] = links_[i].welcome->acknowledgement;
      agents_.push_back(id);
      epochs_.push_back(links_[i].welcome->epoch);
      EXPECT_TRUE(Beat(id, epochs_[i]));
    }
  }
  void BeatFrom(size_t first) {
    for (size_t i = first; i < agents_.size(); ++i)
      Beat(agents_[i], epochs_[i]);
  }
  // The last four go on; the others are an incident.
  void SixOfTenFallSilent() {
    ConnectMany(10);
    loop_.Advance(Seconds(60));
    BeatFrom(6);
    loop_.Advance(Seconds(20));
    ASSERT_EQ(fleet_->incidents_open(), 1u);
  }
  void SixOfTenAreOffline() {
    SixOfTenFallSilent();
    for (int t = 0; t < 280; t += 25) {
      BeatFrom(6);
      loop_.Advance(Seconds(25));
    }
    BeatFrom(6);
    ASSERT_EQ(Offline(), 6u);
  }
  // After a restart.
  void Reconnect(size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) {
      HelloNotice hello = Hello(agents_[i]);
      hello.address = fmt::format("10.2.3.{}", i + 1);
      links_[i] = FakeLink();
      ASSERT_FALSE(fleet_->LinkOpened(agents_[i], hello, links_[i]));
      echo_[agents_[i]] = links_[i].welcome->acknowledgement;
      Beat(agents_[i], links_[i].welcome->epoch);
    }
  }
  uint32_t Offline() { return fleet_->machines().Counts(kOrg).offline; }

  std::vector<AgentId> agents_;
  std::vector<uint64_t> epochs_;
  std::vector<FakeLink> links_;
};

TEST_F(IncidentTest, AGroupIsHeldInStaleFor180SecondsMoreAndNamed) {
  ConnectMany(10);
  loop_.Advance(Seconds(60));
  BeatFrom(6);
  loop_.Advance(Seconds(15));
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(StatusOf(agents_[i]), Status::kStale);
    const Verdict& verdict = *Of(agents_[i]).record.verdict;
    EXPECT_EQ(verdict.cause, Cause::kNetworkGroup);
    EXPECT_EQ(verdict.summary, "silent with others of 10.2.3.0/24");
    EXPECT_LE(verdict.summary.size(), 48u);
  }
  loop_.RunReady();
  ASSERT_THAT(journal_.incidents, SizeIs(1));
  EXPECT_EQ(journal_.incidents.begin()->second.group, "10.2.3.0/24");
  EXPECT_FALSE(journal_.incidents.begin()->second.closed_at);
  for (int t = 0; t < 225; t += 25) {
    BeatFrom(6);
    loop_.Advance(Seconds(25) - (t == 200 ? kTick : absl::ZeroDuration()));
    ASSERT_EQ(Offline(), 0u) << t;
  }
  loop_.Advance(kTick);
  EXPECT_EQ(Offline(), 6u);
  loop_.Advance(Seconds(5));
  const IncidentRecord& incident = journal_.incidents.begin()->second;
  EXPECT_FALSE(incident.closed_at.has_value()) << "they are not back";
  EXPECT_EQ(fleet_->incidents_open(), 1u);
  EXPECT_EQ(incident.machines, 6u);
  EXPECT_EQ(incident.verdict.cause, Cause::kNetworkGroup);
}

TEST_F(IncidentTest, IsOverWhenFewerThanFiveAreNotBack) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenAreOffline());
  FakeLink back[2];
  Connect(agents_[0], back[0]);
  EXPECT_EQ(fleet_->incidents_open(), 1u) << "five are away";
  Connect(agents_[1], back[1]);
  EXPECT_EQ(fleet_->incidents_open(), 0u);
  loop_.RunReady();
  EXPECT_TRUE(journal_.incidents.begin()->second.closed_at.has_value());
}

// What comes later is another event, and judged at its own time.
TEST_F(IncidentTest, WhoFallsSilentWhenTheOthersAreOfflineIsAlone) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenAreOffline());
  for (int t = 0; t < 120; t += 30) {
    BeatFrom(7);
    loop_.Advance(Seconds(30));
  }
  EXPECT_EQ(Offline(), 7u);
  EXPECT_EQ(journal_.incidents.begin()->second.machines, 6u);
}

TEST_F(IncidentTest, GoesOnAfterARestartOfTheGateway) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenFallSilent());
  Start({});
  EXPECT_EQ(fleet_->incidents_open(), 1u);
  loop_.Advance(Seconds(300) - kTick);
  EXPECT_EQ(Offline(), 0u) << "those who are silent since belong to it";
  loop_.Advance(kTick);
  EXPECT_EQ(Offline(), 10u) << "a lease, and the hold";
  loop_.RunReady();
  ASSERT_THAT(journal_.incidents, SizeIs(1));
  EXPECT_FALSE(journal_.incidents.begin()->second.closed_at);
  Start({});
  EXPECT_EQ(fleet_->incidents_open(), 1u) << "offline is not back";
}

TEST_F(IncidentTest, IsOverWhenNobodyWaitsForItsMachines) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenAreOffline());
  for (int i = 0; i < 2; ++i) {
    fleet_->SetSilenced(kOrg, agents_[i], true, "ann",
                        [](const absl::Status&) {});
  }
  EXPECT_EQ(fleet_->incidents_open(), 0u);
}

TEST_F(IncidentTest, WhoJoinedJustBeforeARestartIsHeldAfterIt) {
  ConnectMany(10);
  loop_.Advance(Seconds(60));
  BeatFrom(6);
  loop_.Advance(Seconds(1));
  BeatFrom(8);
  loop_.Advance(Seconds(14));  // Six, and nobody more until the end.
  loop_.RunReady();
  BeatFrom(8);
  loop_.Advance(Seconds(60));
  loop_.RunReady();
  ASSERT_EQ(fleet_->machines().Counts(kOrg).stale, 8u);
  journal_.incidents.begin()->second.machines = 6;  // Two not counted yet.
  Start({});
  for (int t = 0; t < 300; t += 25) {
    EXPECT_EQ(Offline(), 0u) << t;
    Reconnect(8, 10);
    loop_.Advance(Seconds(25) - (t == 275 ? kTick : absl::ZeroDuration()));
  }
  EXPECT_EQ(Offline(), 0u) << "a lease, and the hold: for all eight";
  loop_.Advance(kTick);
  EXPECT_EQ(Offline(), 8u);
  loop_.Advance(Seconds(5));
  EXPECT_EQ(journal_.incidents.begin()->second.machines, 8u);
}

TEST_F(IncidentTest, WhatTheStoreRefusedOfItIsWrittenAgain) {
  ConnectMany(10);
  loop_.Advance(Seconds(60));
  BeatFrom(6);
  journal_.FailNext(1000);
  loop_.Advance(Seconds(20));
  ASSERT_EQ(fleet_->incidents_open(), 1u);
  ASSERT_EQ(journal_.machines[agents_[0]].incident, "");
  journal_.FailNext(0);
  loop_.Advance(Seconds(6));
  for (int i = 0; i < 6; ++i) {
    EXPECT_NE(journal_.machines[agents_[i]].incident, "") << i;
  }
}

TEST_F(IncidentTest, WhoseSilenceWasNotStoredInTimeIsNotOfTheIncident) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenFallSilent());
  MachineRecord& stored = journal_.machines[agents_[0]];
  stored.status = Status::kOnline;  // Its transition was still on the way.
  stored.verdict.reset();
  Start({});
  loop_.RunReady();
  EXPECT_EQ(Of(agents_[0]).record.incident, "");
  EXPECT_NE(Of(agents_[1]).record.incident, "");
}

TEST_F(IncidentTest, WhoCameBackAndFellSilentAloneIsNotTakenInByARestart) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenAreOffline());
  FakeLink back;
  const uint64_t epoch = Connect(agents_[0], back);
  loop_.RunReady();
  EXPECT_EQ(journal_.machines[agents_[0]].incident, "");
  EXPECT_NE(journal_.machines[agents_[1]].incident, "");
  fleet_->LinkClosed(agents_[0], epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(60));
  ASSERT_EQ(StatusOf(agents_[0]), Status::kStale);
  Start({});
  FakeLink other;
  Connect(agents_[1], other);
  EXPECT_EQ(fleet_->incidents_open(), 0u) << "four of it are away";
}

TEST_F(IncidentTest, IsOverIfItsMachinesWereBackWhenTheGatewayEnded) {
  ASSERT_NO_FATAL_FAILURE(SixOfTenFallSilent());
  for (auto& [id, machine] : journal_.machines) {
    machine.status = Status::kOnline;
    machine.verdict.reset();
  }
  Start({});
  loop_.RunReady();
  EXPECT_EQ(fleet_->incidents_open(), 0u);
  EXPECT_TRUE(journal_.incidents.begin()->second.closed_at.has_value());
}

// They are heard, and do not hear: that is another thing than silence.
TEST_F(IncidentTest, ManyThatAreHeardOneWayAreNoSilentGroup) {
  ConnectMany(10);
  for (int t = 0; t < 75; t += 25) {
    for (const AgentId& id : agents_) echo_[id] = 0;  // Nothing comes back.
    BeatFrom(0);
    loop_.Advance(Seconds(25));
  }
  loop_.RunReady();
  for (const AgentId& id : agents_) {
    ASSERT_EQ(StatusOf(id), Status::kStale);
    EXPECT_EQ(Of(id).record.verdict->cause, Cause::kNetworkOneWay);
  }
  EXPECT_THAT(journal_.incidents, SizeIs(0));
}

TEST_F(IncidentTest, WhatIsKnownOfOneIsNotCoveredByTheSilenceOfItsGroup) {
  ConnectMany(10);
  loop_.Advance(Seconds(10));
  BeatFrom(1);
  loop_.Advance(Seconds(65));
  ASSERT_EQ(StatusOf(agents_[0]), Status::kStale);
  fleet_->Reissued(agents_[0], "ann");
  loop_.Advance(Seconds(10));
  for (int i = 1; i < 10; ++i) ASSERT_EQ(StatusOf(agents_[i]), Status::kStale);
  EXPECT_EQ(Of(agents_[1]).record.verdict->cause, Cause::kNetworkGroup);
  EXPECT_EQ(Of(agents_[0]).record.verdict->cause, Cause::kCredentialRevoked);
}

TEST_F(IncidentTest, WhenMostAreBackTheRestIsJudgedAsIfAlone) {
  ConnectMany(10);
  loop_.Advance(Seconds(60));
  BeatFrom(6);
  loop_.Advance(Seconds(100));
  BeatFrom(6);
  EXPECT_EQ(Offline(), 0u) << "held";
  Beat(agents_[1], epochs_[1]);  // Never superseded, never closed until now.
  FakeLink link;
  Connect(agents_[1], link);
  FakeLink other;
  Connect(agents_[2], other);
  loop_.Advance(kTick);
  EXPECT_EQ(Offline(), 4u) << "too few for an incident: honest times again";
  EXPECT_EQ(fleet_->counters().transition_late.counts().back(), 0u)
      << "they were held, the detector was in time";
  EXPECT_EQ(StatusOf(agents_[1]), Status::kOnline);
}

TEST_F(IncidentTest, FourOrASmallShareAreOfflineAtTheirTime) {
  ConnectMany(20);
  loop_.Advance(Seconds(60));
  BeatFrom(5);
  loop_.Advance(Seconds(60));
  EXPECT_EQ(Offline(), 5u) << "5 of 20 are 25 %";
  EXPECT_TRUE(journal_.incidents.empty());
}

TEST_F(IncidentTest, WhoSaidGoodbyeDidNotFallSilent) {
  ConnectMany(10);
  for (int i = 0; i < 8; ++i) {
    fleet_->Goodbye(agents_[i], epochs_[i], {.back_within = Seconds(30)});
  }
  loop_.Advance(Seconds(30));
  EXPECT_EQ(Offline(), 8u);
  EXPECT_TRUE(journal_.incidents.empty());
}

TEST_F(IncidentTest, ADeletedMachineLeavesItsIncident) {
  ConnectMany(5);
  loop_.Advance(Seconds(75));
  EXPECT_EQ(fleet_->machines().Counts(kOrg).stale, 5u);
  fleet_->Delete(kOrg, agents_[0], [](const absl::Status&) {});
  loop_.Advance(Seconds(45));
  EXPECT_EQ(Offline(), 4u);
}

}  // namespace
}  // namespace muster::gateway
