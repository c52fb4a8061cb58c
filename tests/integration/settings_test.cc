// Presence settings of an org and of machines, over REST and with real agents.

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

using ::testing::HasSubstr;

v1::EffectivePresence PresenceOf(MiniFleet& fleet, int i) {
  const auto agent = fleet.Get(i);
  EXPECT_TRUE(agent.ok()) << agent.status();
  return agent.ok() ? agent->presence() : v1::EffectivePresence();
}

// What is set for machine `i` holds.
bool WaitUntilAdopted(MiniFleet& fleet, int i) {
  return Eventually([&] { return !PresenceOf(fleet, i).pending(); });
}

absl::Status Set(MiniFleet& fleet, int i, const v1::PresenceSettings& set) {
  v1::SetAgentPresenceRequest request;
  request.set_agent_id(fleet.agent_id(i));
  *request.mutable_set() = set;
  return fleet.rest().Call<v1::Agent>("SetAgentPresence", request).status();
}

v1::PresenceSettings Never() {
  v1::PresenceSettings settings;
  *settings.mutable_offline_after() = wire::ToProto(absl::InfiniteDuration());
  return settings;
}

TEST(SettingsTest, AMachineSpeaksAsOftenAsItIsTold) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  EXPECT_EQ(PresenceOf(fleet, 0).heartbeat_interval().source(),
            v1::PRESENCE_SOURCE_GATEWAY);
  v1::PresenceSettings settings;
  *settings.mutable_heartbeat_interval() =
      wire::ToProto(absl::Milliseconds(100));
  ASSERT_TRUE(Set(fleet, 0, settings).ok());
  const auto told = [&] {
    v1::WatchHeartbeatsRequest request;
    request.set_agent_id(fleet.agent_id(0));
    *request.mutable_wait() = wire::ToProto(absl::Seconds(20));
    const auto answer = fleet.rest().Call<v1::WatchHeartbeatsResponse>(
        "WatchHeartbeats", request, {.wait = absl::Seconds(20)});
    return answer.ok() ? wire::FromProto(answer->heartbeat_interval())
                       : absl::ZeroDuration();
  };
  EXPECT_TRUE(Eventually([&] { return told() == absl::Milliseconds(100); }));

  fleet.RestartGateway();
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const v1::EffectivePresence presence = PresenceOf(fleet, 0);
  EXPECT_EQ(presence.heartbeat_interval().source(),
            v1::PRESENCE_SOURCE_MACHINE);
  EXPECT_EQ(wire::FromProto(presence.heartbeat_interval().value()),
            absl::Milliseconds(100));
  EXPECT_EQ(presence.stale_after().source(), v1::PRESENCE_SOURCE_GATEWAY);
}

TEST(SettingsTest, TheSilenceOfAMachineThatIsNeverOfflineChangesNothing) {
  MiniFleet fleet({.agents = 2, .presence = QuickPresence()});
  ASSERT_TRUE(Set(fleet, 0, Never()).ok());
  ASSERT_TRUE(WaitUntilAdopted(fleet, 0));
  ASSERT_TRUE(fleet.WaitForAllOnline());
  fleet.CrashAgent(0);
  fleet.CrashAgent(1);
  ASSERT_TRUE(fleet.WaitForStatus(1, v1::STATUS_OFFLINE));
  EXPECT_EQ(fleet.Get(0)->status(), v1::STATUS_ONLINE);
}

