// Every checker can fail: a history that breaks its rule, next to one that
// keeps it.

#include "tests/simulation/invariants.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gtest/gtest.h"

namespace muster::simulation {
namespace {

using gateway::Cause;
using gateway::Confidence;
using gateway::Domain;
using gateway::Status;

// What is broken: "P1 P4", or nothing.
std::string Broken(const Invariants& invariants) {
  std::set<std::string> ids;
  for (const Violation& v : invariants.violations()) ids.insert(v.invariant);
  return fmt::format("{}", fmt::join(ids, " "));
}

// A history that begins with an open gateway and one machine, online on link 1,
// its heartbeat 1 arrived at 10 s.
class HistoryOfOne {
 public:
  HistoryOfOne() {
    At(0).Is({.what = What::kOpened});
    At(1).Is({.what = What::kAdmitted});
    At(2).Accepted(1);
    At(10).Heartbeat(1, 1);
    Decided(Status::kStale, Status::kOnline);
  }

  HistoryOfOne& At(double seconds) {
    now_ = static_cast<Nanos>(seconds * kSecond);
    return *this;
  }
  HistoryOfOne& Is(Event event) {
    event.at = now_;
    invariants_.On(event);
    return *this;
  }
  HistoryOfOne& Accepted(uint64_t epoch) {
    return Is(
        {.what = What::kAccepted, .epoch = epoch, .length = 30 * kSecond});
  }
  HistoryOfOne& Heartbeat(uint64_t epoch, uint64_t echo) {
    return Is({.what = What::kArrived,
               .epoch = epoch,
               .number = echo,
               .length = 30 * kSecond});
  }
  HistoryOfOne& Handled(uint64_t epoch, uint64_t echo, Status after) {
    return Is({.what = What::kHandled,
               .flag = true,
               .to = after,
               .epoch = epoch,
               .number = echo,
               .length = 30 * kSecond});
  }
  HistoryOfOne& StoodStill(double seconds) {
    return Is({.what = What::kStalled,
               .length = static_cast<Nanos>(seconds * kSecond)});
  }
  HistoryOfOne& Tick() { return Is({.what = What::kTick}); }
  HistoryOfOne& Decided(Status from, Status to,
                        Cause cause = Cause::kUndetermined,
                        Confidence confidence = Confidence::kUndetermined) {
    Event event{.what = What::kDecided,
                .flag = to != Status::kOnline,
                .verdict = to != Status::kOnline,
                .from = from,
                .to = to,
                .cause = cause,
                .confidence = confidence,
                .epoch = 1,
                .number = ++decided_};
    return Is(event);
  }
  HistoryOfOne& Worse(Cause cause = Cause::kUndetermined,
                      Confidence confidence = Confidence::kUndetermined) {
    return Decided(Status::kOnline, Status::kStale, cause, confidence);
  }
  HistoryOfOne& Offline() { return Decided(Status::kStale, Status::kOffline); }
  HistoryOfOne& Stored(uint64_t sequence, Status from, Status to,
                       uint64_t epoch = 1) {
    return Is({.what = What::kStored,
               .from = from,
               .to = to,
               .epoch = epoch,
               .number = sequence});
  }

  std::string Broken() const { return simulation::Broken(invariants_); }

