#include "gateway/rpc/turnstile.h"

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using absl::ZeroDuration;

Instant T(double s) { return Instant::SinceBoot(Seconds(100'000 + s)); }

TEST(TurnstileTest, WhoComesWhenAllPlacesAreTakenWaitsForOne) {
  Turnstile turnstile(2, Seconds(2));
  turnstile.Enter(T(0));
  EXPECT_EQ(turnstile.Wait(T(0)), ZeroDuration());
  turnstile.Enter(T(0.5));
  EXPECT_EQ(turnstile.Wait(T(1)), Seconds(1));
  turnstile.Leave(1);
  EXPECT_EQ(turnstile.Wait(T(1)), ZeroDuration());
}

TEST(TurnstileTest, APlaceIsHeldForATimeAtMost) {
  Turnstile turnstile(2, Seconds(2));
  turnstile.Enter(T(0));
  turnstile.Enter(T(1));
  EXPECT_GT(turnstile.Wait(T(1.999)), ZeroDuration());
  EXPECT_EQ(turnstile.Wait(T(2)), ZeroDuration());
  turnstile.Enter(T(2));
  EXPECT_EQ(turnstile.Wait(T(2)), Seconds(1));
}

TEST(TurnstileTest, MoreMayComeThroughThanAreKnown) {
  Turnstile turnstile(1, Seconds(2));
  turnstile.Enter(T(0));
  turnstile.Leave(3);
  EXPECT_EQ(turnstile.Wait(T(0)), ZeroDuration());
  turnstile.Enter(T(0));
  EXPECT_EQ(turnstile.Wait(T(0)), Seconds(2));
}

}  // namespace
}  // namespace muster::gateway
