#include "libprotocol/base/token_bucket.h"

#include "gtest/gtest.h"

namespace muster {
namespace {

Instant At(double seconds) {
  return Instant::SinceBoot(absl::Seconds(seconds));
}

TEST(TokenBucket, GivesABurstAndThenItsRate) {
  TokenBucket bucket(2, 3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.Take(At(10)));
  EXPECT_FALSE(bucket.Take(At(10)));
  EXPECT_EQ(bucket.Wait(At(10)), absl::Milliseconds(500));
  EXPECT_FALSE(bucket.Take(At(10.49)));
  EXPECT_TRUE(bucket.Take(At(10.5)));
  EXPECT_FALSE(bucket.Take(At(10.5)));
}

TEST(TokenBucket, SavesUpNoMoreThanItsBurst) {
  TokenBucket bucket(100, 2);
  EXPECT_TRUE(bucket.Take(At(0)));
  EXPECT_EQ(bucket.Wait(At(3600)), absl::ZeroDuration());
  EXPECT_TRUE(bucket.Take(At(3600)));
  EXPECT_TRUE(bucket.Take(At(3600)));
  EXPECT_FALSE(bucket.Take(At(3600)));
}

TEST(TokenBucket, IsNotFooledByAnEarlierTime) {
  TokenBucket bucket(1, 1);
  EXPECT_TRUE(bucket.Take(At(100)));
  EXPECT_FALSE(bucket.Take(At(50)));
  EXPECT_FALSE(bucket.Take(At(100.9)));
  EXPECT_TRUE(bucket.Take(At(101)));
}

}  // namespace
}  // namespace muster
