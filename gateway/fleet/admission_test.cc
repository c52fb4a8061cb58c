#include "gateway/fleet/admission.h"

#include <map>

#include "gateway/fleet/intervals.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Milliseconds;
using absl::Seconds;

Instant T(double s) { return Instant::SinceBoot(Seconds(1000 + s)); }

TEST(AdmissionTest, ABurstComesInAndTheRestIsSpreadAtTheRate) {
  Admission admission({.links_per_second_max = 10, .burst = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(admission.Ask(T(0)), std::nullopt);
  EXPECT_EQ(admission.Ask(T(0)), Milliseconds(100));
  EXPECT_EQ(admission.Ask(T(0)), Milliseconds(200));
  EXPECT_EQ(admission.Ask(T(0)), Milliseconds(300));
  EXPECT_EQ(admission.Ask(T(0.1)), std::nullopt) << "as it was told";
}

TEST(AdmissionTest, AStormOfAnySizeIsInAtTheRateIfAllComeBackAsTold) {
  Admission admission({.links_per_second_max = 100, .burst = 100});
  std::multimap<Instant, int> due;
  for (int i = 0; i < 2000; ++i) due.emplace(T(0), i);
  Instant last;
  int asked = 0;
  while (!due.empty()) {
    const auto [when, who] = *due.begin();
    due.erase(due.begin());
    ++asked;
    last = when;
    if (const auto wait = admission.Ask(when)) due.emplace(when + *wait, who);
  }
  EXPECT_LE(last, T(20.1));
  EXPECT_LE(asked, 2 * 2000) << "nobody is sent away over and over";
}

TEST(AdmissionTest, AQuietTimeSavesUpNoMoreThanTheBurst) {
  Admission admission({.links_per_second_max = 10, .burst = 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(admission.Ask(T(3600)), std::nullopt);
  EXPECT_TRUE(admission.Ask(T(3600)).has_value());
}

TEST(IntervalTest, GrowsSoThatTheFleetStaysBelowTheRate) {
  EXPECT_EQ(ScaledInterval(Seconds(30), 0, 2000), Seconds(30));
  EXPECT_EQ(ScaledInterval(Seconds(30), 60'000, 2000), Seconds(30));
  EXPECT_EQ(ScaledInterval(Seconds(30), 80'000, 2000), Seconds(40));
  EXPECT_EQ(ScaledInterval(Milliseconds(100), 1000, 2000), Milliseconds(500));
}

}  // namespace
}  // namespace muster::gateway
