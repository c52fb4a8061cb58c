// What changes, as somebody who follows the fleet hears of it.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

// Follows the events of a fleet by long poll, as musterctl does.
class Reader {
 public:
  explicit Reader(MiniFleet& fleet) : fleet_(fleet) {}

  // The next answer, which has come within the wait.
  v1::WatchEventsResponse Next() {
    v1::WatchEventsRequest request;
    request.set_after(after_);
    *request.mutable_wait() = wire::ToProto(absl::Seconds(10));
    const auto answer = fleet_.rest().Call<v1::WatchEventsResponse>(
        "WatchEvents", request, {.wait = absl::Seconds(10)});
    EXPECT_TRUE(answer.ok()) << answer.status();
    if (!answer.ok()) return {};
    after_ = answer->next();
    return *answer;
  }

 private:
  MiniFleet& fleet_;
  std::string after_;
};

TEST(EventsTest, AReaderHearsOfEveryTransitionOnceAndOfARestart) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  Reader reader(fleet);
  EXPECT_EQ(reader.Next().reset(), v1::EVENT_RESET_START);
  const size_t before = fleet.Transitions(0).size();
  fleet.StopAgent(0);
  std::vector<v1::Transition> heard;
  const auto offline = [&] {
    return !heard.empty() && heard.back().to() == v1::STATUS_OFFLINE;
  };
  for (int answers = 0; answers < 20 && !offline(); ++answers) {
    const v1::WatchEventsResponse answer = reader.Next();
    EXPECT_FALSE(answer.has_reset());
    for (const v1::Event& event : answer.events()) {
      if (!event.has_transition()) continue;
      EXPECT_EQ(event.agent_id(), fleet.agent_id(0));
      heard.push_back(event.transition());
    }
  }
  ASSERT_TRUE(offline());
  const auto written = fleet.Transitions(0);
  ASSERT_EQ(heard.size(), written.size() - before);
  for (size_t i = 0; i < heard.size(); ++i) {
    EXPECT_EQ(heard[i].sequence(), written[before + i].sequence);
    EXPECT_EQ(int{heard[i].to()}, static_cast<int>(written[before + i].to));
  }
  EXPECT_EQ(heard.back().cause(), v1::CAUSE_AGENT_STOPPED);

  fleet.RestartGateway();
  EXPECT_EQ(reader.Next().reset(), v1::EVENT_RESET_GATEWAY_RESTARTED);
  fleet.StartAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const v1::WatchEventsResponse back = reader.Next();
  EXPECT_FALSE(back.has_reset());
  EXPECT_GT(back.events_size(), 0);
}

}  // namespace
}  // namespace muster::integration