 private:
  Nanos now_ = 0;
  uint64_t decided_ = 0;
  Invariants invariants_{Promises{.interval_max = 60 * kSecond}};
};

TEST(InvariantsTest, AnHonestSilenceBreaksNothing) {
  HistoryOfOne h;
  h.At(85).Worse();
  h.At(130).Offline();
  h.At(140).Tick();
  EXPECT_EQ(h.Broken(), "");
}

TEST(InvariantsTest, P1StaleWhileEchoesArriveIsFalse) {
  HistoryOfOne h;
  h.At(40).Heartbeat(1, 2);
  h.At(85).Worse();
  EXPECT_EQ(h.Broken(), "P1 P4");
}

TEST(InvariantsTest, P1OfflineWhileAnythingArrivesIsFalse) {
  HistoryOfOne h;
  h.At(40).Heartbeat(1, 1);  // Heard, not echoed.
  h.At(85).Worse();
  h.At(130).Offline();
  EXPECT_NE(h.Broken().find("P1"), std::string::npos);
}

TEST(InvariantsTest, P1ALinkMayBeAbsentForItsGrace) {
  HistoryOfOne h;
  h.At(80).Tick();  // Nobody is judged right after a start.
  h.Heartbeat(1, 2);
  h.At(81).Is({.what = What::kLinkBroke, .epoch = 1});
  h.At(86).Worse();
  EXPECT_EQ(h.Broken(), "");
}

TEST(InvariantsTest, P1ALinkLostAMomentAgoIsNotAbsent) {
  HistoryOfOne h;
  h.At(80).Heartbeat(1, 2);
  h.At(81).Is({.what = What::kLinkBroke, .epoch = 1});
  h.At(84).Worse();
  EXPECT_EQ(h.Broken(), "P1 P4");
}

TEST(InvariantsTest, P2ASilentMachineIsOfflineInTime) {
  HistoryOfOne h;
  h.At(85).Worse();
  h.At(135).Tick();
  EXPECT_EQ(h.Broken(), "P2");
}

TEST(InvariantsTest, P2ASilentMachineIsStaleInTime) {
  HistoryOfOne h;
  h.At(90).Tick();
  EXPECT_EQ(h.Broken(), "P2");
}

TEST(InvariantsTest, P3NobodyIsHeldForEver) {
  HistoryOfOne h;
  h.At(85).Worse();
  h.At(120).Tick();
  h.At(500).StoodStill(5);  // Excuses P2 for a while.
  h.Tick();
  EXPECT_EQ(h.Broken(), "P3");
}

TEST(InvariantsTest, P4TheGatewaysOwnPauseIsNobodysSilence) {
  HistoryOfOne h;
  h.At(100).StoodStill(80);
  h.At(110).Worse();
  EXPECT_EQ(h.Broken(), "P4");
}

TEST(InvariantsTest, P4WhatCameInAPauseEndsNoSilenceThatCounts) {
  HistoryOfOne h;
  h.At(90).Heartbeat(1, 2);
  h.At(100).StoodStill(60);
  h.Decided(Status::kOnline, Status::kStale);
  EXPECT_EQ(h.Broken(), "P1 P4");
}

TEST(InvariantsTest, P4AShortPauseIsGivenBack) {
  HistoryOfOne h;
  h.At(80).StoodStill(8);
  h.At(85).Worse();
  EXPECT_EQ(h.Broken(), "P4");
}

TEST(InvariantsTest, P6EveryWorseningHasItsReason) {
  HistoryOfOne h;
  h.At(85).Is({.what = What::kDecided,
               .from = Status::kOnline,
               .to = Status::kStale,
               .number = 2});
  EXPECT_EQ(h.Broken(), "P6");
}

TEST(InvariantsTest, P7OnlyAGoodbyeSaysStopped) {
  HistoryOfOne h;
  h.At(85).Worse(Cause::kAgentStopped, Confidence::kProven);
  EXPECT_EQ(h.Broken(), "P7");
}

TEST(InvariantsTest, P7SilenceProvesNothing) {
  HistoryOfOne h;
  h.At(85).Worse(Cause::kUndetermined, Confidence::kProven);
  EXPECT_EQ(h.Broken(), "P7");
}

TEST(InvariantsTest, P7WhoHasALinkHasBeenConnected) {
  HistoryOfOne h;
  h.At(85).Worse(Cause::kNeverConnected, Confidence::kProven);
  EXPECT_EQ(h.Broken(), "P7");
}

TEST(InvariantsTest, P7OfALifeThatStoredNothingTheNextKnowsNothing) {
  for (const bool stored : {false, true}) {
    HistoryOfOne h;
    if (stored) h.At(20).Stored(1, Status::kStale, Status::kOnline);
    h.At(30).Is({.what = What::kCrashed});
    h.At(31).Is({.what = What::kOpened});
    h.Is({.what = What::kRestored,
          .verdict = true,
          .to = Status::kStale,
          .cause = Cause::kNeverConnected,
          .number = stored});
    h.At(200).Is({.what = What::kDecided,
                  .flag = true,
                  .verdict = true,
                  .from = Status::kStale,
                  .to = Status::kOffline,
                  .cause = Cause::kNeverConnected,
                  .confidence = Confidence::kProven,
                  .number = 1 + uint64_t{stored}});
    EXPECT_EQ(h.Broken().find("P7") != std::string::npos, stored) << h.Broken();
  }
}

TEST(InvariantsTest, P7OneWayMeansHeard) {
  HistoryOfOne h;
  h.At(90).Worse(Cause::kNetworkOneWay, Confidence::kLikely);
  EXPECT_EQ(h.Broken(), "P7");
}

TEST(InvariantsTest, P7AGoodbyeIsAReason) {
  HistoryOfOne h;
  h.At(20).Is({.what = What::kGoodbye,
               .cause = Cause::kAgentStopped,
               .epoch = 1,
               .length = 30 * kSecond});
  h.Worse(Cause::kAgentStopped, Confidence::kProven);
  EXPECT_EQ(h.Broken(), "");
}

TEST(InvariantsTest, P8HistoryHasNoGap) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.Stored(3, Status::kStale, Status::kOffline);
  EXPECT_EQ(h.Broken(), "P8");
}

TEST(InvariantsTest, P8EachTransitionBeginsWhereTheLastEnded) {
  HistoryOfOne h;
  h.At(135).Decided(Status::kStale, Status::kOffline);
  EXPECT_EQ(h.Broken(), "P8");
}

TEST(InvariantsTest, P9AnOlderEpochWritesNothing) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline, 7);
  h.Stored(2, Status::kOnline, Status::kStale, 6);
  EXPECT_EQ(h.Broken(), "P9");
}

