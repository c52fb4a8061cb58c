// What links do when the network, the gateway or a twin gets in their way.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/mini_fleet.h"
#include "tests/integration/raw_agent.h"

namespace muster::integration {
namespace {

using gateway::LinkEnd;

// A new link, whose first heartbeat has come through.
bool WaitForNewLink(MiniFleet& fleet, int i, uint64_t old_epoch) {
  return Eventually([&] {
    const auto agent = fleet.Get(i);
    return agent.ok() && agent->epoch() > old_epoch &&
           agent->has_round_trip() && agent->status() == v1::STATUS_ONLINE;
  });
}

TEST(LinkTest, ACutLinkThatIsBackWithinTheGraceMakesNoTransition) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto before = fleet.Transitions(0);
  for (int cut = 0; cut < 5; ++cut) {
    const uint64_t epoch = fleet.Link(0).epoch;
    fleet.relay(0).Cut();
    ASSERT_TRUE(WaitForNewLink(fleet, 0, epoch));
  }
  EXPECT_EQ(fleet.Transitions(0), before);
}

TEST(LinkTest, ACutLinkThatStaysAwayIsStaleThenOffline) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.CrashAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  const auto history = fleet.Transitions(0);
  ASSERT_GE(history.size(), 3u);
  EXPECT_EQ(history.back().from, gateway::Status::kStale);
  // A gateway that stood still for a moment does not say when the link ended.
  EXPECT_THAT(fleet.Get(0)->summary(),
              testing::AnyOf("link closed, no goodbye", "silent, no link"));
}

TEST(LinkTest, ASecondLinkOfAnIdentitySupersedesTheFirst) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("twin");
  RawAgent first(fleet, machine);
  ASSERT_TRUE(first.GoOnline());
  RawAgent second(fleet, machine);
  ASSERT_TRUE(second.GoOnline());
  const auto told = first.ReadDisconnect();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->reason(), v1::DISCONNECT_REASON_SUPERSEDED);
  EXPECT_TRUE(first.Finish().ok());
  ASSERT_TRUE(second.SendHeartbeat(2, 2));
  EXPECT_TRUE(second.ReadUntil(v1::GatewayMessage::kHeartbeatAck));
}

TEST(LinkTest, AGatewayRestartChangesNobodysStatus) {
  MiniFleet fleet({.agents = 3});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  fleet.StopAgent(2);
  ASSERT_TRUE(fleet.WaitForStatus(2, v1::STATUS_STALE));
  std::vector<std::vector<gateway::TransitionRecord>> before;
  for (int i = 0; i < 3; ++i) before.push_back(fleet.Transitions(i));
  for (int restart = 0; restart < 3; ++restart) {
    const uint64_t epochs[] = {fleet.Link(0).epoch, fleet.Link(1).epoch};
    fleet.RestartGateway();
    // Nobody is doubted before it is back.
    EXPECT_EQ(fleet.Get(0)->status(), v1::STATUS_ONLINE);
    ASSERT_TRUE(WaitForNewLink(fleet, 0, epochs[0]));
    ASSERT_TRUE(WaitForNewLink(fleet, 1, epochs[1]));
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(fleet.Transitions(static_cast<int>(i)), before[i]);
  }
}

TEST(LinkTest, AnOfflineMachineStaysOfflineOverARestart) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  const auto before = fleet.Transitions(0);
  fleet.RestartGateway();
  EXPECT_EQ(fleet.Get(0)->status(), v1::STATUS_OFFLINE);
  EXPECT_EQ(fleet.Get(0)->cause(), v1::CAUSE_AGENT_STOPPED);
  EXPECT_EQ(fleet.Transitions(0), before);
}

TEST(LinkTest, AHalfOpenLinkIsStaleThenOfflineAndClosedAsSilent) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.relay(0).Hold(Direction::kToGateway, true);
  fleet.relay(0).Hold(Direction::kToAgent, true);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  EXPECT_TRUE(
      Eventually([&] { return fleet.Link(0).end == LinkEnd::kSilence; }));
  const auto history = fleet.Transitions(0);
  EXPECT_EQ(history.back().from, gateway::Status::kStale);
  EXPECT_EQ(history.back().verdict->cause, gateway::Cause::kUndetermined);
  // The wire heals: the agent comes back by itself.
  fleet.relay(0).Hold(Direction::kToGateway, false);
  fleet.relay(0).Hold(Direction::kToAgent, false);
  EXPECT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
}

TEST(LinkTest, AMachineThatOnlySpeaksIsOneWayAndNeverOffline) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.relay(0).Hold(Direction::kToAgent, true);
  const auto one_way = [&] {
    const auto agent = fleet.Get(0);
    return agent.ok() && agent->status() == v1::STATUS_STALE &&
           agent->cause() == v1::CAUSE_NETWORK_ONE_WAY;
  };
  ASSERT_TRUE(Eventually(one_way));
  // Long after its offline lease it is still heard.
  const absl::Time seen = fleet.Record(0).last_heard.value();
  ASSERT_TRUE(Eventually([&] {
    return fleet.Record(0).last_heard.value() > seen + absl::Seconds(2);
  }));
  for (const auto& transition : fleet.Transitions(0)) {
    EXPECT_NE(transition.to, gateway::Status::kOffline);
  }
  fleet.relay(0).Hold(Direction::kToAgent, false);
  EXPECT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
}

TEST(LinkTest, AnAgentWithoutAnswersDialsAgainByItself) {
  MiniFleet fleet({.agent_lease_intervals = 2.5});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const uint64_t epoch = fleet.Link(0).epoch;
  fleet.relay(0).Hold(Direction::kToAgent, true);
  ASSERT_TRUE(Eventually([&] {
    return fleet.relay(0).connections() == 0 ||
           fleet.Link(0).end != LinkEnd::kOpen;
  }));
  fleet.relay(0).Hold(Direction::kToAgent, false);
  EXPECT_TRUE(WaitForNewLink(fleet, 0, epoch));
}

}  // namespace
}  // namespace muster::integration
