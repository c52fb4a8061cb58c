#include "gateway/fleet/drift.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::HasSubstr;

TEST(DriftTest, AnAgentThatRemembersNothingDisagreesWithNobody) {
  EXPECT_FALSE(CompareViews({}, {.epoch = 7, .echoed = true}));
}

TEST(DriftTest, ANewerEpochAtTheAgentMeansARestoredGateway) {
  const auto drift = CompareViews({.epoch = 9}, {.epoch = 7});
  ASSERT_TRUE(drift.has_value());
  EXPECT_THAT(drift->text, HasSubstr("epoch 9"));
  EXPECT_THAT(drift->text, HasSubstr("only 7"));
  EXPECT_FALSE(drift->acknowledged_ago);
}

TEST(DriftTest, ALostWelcomeIsNoDriftAForgottenOneIs) {
  EXPECT_FALSE(CompareViews({.epoch = 6}, {.epoch = 7}));
  EXPECT_TRUE(CompareViews({.epoch = 6}, {.epoch = 7, .echoed = true}));
}

TEST(DriftTest, AnAcknowledgedHeartbeatThatTheGatewayForgotIsDrift) {
  AgentView agent{.epoch = 7, .acknowledged_ago = Seconds(50)};
  GatewayView gateway{.epoch = 7, .echoed = true, .heard_ago = Seconds(50)};
  EXPECT_FALSE(CompareViews(agent, gateway));
  gateway.heard_ago = Seconds(20);  // Its answer was lost: as it should be.
  EXPECT_FALSE(CompareViews(agent, gateway));
  gateway.heard_ago = Seconds(60);
  EXPECT_FALSE(CompareViews(agent, gateway)) << "the clocks, the way";
  gateway.heard_ago = Seconds(61);
  const auto drift = CompareViews(agent, gateway);
  ASSERT_TRUE(drift.has_value());
  EXPECT_EQ(drift->acknowledged_ago, Seconds(50));
  EXPECT_THAT(drift->text, HasSubstr("of 50 s ago"));
}

TEST(DriftTest, AMachineThatWasPausedDoesNotAccuseTheGateway) {
  // Silent for 130 s, of which it does not know the 100 s of its pause.
  AgentView agent{.epoch = 7,
                  .acknowledged_ago = Seconds(30),
                  .connected_ago = Seconds(200)};
  GatewayView gateway{.epoch = 7,
                      .echoed = true,
                      .heard_ago = Seconds(130),
                      .opened_ago = Seconds(300)};
  EXPECT_FALSE(CompareViews(agent, gateway));
  // More than the pause explains.
  gateway.heard_ago = Seconds(150);
  const auto drift = CompareViews(agent, gateway);
  ASSERT_TRUE(drift.has_value());
  EXPECT_EQ(drift->acknowledged_ago, Seconds(130));
}

TEST(DriftTest, ClocksThatRunApartForADayAreNoDrift) {
  const AgentView agent{.epoch = 7, .acknowledged_ago = absl::Hours(24)};
  EXPECT_FALSE(
      CompareViews(agent, {.epoch = 7, .heard_ago = absl::Hours(24) * 1.0009}));
}

TEST(DriftTest, AnAgentCannotBeWelcomedBeforeItsLinkWasOpened) {
  const AgentView agent{.epoch = 7, .connected_ago = Seconds(100)};
  EXPECT_FALSE(CompareViews(agent, {.epoch = 7, .opened_ago = Seconds(100)}));
  EXPECT_FALSE(CompareViews(agent, {.epoch = 7, .opened_ago = Seconds(500)}))
      << "the welcome was slow";
  EXPECT_TRUE(CompareViews(agent, {.epoch = 7, .opened_ago = Seconds(80)}));
}

}  // namespace
}  // namespace muster::gateway
