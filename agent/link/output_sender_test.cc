#include "agent/link/output_sender.h"

#include <map>
#include <vector>

#include "gtest/gtest.h"

namespace muster::agent {
namespace {

constexpr uint64_t kKiB = 1024;
const OutputKey kA{CommandId("a"), v1::OUTPUT_STREAM_STDOUT};
const OutputKey kB{CommandId("b"), v1::OUTPUT_STREAM_STDOUT};
const Instant kStart = Instant::SinceBoot(absl::Seconds(10));

// Sends whatever the window allows and returns it.
std::vector<OutputSender::Slice> Drain(OutputSender& sender, Instant now) {
  std::vector<OutputSender::Slice> out;
  while (const auto slice = sender.Next()) {
    sender.Sent(*slice, slice->bytes, now);
    out.push_back(*slice);
  }
  return out;
}

TEST(OutputSenderTest, NothingIsOfferedUntilThereIsOutput) {
  OutputSender sender;
  EXPECT_FALSE(sender.Next());
  sender.Grew(kA, 0);
  EXPECT_FALSE(sender.Next());
  sender.Grew(kA, 1);
  ASSERT_TRUE(sender.Next());
  EXPECT_EQ(sender.Next()->bytes, 1u);
}

TEST(OutputSenderTest, UnacknowledgedOutputNeverExceedsTheWindow) {
  OutputSender sender;
  sender.Grew(kA, 10'000 * kKiB);
  Drain(sender, kStart);
  EXPECT_EQ(sender.unacknowledged(), 64 * kKiB);
  sender.Acknowledged(kA, 10, kStart);
  const auto next = sender.Next();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->offset, 64 * kKiB);
  EXPECT_EQ(next->bytes, 10u);
}

TEST(OutputSenderTest, ChunksAreAtMostSixtyFourKiB) {
  OutputSender sender(
      {.window_bytes_min = 1024 * kKiB, .window_bytes_max = 1024 * kKiB});
  sender.Grew(kA, 10'000 * kKiB);
  for (const auto& slice : Drain(sender, kStart)) {
    EXPECT_LE(slice.bytes, 64 * kKiB);
  }
}

TEST(OutputSenderTest, ASessionThatNobodyReadsDelaysNoOtherOutput) {
  OutputSender sender;
  sender.Grew(kA, 10'000 * kKiB, OutputSender::Window::kOwn);
  Drain(sender, kStart);
  EXPECT_EQ(sender.unacknowledged(), 0u);
  sender.Grew(kB, 10'000 * kKiB);
  uint64_t others = 0;
  for (const auto& slice : Drain(sender, kStart)) {
    EXPECT_EQ(slice.key, kB);
    others += slice.bytes;
  }
  EXPECT_EQ(others, 64 * kKiB);
  sender.Acknowledged(kA, 10, kStart);
  ASSERT_TRUE(sender.Next());
  EXPECT_EQ(sender.Next()->key, kA);
  EXPECT_EQ(sender.Next()->offset, 32 * kKiB);
  EXPECT_EQ(sender.Next()->bytes, 10u);
}

TEST(OutputSenderTest, HowFastASessionIsReadSaysNothingOfThePath) {
  OutputSender sender;
  const uint64_t window = sender.window();
  sender.Grew(kA, 32 * kKiB, OutputSender::Window::kOwn);
  Drain(sender, kStart);
  sender.Acknowledged(kA, 32 * kKiB, kStart + absl::Milliseconds(1));
  EXPECT_EQ(sender.window(), window);
}

TEST(OutputSenderTest, CommandsTakeTurns) {
  OutputSender sender(
      {.window_bytes_min = 1024 * kKiB, .window_bytes_max = 1024 * kKiB});
  sender.Grew(kA, 10'000 * kKiB);
  sender.Grew(kB, 10'000 * kKiB);
  std::map<OutputKey, uint64_t> bytes;
  for (const auto& slice : Drain(sender, kStart)) {
    bytes[slice.key] += slice.bytes;
  }
  EXPECT_EQ(bytes[kA], bytes[kB]);
}

TEST(OutputSenderTest, AfterABrokenPathItResumesAtTheAcknowledgedOffset) {
  OutputSender sender;
  sender.Grew(kA, 100 * kKiB);
  Drain(sender, kStart);
  sender.Acknowledged(kA, 5000, kStart);
  sender.PathLost();
  EXPECT_EQ(sender.unacknowledged(), 0u);
  EXPECT_EQ(sender.Next()->offset, 5000u);
}

TEST(OutputSenderTest, AnAcknowledgementOfAnEarlierPathStillCounts) {
  OutputSender sender;
  sender.Grew(kA, 1000);
  Drain(sender, kStart);
  sender.PathLost();
  sender.Acknowledged(kA, 600, kStart);
  EXPECT_EQ(sender.unacknowledged(), 0u);
  EXPECT_EQ(sender.Next()->offset, 600u);
}

// A crash of the host takes what was not yet on its disk, but had been sent.
TEST(OutputSenderTest, AGatewayThatHasMoreThanIsHereHasAllThatIsHere) {
  OutputSender sender;
  sender.Grew(kA, 300);
  Drain(sender, kStart);
  sender.Acknowledged(kA, 500, kStart);
  EXPECT_EQ(sender.unacknowledged(), 0u);
  EXPECT_EQ(sender.acknowledged(kA), 300u);
}

TEST(OutputSenderTest, AnOldAcknowledgementChangesNothing) {
  OutputSender sender;
  sender.Grew(kA, 1000);
  Drain(sender, kStart);
  sender.Acknowledged(kA, 500, kStart);
  sender.Acknowledged(kA, 400, kStart);
  EXPECT_EQ(sender.unacknowledged(), 500u);
  sender.Acknowledged(kB, 5, kStart);
  EXPECT_EQ(sender.acknowledged(kA), 500u);
}

TEST(OutputSenderTest, WhatIsForgottenFreesTheWindow) {
  OutputSender sender;
  sender.Grew(kA, 1000 * kKiB);
  Drain(sender, kStart);
  ASSERT_FALSE(sender.Next());
  sender.Forget(kA.command);
  EXPECT_EQ(sender.unacknowledged(), 0u);
  sender.Grew(kB, 1);
  EXPECT_TRUE(sender.Next());
}

TEST(OutputSenderTest, WhatCannotBeReadIsNotOfferedAgain) {
  OutputSender sender;
  sender.Grew(kA, 1000);
  sender.Sent(*sender.Next(), 10, kStart);
  sender.EndsAt(kA, 10);
  EXPECT_FALSE(sender.Next());
}

TEST(OutputSenderTest, AShortReadCountsOnlyWhatWasSent) {
  OutputSender sender;
  sender.Grew(kA, 1000);
  sender.Sent(*sender.Next(), 400, kStart);
  EXPECT_EQ(sender.Next()->offset, 400u);
}

// A path that acknowledges `bytes_per_second` after `seconds` of work.
uint64_t WindowAfter(uint64_t bytes_per_second, int seconds) {
  OutputSender sender;
  sender.Grew(kA, uint64_t{1} << 40);
  Instant now = kStart;
  uint64_t acknowledged = 0;
  for (int i = 0; i < seconds * 10; ++i) {
    Drain(sender, now);
    now += absl::Milliseconds(100);
    acknowledged += std::min(bytes_per_second / 10, sender.unacknowledged());
    sender.Acknowledged(kA, acknowledged, now);
  }
  return sender.window();
}

TEST(OutputSenderTest, TheWindowFollowsTheMeasuredRateWithinItsBounds) {
  EXPECT_EQ(WindowAfter(10 * kKiB, 60), 64 * kKiB);
  EXPECT_NEAR(static_cast<double>(WindowAfter(300 * kKiB, 60)), 300.0 * kKiB,
              60.0 * kKiB);
  EXPECT_GT(WindowAfter(100'000 * kKiB, 60), 600 * kKiB);
  EXPECT_LE(WindowAfter(100'000 * kKiB, 60), 1024 * kKiB);
}

}  // namespace
}  // namespace muster::agent
