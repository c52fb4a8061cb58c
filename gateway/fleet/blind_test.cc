#include "gateway/fleet/blind.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Minutes;
using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Instant T(double s) { return Instant::SinceBoot(Seconds(100'000 + s)); }
Gap Still(double from, double to) {
  return {T(from), T(to), BlindReason::kStoodStill};
}

std::vector<Gap> Told(const GapLog& log, uint64_t& told) {
  std::vector<Gap> gaps;
  log.CatchUp(told, [&](const Gap& gap) { gaps.push_back(gap); });
  return gaps;
}

// musterctl and docs have them word for word.
TEST(BlindReasonTest, EveryReasonHasItsWords) {
  EXPECT_EQ(Words(BlindReason::kNotRunning), "the gateway was not running");
  EXPECT_EQ(Words(BlindReason::kStoodStill),
            "the gateway's process stood still");
  EXPECT_EQ(Words(BlindReason::kSuspended), "the gateway's host was suspended");
  EXPECT_EQ(Words(BlindReason::kDescriptors), "no descriptor left");
  EXPECT_EQ(Words(BlindReason::kAdmission),
            "more machines connect at once than are let in");
  EXPECT_EQ(Words(BlindReason::kOneSource),
            "too many connections from one address");
}

TEST(GapLogTest, EveryGapIsToldOnceAndInOrder) {
  GapLog log;
  uint64_t told = 0;
  EXPECT_THAT(Told(log, told), IsEmpty());
  log.Add(Still(1, 5));
  log.Add(Still(7, 9));
  EXPECT_THAT(Told(log, told), ElementsAre(Still(1, 5), Still(7, 9)));
  log.Add(Still(20, 30));
  EXPECT_THAT(Told(log, told), ElementsAre(Still(20, 30)));
  EXPECT_THAT(Told(log, told), IsEmpty());
}

TEST(GapLogTest, WhoMissedVeryManyIsToldOfOneThatCoversTheOldest) {
  GapLog log;
  uint64_t told = 0;
  for (size_t i = 0; i < GapLog::kKept + 10; ++i) {
    log.Add(
        Still(static_cast<double>(i) * 10, static_cast<double>(i) * 10 + 3));
  }
  const std::vector<Gap> gaps = Told(log, told);
  ASSERT_EQ(gaps.size(), GapLog::kKept + 1);
  EXPECT_EQ(gaps.front(), (Gap{Instant(), T(93), BlindReason::kStoodStill}));
  EXPECT_EQ(gaps[1], Still(100, 103));
  EXPECT_THAT(Told(log, told), IsEmpty());
}

TEST(DeafnessTest, RefusalsJoinIntoOneGap) {
  Deafness deaf;
  EXPECT_FALSE(deaf.Lasts(T(0)));
  deaf.TurnedAway(T(1), T(6), BlindReason::kDescriptors);
  deaf.TurnedAway(T(3), T(8), BlindReason::kAdmission);
  deaf.TurnedAway(T(4), T(5), BlindReason::kAdmission);
  EXPECT_TRUE(deaf.Lasts(T(7.9)));
  EXPECT_EQ(deaf.SoFar(T(7)), (Gap{T(1), T(7), BlindReason::kDescriptors}));
  EXPECT_EQ(deaf.Over(T(7.9)), std::nullopt);
  EXPECT_FALSE(deaf.Lasts(T(8)));
  EXPECT_EQ(deaf.Over(T(9)), (Gap{T(1), T(8), BlindReason::kDescriptors}));
  EXPECT_EQ(deaf.Over(T(9)), std::nullopt);
  EXPECT_EQ(deaf.SoFar(T(9)), std::nullopt);
}

TEST(VouchTest, IsLostWhenMoreThanHalfOfTheLastHalfHourLiesInGaps) {
  VouchWindow vouch(Seconds(120));
  vouch.Add(Still(0, 450));
  vouch.Add(Still(600, 1050));
  EXPECT_FALSE(vouch.At(T(1100), std::nullopt)) << "exactly half";
  vouch.Add(Still(1100, 1101));
  const auto doubt = vouch.At(T(1101), std::nullopt);
  ASSERT_TRUE(doubt.has_value());
  EXPECT_EQ(doubt->since, T(0));
  // A second of the first gap leaves the window.
  EXPECT_TRUE(vouch.At(T(1800), std::nullopt));
  EXPECT_FALSE(vouch.At(T(1801), std::nullopt));
  // The open one counts; what it shares with another counts once.
  EXPECT_FALSE(vouch.At(T(1801), Still(1100, 1101)));
  EXPECT_TRUE(vouch.At(T(1801), Still(1790, 1801)));
}

TEST(VouchTest, NamesTheReasonThatTookMostAndSinceWhen) {
  VouchWindow vouch(Seconds(120));
  vouch.Add(Still(0, 2));
  vouch.Add({T(100), T(600), BlindReason::kSuspended});
  vouch.Add({T(700), T(1200), BlindReason::kSuspended});
  const auto doubt = vouch.At(T(1200), std::nullopt);
  ASSERT_TRUE(doubt.has_value());
  EXPECT_EQ(doubt->reason, BlindReason::kSuspended);
  EXPECT_EQ(doubt->since, T(100));
}

TEST(VouchTest, AfterAStartItIsLostUntilEverybodyHasBeenJudged) {
  VouchWindow vouch(Seconds(120));
  vouch.Add({T(0), T(1000), BlindReason::kNotRunning});
  EXPECT_TRUE(vouch.At(T(1000), std::nullopt));
  EXPECT_TRUE(vouch.At(T(1119), std::nullopt));
  EXPECT_FALSE(vouch.At(T(1120), std::nullopt));
}

}  // namespace
}  // namespace muster::gateway