TEST(InvariantsTest, P9WhatAPutBackGatewayCouldNotStoreOnlyItsAgentKnows) {
  HistoryOfOne h;
  h.Accepted(9);
  h.Is({.what = What::kRolledBack});
  h.Is({.what = What::kOpened});
  h.Accepted(5);
  EXPECT_EQ(h.Broken(), "");
  h.Is({.what = What::kGreeted, .epoch = 9});
  h.Accepted(6);
  EXPECT_EQ(h.Broken(), "P9");
}

TEST(InvariantsTest, P9EpochsGrow) {
  HistoryOfOne h;
  h.Accepted(1);
  EXPECT_EQ(h.Broken(), "P9");
}

TEST(InvariantsTest, P10AnOldLinkIsNotAnswered) {
  HistoryOfOne h;
  h.Accepted(2);
  h.Handled(1, 2, Status::kOnline);
  EXPECT_EQ(h.Broken(), "P10");
  h.Is({.what = What::kOldLinkCounted, .epoch = 1});
  EXPECT_EQ(h.Broken(), "P10");
}

TEST(InvariantsTest, P11CountsAgreeWithMachines) {
  HistoryOfOne h;
  h.Is({.what = What::kMiscounted});
  EXPECT_EQ(h.Broken(), "P11");
}

TEST(InvariantsTest, P12AStartMakesNobodyOffline) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.At(300).Is({.what = What::kCrashed});
  h.At(500).StoodStill(200).Is({.what = What::kOpened});
  h.Is({.what = What::kRestored, .to = Status::kOffline, .number = 1});
  EXPECT_EQ(h.Broken(), "D1 P12");
}

TEST(InvariantsTest, P12AfterAStartLeasesBeginAnew) {
  HistoryOfOne h;
  h.At(85).Worse();
  h.Stored(1, Status::kStale, Status::kOnline);
  h.Stored(2, Status::kOnline, Status::kStale);
  h.At(100).Is({.what = What::kCrashed});
  h.At(101).StoodStill(1).Is({.what = What::kOpened});
  h.Is({.what = What::kRestored, .to = Status::kStale, .number = 2});
  h.At(200).Offline();
  EXPECT_EQ(h.Broken(), "P12");
}

TEST(InvariantsTest, P12WhoeverIsEndingJudgesNobody) {
  HistoryOfOne h;
  h.At(50).Is({.what = What::kStopping});
  h.At(85).Worse();
  EXPECT_EQ(h.Broken(), "P12");
}

TEST(InvariantsTest, P2NobodyIsToldToSpeakSeldom) {
  HistoryOfOne h;
  h.At(40).Is({.what = What::kAccepted, .epoch = 2, .length = 61 * kSecond});
  EXPECT_EQ(h.Broken(), "P2");
}

