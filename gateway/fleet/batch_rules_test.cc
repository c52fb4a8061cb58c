#include "gateway/fleet/batch_rules.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using ::testing::HasSubstr;

BatchRecord Batch(const BatchCounts& counts) {
  BatchRecord batch;
  batch.concurrency = 10;
  batch.counts = counts;
  return batch;
}

TEST(BatchRulesTest, SoManyHaveTheirTurnAtATime) {
  EXPECT_EQ(TurnsFree(Batch({.waiting = 50})), 10u);
  EXPECT_EQ(TurnsFree(Batch({.waiting = 50, .running = 7})), 3u);
  EXPECT_EQ(TurnsFree(Batch({.waiting = 50, .running = 10})), 0u);
  EXPECT_EQ(TurnsFree(Batch({.waiting = 2, .running = 7})), 2u);
  EXPECT_EQ(TurnsFree(Batch({.waiting = 50, .succeeded = 90})), 10u);
}

TEST(BatchRulesTest, TheCanariesComeFirstAndAllOfThemMustSucceed) {
  const auto free = [](const BatchCounts& counts) {
    BatchRecord batch = Batch(counts);
    batch.canary = 2;
    return TurnsFree(batch);
  };
  EXPECT_EQ(free({.waiting = 50}), 2u);
  EXPECT_EQ(free({.waiting = 49, .running = 1}), 1u);
  EXPECT_EQ(free({.waiting = 48, .running = 2}), 0u);
  EXPECT_EQ(free({.waiting = 48, .running = 1, .succeeded = 1}), 0u);
  EXPECT_EQ(free({.waiting = 48, .succeeded = 2}), 10u);
}

TEST(BatchRulesTest, AMachineWhereItDidNotRunIsNoCanary) {
  BatchRecord batch = Batch({.waiting = 10, .not_delivered = 3});
  batch.canary = 1;
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kRunning);
  EXPECT_EQ(TurnsFree(batch), 1u);
}

TEST(BatchRulesTest, ACanaryThatFailedStopsIt) {
  for (const BatchCounts& counts :
       {BatchCounts{.waiting = 9, .failed = 1},
        BatchCounts{.waiting = 8, .succeeded = 1, .unknown = 1}}) {
    BatchRecord batch = Batch(counts);
    batch.canary = 2;
    Advance(batch);
    EXPECT_EQ(batch.state, BatchState::kStopped);
    EXPECT_THAT(batch.reason, HasSubstr("canary"));
    EXPECT_EQ(TurnsFree(batch), 0u);
  }
}

TEST(BatchRulesTest, FailuresStopItAndWhatIsNotDeliveredIsNone) {
  BatchRecord batch = Batch({.waiting = 5, .failed = 1, .not_delivered = 30});
  batch.failures_max = 3;
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kRunning);
  batch.counts = {.waiting = 5, .running = 1, .failed = 2, .unknown = 1};
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kStopping) << "one still runs";
  EXPECT_EQ(batch.reason, "3 failed, the limit is 3");
  batch.counts = {.waiting = 5, .succeeded = 1, .failed = 2, .unknown = 1};
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kStopped);
}

TEST(BatchRulesTest, IsFinishedWhenEverybodyCameOut) {
  BatchRecord batch = Batch({.running = 1, .succeeded = 2});
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kRunning);
  batch.counts = {.succeeded = 2, .failed = 1};
  batch.failures_max = 1;
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kFinished) << "nobody was left to spare";
}

TEST(BatchRulesTest, IsCancelledWhenNothingRunsAnyMore) {
  BatchRecord batch = Batch({.waiting = 5, .running = 1});
  EXPECT_TRUE(CancelBatch(batch));
  EXPECT_FALSE(CancelBatch(batch)) << "it is asked already";
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kCancelling);
  EXPECT_EQ(TurnsFree(batch), 0u);
  batch.counts = {.waiting = 5, .failed = 1};
  Advance(batch);
  EXPECT_EQ(batch.state, BatchState::kCancelled);
  EXPECT_FALSE(CancelBatch(batch));
}

TEST(BatchRulesTest, EveryStateOfACommandCountsSomewhere) {
  using enum CommandState;
  const auto of = [](CommandState state, bool started = false) {
    CommandRecord command;
    command.state = state;
    if (started) command.started_at = absl::UnixEpoch();
    return BatchCountOf(command);
  };
  for (const CommandState state : {kQueued, kDispatched, kReceived, kRunning}) {
    EXPECT_EQ(of(state), &BatchCounts::running);
  }
  EXPECT_EQ(of(kSucceeded), &BatchCounts::succeeded);
  for (const CommandState state : {kFailed, kSignaled, kTimedOut}) {
    EXPECT_EQ(of(state), &BatchCounts::failed);
  }
  EXPECT_EQ(of(kCancelled, true), &BatchCounts::failed);
  for (const CommandState state : {kCancelled, kExpired, kRejected}) {
    EXPECT_EQ(of(state), &BatchCounts::not_delivered);
  }
  EXPECT_EQ(of(kOutcomeUnknown), &BatchCounts::unknown);
}

TEST(BatchRulesTest, ACountIsANumberOrAShareOfTheMachines) {
  EXPECT_EQ(*CountOf("concurrency", "50", 1000), 50u);
  EXPECT_EQ(*CountOf("concurrency", "50", 7), 7u);
  EXPECT_EQ(*CountOf("concurrency", "10%", 1000), 100u);
  EXPECT_EQ(*CountOf("concurrency", "1%", 7), 1u) << "rounded up";
  EXPECT_EQ(*CountOf("concurrency", "100%", 10'000), 10'000u);
  for (const char* bad : {"", "0", "0%", "101%", "-1", "5.5", "%", "1 ", "all",
                          "99999999999"}) {
    const auto count = CountOf("stop_after", bad, 7);
    EXPECT_EQ(count.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(count.status().message()),
                HasSubstr("stop_after: must be a number of at least 1"));
  }
}

}  // namespace
}  // namespace muster::gateway
