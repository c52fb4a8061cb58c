#include "libprotocol/base/thread_event_loop.h"

#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster {
namespace {

TEST(ThreadEventLoopTest, RunsEveryPostedTaskBeforeItEnds) {
  SystemClock clock;
  int ran = 0;
  {
    ThreadEventLoop loop(clock);
    std::vector<std::thread> posters;
    for (int t = 0; t < 4; ++t) {
      posters.emplace_back([&loop, &ran] {
        for (int i = 0; i < 1000; ++i) loop.Post([&ran] { ++ran; });
      });
    }
    for (std::thread& p : posters) p.join();
  }
  EXPECT_EQ(ran, 4000);
}

TEST(ThreadEventLoopTest, AFloodOfTasksDoesNotStarveATimer) {
  SystemClock clock;
  std::promise<void> fired;
  bool stop = false;
  std::function<void()> flood;
  ThreadEventLoop loop(clock);  // Last: its destructor runs what is left.
  flood = [&] {
    if (!stop) loop.Post([&flood] { flood(); });
  };
  loop.Post([&flood] { flood(); });
  loop.PostAt(clock.Now() + absl::Milliseconds(5), [&] {
    stop = true;
    fired.set_value();
  });
  EXPECT_EQ(fired.get_future().wait_for(std::chrono::seconds(20)),
            std::future_status::ready);
}

TEST(ThreadEventLoopTest, TimersThatAreAlwaysDueDoNotStarveATask) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  std::promise<void> ran;
  bool done = false;
  std::function<void()> again = [&] {
    if (!done) loop.PostAt(clock.Now(), again);
  };
  loop.PostAt(clock.Now(), again);
  loop.Post([&] {
    done = true;
    ran.set_value();
  });
  ran.get_future().wait();
  loop.Stop();
}

TEST(ThreadEventLoopTest, ACancelledTimerNeverRuns) {
  SystemClock clock;
  std::promise<int> order;
  int seen = 0;
  ThreadEventLoop loop(clock);
  const auto id =
      loop.PostAt(clock.Now() + absl::Milliseconds(1), [&seen] { seen = 1; });
  loop.Cancel(id);
  loop.PostAt(clock.Now() + absl::Milliseconds(2),
              [&] { order.set_value(seen); });
  EXPECT_EQ(order.get_future().get(), 0);
}

TEST(FakeEventLoopTest, ATimerSeesExactlyTheInstantItAskedFor) {
  FakeEventLoop loop;
  std::vector<absl::Duration> seen;
  loop.PostAt(loop.Now() + absl::Seconds(2),
              [&] { seen.push_back(loop.Now().since_boot()); });
  loop.PostAt(loop.Now() + absl::Seconds(1),
              [&] { seen.push_back(loop.Now().since_boot()); });
  loop.Advance(absl::Seconds(10));
  EXPECT_EQ(seen, (std::vector{absl::Seconds(1), absl::Seconds(2)}));
  EXPECT_EQ(loop.Now().since_boot(), absl::Seconds(10));
}

TEST(FakeEventLoopTest, SteppingTheWallClockMovesNoTimer) {
  FakeEventLoop loop;
  bool ran = false;
  loop.PostAt(loop.Now() + absl::Seconds(5), [&] { ran = true; });
  loop.StepWall(absl::Hours(24));
  loop.Advance(absl::Seconds(4));
  EXPECT_FALSE(ran);
  loop.Advance(absl::Seconds(1));
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace muster
