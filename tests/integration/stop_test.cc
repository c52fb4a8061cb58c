// How long a gateway takes to leave.

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "agent/link/link_keeper.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/integration/mini_fleet.h"
#include "tests/integration/raw_agent.h"

namespace muster::integration {
namespace {

using agent::LinkKeeper;

class Delegate final : public LinkKeeper::Delegate {
 public:
  void OnStopped() override { stopped = true; }
  std::atomic<bool> stopped = false;
};

// One link of an agent that runs no commands.
struct LinkOnly {
  Delegate delegate;
  std::unique_ptr<LinkKeeper> keeper;
};

std::unique_ptr<LinkOnly> Open(MiniFleet& fleet, EventLoop& loop, int i) {
  const std::string hostname = fmt::format("link{}", i);
  const Credentials machine = fleet.Register(hostname);
  LinkKeeper::Options options;
  options.dial.endpoint =
      fmt::format("127.0.0.1:{}", fleet.gateway().fleet_port());
  options.dial.credentials = agent::MakeAgentCredentials(
      machine.ca_pem, machine.certificate_pem, machine.key_pem);
  options.facts.set_hostname(hostname);
  options.random_seed = static_cast<uint64_t>(i);
  auto link = std::make_unique<LinkOnly>();
  link->keeper =
      std::make_unique<LinkKeeper>(loop, link->delegate, std::move(options));
  loop.Post([raw = link.get()] { raw->keeper->Start(); });
  return link;
}

uint32_t OnlineIn(MiniFleet& fleet) {
  const auto status =
      fleet.rest().Call<v1::GatewayStatus>("GetStatus", v1::GetStatusRequest());
  return status.ok() ? status->agents().online() : 0;
}

absl::Duration TimeToStop(MiniFleet& fleet) {
  const SystemClock clock;
  const Instant begin = clock.Now();
  fleet.StopGateway();
  return clock.Now() - begin;
}

TEST(StopTest, AHundredLinksLeaveInASecond) {
  constexpr int kLinks = 100;
  MiniFleet fleet({.agents = 0});
  const SystemClock clock;
  ThreadEventLoop loop(clock);
  std::vector<std::unique_ptr<LinkOnly>> links;
  for (int i = 0; i < kLinks; ++i) links.push_back(Open(fleet, loop, i));
  ASSERT_TRUE(Eventually([&] { return OnlineIn(fleet) == kLinks; }));
  const absl::Duration took = TimeToStop(fleet);
  std::printf("a gateway with %d links stopped in %.0f ms\n", kLinks,
              absl::ToDoubleMilliseconds(took));
  EXPECT_LT(took, absl::Seconds(3));
  for (const auto& link : links) {
    loop.Post([raw = link.get()] {
      raw->keeper->Goodbye(v1::GOODBYE_REASON_STOP, std::nullopt);
    });
  }
  for (const auto& link : links) {
    EXPECT_TRUE(Eventually([&] { return link->delegate.stopped.load(); }));
  }
  loop.Stop();
}

TEST(StopTest, AnAgentThatDoesNotLeaveHoldsTheStopNoLongerThanTheDrain) {
  MiniFleet fleet({.agents = 1, .configure = [](auto& config) {
                     config.drain = absl::Milliseconds(500);
                   }});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  RawAgent deaf(fleet, fleet.Register("deaf"));
  ASSERT_TRUE(deaf.GoOnline());
  // One that has not even said hello, and one whose network is gone.
  RawAgent dumb(fleet, fleet.Register("dumb"));
  fleet.relay(0).Hold(Direction::kToAgent, true);
  EXPECT_LT(TimeToStop(fleet), absl::Seconds(4));
  fleet.relay(0).Hold(Direction::kToAgent, false);
}

}  // namespace
}  // namespace muster::integration
