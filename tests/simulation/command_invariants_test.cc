// Every checker of commands and output can fail: a history that breaks its
// rule, next to one that keeps it.

#include <set>
#include <string>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gtest/gtest.h"
#include "tests/simulation/invariants.h"

namespace muster::simulation {
namespace {

using gateway::CommandState;

// A machine, and command 1 for it, with a timeout of 60 s and a grace of 5 s,
// accepted at 10 s.
class HistoryOfACommand {
 public:
  HistoryOfACommand() {
    At(0).Is({.what = What::kOpened}).Is({.what = What::kAdmitted});
    At(1).Is({.what = What::kAgentRuns, .group = 1});
    At(10).Asked(1, 7, 100).Is({.what = What::kCommandAccepted, .number = 1});
  }

  HistoryOfACommand& At(double seconds) {
    now_ = static_cast<Nanos>(seconds * kSecond);
    return *this;
  }
  HistoryOfACommand& Is(Event event) {
    event.at = now_;
    invariants_.On(event);
    return *this;
  }
  HistoryOfACommand& Asked(uint64_t number, uint64_t key, uint64_t body) {
    return Is({.what = What::kCommandAsked,
               .code = 5000,
               .epoch = key,
               .number = number,
               .group = body,
               .length = kMinute});
  }
  HistoryOfACommand& OfIt(What what, bool flag = false) {
    return Is({.what = what, .flag = flag, .number = 1, .group = 1});
  }
  HistoryOfACommand& Starts() {
    Is({.what = What::kSeen, .number = 1, .group = 1});
    return OfIt(What::kClaimed).OfIt(What::kStarted);
  }
  HistoryOfACommand& Said(CommandState state) {
    return Is({.what = What::kSaid,
               .state = state,
               .epoch = 1,
               .number = 1,
               .group = 1});
  }
  HistoryOfACommand& Kept(CommandState state, uint64_t bytes = 0) {
    return Is({.what = What::kExitKept,
               .state = state,
               .epoch = bytes,
               .number = 1,
               .group = 1});
  }
  HistoryOfACommand& Exits() {
    OfIt(What::kProcessEnded, true).OfIt(What::kProcessesGone);
    return Kept(CommandState::kSucceeded);
  }
  HistoryOfACommand& Told(CommandState state, bool started = true) {
    return Is({.what = What::kCommandEnded,
               .flag = started,
               .state = state,
               .number = 1});
  }
  HistoryOfACommand& Wrote(uint64_t bytes) {
    return Is({.what = What::kWrote,
               .epoch = 1,
               .number = 1,
               .group = 1,
               .length = static_cast<Nanos>(bytes)});
  }
  HistoryOfACommand& Stored(uint64_t bytes, bool exact = true) {
    return Is({.what = What::kOutputStored,
               .flag = exact,
               .epoch = 1,
               .number = 1,
               .length = static_cast<Nanos>(bytes)});
  }
  HistoryOfACommand& Read(uint64_t from, uint64_t to) {
    return Is({.what = What::kOutputRead,
               .flag = true,
               .epoch = 1,
               .number = 1,
               .group = from,
               .length = static_cast<Nanos>(to)});
  }
  // Nothing fails any more, and everything has had its time.
  HistoryOfACommand& Settles() {
    Is({.what = What::kHealed});
    return At(3 * 3600).Is({.what = What::kTick});
  }

  // Of the commands and their output.
  std::string Broken() const {
    std::set<std::string> ids;
    for (const Violation& v : invariants_.violations()) {
      if (v.invariant[0] == 'C' || v.invariant[0] == 'O') {
        ids.insert(v.invariant);
      }
    }
    return fmt::format("{}", fmt::join(ids, " "));
  }