TEST(InvariantsTest, P2ADeadLinkIsNotKept) {
  Promises promises;
  promises.tells_ended_links = true;
  Invariants invariants(promises);
  invariants.On({.at = 0, .what = What::kOpened});
  invariants.On({.at = 1, .what = What::kAdmitted});
  invariants.On({.at = 2, .what = What::kAccepted, .epoch = 1});
  Event offline{
      .at = 121 * kSecond, .what = What::kDecided, .to = Status::kOffline};
  offline.number = 1;
  offline.verdict = offline.flag = true;
  invariants.On(offline);
  EXPECT_FALSE(invariants.failed());
  invariants.On({.at = 130 * kSecond, .what = What::kTick});
  EXPECT_TRUE(invariants.failed());
}

TEST(InvariantsTest, P3NobodyIsConfirmedWhoWasNotHeard) {
  HistoryOfOne h;
  h.At(60).StoodStill(40).Is({.what = What::kVouched});
  EXPECT_EQ(h.Broken(), "");
  h.At(100).Is({.what = What::kVouched});
  EXPECT_EQ(h.Broken(), "P3");
}

TEST(InvariantsTest, P4ABlindRowIsATimeInWhichItStoodStill) {
  HistoryOfOne h;
  h.At(40).StoodStill(20).Is({.what = What::kBlind, .length = 21 * kSecond});
  EXPECT_EQ(h.Broken(), "");
  h.At(50).Is({.what = What::kBlind, .length = 10 * kSecond});
  EXPECT_EQ(h.Broken(), "P4");
}

TEST(InvariantsTest, P3OnlyWhoFellSilentWithOthersIsHeld) {
  HistoryOfOne h;
  h.At(85).Decided(Status::kOnline, Status::kStale);
  h.Is({.what = What::kHeld, .group = 0});
  EXPECT_EQ(h.Broken(), "P3");
}

// Of one group: machine 1, 2, …, each with a link of its own.
class HistoryOfAGroup {
 public:
  explicit HistoryOfAGroup(uint32_t machines)
      : heard_(machines + 1), decided_(machines + 1) {
    invariants_.On({.at = 0, .what = What::kOpened});
    for (uint32_t m = 1; m <= machines; ++m) {
      Is(1, m, {.what = What::kAdmitted});
      Is(2, m, {.what = What::kAccepted, .length = 30 * kSecond});
      Heard(3, m);
      Becomes(3, m, Status::kStale, Status::kOnline);
    }
  }
  void Heard(double at, uint32_t machine) {
    Is(at, machine,
       {.what = What::kArrived,
        .number = ++heard_[machine],
        .length = 30 * kSecond});
  }
  void Stale(double at, uint32_t machine) {
    Becomes(at, machine, Status::kOnline, Status::kStale);
  }
  void Online(double at, uint32_t machine) {
    Becomes(at, machine, Status::kStale, Status::kOnline);
  }
  void Held(double at, uint32_t machine) {
    Is(at, machine, {.what = What::kHeld});
  }
  void Tick(double at) { Is(at, 0, {.what = What::kTick}); }
  // The gateway dies and starts; the store holds an incident that is open, with
  // the machines from 1 on.
  void Restart(double at, uint32_t in_incident) {
    for (uint32_t m = 1; m <= in_incident; ++m) {
      for (uint64_t n = 1; n <= decided_[m]; ++n) {
        const bool odd = n % 2 == 1;  // Online, stale, online, …
        Is(at, m,
           {.what = What::kStored,
            .from = odd ? Status::kStale : Status::kOnline,
            .to = odd ? Status::kOnline : Status::kStale,
            .number = n});
      }
    }
    Is(at, 0, {.what = What::kCrashed});
    Is(at, 0, {.what = What::kOpened, .length = 30 * kSecond});
    for (uint32_t m = 1; m <= in_incident; ++m) {
      Is(at, m,
         {.what = What::kRestored,
          .flag = true,
          .verdict = true,
          .to = Status::kStale,
          .cause = Cause::kNetworkGroup,
          .confidence = Confidence::kLikely,
          .number = decided_[m]});
    }
  }
  void Offline(double at, uint32_t machine) {
    Becomes(at, machine, Status::kStale, Status::kOffline);
  }
  std::string Broken() const { return simulation::Broken(invariants_); }

 private:
  void Is(double at, uint32_t machine, Event event) {
    event.at = static_cast<Nanos>(at * kSecond);
    event.machine = machine;
    event.group = 7;
    event.epoch = machine;
    invariants_.On(event);
  }
  void Becomes(double at, uint32_t machine, Status from, Status to) {
    Is(at, machine,
       {.what = What::kDecided,
        .flag = to != Status::kOnline,
        .verdict = to != Status::kOnline,
        .from = from,
        .to = to,
        .cause = Cause::kUndetermined,
        .confidence = Confidence::kUndetermined,
        .number = ++decided_[machine]});
  }

