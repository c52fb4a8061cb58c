// The detector suspects itself first: what this gateway could not hear is held
// against nobody.

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

using absl::Milliseconds;
using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class HearingTest : public FleetTest {
 protected:
  // Turned away at this moment and for the whole of `time`.
  void DeafFor(absl::Duration time) {
    for (absl::Duration t; t < time; t += Seconds(1)) {
      fleet_->TurnedAway(BlindReason::kDescriptors);
      loop_.Advance(Seconds(1));
    }
  }
  void Lose(const AgentId& agent, uint64_t epoch) {
    fleet_->LinkClosed(agent, epoch, LinkEnd::kClosedByPeer);
  }
};

TEST_F(HearingTest, ABlindIntervalIsARow) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(10));
  const absl::Time from = loop_.Wall();
  loop_.SuspendFor(Seconds(8));
  loop_.RunReady();
  ASSERT_THAT(journal_.blind, SizeIs(1));
  EXPECT_EQ(journal_.blind[0].reason, BlindReason::kStoodStill);
  EXPECT_LE(journal_.blind[0].from, from);
  EXPECT_GE(journal_.blind[0].from, from - Seconds(1));
  EXPECT_EQ(journal_.blind[0].to, from + Seconds(8));
}

TEST_F(HearingTest, ASuspendedHostIsToldApartFromAProcessThatStoodStill) {
  loop_.Advance(Seconds(10));
  loop_.SuspendHostFor(absl::Hours(8));
  loop_.Advance(Seconds(10));
  loop_.SuspendFor(Seconds(8));
  loop_.RunReady();
  ASSERT_THAT(journal_.blind, SizeIs(2));
  EXPECT_EQ(journal_.blind[0].reason, BlindReason::kSuspended);
  EXPECT_EQ(journal_.blind[1].reason, BlindReason::kStoodStill);
}

TEST_F(HearingTest, TheTimeBetweenTwoLivesOfTheGatewayIsARow) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(6));
  journal_.machines[a].last_heard = journal_.last_heard[a];
  fleet_.reset();
  loop_.Advance(Seconds(600));
  Start({});
  loop_.RunReady();
  ASSERT_THAT(journal_.blind, SizeIs(1));
  EXPECT_EQ(journal_.blind[0],
            (BlindRecord{journal_.last_heard[a], loop_.Wall(),
                         BlindReason::kNotRunning}));
}

TEST_F(HearingTest, AMachineThatIsHeardInTheMidstOfAGapIsNotJudgedByIt) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(70));
  // The first thing that runs after the gap is not the timer.
  loop_.PostAt(loop_.Now() + Milliseconds(1),
               [&] { fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer); });
  loop_.SuspendFor(Seconds(20));
  loop_.Advance(Seconds(74));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(Seconds(2));
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(HearingTest, WhoLosesItsLinkWhileNewcomersAreTurnedAwayHasAWholeLease) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(60));
  fleet_->TurnedAway(BlindReason::kDescriptors);
  Lose(a, epoch);
  loop_.Advance(Seconds(75));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  // Deaf for 5 s, which moves the lease by 5 s.
  loop_.Advance(Seconds(5) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

// What it said last may be lost with it.
TEST_F(HearingTest, WhoseLinkIsFoundLostAfterAPauseHasAWholeLease) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(70));
  loop_.SuspendFor(Seconds(4));
  loop_.RunReady();
  Lose(a, epoch);
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

// TCP knocks again later and later, though the door is free by now.
TEST_F(HearingTest, WhoLosesItsLinkSoonAfterThatHasTheLeaseAndNotTheGrace) {
  const AgentId soon = Admit("soon");
  const AgentId later = Admit("later");
  FakeLink other;
  const uint64_t epoch = Connect(soon, link_);
  const uint64_t later_epoch = Connect(later, other);
  fleet_->TurnedAway(BlindReason::kAdmission);
  loop_.Advance(Seconds(35) - kTick);
  Lose(soon, epoch);
  loop_.Advance(kTick);
  Lose(later, later_epoch);
  loop_.Advance(Seconds(5));
  EXPECT_EQ(StatusOf(soon), Status::kOnline);
  EXPECT_EQ(StatusOf(later), Status::kStale);
  loop_.Advance(Seconds(70));
  EXPECT_EQ(StatusOf(soon), Status::kStale);
}