TEST(SettingsTest, WhatAnOrgSetsHoldsWhereAMachineHasNothingOfItsOwn) {
  MiniFleet fleet({.agents = 2});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  ASSERT_TRUE(Set(fleet, 1, Never()).ok());
  v1::SetPresenceRequest request;
  *request.mutable_set()->mutable_offline_after() =
      wire::ToProto(absl::Minutes(10));
  *request.mutable_set()->mutable_stale_after() =
      wire::ToProto(absl::Minutes(5));
  const auto set =
      fleet.rest().Call<v1::EffectivePresence>("SetPresence", request);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->stale_after().source(), v1::PRESENCE_SOURCE_ORG);
  EXPECT_EQ(set->reconnect_grace().source(), v1::PRESENCE_SOURCE_GATEWAY);
  ASSERT_TRUE(WaitUntilAdopted(fleet, 0) && WaitUntilAdopted(fleet, 1));
  EXPECT_EQ(PresenceOf(fleet, 0).offline_after().source(),
            v1::PRESENCE_SOURCE_ORG);
  EXPECT_EQ(PresenceOf(fleet, 1).offline_after().source(),
            v1::PRESENCE_SOURCE_MACHINE);
  EXPECT_EQ(wire::FromProto(PresenceOf(fleet, 1).stale_after().value()),
            absl::Minutes(5));

  v1::SetPresenceRequest reset;
  reset.add_reset(v1::PRESENCE_SETTING_STALE_AFTER);
  reset.add_reset(v1::PRESENCE_SETTING_OFFLINE_AFTER);
  ASSERT_TRUE(
      fleet.rest().Call<v1::EffectivePresence>("SetPresence", reset).ok());
  const auto now = fleet.rest().Call<v1::EffectivePresence>(
      "GetPresence", v1::GetPresenceRequest());
  ASSERT_TRUE(now.ok()) << now.status();
  EXPECT_EQ(now->stale_after().source(), v1::PRESENCE_SOURCE_GATEWAY);
}

TEST(SettingsTest, ASelectorWritesToThoseThatItSelects) {
  MiniFleet fleet({.agents = 3});
  for (const int i : {0, 2}) {
    v1::SetLabelsRequest label;
    label.set_agent_id(fleet.agent_id(i));
    (*label.mutable_set())["room"] = "lab";
    ASSERT_TRUE(fleet.rest().Call<v1::Agent>("SetLabels", label).ok());
  }
  v1::SetPresenceOfManyRequest request;
  *request.mutable_set() = Never();
  const auto call = [&] {
    return fleet.rest().Call<v1::SetPresenceOfManyResponse>("SetPresenceOfMany",
                                                            request);
  };
  EXPECT_THAT(std::string(call().status().message()),
              HasSubstr("status, hostname, label: at least one must be given"));
  request.add_label("room=lab");
  const auto written = call();
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->written(), 2u);
  EXPECT_EQ(PresenceOf(fleet, 0).offline_after().source(),
            v1::PRESENCE_SOURCE_MACHINE);
  EXPECT_EQ(PresenceOf(fleet, 1).offline_after().source(),
            v1::PRESENCE_SOURCE_GATEWAY);
}

TEST(SettingsTest, WhatCannotHoldIsRefusedByFieldBoundAndValue) {
  MiniFleet fleet;
  v1::PresenceSettings settings;
  EXPECT_THAT(std::string(Set(fleet, 0, settings).message()),
              HasSubstr("set, reset: at least one setting must be named"));
  *settings.mutable_stale_after() = wire::ToProto(absl::Seconds(41));
  EXPECT_THAT(std::string(Set(fleet, 0, settings).message()),
              HasSubstr("offline_after must be larger than stale_after = 41s, "
                        "got 40s"));
  v1::SetAgentPresenceRequest both;
  both.set_agent_id(fleet.agent_id(0));
  *both.mutable_set() = settings;
  both.add_reset(v1::PRESENCE_SETTING_STALE_AFTER);
  EXPECT_THAT(std::string(fleet.rest()
                              .Call<v1::Agent>("SetAgentPresence", both)
                              .status()
                              .message()),
              HasSubstr("reset: stale_after is also in set"));
  v1::SetAgentPresenceRequest nobody;
  nobody.set_agent_id("2ee09ba5-e227-400b-993e-6a97faaff50d");
  *nobody.mutable_set() = Never();
  EXPECT_EQ(
      ProblemCode(
          fleet.rest().Call<v1::Agent>("SetAgentPresence", nobody).status()),
      "not_found");
}

}  // namespace
}  // namespace muster::integration