  std::vector<uint64_t> heard_, decided_;
  Invariants invariants_{Promises{.interval_max = 60 * kSecond}};
};

TEST(InvariantsTest, P3WhoFellSilentTogetherIsAnIncident) {
  HistoryOfAGroup h(16);
  for (uint32_t m = 1; m <= 8; ++m) h.Stale(78 + 0.1 * m, m);
  h.Tick(80);
  EXPECT_EQ(h.Broken(), "P3");
}

TEST(InvariantsTest, P3AnIncidentMayBeOverBeforeAnybodyAsks) {
  HistoryOfAGroup h(16);
  h.Heard(25, 13);
  for (uint32_t m = 1; m <= 8; ++m) h.Heard(30, m);
  for (uint32_t m = 14; m <= 16; ++m) h.Heard(60, m);
  // These are too few, and then not together.
  for (uint32_t m = 9; m <= 12; ++m) h.Stale(78, m);
  h.Stale(101, 13);
  for (uint32_t m = 1; m <= 8; ++m) h.Stale(106, m);
  for (uint32_t m = 1; m <= 8; ++m) h.Held(106, m);
  for (uint32_t m = 1; m <= 8; ++m) h.Heard(108, m);
  for (uint32_t m = 1; m <= 8; ++m) h.Online(108, m);
  h.Tick(110);
  EXPECT_EQ(h.Broken(), "");
}

TEST(InvariantsTest, P3WhoWasHeldBeforeAStartIsHeldAfterIt) {
  HistoryOfAGroup early(16), late(16);
  for (HistoryOfAGroup* h : {&early, &late}) {
    for (uint32_t m = 1; m <= 8; ++m) h->Stale(78, m);
    for (uint32_t m = 1; m <= 8; ++m) h->Held(79, m);
    h->Restart(82, 8);
  }
  early.Offline(82 + 120, 3);
  EXPECT_EQ(early.Broken(), "P3");
  late.Offline(82 + 120 + 180, 3);
  EXPECT_EQ(late.Broken(), "");
}

TEST(InvariantsTest, P13TwoThatLiveAreNotShownAsHealthy) {
  HistoryOfOne h;
  h.At(20).Is({.what = What::kGreeted, .number = 1}).Accepted(2);
  h.At(21).Heartbeat(2, 1).Handled(2, 1, Status::kOnline);
  h.At(30).Is({.what = What::kGreeted, .number = 2}).Accepted(3);
  h.At(31).Heartbeat(3, 1).Handled(3, 1, Status::kOnline);
  h.At(40).Is({.what = What::kGreeted, .number = 1});
  h.At(42).Is({.what = What::kGreeted, .number = 1});
  EXPECT_EQ(h.Broken(), "");
  h.At(50).Heartbeat(3, 2).Handled(3, 2, Status::kOnline);
  EXPECT_EQ(h.Broken(), "P13");
}

TEST(InvariantsTest, P13OneAloneIsNotContested) {
  HistoryOfOne h;
  h.At(20).Is({.what = What::kGreeted, .number = 1}).Accepted(2);
  h.At(21).Heartbeat(2, 1).Handled(2, 1, Status::kOnline);
  h.At(30).Decided(Status::kOnline, Status::kStale, Cause::kDuplicateIdentity,
                   Confidence::kProven);
  EXPECT_EQ(h.Broken(), "P13");
}

TEST(InvariantsTest, P14AnEchoBringsBack) {
  HistoryOfOne h;
  h.At(85).Worse();
  h.At(130).Offline();
  h.At(200).Accepted(2);
  h.At(201).Heartbeat(2, 1).Handled(2, 1, Status::kOffline);
  EXPECT_EQ(h.Broken(), "P14");
}

TEST(InvariantsTest, D1WhatWasStoredIsRemembered) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.At(20).Is({.what = What::kCrashed});
  h.At(21).Is({.what = What::kOpened});
  h.Is({.what = What::kRestored, .to = Status::kStale, .number = 0});
  EXPECT_EQ(h.Broken(), "D1");
}