TEST_F(HearingTest, WhoGetsInWhileOthersAreStillTurnedAwayIsExcusedUntilThen) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  Lose(a, epoch);
  DeafFor(Seconds(300));
  FakeLink again;
  ASSERT_FALSE(fleet_->LinkOpened(a, Hello(a), again).has_value());
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline) << "a round trip may take a lease";
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(HearingTest, DeafnessExcusesOnlyMachinesWithoutALink) {
  const AgentId linked = Admit("linked");
  const AgentId lost = Admit("lost");
  FakeLink other;
  Connect(linked, link_);
  const uint64_t epoch = Connect(lost, other);
  Lose(lost, epoch);
  DeafFor(Seconds(300));
  EXPECT_EQ(StatusOf(linked), Status::kOffline) << "it could have spoken";
  EXPECT_EQ(StatusOf(lost), Status::kOnline);
  // The door is open again 4 s later, and then a whole lease runs.
  loop_.Advance(Seconds(4) + Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(lost), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(lost), Status::kStale);
  loop_.Advance(Seconds(45));
  EXPECT_EQ(StatusOf(lost), Status::kOffline);
  loop_.RunReady();
  ASSERT_THAT(journal_.blind, SizeIs(1));
  EXPECT_EQ(journal_.blind[0].reason, BlindReason::kDescriptors);
  EXPECT_EQ(journal_.blind[0].to - journal_.blind[0].from, Seconds(304));
}

TEST_F(HearingTest, DeafnessThatIsOverMovesNoLeaseOfAMachineWithALink) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  DeafFor(Seconds(20));
  loop_.Advance(Seconds(55) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(HearingTest, APromiseDoesNotLapseWhileNewcomersAreTurnedAway) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  fleet_->Goodbye(a, epoch, {.back_within = Seconds(30)});
  Lose(a, epoch);
  DeafFor(Seconds(100));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(4) + Seconds(75));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(HearingTest, ATooBigStormIsToldWhenToComeBackAndNobodyWorsens) {
  FleetOptions options;
  options.admission = {.links_per_second_max = 1, .burst = 2};
  Start(options);
  std::vector<AgentId> agents;
  std::vector<FakeLink> links(6);
  for (int i = 0; i < 6; ++i) agents.push_back(Admit(fmt::format("m{}", i)));
  for (int i = 0; i < 2; ++i) Connect(agents[i], links[i]);
  for (int i = 2; i < 6; ++i) {
    const auto refused =
        fleet_->LinkOpened(agents[i], Hello(agents[i]), links[i]);
    ASSERT_TRUE(refused.has_value());
    EXPECT_EQ(refused->reason, DisconnectReason::kOverloaded);
    EXPECT_EQ(refused->retry_after, Seconds(i - 1));
    EXPECT_FALSE(links[i].welcome.has_value());
  }
  EXPECT_EQ(fleet_->open_links(), 2u);
  loop_.Advance(Seconds(4));
  Connect(agents[5], links[5]);
  EXPECT_EQ(StatusOf(agents[5]), Status::kOnline);
}

TEST_F(HearingTest, ARetryAfterRenewsTheLease) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(70));
  FleetOptions options;
  options.admission = {.links_per_second_max = 0.02, .burst = 0.5};
  Start(options);  // It is online, and gets a whole lease.
  loop_.Advance(Seconds(10));
  const auto refused = fleet_->LinkOpened(a, Hello(a), link_);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->retry_after, Seconds(50));
  loop_.Advance(Seconds(50 + 75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(45));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(HearingTest, ARetryAfterRenewsTheLeaseWhateverBecameOfTheOldLink) {
  FleetOptions options;
  options.admission = {.links_per_second_max = 0.01, .burst = 1};
  Start(options);
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.Advance(Seconds(70));
  const auto refused = fleet_->LinkOpened(a, Hello(a), link_);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->retry_after, Seconds(100));
  loop_.Advance(Seconds(100 + 75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(HearingTest, PresenceIsUnconfirmedWhileMostOfHalfAnHourWasNotHeard) {
  const AgentId heard = Admit("heard");
  const AgentId silent = Admit("silent");
  FakeLink other;
  const uint64_t epoch = Connect(heard, link_);
  Connect(silent, other);
  EXPECT_TRUE(fleet_->confirmed());
  EXPECT_FALSE(fleet_->impairment().has_value());
  const absl::Time from = loop_.Wall();
  loop_.SuspendFor(absl::Minutes(16));
  EXPECT_FALSE(fleet_->confirmed());
  ASSERT_TRUE(fleet_->impairment().has_value());
  EXPECT_EQ(fleet_->impairment()->reason, BlindReason::kStoodStill);
  EXPECT_EQ(fleet_->impairment()->since, from);
  Beat(heard, epoch);
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(heard)), std::nullopt);
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(silent)), from);
  loop_.Advance(absl::Minutes(15) + Seconds(1));
  EXPECT_TRUE(fleet_->confirmed());
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(silent)), std::nullopt);
}

TEST_F(HearingTest, WhoWasHeardBetweenTwoPausesIsUnconfirmedWhenItIsSilent) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.SuspendFor(absl::Minutes(10));
  Beat(a, epoch);
  loop_.Advance(Seconds(20));
  const absl::Time heard = loop_.Wall();
  Beat(a, epoch);
  loop_.SuspendFor(absl::Minutes(10));
  ASSERT_FALSE(fleet_->confirmed());
  ASSERT_EQ(StatusOf(a), Status::kOnline) << "its lease has just begun anew";
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(a)), heard);
  Beat(a, epoch);
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(a)), std::nullopt);
}

