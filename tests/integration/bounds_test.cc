// What one agent may take: a loud one is heard slowly, one that dials without
// end is told to wait, and one that is suspended does not get a word.

#include <optional>
#include <string>
#include <thread>

#include "agent/link/gateway_link.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/net/probe.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"
#include "tests/integration/raw_agent.h"

namespace muster::integration {
namespace {

uint64_t HeartbeatsTaken(MiniFleet& fleet) {
  uint64_t taken = 0;
  fleet.gateway().OnLoop(
      [&](gateway::Fleet& rules) { taken = rules.counters().heartbeats; });
  return taken;
}

TEST(BoundsTest, AnAgentThatSaysTooMuchIsHeardSlowlyAndHindersNobody) {
  MiniFleet fleet({.agents = 1});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  RawAgent loud(fleet, fleet.Register("loud"));
  ASSERT_TRUE(loud.GoOnline());
  const SystemClock clock;
  const Instant begin = clock.Now();
  const uint64_t before = HeartbeatsTaken(fleet);
  std::thread reader([&] {  // Or it would be cut as one who does not read.
    while (loud.Read()) {
    }
  });
  constexpr uint64_t kSaid = 3'000;
  uint64_t said = 0;
  while (said < kSaid && loud.SendHeartbeat(said + 3, 1)) ++said;
  const auto ran = fleet.Run(0, "echo heard");
  const bool taken =
      Eventually([&] { return HeartbeatsTaken(fleet) >= before + kSaid; });
  const absl::Duration took = clock.Now() - begin;
  loud.Cancel();
  reader.join();
  EXPECT_EQ(said, kSaid);
  EXPECT_TRUE(taken);
  // A thousand at once, and the others at a thousand a second.
  EXPECT_GE(took, absl::Seconds(1.5));
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->out, "heard\n");
  EXPECT_EQ(fleet.Get(0)->status(), v1::STATUS_ONLINE);
}

TEST(BoundsTest, AMachineThatOpensLinksWithoutEndIsToldToWait) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("restless");
  const auto told_to_wait = [&] {
    RawAgent raw(fleet, machine);
    raw.SendHello();
    const auto first = raw.Read();
    return first &&
           first->disconnect().reason() == v1::DISCONNECT_REASON_OVERLOADED &&
           wire::FromProto(first->disconnect().retry_after()) <=
               absl::Seconds(1);
  };
  int links = 0;
  while (links < 300 && !told_to_wait()) ++links;
  EXPECT_GE(links, 29);
  EXPECT_LT(links, 300) << "it was never told";
}

TEST(BoundsTest, ASuspendedMachineDoesNotGetThroughTheHandshake) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const Credentials machine = fleet.CredentialsOf(0);
  const auto knock = [&] {
    return ProbeGateway({.endpoint = fmt::format("127.0.0.1:{}",
                                                 fleet.gateway().fleet_port()),
                         .server_name = agent::kGatewayName,
                         .ca_pem = machine.ca_pem,
                         .certificate_pem = machine.certificate_pem,
                         .key_pem = machine.key_pem,
                         .web = std::nullopt},
                        absl::Seconds(20))
        .step;
  };
  v1::SuspendAgentRequest suspend;
  suspend.set_agent_id(fleet.agent_id(0));
  ASSERT_TRUE(fleet.rest().Call<v1::Agent>("SuspendAgent", suspend).ok());
  EXPECT_TRUE(fleet.WaitForStatus(0, v1::STATUS_STALE));
  EXPECT_EQ(fleet.Get(0)->cause(), v1::CAUSE_CREDENTIAL_REVOKED);
  EXPECT_EQ(knock(), ProbeStep::kGateway);
  fleet.StopAgent(0);
  fleet.RestartGateway();
  EXPECT_EQ(knock(), ProbeStep::kGateway);
  v1::ApproveAgentRequest approve;
  approve.set_agent_id(fleet.agent_id(0));
  ASSERT_TRUE(fleet.rest().Call<v1::Agent>("ApproveAgent", approve).ok());
  EXPECT_EQ(knock(), ProbeStep::kDone);
  fleet.StartAgent(0);
  EXPECT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
}

}  // namespace
}  // namespace muster::integration
