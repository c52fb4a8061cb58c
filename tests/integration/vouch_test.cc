// When presence cannot be vouched for, every surface says so in the same words.

#include <cstdint>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

using ::testing::HasSubstr;

std::string BodyOf(MiniFleet& fleet, const std::string& target) {
  const auto answer = fleet.rest().Get(target);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? answer->body : "";
}

v1::GatewayStatus StatusOf(MiniFleet& fleet) {
  const auto status =
      fleet.rest().Call<v1::GatewayStatus>("GetStatus", v1::GetStatusRequest());
  EXPECT_TRUE(status.ok()) << status.status();
  return status.value_or(v1::GatewayStatus());
}

TEST(VouchTest, ReadyStatusAndMetricsSayTheSame) {
  MiniFleet fleet({.agents = 0});
  EXPECT_THAT(BodyOf(fleet, "/ready"), HasSubstr(R"("presence":"confirmed")"));
  EXPECT_TRUE(StatusOf(fleet).presence_confirmed());
  EXPECT_FALSE(StatusOf(fleet).has_unconfirmed_since());
  EXPECT_THAT(BodyOf(fleet, "/metrics"),
              HasSubstr("\nmuster_presence_confirmed 1\n"));

  const auto turn_one_away = [&] {
    fleet.gateway().OnLoop([](gateway::Fleet& f) {
      f.TurnedAway(gateway::BlindReason::kDescriptors);
    });
  };
  turn_one_away();
  // It is told to /ready a few times a second.
  std::string ready;
  ASSERT_TRUE(Eventually([&] {
    turn_one_away();  // It goes on.
    ready = BodyOf(fleet, "/ready");
    return ready.find("unconfirmed") != std::string::npos;
  }));
  const v1::GatewayStatus status = StatusOf(fleet);
  const std::string metrics = BodyOf(fleet, "/metrics");
  EXPECT_FALSE(status.presence_confirmed());
  EXPECT_EQ(status.unconfirmed_reason(), "no descriptor left");
  EXPECT_THAT(ready, HasSubstr(R"("ready":true,"presence":"unconfirmed")"));
  EXPECT_THAT(ready, HasSubstr(fmt::format(R"("why":"{}")",
                                           status.unconfirmed_reason())));
  const absl::Time since = wire::FromProto(status.unconfirmed_since());
  const std::string key = "\"since\":\"";
  const size_t from = ready.find(key) + key.size();
  absl::Time ready_since;
  ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full,
                              ready.substr(from, ready.find('"', from) - from),
                              &ready_since, nullptr));
  EXPECT_LT(absl::AbsDuration(ready_since - since), absl::Milliseconds(50));
  EXPECT_THAT(metrics, HasSubstr("\nmuster_presence_confirmed 0\n"));
  EXPECT_THAT(
      metrics,
      HasSubstr("\nmuster_presence_impaired{reason=\"descriptors\"} 1\n"));
  const std::string name =
      "\nmuster_presence_unconfirmed_since_timestamp_seconds ";
  const size_t at = metrics.find(name);
  ASSERT_NE(at, std::string::npos);
  EXPECT_NEAR(std::stod(metrics.substr(at + name.size())),
              absl::ToDoubleSeconds(since - absl::UnixEpoch()), 0.05);
}

}  // namespace
}  // namespace muster::integration
