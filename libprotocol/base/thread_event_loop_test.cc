#include "libprotocol/base/thread_event_loop.h"

#include <atomic>
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

TEST(ThreadEventLoopTest, WhoDispatchesToALoopThatRunsNothingIsTheLoop) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  EXPECT_FALSE(loop.IsCurrent());
  std::thread::id ran;
  ASSERT_TRUE(loop.Dispatch([&] {
    ran = std::this_thread::get_id();
    EXPECT_TRUE(loop.IsCurrent());
  }));
  EXPECT_EQ(ran, std::this_thread::get_id());
  EXPECT_FALSE(loop.IsCurrent());
}

TEST(ThreadEventLoopTest, WhatIsDispatchedNeverOverlapsAndKeepsItsOrder) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  uint64_t ran = 0;  // Without a lock: a race would be seen.
  std::atomic<int> after = 0;
  std::vector<std::thread> threads;
  std::vector<int> last(4, -1);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const auto task = [&, t, i] {
          ++ran;
          if (i % 2 == 0) loop.AfterTask([&after] { ++after; });
          EXPECT_EQ(last[t] + 1, i);
          last[t] = i;
          if (i % 100 == 0) loop.PostAt(clock.Now(), [&ran] { ++ran; });
        };
        EXPECT_TRUE(i % 3 == 0 ? loop.Post(task) : loop.Dispatch(task));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::promise<uint64_t> all;
  loop.PostAt(clock.Now(), [&] { loop.Post([&] { all.set_value(ran); }); });
  EXPECT_EQ(all.get_future().get(), 4 * 2000 + 4 * 20);
  loop.Stop();
  EXPECT_EQ(after, 4 * 1000);
}

TEST(ThreadEventLoopTest, ATimerThatADispatchedTaskMakesIsNotForgotten) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  std::promise<void> fired;
  loop.Dispatch([&] {
    loop.PostAt(clock.Now() + absl::Milliseconds(1),
                [&] { fired.set_value(); });
  });
  fired.get_future().wait();
}

TEST(ThreadEventLoopTest, WhatComesAfterATaskKeepsItsThreadButNotTheLoop) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  std::vector<int> order;
  const std::thread::id caller = std::this_thread::get_id();
  loop.Dispatch([&] {
    loop.AfterTask([&] {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      EXPECT_FALSE(loop.IsCurrent());
      // It would wait for ever if the loop were still ours.
      std::promise<void> ran;
      loop.Post([&] { ran.set_value(); });
      ran.get_future().wait();
      order.push_back(2);
    });
    loop.AfterTask([&] { order.push_back(3); });
    order.push_back(1);
  });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(ThreadEventLoopTest, WhatIsPostedMeanwhileIsRunByWhoComesBack) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  std::promise<void> ran;
  loop.Dispatch([&] {
    loop.Post([&] { ran.set_value(); });
    loop.AfterTask([] {});
  });
  ran.get_future().wait();
}

TEST(ThreadEventLoopTest, TheOwnThreadDoesWhatComesAfterItsTasks) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  std::promise<std::thread::id> task, after;
  loop.Post([&] {
    task.set_value(std::this_thread::get_id());
    loop.AfterTask([&] { after.set_value(std::this_thread::get_id()); });
  });
  EXPECT_EQ(after.get_future().get(), task.get_future().get());
}

TEST(ThreadEventLoopTest, StoppedItDispatchesNothing) {
  SystemClock clock;
  ThreadEventLoop loop(clock);
  loop.Stop();
  EXPECT_FALSE(loop.Dispatch([] { FAIL(); }));
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