TEST_F(HearingTest, WhoIsNeverCalledOfflineIsUnconfirmedInADoubtToo) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  absl::Status set;
  PresenceEdit never;
  never.set.offline_after = absl::InfiniteDuration();
  fleet_->SetPresence(kOrg, {a}, never,
                      [&](absl::Status status) { set = status; });
  loop_.RunReady();
  ASSERT_TRUE(set.ok()) << set;
  Beat(a, epoch);  // It holds from now on.
  loop_.SuspendFor(absl::Minutes(16));
  ASSERT_FALSE(fleet_->confirmed());
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  EXPECT_FALSE(fleet_->confirmed(Of(a)));
  loop_.Advance(absl::Minutes(16));
  EXPECT_TRUE(fleet_->confirmed(Of(a))) << "the last word that it earned";
}

// More than half of the time it listens, and never for a whole lease.
TEST_F(HearingTest, WhoIsOnlineOnlyBecauseOfManyPausesIsUnconfirmed) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  const absl::Time heard = loop_.Wall();
  for (int i = 0; i < 4; ++i) {
    loop_.Advance(Seconds(50));
    EXPECT_EQ(fleet_->confirmed(Of(a)), i < 1) << i;
    loop_.SuspendFor(Seconds(10));
  }
  ASSERT_EQ(StatusOf(a), Status::kOnline);
  ASSERT_TRUE(fleet_->confirmed());
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(a)), heard + Seconds(75));
}

TEST_F(HearingTest, AfterALongAbsenceNobodyIsConfirmedUntilHeardOrJudged) {
  const AgentId heard = Admit("heard");
  const AgentId silent = Admit("silent");
  FakeLink other;
  Connect(heard, link_);
  Connect(silent, other);
  fleet_->FlushLastHeard();
  loop_.RunReady();
  alive_at_ = loop_.Wall();
  fleet_.reset();
  loop_.SuspendFor(absl::Minutes(16));
  Start({});
  ASSERT_EQ(StatusOf(silent), Status::kOnline);
  EXPECT_FALSE(fleet_->confirmed());
  EXPECT_EQ(fleet_->impairment()->reason, BlindReason::kNotRunning);
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(silent)), *alive_at_);
  Connect(heard, link_);
  EXPECT_EQ(fleet_->UnconfirmedSince(Of(heard)), std::nullopt);
  loop_.Advance(Seconds(121));
  EXPECT_EQ(StatusOf(silent), Status::kOffline);
  EXPECT_TRUE(fleet_->confirmed());
}

TEST_F(HearingTest, AGatewayThatRanAndHeardNobodyWasNotAway) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  fleet_->FlushLastHeard();
  loop_.Advance(absl::Hours(50));
  ASSERT_EQ(StatusOf(a), Status::kOffline);
  alive_at_ = loop_.Wall();
  loop_.Advance(Seconds(3));
  Start({});
  loop_.RunReady();
  EXPECT_EQ(journal_.blind.back(),
            (BlindRecord{*alive_at_, loop_.Wall(), BlindReason::kNotRunning}));
  // Without a sign of life: no later than what it decided.
  alive_at_.reset();
  Start({});
  loop_.RunReady();
  EXPECT_EQ(journal_.blind.back().from, Of(a).record.status_since);
}

TEST_F(HearingTest, WhileNewcomersAreTurnedAwayThatIsSaidButConfirmed) {
  fleet_->TurnedAway(BlindReason::kDescriptors);
  loop_.Advance(Seconds(1));
  EXPECT_TRUE(fleet_->confirmed());
  ASSERT_TRUE(fleet_->impairment().has_value());
  EXPECT_EQ(fleet_->impairment()->reason, BlindReason::kDescriptors);
  loop_.Advance(Seconds(5));
  EXPECT_FALSE(fleet_->impairment().has_value());
}

TEST_F(HearingTest, MassSilenceIsJudgedInTurnsAndOthersAreServedBetween) {
  FleetOptions options;
  options.judged_per_turn_max = 10;
  Start(options);
  std::vector<FakeLink> links(95);
  for (size_t i = 0; i < links.size(); ++i) {
    Connect(Admit(fmt::format("m{}", i)), links[i]);
  }
  std::vector<uint32_t> seen;
  std::function<void()> look = [&] {
    seen.push_back(fleet_->machines().Counts(kOrg).stale);
    if (seen.size() < 5) loop_.Post(look);
  };
  bool posted = false;
  TapLog([&](std::string_view line) {
    if (line.find("machine stale") == line.npos) return;
    if (!std::exchange(posted, true)) loop_.Post(look);
  });
  loop_.Advance(Seconds(75));
  TapLog(nullptr);
  EXPECT_THAT(seen, ElementsAre(10, 20, 30, 40, 50));
  EXPECT_EQ(fleet_->machines().Counts(kOrg).stale, 95u);
  loop_.Advance(Seconds(45));
  EXPECT_EQ(fleet_->machines().Counts(kOrg).offline, 95u);
}

}  // namespace
}  // namespace muster::gateway
