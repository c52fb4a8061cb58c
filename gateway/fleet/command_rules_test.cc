#include "gateway/fleet/command_rules.h"

#include <vector>

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using enum CommandState;

const absl::Time kNow = absl::FromUnixSeconds(1000);
constexpr CommandState kAll[] = {
    kQueued,   kDispatched, kReceived,  kRunning, kSucceeded, kFailed,
    kSignaled, kTimedOut,   kCancelled, kExpired, kRejected,  kOutcomeUnknown};

CommandRecord In(CommandState state) {
  CommandRecord record;
  record.state = state;
  record.spec.timeout = absl::Hours(1);
  record.spec.delivery_timeout = absl::Seconds(30);
  record.spec.kill_grace = absl::Seconds(10);
  return record;
}
CommandWord Word(CommandState state) {
  CommandWord word;
  word.state = state;
  return word;
}

TEST(CommandRulesTest, AnAgentMaySayAllButQueuedDispatchedAndExpired) {
  for (const CommandState state : kAll) {
    EXPECT_EQ(AgentMaySay(state),
              state != kQueued && state != kDispatched && state != kExpired);
  }
}

TEST(CommandRulesTest, EveryEndIsTerminalAndNothingElse) {
  for (const CommandState state : kAll) {
    const bool open = state == kQueued || state == kDispatched ||
                      state == kReceived || state == kRunning;
    EXPECT_EQ(IsTerminal(state), !open);
  }
}

TEST(CommandRulesTest, AWordIsTakenOnlyIfItLeadsOnwards) {
  for (const CommandState from : kAll) {
    for (const CommandState to : kAll) {
      if (!AgentMaySay(to)) continue;
      SCOPED_TRACE(static_cast<int>(from) * 100 + static_cast<int>(to));
      bool expected = false;
      if (!IsTerminal(from)) {
        expected = IsTerminal(to) || to > from;
      } else if (from == kOutcomeUnknown) {
        expected = IsTerminal(to) && to != kOutcomeUnknown;
      }
      CommandRecord record = In(from);
      EXPECT_EQ(ApplyWord(record, Word(to), kNow), expected);
      EXPECT_EQ(record.state, expected ? to : from);
    }
  }
}

TEST(CommandRulesTest, AnEndBringsItsDetails) {
  CommandRecord record = In(kRunning);
  record.started_at = kNow;
  CommandWord word = Word(kFailed);
  word.exit_code = 3;
  word.reason = "exit";
  word.finished_at = kNow + absl::Seconds(1);
  word.stdout_total = 10;
  word.stderr_total = 20;
  word.output_dropped_bytes = 5;
  ASSERT_TRUE(ApplyWord(record, word, kNow + absl::Hours(1)));
  EXPECT_EQ(record.started_at, kNow);
  EXPECT_EQ(record.exit_code, 3);
  EXPECT_EQ(record.reason, "exit");
  EXPECT_EQ(record.finished_at, kNow + absl::Seconds(1));
  EXPECT_EQ(record.stdout_total, 10u);
  EXPECT_EQ(record.stderr_total, 20u);
  EXPECT_EQ(record.output_dropped_bytes, 5u);
}

TEST(CommandRulesTest, ALateWordReplacesTheGuessWholly) {
  CommandRecord record = In(kRunning);
  MarkUnknown(record, "no_word", kNow);
  CommandWord word = Word(kSignaled);
  word.signal = 9;
  ASSERT_TRUE(ApplyWord(record, word, kNow + absl::Seconds(5)));
  EXPECT_EQ(record.signal, 9);
  EXPECT_EQ(record.reason, "");
  EXPECT_EQ(record.finished_at, kNow + absl::Seconds(5));
}