TEST(InvariantsTest, D1NoMachineIsForgotten) {
  HistoryOfOne h;
  h.At(20).Is({.what = What::kCrashed});
  h.At(21).Is({.what = What::kOpened});
  h.At(22).Tick();
  EXPECT_EQ(h.Broken(), "D1");
}

TEST(InvariantsTest, D1TheDeletedStayDeleted) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.Is({.what = What::kDeleted, .flag = true});
  h.At(20).Is({.what = What::kCrashed});
  h.At(21).Is({.what = What::kOpened});
  h.Is({.what = What::kRestored, .to = Status::kOnline, .number = 1});
  EXPECT_EQ(h.Broken(), "D1");
}

TEST(InvariantsTest, D1ADeletionThatIsNotDurableMayBeUndoneByACrash) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.Is({.what = What::kDeleted});
  h.At(20).Is({.what = What::kCrashed});
  h.At(21).Is({.what = What::kOpened});
  h.Is({.what = What::kRestored, .to = Status::kOnline, .number = 1});
  h.At(22).Tick();
  EXPECT_EQ(h.Broken(), "");
}

TEST(InvariantsTest, D1ARestoredCopyHoldsWhatItHeld) {
  for (const uint64_t remembered : {1, 2}) {
    HistoryOfOne h;
    h.Stored(1, Status::kStale, Status::kOnline);
    h.Is({.what = What::kBackedUp});
    h.At(85).Decided(Status::kOnline, Status::kStale);
    h.Stored(2, Status::kOnline, Status::kStale);
    h.At(90).Is({.what = What::kCrashed}).Is({.what = What::kRolledBack});
    h.At(91).Is({.what = What::kOpened});
    h.Is({.what = What::kRestored,
          .to = remembered == 1 ? Status::kOnline : Status::kStale,
          .number = remembered});
    EXPECT_EQ(h.Broken(), remembered == 1 ? "" : "D1");
  }
}

TEST(InvariantsTest, D1NothingIsWrittenAfterAWriteThatFailedForGood) {
  HistoryOfOne h;
  h.Is({.what = What::kStoreBroken});
  h.Stored(1, Status::kStale, Status::kOnline);
  EXPECT_EQ(h.Broken(), "D1");
}

TEST(InvariantsTest, P9EpochsGrowAboveWhatTheAgentKnows) {
  HistoryOfOne h;
  h.At(20).Is({.what = What::kGreeted, .epoch = 7}).Accepted(5);
  EXPECT_EQ(h.Broken(), "P9");
}

TEST(InvariantsTest, D2AFullDiskAcceptsNoCommand) {
  HistoryOfOne h;
  h.Is({.what = What::kStoreLost});
  h.At(11).Is({.what = What::kCommandAsked, .number = 1});
  h.At(12).Is({.what = What::kCommandAccepted, .number = 1});
  EXPECT_EQ(h.Broken(), "D2");
}

TEST(InvariantsTest, D2HistoryReachesTheStoreWhenItReturns) {
  HistoryOfOne h;
  h.Is({.what = What::kStoreLost});
  h.At(20).Is({.what = What::kStoreFound});
  for (int t = 30; t < 170; t += 30) h.At(t).Heartbeat(1, t);
  h.At(170).Tick();
  EXPECT_EQ(h.Broken(), "D2");
}

TEST(InvariantsTest, D2EverySubmissionIsAnswered) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.Is({.what = What::kCommandAsked, .number = 1});
  for (int t = 30; t < 170; t += 30) h.At(t).Heartbeat(1, t);
  h.At(170).Tick();
  EXPECT_EQ(h.Broken(), "D2");
}

TEST(InvariantsTest, R1TheHealthyComeBack) {
  HistoryOfOne h;
  h.Stored(1, Status::kStale, Status::kOnline);
  h.At(85).Worse();
  h.Stored(2, Status::kOnline, Status::kStale);
  h.At(130).Offline();
  h.Stored(3, Status::kStale, Status::kOffline);
  h.Is({.what = What::kHealthy, .flag = true}).Is({.what = What::kHealed});
  h.At(2000).Tick();
  EXPECT_EQ(h.Broken(), "R1");
}

TEST(InvariantsTest, R1NobodyDialsInATightLoop) {
  HistoryOfOne h;
  for (int i = 0; i < 30; ++i) {
    h.At(11 + 0.5 * i).Is({.what = What::kDialled});
  }
  EXPECT_EQ(h.Broken(), "R1");
}

}  // namespace
}  // namespace muster::simulation
