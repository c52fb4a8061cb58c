// What an org or a machine has of its own, and from when on it holds.

#include <optional>
#include <string>
#include <vector>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

PresenceEdit Edit(std::optional<absl::Duration> interval,
                  std::optional<absl::Duration> stale,
                  std::optional<absl::Duration> offline,
                  std::optional<absl::Duration> grace = {}) {
  PresenceEdit edit;
  edit.set.reconnect_grace = grace;
  edit.set.heartbeat_interval = interval;
  edit.set.stale_after = stale;
  edit.set.offline_after = offline;
  return edit;
}
const PresenceEdit kQuick =
    Edit(Seconds(1), Seconds(3), Seconds(8), Seconds(1));
const PresenceEdit kNever = Edit({}, {}, absl::InfiniteDuration());

class SettingsTest : public FleetTest {
 protected:
  absl::Status SetOrg(const PresenceEdit& edit) {
    absl::Status answer = absl::UnknownError("nothing was answered");
    fleet_->SetPresence(kOrg, edit, [&](absl::Status s) { answer = s; });
    loop_.RunReady();
    return answer;
  }
  absl::Status Set(const std::vector<AgentId>& agents,
                   const PresenceEdit& edit) {
    absl::Status answer = absl::UnknownError("nothing was answered");
    fleet_->SetPresence(kOrg, agents, edit,
                        [&](absl::Status s) { answer = s; });
    loop_.RunReady();
    return answer;
  }
};

TEST_F(SettingsTest, AMachineIsToldItsOwnIntervalWithItsNextAcknowledgement) {
  const AgentId a = Admit("a"), b = Admit("b");
  FakeLink other;
  const uint64_t epoch = Connect(a, link_);
  Connect(b, other);
  ASSERT_TRUE(Set({a}, kQuick).ok());
  const auto answer = fleet_->Heartbeat(
      a, epoch,
      {.sequence = 1, .acknowledged = 0, .sent_at = {}, .round_trip = {}});
  EXPECT_EQ(answer->heartbeat_interval, Seconds(1));
  EXPECT_EQ(fleet_->HeartbeatInterval(Of(b)), Seconds(30));
}

TEST_F(SettingsTest, TheIntervalOfAMachineGrowsWithTheFleetToo) {
  FleetOptions options;
  options.heartbeats_per_second_max = 0.5;
  Start(options);
  const AgentId a = Admit("a"), b = Admit("b");
  FakeLink other;
  Connect(b, other);
  ASSERT_TRUE(Set({a}, kQuick).ok());
  Connect(a, link_);
  EXPECT_EQ(link_.welcome->heartbeat_interval, Seconds(4));
}

TEST_F(SettingsTest, NothingHoldsBeforeTheNextMessage) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(60));
  ASSERT_TRUE(Set({a}, kQuick).ok());
  EXPECT_FALSE(fleet_->Adopted(Of(a)));
  loop_.Advance(Seconds(14));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  EXPECT_TRUE(Beat(a, epoch));
  EXPECT_TRUE(fleet_->Adopted(Of(a)));
}

