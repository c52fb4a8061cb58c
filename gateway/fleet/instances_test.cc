#include "gateway/fleet/instances.h"

#include <string>

#include "gateway/fleet/findings.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Answer = Instances::Answer;

constexpr absl::Duration kLease = Seconds(75);
Instant T(double s) { return Instant::SinceBoot(Seconds(10'000 + s)); }
const Instance kA{"boot", "a", "10.0.0.1"};
const Instance kB{"boot", "b", "10.0.0.2"};
const Instance kC{"boot2", "c", "10.0.0.3"};

// The present holder was last heard `ago` before `at`.
Answer Hello(Instances& instances, const Instance& who, double at,
             double ago = 10, bool open = true) {
  return instances.Hello(who, T(at), kLease, T(at - ago), open);
}

bool RivalAt(Instances& instances, double at) {
  instances.ForgetSilent(T(at), kLease);
  return instances.rival() != nullptr;
}

TEST(InstancesTest, ARestartIsANewInstanceAndNothingElse) {
  Instances instances;
  EXPECT_EQ(instances.Hello(kA, T(0), kLease, std::nullopt, false),
            Answer::kAccept);
  EXPECT_EQ(Hello(instances, kA, 10), Answer::kAccept) << "a new link of it";
  EXPECT_EQ(Hello(instances, kB, 20), Answer::kAccept);
  EXPECT_EQ(Hello(instances, kC, 30), Answer::kAccept);
  EXPECT_TRUE(instances.present().IsSame(kC));
  EXPECT_EQ(instances.rival(), nullptr);
}

TEST(InstancesTest, ASupersededOneThatSpeaksAgainTwiceIsARival) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 10);
  EXPECT_EQ(Hello(instances, kA, 40), Answer::kSayAgain)
      << "it may have been long on its way";
  EXPECT_EQ(instances.rival(), nullptr);
  EXPECT_EQ(Hello(instances, kA, 41), Answer::kRefuse);
  ASSERT_NE(instances.rival(), nullptr);
  EXPECT_TRUE(instances.rival()->IsSame(kA));
  EXPECT_TRUE(instances.present().IsSame(kB));
  EXPECT_EQ(Hello(instances, kA, 80), Answer::kRefuse);
}

TEST(InstancesTest, OneThatWasSilentForALeaseHoldsNothing) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 10);
  EXPECT_EQ(Hello(instances, kA, 100, 74.9), Answer::kSayAgain);
  EXPECT_EQ(Hello(instances, kA, 101, 75), Answer::kAccept);
  EXPECT_TRUE(instances.present().IsSame(kA));
  EXPECT_EQ(instances.rival(), nullptr);
}

TEST(InstancesTest, TheRivalIsGoneWhenItHasBeenSilentForALease) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 10);
  (void)Hello(instances, kA, 20);
  (void)Hello(instances, kA, 21);
  EXPECT_TRUE(RivalAt(instances, 95.9));
  (void)Hello(instances, kA, 60);
  EXPECT_TRUE(RivalAt(instances, 134.9));
  instances.Excuse(T(100), T(105));  // Nobody could be heard.
  EXPECT_TRUE(RivalAt(instances, 139.9));
  EXPECT_FALSE(RivalAt(instances, 140));
}

TEST(InstancesTest, ATimeOfDeafnessExcusesARivalOnlyUntilItsEnd) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 10);
  (void)Hello(instances, kA, 40);
  ASSERT_EQ(Hello(instances, kA, 41), Answer::kRefuse);
  instances.Excuse(T(0), T(50));  // It was heard within that time.
  EXPECT_TRUE(RivalAt(instances, 124.9));
  EXPECT_FALSE(RivalAt(instances, 125));
}

TEST(InstancesTest, ARivalThatIsGoneDisputesNothingWithWhoComesBack) {
  // Both were cut off for long; one comes back, or another life of it.
  for (const Instance& back : {kB, kC}) {
    Instances instances;
    (void)Hello(instances, kA, 0);
    (void)Hello(instances, kB, 10);
    (void)Hello(instances, kA, 40);
    ASSERT_EQ(Hello(instances, kA, 41), Answer::kRefuse);
    EXPECT_EQ(Hello(instances, back, 300, 260), Answer::kAccept);
    EXPECT_EQ(instances.rival(), nullptr);
  }
}