TEST(CommandRulesTest, WhatWasSeenToRunIsNotSaidNeverToHaveStarted) {
  for (const CommandState denial : {kRejected, kCancelled}) {
    for (const CommandState state : {kRunning, kOutcomeUnknown}) {
      CommandRecord record = In(state);
      record.started_at = kNow;
      CommandWord word = Word(denial);
      EXPECT_EQ(ApplyWord(record, word, kNow), state == kRunning);
      EXPECT_EQ(record.state, kOutcomeUnknown);
      EXPECT_EQ(record.reason, state == kRunning ? kAgentRolledBack : "");
      word.started_at = kNow;  // It did run, and this is how it ended.
      EXPECT_TRUE(ApplyWord(record, word, kNow));
      EXPECT_EQ(record.state, denial);
    }
  }
}

TEST(CommandRulesTest, AMachineThatForgotIsNotBelievedThatNothingStarted) {
  for (const CommandState denial : {kRejected, kCancelled}) {
    CommandRecord record = In(kReceived);
    MarkUnknown(record, "no_word", kNow);
    CommandRecord rolled_back = record;
    MarkUnknown(rolled_back, kAgentRolledBack, kNow);
    EXPECT_TRUE(ApplyWord(record, Word(denial), kNow));
    EXPECT_FALSE(ApplyWord(rolled_back, Word(denial), kNow));
    EXPECT_TRUE(ApplyWord(rolled_back, Word(kSucceeded), kNow));
  }
}

TEST(CommandRulesTest, OutputIsCompleteWhenBothStreamsAreStored) {
  CommandRecord record = In(kSucceeded);
  record.stdout_total = 10;
  record.stderr_total = 0;
  record.stdout_bytes = 9;
  EXPECT_FALSE(OutputComplete(record));
  EXPECT_FALSE(IsFinished(record));
  record.stdout_bytes = 10;
  EXPECT_TRUE(IsFinished(record));
  record.stderr_total = 1;
  EXPECT_FALSE(IsFinished(record));
  record.stderr_bytes = 1;
  EXPECT_TRUE(IsFinished(record));
  record.state = kRunning;
  EXPECT_FALSE(OutputComplete(record));
}

TEST(CommandRulesTest, WhatTheGatewayEndedIsFinishedAtOnce) {
  EXPECT_TRUE(IsFinished(In(kExpired)));
  EXPECT_TRUE(IsFinished(In(kCancelled)));
  EXPECT_TRUE(IsFinished(In(kOutcomeUnknown)));
  EXPECT_FALSE(OutputComplete(In(kOutcomeUnknown)));
}

TEST(CommandRulesTest, PatienceEndsForEveryStateThatOnlyTimeCanEnd) {
  const absl::Duration lease = absl::Seconds(120);
  EXPECT_EQ(PatienceFor(In(kQueued), lease), absl::Seconds(30));
  EXPECT_EQ(PatienceFor(In(kDispatched), lease), absl::Seconds(30));
  EXPECT_EQ(PatienceFor(In(kReceived), lease), absl::Seconds(3730));
  EXPECT_EQ(PatienceFor(In(kRunning), lease), absl::Seconds(3730));
  for (const CommandState state : kAll) {
    if (!IsTerminal(state)) continue;
    EXPECT_EQ(PatienceFor(In(state), lease), absl::InfiniteDuration());
  }
}

TEST(CommandRulesTest, OnlyWhatWasNeverSentExpires) {
  struct Case {
    CommandState from;
    CommandState to;
    const char* reason;
  };
  for (const Case& c : {Case{kQueued, kExpired, "delivery_timeout"},
                        {kDispatched, kOutcomeUnknown, "no_answer"},
                        {kReceived, kOutcomeUnknown, "no_word"},
                        {kRunning, kOutcomeUnknown, "no_word"}}) {
    CommandRecord record = In(c.from);
    GiveUp(record, kNow);
    EXPECT_EQ(record.state, c.to);
    EXPECT_EQ(record.reason, c.reason);
    EXPECT_EQ(record.finished_at, kNow);
  }
}

}  // namespace
}  // namespace muster::gateway