// It was told 30 s: until it has been told the shorter interval twice, what it
// was told before counts.
TEST_F(SettingsTest, AShorterLeaseCountsWhenTheMachineMustKnowOfIt) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  ASSERT_TRUE(Set({a}, kQuick).ok());
  EXPECT_TRUE(Beat(a, epoch));
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  EXPECT_TRUE(Beat(a, epoch));
  loop_.Advance(Seconds(3) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(5));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(SettingsTest, NobodyIsWorseForTheChangeAlone) {
  const AgentId a = Admit("a");
  ASSERT_TRUE(Set({a}, Edit({}, Seconds(900), Seconds(1800))).ok());
  const uint64_t epoch = Connect(a, link_);
  // It is heard, but does not hear us, for longer than the next lease.
  for (int i = 0; i < 20; ++i) {
    loop_.Advance(Seconds(30));
    ASSERT_TRUE(fleet_->Heartbeat(
        a, epoch,
        {.sequence = 1, .acknowledged = 0, .sent_at = {}, .round_trip = {}}));
  }
  ASSERT_TRUE(Set({a}, Edit({}, Seconds(75), Seconds(120))).ok());
  ASSERT_TRUE(fleet_->Heartbeat(
      a, epoch,
      {.sequence = 1, .acknowledged = 0, .sent_at = {}, .round_trip = {}}));
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(SettingsTest, NeverMeansThatSilenceAndLinkLossChangeNothing) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  ASSERT_TRUE(Set({a}, kNever).ok());
  EXPECT_TRUE(Beat(a, epoch));
  loop_.Advance(absl::Hours(24));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(absl::Hours(24));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(SettingsTest, AMachineThatSleptUnderNeverIsJudgedAgainOnceItHasSpoken) {
  const AgentId a = Admit("a");
  ASSERT_TRUE(Set({a}, kNever).ok());
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(absl::Hours(24));
  PresenceEdit reset;
  reset.reset = {&PresenceSettings::offline_after};
  ASSERT_TRUE(Set({a}, reset).ok());
  loop_.Advance(absl::Hours(24));
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  EXPECT_TRUE(Beat(a, epoch));
  loop_.Advance(Seconds(75));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(45));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(SettingsTest, ALostLinkHasTheGraceOfTheMachine) {
  const AgentId a = Admit("a");
  ASSERT_TRUE(Set({a}, Edit({}, {}, {}, Seconds(40))).ok());
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(1));
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(40) - kTick);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(kTick);
  EXPECT_EQ(StatusOf(a), Status::kStale);
}

TEST_F(SettingsTest, WhatAnOrgSetsHoldsForAllWhoHaveNothingOfTheirOwn) {
  const AgentId a = Admit("a"), b = Admit("b");
  FakeLink other;
  ASSERT_TRUE(Set({b}, Edit(Seconds(10), {}, {})).ok());
  ASSERT_TRUE(SetOrg(Edit(Seconds(20), Seconds(100), Seconds(200))).ok());
  Connect(a, link_);
  Connect(b, other);
  EXPECT_EQ(link_.welcome->heartbeat_interval, Seconds(20));
  EXPECT_EQ(other.welcome->heartbeat_interval, Seconds(10));
  EXPECT_EQ(Of(b).presence.policy().stale_after, Seconds(100));
  // Also for one that registers later.
  FakeLink newcomer;
  Connect(Admit("c"), newcomer);
  EXPECT_EQ(newcomer.welcome->heartbeat_interval, Seconds(20));
}

TEST_F(SettingsTest, ARestartForgetsNothing) {
  const AgentId a = Admit("a"), b = Admit("b");
  ASSERT_TRUE(SetOrg(Edit({}, Seconds(100), Seconds(200))).ok());
  ASSERT_TRUE(Set({a}, kQuick).ok());
  Start({});
  EXPECT_EQ(Of(a).presence.policy().stale_after, Seconds(3));
  EXPECT_EQ(Of(b).presence.policy().stale_after, Seconds(100));
  PresenceEdit reset;
  reset.reset = {&PresenceSettings::stale_after,
                 &PresenceSettings::offline_after,
                 &PresenceSettings::heartbeat_interval};
  ASSERT_TRUE(Set({a}, reset).ok());
  Start({});
  EXPECT_EQ(Of(a).presence.policy().stale_after, Seconds(100));
}

TEST_F(SettingsTest, SettingsThatTheGatewaysOwnNoLongerAllowAreIgnored) {
  const AgentId a = Admit("a");
  ASSERT_TRUE(Set({a}, Edit({}, Seconds(100), {})).ok());
  FleetOptions options;
  options.presence.stale_after = Seconds(80);
  options.presence.offline_after = Seconds(90);
  Start(options);
  EXPECT_EQ(Of(a).presence.policy(), options.presence);
  EXPECT_TRUE(fleet_->Adopted(Of(a)));
}

TEST_F(SettingsTest, NothingIsSeenBeforeItIsDurable) {
  const AgentId a = Admit("a");
  const uint64_t epoch = Connect(a, link_);
  journal_.Hold();
  std::optional<absl::Status> answer;
  fleet_->SetPresence(kOrg, {a}, kQuick, [&](absl::Status s) { answer = s; });
  loop_.RunReady();
  EXPECT_TRUE(Beat(a, epoch));
  EXPECT_FALSE(answer.has_value());
  EXPECT_EQ(fleet_->HeartbeatInterval(Of(a)), Seconds(30));
  journal_.Release();
  loop_.RunReady();
  EXPECT_TRUE(answer->ok());
  EXPECT_TRUE(Beat(a, epoch));
  EXPECT_EQ(fleet_->HeartbeatInterval(Of(a)), Seconds(1));
}