TEST(InstancesTest, TheyChangePlacesWhenTheOneWithTheLinkLosesIt) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 10);
  (void)Hello(instances, kA, 20);
  (void)Hello(instances, kA, 21);
  EXPECT_EQ(Hello(instances, kA, 60, 10, /*open=*/false), Answer::kAccept);
  EXPECT_TRUE(instances.present().IsSame(kA));
  EXPECT_TRUE(instances.rival()->IsSame(kB));
  EXPECT_EQ(Hello(instances, kB, 70), Answer::kRefuse);
}

TEST(InstancesTest, AThirdOneDoesNotEndTheDisputeOfTwo) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 10);
  (void)Hello(instances, kA, 20);
  (void)Hello(instances, kA, 21);
  EXPECT_EQ(Hello(instances, kC, 30), Answer::kAccept) << "b was restarted";
  ASSERT_NE(instances.rival(), nullptr);
  EXPECT_TRUE(instances.rival()->IsSame(kA));
}

TEST(InstancesTest, OfThreeThatLiveTwoAreLeftWhenTheHolderFallsSilent) {
  Instances instances;
  for (const Instance& life : {kA, kB, kC}) (void)Hello(instances, life, 0);
  for (const double at : {10, 11}) {
    (void)Hello(instances, kA, at);
    (void)Hello(instances, kB, at);
  }
  EXPECT_EQ(Hello(instances, kB, 60), Answer::kRefuse);
  EXPECT_EQ(Hello(instances, kA, 80, 75), Answer::kAccept);
  ASSERT_NE(instances.rival(), nullptr);
  EXPECT_TRUE(instances.rival()->IsSame(kB));
}

TEST(InstancesTest, ARestlessCloneDoesNotMakeItsRivalForgotten) {
  Instances instances;
  (void)Hello(instances, kA, 0);
  (void)Hello(instances, kB, 1);
  (void)Hello(instances, kA, 2);
  ASSERT_EQ(Hello(instances, kA, 3), Answer::kRefuse);
  for (int life = 0; life < 10; ++life) {
    (void)Hello(instances, {"boot", std::to_string(life), "10.0.0.2"},
                4 + life);
  }
  ASSERT_NE(instances.rival(), nullptr);
  EXPECT_TRUE(instances.rival()->IsSame(kA));
}

TEST(InstancesTest, AfterARestartOfTheGatewayTheSecondOneIsKnownAtOnce) {
  Instances instances;
  instances.ExpectRival(T(0));
  EXPECT_EQ(instances.Hello(kA, T(1), kLease, std::nullopt, false),
            Answer::kAccept);
  EXPECT_EQ(Hello(instances, kB, 30), Answer::kRefuse);
  EXPECT_TRUE(instances.rival()->IsSame(kB));
}

TEST(FlappingTest, FiveLinksInTenMinutesAndNoLonger) {
  Flapping flapping;
  for (const double at : {0, 100, 200, 300}) flapping.LinkOpened(T(at));
  EXPECT_FALSE(flapping.Lasts(T(301)));
  flapping.LinkOpened(T(599));
  EXPECT_TRUE(flapping.Lasts(T(599)));
  EXPECT_TRUE(flapping.Lasts(T(599.9)));
  EXPECT_FALSE(flapping.Lasts(T(600)));
  flapping.LinkOpened(T(701));
  EXPECT_FALSE(flapping.Lasts(T(701))) << "100 … 701";
}

TEST(SharedIdsTest, AreThoseHeardUnderOneMachineIdOfOneOrg) {
  SharedIds ids;
  const AgentId a("a"), b("b");
  EXPECT_THAT(ids.Enter(OrgId("o"), "m", a), ElementsAre(a));
  EXPECT_THAT(ids.Enter(OrgId("o"), "m", a), IsEmpty()) << "no news";
  EXPECT_THAT(ids.Enter(OrgId("other"), "m", b), ElementsAre(b));
  EXPECT_THAT(ids.Enter(OrgId("o"), "", b), IsEmpty());
  EXPECT_THAT(ids.Enter(OrgId("o"), "m", b), ElementsAre(a, b));
  EXPECT_THAT(ids.Leave(OrgId("o"), "m", a), ElementsAre(b));
  EXPECT_THAT(ids.Leave(OrgId("o"), "m", b), IsEmpty());
  EXPECT_THAT(ids.Leave(OrgId("o"), "m", b), IsEmpty());
}

}  // namespace
}  // namespace muster::gateway
