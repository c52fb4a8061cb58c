#include "tools/musterctl/presence_verbs.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::HasSubstr;

void SetValue(v1::PresenceValue& value, absl::Duration d,
              v1::PresenceSource source) {
  *value.mutable_value() = wire::ToProto(d);
  value.set_source(source);
}

v1::EffectivePresence Presence() {
  v1::EffectivePresence p;
  SetValue(*p.mutable_heartbeat_interval(), absl::Seconds(30),
           v1::PRESENCE_SOURCE_GATEWAY);
  SetValue(*p.mutable_stale_after(), absl::Seconds(90),
           v1::PRESENCE_SOURCE_ORG);
  SetValue(*p.mutable_offline_after(), absl::InfiniteDuration(),
           v1::PRESENCE_SOURCE_MACHINE);
  SetValue(*p.mutable_reconnect_grace(), absl::Seconds(5),
           v1::PRESENCE_SOURCE_GATEWAY);
  p.set_pending(true);
  return p;
}

v1::Agent Web1() {
  v1::Agent agent;
  agent.set_agent_id("id-1");
  agent.set_hostname("web-1");
  agent.set_status(v1::STATUS_ONLINE);
  agent.set_confirmed(true);
  *agent.mutable_presence() = Presence();
  return agent;
}

void KnowWeb1(FakeWorld& world) {
  v1::ResolveAgentResponse resolved;
  *resolved.mutable_agent() = Web1();
  world.gateway.On("GET /api/resolve", Ok(resolved));
  world.gateway.On("GET /api/agents/id-1", Ok(Web1()));
  world.gateway.On("PATCH /api/agents/id-1/presence", Ok(Web1()));
}

constexpr char kTable[] =
    "SETTING             VALUE  FROM\n"
    "heartbeat_interval  30s    gateway\n"
    "stale_after         90s    org\n"
    "offline_after       never  machine\n"
    "reconnect_grace     5s     gateway\n";

TEST(PresenceVerbsTest, WhatHoldsIsToldWithWhoHasSetIt) {
  FakeWorld world;
  KnowWeb1(world);
  EXPECT_EQ(world.Run({"presence", "get", "web-1"}), 0);
  EXPECT_EQ(world.console.out, kTable);
  EXPECT_THAT(world.console.err, HasSubstr("next heartbeat"));
}

TEST(PresenceVerbsTest, AllAboutAMachineTellsItToo) {
  FakeWorld world;
  KnowWeb1(world);
  EXPECT_EQ(world.Run({"agents", "get", "web-1"}), 0);
  EXPECT_THAT(world.console.out, HasSubstr("Stale after    90s (org)\n"));
  EXPECT_THAT(world.console.out, HasSubstr("its next heartbeat on"));
  EXPECT_THAT(world.console.out, HasSubstr("Offline after  never (machine)\n"));
}

TEST(PresenceVerbsTest, OfTheOrgThereIsOneToo) {
  FakeWorld world;
  world.gateway.On("GET /api/presence", Ok(Presence()));
  EXPECT_EQ(world.Run({"presence", "get"}), 0);
  EXPECT_EQ(world.console.out, kTable);
}

TEST(PresenceVerbsTest, EachSettingIsSetResetOrLeft) {
  FakeWorld world;
  KnowWeb1(world);
  EXPECT_EQ(
      world.Run({"presence", "set", "web-1", "--offline-after", "never",
                 "--stale-after", "1m30s", "--reconnect-grace", "inherit"}),
      0);
  EXPECT_EQ(world.gateway.requests.back().body,
            R"({"set":{"stale_after":"90s","offline_after":"never"},)"
            R"("reset":["reconnect_grace"]})");
  EXPECT_EQ(world.console.out, kTable);
}

TEST(PresenceVerbsTest, TheOrgIsSetByName) {
  FakeWorld world;
  world.gateway.On("PATCH /api/presence", Ok(Presence()));
  EXPECT_EQ(
      world.Run({"presence", "set", "--org", "--heartbeat-interval", "10s"}),
      0);
  EXPECT_EQ(world.gateway.requests.back().body,
            R"({"set":{"heartbeat_interval":"10s"}})");
}

TEST(PresenceVerbsTest, OfManyItSaysHowManyWereWritten) {
  FakeWorld world;
  v1::SetPresenceOfManyResponse response;
  response.set_written(1200);
  world.gateway.On("PATCH /api/agents/presence", Ok(response));
  world.gateway.On("PATCH /api/agents/presence",
                   Ok(v1::SetPresenceOfManyResponse()));
  const std::vector<std::string> line = {
      "presence", "set", "-l", "room=lab", "--offline-after", "never"};
  EXPECT_EQ(world.Run(line), 0);
  EXPECT_THAT(world.console.err, HasSubstr("Written to 1,200 machines"));
  EXPECT_THAT(world.gateway.requests.back().body,
              HasSubstr(R"("label":["room=lab"])"));
  EXPECT_EQ(world.Run(line), 3);
  EXPECT_THAT(world.console.err, HasSubstr("No machine matches."));
}

TEST(PresenceVerbsTest, ForWhomMustBeSaidInOneWay) {
  for (const std::vector<std::string>& whom : {std::vector<std::string>{},
                                               {"web-1", "--org"},
                                               {"--org", "-l", "room=lab"}}) {
    FakeWorld world;
    std::vector<std::string> line = {"presence", "set"};
    line.insert(line.end(), whom.begin(), whom.end());
    line.insert(line.end(), {"--offline-after", "never"});
    EXPECT_EQ(world.Run(line), 2);
    EXPECT_THAT(world.console.err, HasSubstr("say for whom"));
    EXPECT_TRUE(world.gateway.requests.empty());
  }
}

TEST(PresenceVerbsTest, AWordThatIsNoDurationIsRefusedWithItsFlag) {
  FakeWorld world;
  EXPECT_EQ(world.Run({"presence", "set", "web-1", "--stale-after", "soon"}),
            2);
  EXPECT_THAT(world.console.err, HasSubstr("--stale-after: expected a "));
}

}  // namespace
}  // namespace muster::ctl