TEST_F(SettingsTest, WhatTheStoreRefusesChangesNothing) {
  const AgentId a = Admit("a");
  loop_.RunReady();
  journal_.FailNext(2);
  EXPECT_TRUE(absl::IsUnavailable(Set({a}, kQuick)));
  EXPECT_TRUE(absl::IsUnavailable(SetOrg(kQuick)));
  EXPECT_TRUE(fleet_->Adopted(Of(a)));
}

TEST_F(SettingsTest, TwoChangesAtOnceAreBothKept) {
  const AgentId a = Admit("a");
  journal_.Hold();
  fleet_->SetPresence(kOrg, {a}, kQuick, [](const absl::Status&) {});
  fleet_->SetPresence(kOrg, {a}, Edit({}, {}, {}, Seconds(2)),
                      [](const absl::Status&) {});
  journal_.Release();
  loop_.RunReady();
  EXPECT_EQ(Of(a).own_presence->stale_after, Seconds(3));
  EXPECT_EQ(Of(a).own_presence->reconnect_grace, Seconds(2));
  EXPECT_EQ((journal_.presence[{kOrg, a}]), *Of(a).own_presence);
}

TEST_F(SettingsTest, AnErrorNamesFieldBoundAndValue) {
  const AgentId a = Admit("a");
  const absl::Status status = Set({a}, Edit(Seconds(60), {}, {}));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("stale_after must be larger than 2.2"),
                    HasSubstr("2m12s, got 1m15s")));
  EXPECT_THAT(std::string(SetOrg(Edit({}, {}, Seconds(76))).message()),
              AllOf(HasSubstr("offline_after"), HasSubstr("2 × blind_gap"),
                    HasSubstr("got 1m")));
  EXPECT_EQ(journal_.presence.size(), 0u);
}

TEST_F(SettingsTest, OfManyMachinesAllOrNoneIsWritten) {
  const AgentId a = Admit("a"), b = Admit("b");
  ASSERT_TRUE(Set({b}, Edit({}, Seconds(100), {})).ok());
  const absl::Status status = Set({a, b}, Edit({}, {}, Seconds(90)));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("b: offline_after must be larger than stale_after = "
                        "1m40s, got 1m30s"));
  EXPECT_EQ(Of(a).own_presence, nullptr);
  EXPECT_TRUE(absl::IsNotFound(Set({a, AgentId("nobody")}, kNever)));
  EXPECT_EQ(Of(a).own_presence, nullptr);
}

TEST_F(SettingsTest, AnOrgCannotTakeTheGroundFromItsMachines) {
  const AgentId a = Admit("a");
  ASSERT_TRUE(Set({a}, Edit({}, Seconds(70), {})).ok());
  const absl::Status status =
      SetOrg(Edit(Seconds(40), Seconds(100), Seconds(200)));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("a has settings of its own: stale_after must be larger "
                        "than 2.2 × heartbeat_interval = 1m28s, got 1m10s"));
}

TEST_F(SettingsTest, ACommandWaitsForTheLeaseOfItsMachineAndNeverForEver) {
  const AgentId a = Admit("a");
  ASSERT_TRUE(Set({a}, kNever).ok());
  const uint64_t epoch = Connect(a, link_);
  CommandRecord command;
  command.id = CommandId("c");
  command.agent = a;
  command.org = kOrg;
  command.state = CommandState::kQueued;
  command.spec.timeout = Seconds(60);
  command.spec.delivery_timeout = Seconds(30);
  command.created_at = loop_.Wall();
  fleet_->commands().Submit(std::move(command),
                            [](const absl::StatusOr<CommandRecord>&) {});
  loop_.RunReady();
  CommandWord running;
  running.id = CommandId("c");
  running.state = CommandState::kRunning;
  fleet_->TakeWord(a, epoch, running);
  loop_.RunReady();
  loop_.Advance(absl::Minutes(10));
  EXPECT_EQ(journal_.commands.at(CommandId("c")).state,
            CommandState::kOutcomeUnknown);
}

}  // namespace
}  // namespace muster::gateway