 private:
  Nanos now_ = 0;
  Invariants invariants_{Promises{}};
};

TEST(CommandInvariantsTest, AnHonestCommandBreaksNothing) {
  HistoryOfACommand h;
  h.At(11).Starts().Said(CommandState::kRunning).Wrote(10).Stored(4);
  h.Read(0, 4).Stored(10).Read(4, 10);
  h.At(20).OfIt(What::kProcessEnded, true).OfIt(What::kProcessesGone);
  h.Kept(CommandState::kSucceeded, 10).Said(CommandState::kSucceeded);
  h.Told(CommandState::kSucceeded);
  h.Is({.what = What::kOutputComplete, .epoch = 10, .number = 1});
  h.OfIt(What::kFolderGone).Settles();
  EXPECT_EQ(h.Broken(), "");
}

TEST(CommandInvariantsTest, C1ACommandIsStartedOnce) {
  HistoryOfACommand h;
  h.At(11).Starts().At(12).OfIt(What::kStarted);
  EXPECT_EQ(h.Broken(), "C1");
}

TEST(CommandInvariantsTest, C1ACopiedMachineMayRepeatOne) {
  HistoryOfACommand h;
  h.At(11).Starts().Is({.what = What::kCopied}).OfIt(What::kStarted);
  EXPECT_EQ(h.Broken(), "");
}

TEST(CommandInvariantsTest, C2WhatWasAcceptedEnds) {
  HistoryOfACommand h;
  h.Settles();
  EXPECT_EQ(h.Broken(), "C2");
}

TEST(CommandInvariantsTest, C2AResultOnTheMachinesDiskReachesTheCaller) {
  HistoryOfACommand h;
  h.At(11).Starts().Exits().Told(CommandState::kOutcomeUnknown).Settles();
  EXPECT_EQ(h.Broken(), "C2");
}

TEST(CommandInvariantsTest, C2AGatewayThatWasPutBackMayHaveForgotten) {
  HistoryOfACommand h;
  h.Is({.what = What::kRolledBack}).Settles();
  EXPECT_EQ(h.Broken(), "");
}

TEST(CommandInvariantsTest, C3AnEndDoesNotChange) {
  HistoryOfACommand h;
  h.At(11).Starts().Exits().Told(CommandState::kSucceeded);
  h.Told(CommandState::kOutcomeUnknown);
  EXPECT_EQ(h.Broken(), "C3");
}

TEST(CommandInvariantsTest, C3AnUnknownOutcomeIsRefined) {
  HistoryOfACommand h;
  h.At(11).Starts().Exits().Told(CommandState::kOutcomeUnknown);
  h.Told(CommandState::kSucceeded);
  EXPECT_EQ(h.Broken(), "");
}

TEST(CommandInvariantsTest, C4ASuccessIsNotInvented) {
  HistoryOfACommand h;
  h.At(11).Starts().Told(CommandState::kSucceeded);
  EXPECT_EQ(h.Broken(), "C4");
}

TEST(CommandInvariantsTest, C4SomebodyHasSeenItEnd) {
  HistoryOfACommand h;
  h.At(11).Starts().OfIt(What::kProcessEnded, false);
  h.Kept(CommandState::kSucceeded).Told(CommandState::kSucceeded);
  EXPECT_EQ(h.Broken(), "C4");
}

TEST(CommandInvariantsTest, C5WhatExpiredHasNotStarted) {
  HistoryOfACommand h;
  h.At(11).Starts().Told(CommandState::kExpired, false);
  EXPECT_EQ(h.Broken(), "C5");
}

TEST(CommandInvariantsTest, C5WhatWasCalledOffNeverStarts) {
  HistoryOfACommand h;
  h.At(11).Told(CommandState::kCancelled, false).At(12).Starts();
  EXPECT_EQ(h.Broken(), "C5");
}

TEST(CommandInvariantsTest, C6OneKeyNamesOneCommand) {
  HistoryOfACommand h;
  h.At(11).Asked(2, 7, 100);
  h.Is({.what = What::kCommandAccepted, .epoch = 1, .number = 2});
  EXPECT_EQ(h.Broken(), "");
  h.Asked(3, 7, 100).Is({.what = What::kCommandAccepted, .number = 3});
  EXPECT_EQ(h.Broken(), "C6");
}

TEST(CommandInvariantsTest, C6OneKeyIsOneRequest) {
  HistoryOfACommand h;
  h.At(11).Asked(2, 7, 200);
  h.Is({.what = What::kCommandAccepted, .epoch = 1, .number = 2});
  EXPECT_EQ(h.Broken(), "C6");
}

TEST(CommandInvariantsTest, C6WhatWasRefusedDoesNotRun) {
  HistoryOfACommand h;
  h.At(11).Asked(2, 8, 1).Is({.what = What::kCommandRefused, .number = 2});
  h.Is({.what = What::kClaimed, .number = 2, .group = 1});
  h.Is({.what = What::kStarted, .number = 2, .group = 1});
  EXPECT_EQ(h.Broken(), "C6");
}

TEST(CommandInvariantsTest, C7AnAnswerComesAfterTheOrderIsSeenDurably) {
  HistoryOfACommand h;
  h.At(11).Said(CommandState::kReceived);
  EXPECT_EQ(h.Broken(), "C7");
}

TEST(CommandInvariantsTest, C7AResultComesAfterItIsDurable) {
  HistoryOfACommand h;
  h.At(11).Starts().Said(CommandState::kSucceeded);
  EXPECT_EQ(h.Broken(), "C7");
}

TEST(CommandInvariantsTest, C7NothingStartsBeforeThatIsDecided) {
  HistoryOfACommand h;
  h.At(11).OfIt(What::kStarted);
  EXPECT_EQ(h.Broken(), "C7");
}

TEST(CommandInvariantsTest, C7AFolderStaysUntilTheGatewayHasItsEnd) {
  HistoryOfACommand h;
  h.At(11).Starts().Exits().OfIt(What::kFolderGone);
  EXPECT_EQ(h.Broken(), "C7");
}

TEST(CommandInvariantsTest, C8NothingOfACancelledCommandLives) {
  HistoryOfACommand h;
  h.At(11).Starts().Told(CommandState::kCancelled);
  EXPECT_EQ(h.Broken(), "C8");
}

TEST(CommandInvariantsTest, C9NothingOutlivesItsTimeout) {
  HistoryOfACommand h;
  h.At(11).Starts().At(11 + 60 + 5 + 9).Is({.what = What::kTick});
  EXPECT_EQ(h.Broken(), "");
  h.At(11 + 60 + 5 + 11).Is({.what = What::kTick});
  EXPECT_EQ(h.Broken(), "C9");
}

TEST(CommandInvariantsTest, C9AnAgentEndsWhatHasLostItsShim) {
  HistoryOfACommand h;
  h.At(11).Starts().Is({.what = What::kAgentLost, .group = 1});
  h.OfIt(What::kShimLost).At(500).Is({.what = What::kTick});
  EXPECT_EQ(h.Broken(), "");
  h.Is({.what = What::kAgentRuns, .group = 1});
  h.At(600).Is({.what = What::kTick});
  EXPECT_EQ(h.Broken(), "C9");
}

TEST(CommandInvariantsTest, C10NoOrderIsSentForWhomMayNotAnyMore) {
  HistoryOfACommand h;
  h.Is({.what = What::kIssued, .number = 1, .group = 8});
  h.Is({.what = What::kWithdrawn, .group = 9}).OfIt(What::kOrdered);
  EXPECT_EQ(h.Broken(), "");
  h.Is({.what = What::kWithdrawn, .group = 8}).OfIt(What::kOrdered);
  EXPECT_EQ(h.Broken(), "C10");
}

TEST(CommandInvariantsTest, C9NothingIsTimedOutEarly) {
  HistoryOfACommand h;
  h.At(11).Starts().At(70).OfIt(What::kProcessesGone);
  h.Kept(CommandState::kTimedOut);
  EXPECT_EQ(h.Broken(), "C9");
}

TEST(CommandInvariantsTest, C11AnotherMachineDoesNotRunIt) {
  HistoryOfACommand h;
  h.At(11).Is({.what = What::kAdmitted, .machine = 1});
  h.OfIt(What::kClaimed);
  h.Is({.what = What::kStarted, .machine = 1, .number = 1, .group = 2});
  EXPECT_EQ(h.Broken(), "C11");
}

TEST(OutputInvariantsTest, O1NothingIsSeenThatWasNotWritten) {
  HistoryOfACommand h;
  h.At(11).Starts().Wrote(10).Stored(11);
  EXPECT_EQ(h.Broken(), "O1");
}

TEST(OutputInvariantsTest, O1NoByteIsAltered) {
  HistoryOfACommand h;
  h.At(11).Starts().Wrote(10).Stored(10, false);
  EXPECT_EQ(h.Broken(), "O1");
}

TEST(OutputInvariantsTest, O2AReaderGetsTheNextByte) {
  HistoryOfACommand h;
  h.At(11).Starts().Wrote(10).Stored(10).Read(0, 4).Read(5, 10);
  EXPECT_EQ(h.Broken(), "O2");
}

TEST(OutputInvariantsTest, O3CompleteMeansAllOfIt) {
  HistoryOfACommand h;
  h.At(11).Starts().Wrote(10).Stored(9).Kept(CommandState::kTimedOut, 10);
  h.Is({.what = What::kOutputComplete, .epoch = 10, .number = 1});
  EXPECT_NE(h.Broken().find("O3"), std::string::npos);
}

TEST(OutputInvariantsTest, O3AllOfItComes) {
  HistoryOfACommand h;
  h.At(11).Starts().Wrote(10).Stored(9).Exits();
  h.Kept(CommandState::kSucceeded, 10).Told(CommandState::kSucceeded);
  h.Settles();
  EXPECT_EQ(h.Broken(), "O3");
}

TEST(OutputInvariantsTest, O4WhatWaitsIsBounded) {
  const auto max = static_cast<Nanos>(Promises().output_waits_max);
  HistoryOfACommand h;
  h.At(11).Is({.what = What::kBuffered, .length = max});
  EXPECT_EQ(h.Broken(), "");
  h.Is({.what = What::kBuffered, .length = max + 1});
  EXPECT_EQ(h.Broken(), "O4");
}

TEST(OutputInvariantsTest, O5OutputDoesNotHoldUpHeartbeats) {
  HistoryOfACommand h;
  h.At(11).Is({.what = What::kHeldUp, .length = 14 * kSecond});
  EXPECT_EQ(h.Broken(), "");
  h.Is({.what = What::kHeldUp, .length = 15 * kSecond});
  EXPECT_EQ(h.Broken(), "O5");
}

}  // namespace
}  // namespace muster::simulation
