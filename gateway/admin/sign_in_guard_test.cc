#include "gateway/admin/sign_in_guard.h"

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

const OrgId kOrg = DefaultOrg();
const Instant kStart = Instant() + absl::Hours(1000);

class SignInGuardTest : public testing::Test {
 protected:
  absl::Duration Ask(const std::string& name, const std::string& source = "a") {
    return guard_.Ask(kOrg, name, source, now_);
  }
  SignInGuard guard_;
  Instant now_ = kStart;
};

TEST_F(SignInGuardTest, AfterFiveFailuresANameWaitsTwiceAsLongEachTime) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Ask("bob"), absl::ZeroDuration()) << i;
  }
  absl::Duration expected = absl::Minutes(1);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(Ask("bob", "b"), expected) << "from wherever it is tried";
    now_ += expected;
    EXPECT_EQ(Ask("bob"), absl::ZeroDuration());
    expected = std::min(expected * 2, absl::Minutes(15));
  }
  EXPECT_EQ(Ask("eve"), absl::ZeroDuration()) << "another name";
}

TEST_F(SignInGuardTest, TheRightPasswordForgetsTheFailures) {
  for (int i = 0; i < 4; ++i) (void)Ask("bob");
  guard_.Succeeded(kOrg, "bob");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask("bob", "b"), absl::ZeroDuration());
  EXPECT_GT(Ask("bob", "c"), absl::ZeroDuration());
}

TEST_F(SignInGuardTest, OneSourceThatTriesManyNamesWaits) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Ask(fmt::format("n{}", i)), absl::ZeroDuration());
  }
  EXPECT_GT(Ask("one more"), absl::ZeroDuration());
  EXPECT_EQ(Ask("one more", "b"), absl::ZeroDuration()) << "another source";
  now_ += absl::Seconds(6);
  EXPECT_EQ(Ask("yet one"), absl::ZeroDuration());
}

TEST_F(SignInGuardTest, WhatItRemembersIsBounded) {
  SignInGuard small({.remembered_max = 3});
  for (const char* source : {"a", "b", "c"}) {
    EXPECT_EQ(small.Ask(kOrg, source, source, now_), absl::ZeroDuration());
  }
  EXPECT_GT(small.Ask(kOrg, "d", "d", now_), absl::ZeroDuration());
  now_ += absl::Hours(1);
  EXPECT_EQ(small.Ask(kOrg, "d", "d", now_), absl::ZeroDuration())
      << "what is over is forgotten";
}

}  // namespace
}  // namespace muster::gateway
