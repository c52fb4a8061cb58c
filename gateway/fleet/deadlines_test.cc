#include "gateway/fleet/deadlines.h"

#include <map>
#include <optional>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

Instant T(int seconds) { return Instant::SinceBoot(absl::Seconds(seconds)); }

TEST(DeadlinesTest, KeysArePoppedInOrderAndNotBeforeTheirTime) {
  Deadlines<std::string> d;
  d.Schedule("b", T(2));
  d.Schedule("a", T(3));
  d.Schedule("c", T(1));
  EXPECT_EQ(d.Earliest(), T(1));
  EXPECT_FALSE(d.PopDue(T(0)).has_value());
  EXPECT_EQ(d.PopDue(T(2)), "c");
  EXPECT_EQ(d.PopDue(T(2)), "b");
  EXPECT_FALSE(d.PopDue(T(2)).has_value());
  EXPECT_EQ(d.PopDue(T(3)), "a");
  EXPECT_EQ(d.Earliest(), Instant::Never());
}

TEST(DeadlinesTest, AnEarlierTimeWinsALaterOneIsLeftToTheOwner) {
  Deadlines<std::string> d;
  d.Schedule("a", T(5));
  d.Schedule("a", T(9));
  EXPECT_EQ(d.Earliest(), T(5));
  d.Schedule("a", T(3));
  EXPECT_EQ(d.Earliest(), T(3));
  EXPECT_EQ(d.PopDue(T(10)), "a");
  EXPECT_FALSE(d.PopDue(T(10)).has_value());
}

TEST(DeadlinesTest, NeverIsNoDeadlineAndARemovedKeyIsGone) {
  Deadlines<std::string> d;
  d.Schedule("a", Instant::Never());
  EXPECT_EQ(d.Earliest(), Instant::Never());
  d.Schedule("a", T(1));
  d.Remove("a");
  d.Remove("unknown");
  EXPECT_FALSE(d.PopDue(T(100)).has_value());
  d.Schedule("a", T(2));
  EXPECT_EQ(d.PopDue(T(2)), "a");
}

TEST(DeadlinesTest, NoKeyIsEverPoppedLaterThanItWasAskedFor) {
  std::mt19937_64 random(7);
  Deadlines<int> d;
  std::map<int, int> earliest;
  int now = 0;
  for (int step = 0; step < 20'000; ++step) {
    const int key = static_cast<int>(random() % 40);
    if (random() % 10 == 0) {
      d.Remove(key);
      earliest.erase(key);
    } else {
      const int when = now + 1 + static_cast<int>(random() % 30);
      d.Schedule(key, T(when));
      const auto [it, fresh] = earliest.try_emplace(key, when);
      if (!fresh) it->second = std::min(it->second, when);
    }
    if (random() % 4 == 0) ++now;
    while (const std::optional<int> popped = d.PopDue(T(now))) {
      ASSERT_EQ(earliest.erase(*popped), 1u);
    }
    for (const auto& [waiting, when] : earliest) ASSERT_GT(when, now);
  }
}

}  // namespace
}  // namespace muster::gateway
