#include "gateway/fleet/presence.h"

#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Milliseconds;
using absl::Seconds;
using ::testing::HasSubstr;

constexpr absl::Duration kTick = Milliseconds(1);

Instant At(absl::Duration since_boot) { return Instant::SinceBoot(since_boot); }
// Everything happens long after boot, so that blind intervals fit before it.
Instant T(double seconds) { return At(Seconds(100'000 + seconds)); }

// One machine and its policy.
struct Bench {
  PresencePolicy policy;
  Presence presence = Presence::Newborn(policy, T(0));

  // Connected and echoed at `when`.
  void Connect(Instant when) {
    presence.LinkOpened(when);
    (void)Beat(when);
  }
  std::optional<StatusChange> Beat(Instant when) {
    presence.Heard(when);
    presence.Told(policy.heartbeat_interval);
    return presence.Echoed(when);
  }
  Status StatusAt(Instant when) {
    while (presence.Tick(when)) {
    }
    return presence.status();
  }
  // Nothing changes until `when`; then the status becomes `to`.
  void ExpectExactlyAt(Instant when, Status to) {
    const Status before = presence.status();
    EXPECT_EQ(presence.NextDeadline(), when);
    EXPECT_EQ(StatusAt(when - kTick), before);
    EXPECT_EQ(StatusAt(when), to);
  }
};

TEST(PresenceTest, ANewbornIsStaleAndHasNeverConnected) {
  Bench b;
  EXPECT_EQ(b.presence.status(), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kNeverConnected);
  EXPECT_FALSE(b.presence.link_open());
  b.ExpectExactlyAt(T(120), Status::kOffline);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kNeverConnected);
}

TEST(PresenceTest, WhoseLinkWasAcceptedIsNotSaidToHaveNeverConnected) {
  Bench b;
  b.presence.LinkOpened(T(1));
  EXPECT_EQ(b.StatusAt(T(121)), Status::kOffline);
  EXPECT_EQ(b.presence.verdict()->summary, "silent, link not closed");
}

TEST(PresenceTest, WhoCameBackAfterAGoodbyeIsNotAwayForThatReason) {
  Bench b;
  b.Connect(T(0));
  (void)b.presence.Goodbye(
      T(10), {.cause = Cause::kHostRebooted, .back_within = absl::Minutes(5)});
  b.presence.LinkLost(T(11), LinkLoss::kPlain);
  b.presence.LinkOpened(T(60));
  EXPECT_EQ(b.StatusAt(T(180)), Status::kOffline);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kUndetermined);
}

TEST(PresenceTest, WhoseIdentityWasTakenAwayIsOfflineForThatReason) {
  Bench b;
  b.Connect(T(0));
  ASSERT_EQ(b.StatusAt(T(75)), Status::kStale);
  b.presence.LinkOpened(T(80));
  const Verdict revoked{Domain::kIdentity, Cause::kCredentialRevoked,
                        Confidence::kProven, "reissued"};
  EXPECT_FALSE(b.presence.TakeAway(revoked).has_value()) << "stale already";
  b.presence.LinkLost(T(81), LinkLoss::kNoGrace);
  ASSERT_EQ(b.StatusAt(T(200)), Status::kOffline);
  EXPECT_EQ(b.presence.verdict(), revoked);
}

TEST(PresenceTest, ALinkAloneMakesNobodyOnlineTheFirstEchoDoes) {
  Bench b;
  b.presence.LinkOpened(T(1));
  b.presence.Heard(T(2));
  EXPECT_EQ(b.StatusAt(T(2)), Status::kStale);
  const auto change = b.presence.Echoed(T(3));
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(*change,
            (StatusChange{Status::kStale, Status::kOnline, std::nullopt}));
  EXPECT_FALSE(b.presence.verdict().has_value());
}

TEST(PresenceTest, SilenceIsStaleAt75SecondsAndOfflineAt120) {
  Bench b;
  b.Connect(T(0));
  b.ExpectExactlyAt(T(75), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kUndetermined);
  EXPECT_EQ(b.presence.verdict()->summary, "silent, link not closed");
  b.ExpectExactlyAt(T(120), Status::kOffline);
  EXPECT_EQ(b.presence.NextDeadline(), Instant::Never());
}

TEST(PresenceTest, LateTicksReportOneChangeAtATime) {
  Bench b;
  b.Connect(T(0));
  const auto first = b.presence.Tick(T(500));
  const auto second = b.presence.Tick(T(500));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->to, Status::kStale);
  EXPECT_EQ(second->from, Status::kStale);
  EXPECT_EQ(second->to, Status::kOffline);
  EXPECT_FALSE(b.presence.Tick(T(500)).has_value());
}

TEST(PresenceTest, HeardButNotEchoedIsStaleForAOneWayPathAndNeverOffline) {
  Bench b;
  b.Connect(T(0));
  for (int i = 1; i <= 7; ++i) {
    b.presence.Heard(T(10 * i));
    EXPECT_EQ(b.StatusAt(T(10 * i)), Status::kOnline);
  }
  b.ExpectExactlyAt(T(75), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kNetworkOneWay);
  EXPECT_EQ(b.presence.verdict()->domain, Domain::kNetwork);
  for (int i = 8; i <= 200; ++i) {
    b.presence.Heard(T(10 * i));
    EXPECT_EQ(b.StatusAt(T(10 * i)), Status::kStale);
  }
  b.ExpectExactlyAt(T(2120), Status::kOffline);
}

TEST(PresenceTest, ALostLinkIsStaleAfterTheGraceAndOfflineSinceLastHeard) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  b.ExpectExactlyAt(T(15), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->summary, "link closed, no goodbye");
  b.ExpectExactlyAt(T(120), Status::kOffline);
}

TEST(PresenceTest, ANewLinkWithinTheGraceIsNotNoticed) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  b.presence.LinkOpened(T(15) - kTick);
  EXPECT_EQ(b.StatusAt(T(15)), Status::kOnline);
  EXPECT_FALSE(b.Beat(T(16)).has_value());
  b.ExpectExactlyAt(T(91), Status::kStale);
}

TEST(PresenceTest, ANewLinkThatNeverEchoesIsJudgedByTheLastEcho) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  b.presence.LinkOpened(T(11));
  b.ExpectExactlyAt(T(75), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kNetworkOneWay);
}

TEST(PresenceTest, WhoHasNoLinkIsNotHeardOneWay) {
  Bench b;
  b.Connect(T(0));
  b.presence.Heard(T(10));
  b.presence.LinkLost(T(12), LinkLoss::kPlain);
  b.presence.Blind(T(10), T(18));  // It could not come back.
  b.ExpectExactlyAt(T(83), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->summary, "silent, no link");
}

TEST(PresenceTest, AGraceNeverProlongsTheLease) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(73), LinkLoss::kPlain);
  b.ExpectExactlyAt(T(75), Status::kStale);
}

TEST(PresenceTest, ALinkFoundLostAfterBlindnessGetsAWholeLease) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(50), LinkLoss::kUntrusted);
  b.ExpectExactlyAt(T(125), Status::kStale);
  EXPECT_EQ(b.presence.verdict()->summary, "silent, no link");
  b.ExpectExactlyAt(T(170), Status::kOffline);
}

TEST(PresenceTest, ALinkThatTheGatewayEndedIsJudgedByTheRunningLease) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(50), LinkLoss::kNoGrace);
  b.ExpectExactlyAt(T(75), Status::kStale);
  b.ExpectExactlyAt(T(120), Status::kOffline);
}

TEST(PresenceTest, TheEndOfALinkThatIsNotOpenChangesNothing) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(50), LinkLoss::kUntrusted);
  b.presence.LinkLost(T(60), LinkLoss::kPlain);
  b.presence.LinkLost(T(61), LinkLoss::kUntrusted);
  EXPECT_EQ(b.presence.NextDeadline(), T(125));
}

struct GoodbyeCase {
  absl::Duration promise;
  double offline_at;
};

TEST(PresenceTest, AGoodbyeIsStaleAtOnceAndOfflineWhenItsPromiseLapses) {
  for (const GoodbyeCase& c : {GoodbyeCase{Seconds(30), 40},
                               {absl::Minutes(5), 310},
                               {absl::ZeroDuration(), 15},
                               {Seconds(1), 15},
                               {absl::Hours(1), 3610},
                               {absl::Hours(100), 3610}}) {
    Bench b;
    b.Connect(T(0));
    const auto change = b.presence.Goodbye(
        T(10), {Cause::kAgentStopped, Domain::kAgent, "stopped", c.promise});
    ASSERT_TRUE(change.has_value());
    EXPECT_EQ(change->to, Status::kStale);
    EXPECT_EQ(*change->verdict, (Verdict{Domain::kAgent, Cause::kAgentStopped,
                                         Confidence::kProven, "stopped"}));
    b.presence.LinkLost(T(10.1), LinkLoss::kPlain);
    b.ExpectExactlyAt(T(c.offline_at), Status::kOffline);
    EXPECT_EQ(b.presence.verdict()->cause, Cause::kAgentStopped);
  }
}

TEST(PresenceTest, AMachineBackWithinItsPromiseIsForgiven) {
  Bench b;
  b.Connect(T(0));
  (void)b.presence.Goodbye(T(10), {.back_within = Seconds(30)});
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  b.presence.LinkOpened(T(39));
  EXPECT_EQ(b.StatusAt(T(41)), Status::kStale);
  EXPECT_TRUE(b.Beat(T(41)).has_value());
  b.ExpectExactlyAt(T(116), Status::kStale);
  b.ExpectExactlyAt(T(161), Status::kOffline);
}

TEST(PresenceTest, AMachineThatGoesOnSpeakingAfterAGoodbyeHasNotLeft) {
  Bench b;
  b.Connect(T(0));
  (void)b.presence.Goodbye(T(10), {.back_within = Seconds(30)});
  EXPECT_TRUE(b.Beat(T(20)).has_value());
  EXPECT_FALSE(b.presence.promise_end().has_value());
  b.ExpectExactlyAt(T(95), Status::kStale);
  b.ExpectExactlyAt(T(140), Status::kOffline);
}

TEST(PresenceTest, AGoodbyeOfAStaleMachineGivesItsReasonWithoutAChange) {
  Bench b;
  b.presence.LinkOpened(T(1));
  EXPECT_FALSE(b.presence
                   .Goodbye(T(2), {Cause::kHostShutdown, Domain::kHost, "down",
                                   Seconds(30)})
                   .has_value());
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kHostShutdown);
  const auto change = b.presence.Tick(T(32));
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->verdict->cause, Cause::kHostShutdown);
}

TEST(PresenceTest, WhatAGoodbyeMeansIsSaidAnewWhenItsPromiseLapses) {
  Bench b;
  b.Connect(T(0));
  (void)b.presence.Goodbye(
      T(10), {.summary = "may be back", .back_within = Seconds(30)});
  EXPECT_EQ(b.presence.verdict()->summary, "may be back");
  b.ExpectExactlyAt(T(40), Status::kOffline);
  EXPECT_EQ(b.presence.verdict()->summary, "agent was stopped");
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kAgentStopped);
}

TEST(PresenceTest, APromiseOfAFormerLifeLapsesInTheSameWords) {
  const struct {
    Domain domain;
    Cause cause;
    const char* said;
    const char* lapsed;
  } cases[] = {
      {Domain::kAgent, Cause::kAgentStopped,
       "agent stops, expected back within 30 s", "agent was stopped"},
      {Domain::kAgent, Cause::kAgentUpgrading,
       "agent is upgrading, expected back within 30 s",
       "agent did not come back from its upgrade"},
      {Domain::kHost, Cause::kHostShutdown,
       "host is rebooting, expected back within 30 s",
       "host did not come back from its reboot"},
      {Domain::kHost, Cause::kHostShutdown, "host is shutting down",
       "host was shut down"},
  };
  for (const auto& c : cases) {
    Bench b;
    b.presence = Presence::Restored(
        b.policy, Status::kStale,
        Verdict{c.domain, c.cause, Confidence::kProven, c.said}, T(30), T(0));
    b.ExpectExactlyAt(T(30), Status::kOffline);
    EXPECT_EQ(b.presence.verdict()->summary, c.lapsed);
  }
}

TEST(PresenceTest, WhoIsBackHasKeptItsPromiseBeforeItsFirstEcho) {
  Bench b;
  b.Connect(T(0));
  (void)b.presence.Goodbye(T(10), {.back_within = Seconds(30)});
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  b.presence.LinkOpened(T(39));
  b.presence.Heard(T(39));
  EXPECT_FALSE(b.presence.Tick(T(41)).has_value());
}

TEST(PresenceTest, WhoIsToldToComeLaterHasAWholeLeaseFromThen) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  b.presence.Postpone(T(100));
  b.presence.Blind(T(20), T(25));  // Shortens nothing.
  b.ExpectExactlyAt(T(175), Status::kStale);
  b.presence.Postpone(T(200));
  b.ExpectExactlyAt(T(320), Status::kOffline);

  b.Connect(T(400));
  (void)b.presence.Goodbye(T(400), {.back_within = Seconds(30)});
  b.presence.Postpone(T(420));
  b.ExpectExactlyAt(T(495), Status::kOffline);
}

TEST(PresenceTest, WhatWasStillUnderWayTakesNothingFromWhoMustComeBackLater) {
  Bench b;
  b.Connect(T(0));
  b.presence.Postpone(T(300));
  (void)b.Beat(T(10));
  b.presence.LinkLost(T(20), LinkLoss::kUntrusted);
  b.ExpectExactlyAt(T(375), Status::kStale);
}

TEST(PresenceTest, AHeldMachineIsOfflineLaterUntilItIsReleased) {
  Bench b;
  const Verdict group{Domain::kNetwork, Cause::kNetworkGroup,
                      Confidence::kLikely, "rack"};
  b.Connect(T(0));
  b.presence.Hold(Seconds(180), group);  // Online: nothing to hold.
  b.ExpectExactlyAt(T(75), Status::kStale);
  b.presence.Hold(Seconds(180), group);
  EXPECT_EQ(b.presence.verdict(), group);
  EXPECT_EQ(b.presence.NextDeadline(), T(300));
  b.presence.Release();
  b.ExpectExactlyAt(T(120), Status::kOffline);
  EXPECT_EQ(b.presence.verdict(), group);

  b.Connect(T(400));
  ASSERT_EQ(b.StatusAt(T(475)), Status::kStale);
  b.presence.Hold(Seconds(180), group);
  (void)b.Beat(T(500));
  b.ExpectExactlyAt(T(575), Status::kStale);
  b.ExpectExactlyAt(T(620), Status::kOffline);
}

TEST(PresenceTest, AContestedMachineIsStaleWhateverItEchoes) {
  Bench b;
  const Verdict two{Domain::kIdentity, Cause::kDuplicateIdentity,
                    Confidence::kProven, "two"};
  b.Connect(T(0));
  EXPECT_TRUE(b.presence.Contest(two).has_value());
  EXPECT_FALSE(b.presence.Contest(two).has_value());
  EXPECT_FALSE(b.Beat(T(10)).has_value());
  EXPECT_EQ(b.presence.status(), Status::kStale);
  EXPECT_EQ(b.presence.verdict(), two);
  EXPECT_EQ(b.presence.NextDeadline(), T(130)) << "while it is heard";
  b.presence.Settle();
  EXPECT_TRUE(b.Beat(T(20)).has_value());
  EXPECT_EQ(b.presence.status(), Status::kOnline);
}

TEST(PresenceTest, AGoodbyeOfAnOfflineMachineChangesNothing) {
  Bench b;
  ASSERT_EQ(b.StatusAt(T(120)), Status::kOffline);
  b.presence.LinkOpened(T(130));
  EXPECT_FALSE(b.presence.Goodbye(T(131), {}).has_value());
  EXPECT_EQ(b.presence.status(), Status::kOffline);
  EXPECT_EQ(b.presence.verdict()->cause, Cause::kNeverConnected);
  EXPECT_EQ(b.presence.NextDeadline(), Instant::Never());
}

TEST(PresenceTest, WithNeverSilenceAndLinkLossChangeNothing) {
  Bench b;
  b.policy.offline_after = absl::InfiniteDuration();
  ASSERT_TRUE(b.policy.Validate().ok());
  EXPECT_EQ(b.presence.NextDeadline(), Instant::Never());
  b.Connect(T(0));
  b.presence.LinkLost(T(10), LinkLoss::kPlain);
  EXPECT_EQ(b.presence.NextDeadline(), Instant::Never());
  EXPECT_EQ(b.StatusAt(T(1e6)), Status::kOnline);
}

TEST(PresenceTest, WithNeverAGoodbyeStillSpeaks) {
  Bench b;
  b.policy.offline_after = absl::InfiniteDuration();
  b.Connect(T(0));
  EXPECT_TRUE(b.presence.Goodbye(T(1), {.back_within = Seconds(30)}));
  b.presence.Blind(T(2), T(1002));
  b.ExpectExactlyAt(T(1077), Status::kOffline);
}

TEST(PresenceTest, ARestoredMachineKeepsItsStatusForAWholeLease) {
  Bench b;
  b.presence = Presence::Restored(b.policy, Status::kOnline, std::nullopt,
                                  std::nullopt, T(0));
  b.ExpectExactlyAt(T(75), Status::kStale);
  b.presence =
      Presence::Restored(b.policy, Status::kStale, Verdict{.summary = "silent"},
                         std::nullopt, T(0));
  b.ExpectExactlyAt(T(120), Status::kOffline);
  EXPECT_EQ(b.presence.verdict()->summary, "silent");
  b.presence = Presence::Restored(b.policy, Status::kOffline, Verdict{},
                                  std::nullopt, T(0));
  EXPECT_EQ(b.StatusAt(T(1e6)), Status::kOffline);
}

TEST(PresenceTest, ARestoredPromiseRunsOnButIsNeverLongerThanAnyPromise) {
  Bench b;
  b.presence =
      Presence::Restored(b.policy, Status::kStale, Verdict{}, T(200), T(0));
  b.ExpectExactlyAt(T(200), Status::kOffline);
  // The wall clock jumped while the gateway was down.
  b.presence =
      Presence::Restored(b.policy, Status::kStale, Verdict{}, T(1e9), T(0));
  b.ExpectExactlyAt(T(3600), Status::kOffline);
}

TEST(PresenceTest, AShortBlindIntervalMovesEveryDeadlineByItsLength) {
  Bench b;
  b.Connect(T(0));
  b.presence.Blind(T(40), T(50) - kTick);
  b.ExpectExactlyAt(T(85) - kTick, Status::kStale);
  b.ExpectExactlyAt(T(130) - kTick, Status::kOffline);

  b.Connect(T(200));
  b.presence.LinkLost(T(201), LinkLoss::kPlain);
  b.presence.Blind(T(202), T(210));  // Whoever dialled must do so again.
  b.ExpectExactlyAt(T(283), Status::kStale);

  b.Connect(T(300));
  (void)b.presence.Goodbye(T(301), {.back_within = Seconds(30)});
  b.presence.Blind(T(302), T(310));
  b.ExpectExactlyAt(T(339), Status::kOffline);
}

TEST(PresenceTest, ALongBlindIntervalRestartsEveryLease) {
  Bench b;
  b.Connect(T(0));
  b.presence.Blind(T(40), T(50));
  b.ExpectExactlyAt(T(125), Status::kStale);
  b.presence.Blind(T(130), T(730));
  b.ExpectExactlyAt(T(850), Status::kOffline);
}

TEST(PresenceTest, ALongBlindIntervalEndsAGraceAndHoldsAPromise) {
  Bench b;
  b.Connect(T(0));
  b.presence.LinkLost(T(1), LinkLoss::kPlain);
  b.presence.Blind(T(2), T(602));
  b.ExpectExactlyAt(T(677), Status::kStale);

  b.Connect(T(1000));
  (void)b.presence.Goodbye(T(1001), {.back_within = Seconds(30)});
  b.presence.Blind(T(1002), T(1602));
  b.ExpectExactlyAt(T(1677), Status::kOffline);

  b.Connect(T(2000));
  (void)b.presence.Goodbye(T(2000), {.back_within = absl::Hours(1)});
  b.presence.Blind(T(2002), T(2602));
  b.ExpectExactlyAt(T(5600), Status::kOffline);
}

TEST(PresenceTest, BlindnessGivesBackNoMoreThanItTook) {
  Bench b;
  b.Connect(T(0));
  (void)b.Beat(T(48));  // Heard in the midst of what is called blind.
  b.presence.Blind(T(42), T(50));
  b.ExpectExactlyAt(T(125), Status::kStale);
}

struct LeaseCase {
  double interval;
  double stale;
  double offline;
};

TEST(PresenceTest, ALeaseIsTheSettingOrAMultipleOfTheToldInterval) {
  const PresencePolicy policy;
  for (const LeaseCase& c : {LeaseCase{0.1, 75, 120},
                             {29.9, 75, 120},
                             {30, 75, 120},
                             {30.4, 76, 121.6},
                             {40, 100, 160},
                             {100, 250, 400}}) {
    EXPECT_EQ(policy.StaleLease(Seconds(c.interval)), Seconds(c.stale));
    EXPECT_EQ(policy.OfflineLease(Seconds(c.interval)), Seconds(c.offline));
  }
}

TEST(PresenceTest, ALongerIntervalCountsAtOnceAShorterOneFromTheSecondTimeOn) {
  Bench b;
  b.Connect(T(0));
  b.presence.Told(Seconds(100));
  EXPECT_EQ(b.presence.NextDeadline(), T(250));
  // The answer that says 30 s may be lost; the agent then still waits 100 s.
  b.presence.Told(Seconds(30));
  EXPECT_EQ(b.presence.NextDeadline(), T(250));
  b.presence.Told(Seconds(30));
  EXPECT_EQ(b.presence.NextDeadline(), T(75));
}

TEST(PresenceTest, ASilentLinkIsDeadAfterTheOfflineLease) {
  Bench b;
  ASSERT_EQ(b.StatusAt(T(120)), Status::kOffline);
  b.presence.LinkOpened(T(200));
  EXPECT_EQ(b.presence.NextDeadline(), Instant::Never());
  EXPECT_EQ(b.presence.SilentAt(), T(320));
}

constexpr absl::Duration kWeek = absl::Hours(7 * 24);

struct PolicyCase {
  void (*change)(PresencePolicy&);
  std::vector<std::string> words;  // None: valid.
};

TEST(PresencePolicyTest, ValidateNamesFieldBoundAndValue) {
  const std::vector<PolicyCase> cases = {
      {[](PresencePolicy&) {}, {}},
      {[](PresencePolicy& p) { p.heartbeat_interval = Milliseconds(100); }, {}},
      {[](PresencePolicy& p) { p.heartbeat_interval = Milliseconds(99); },
       {"heartbeat_interval", "100ms", "99ms"}},
      {[](PresencePolicy& p) { p.heartbeat_interval = absl::Hours(2); },
       {"heartbeat_interval", "1h", "2h"}},
      {[](PresencePolicy& p) { p.stale_after = Milliseconds(66'001); }, {}},
      {[](PresencePolicy& p) { p.stale_after = Seconds(66); },
       {"stale_after", "2.2", "1m6s"}},
      {[](PresencePolicy& p) { p.offline_after = Seconds(80); }, {}},
      {[](PresencePolicy& p) { p.offline_after = Seconds(75); },
       {"offline_after", "stale_after = 1m15s", "got 1m15s"}},
      {[](PresencePolicy& p) { p.offline_after = absl::InfiniteDuration(); },
       {}},
      {[](PresencePolicy& p) { p.stale_after = absl::InfiniteDuration(); },
       {"stale_after must be at most 168h, got never"}},
      {[](PresencePolicy& p) {
         p.stale_after = kWeek - Seconds(10);
         p.offline_after = kWeek;
       },
       {}},
      {[](PresencePolicy& p) {
         p.stale_after = kWeek;
         p.offline_after = absl::InfiniteDuration();
       },
       {}},
      {[](PresencePolicy& p) { p.stale_after = kWeek + Milliseconds(1); },
       {"stale_after must be at most 168h, got 168h0.001s"}},
      {[](PresencePolicy& p) { p.offline_after = kWeek + Milliseconds(1); },
       {"offline_after must be at most 168h, or never, got 168h0.001s"}},
      {[](PresencePolicy& p) { p.offline_after = 99'999 * absl::Hours(24); },
       {"offline_after", "168h", "got 2399976h"}},
      {[](PresencePolicy& p) { p.reconnect_grace = absl::ZeroDuration(); },
       {"reconnect_grace", "positive", "got 0"}},
      {[](PresencePolicy& p) { p.reconnect_grace = Seconds(75); },
       {"reconnect_grace", "stale_after", "got 1m15s"}},
      {[](PresencePolicy& p) { p.blind_gap = absl::ZeroDuration(); },
       {"blind_gap", "100ms … 168h", "got 0"}},
      {[](PresencePolicy& p) { p.blind_gap = Milliseconds(99); },
       {"blind_gap must be 100ms … 168h, got 99ms"}},
      {[](PresencePolicy& p) { p.blind_gap = Milliseconds(100); }, {}},
      {[](PresencePolicy& p) {
         p.offline_after = absl::InfiniteDuration();
         p.blind_gap = p.blind_restart = kWeek;
       },
       {}},
      {[](PresencePolicy& p) {
         p.offline_after = absl::InfiniteDuration();
         p.blind_gap = p.blind_restart = kWeek + Seconds(1);
       },
       {"blind_gap must be 100ms … 168h, got 168h1s"}},
      {[](PresencePolicy& p) {
         p.blind_gap = Milliseconds(22'499);
         p.blind_restart = Seconds(60);
       },
       {}},
      {[](PresencePolicy& p) { p.blind_gap = Milliseconds(22'500); },
       {"offline_after must be larger than stale_after + 2 × blind_gap = 2m, "
        "got 2m"}},
      {[](PresencePolicy& p) { p.blind_restart = Milliseconds(1999); },
       {"blind_restart", "blind_gap = 2s", "got 1.999s"}},
      {[](PresencePolicy& p) { p.blind_restart = absl::InfiniteDuration(); },
       {"blind_restart must be at most 168h, got never"}},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    PresencePolicy policy;
    cases[i].change(policy);
    const absl::Status status = policy.Validate();
    EXPECT_EQ(status.ok(), cases[i].words.empty()) << status;
    for (const std::string& word : cases[i].words) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(word));
    }
  }
}

// One random thing happens to the machine at `now`.
void RandomStep(Bench& b, std::mt19937_64& random, Instant now) {
  switch (random() % 13) {
    case 0:
      b.presence.LinkOpened(now);
      break;
    case 1:
      b.presence.LinkLost(now, static_cast<LinkLoss>(random() % 3));
      break;
    case 2:
      (void)b.presence.Goodbye(
          now, {.back_within = Seconds(static_cast<double>(random() % 90))});
      break;
    case 3:
      b.presence.Heard(now);
      break;
    case 4:
      b.presence.Told(Seconds(static_cast<double>(random() % 60)));
      break;
    case 6:
      b.presence.Postpone(now + Seconds(static_cast<double>(random() % 60)));
      break;
    case 7:
      b.presence.Hold(Seconds(static_cast<double>(random() % 180)), {});
      break;
    case 8:
      if (random() % 2 == 0) {
        (void)b.presence.Contest({});
      } else {
        b.presence.Settle();
      }
      break;
    case 5:
      b.presence.Blind(now - Seconds(static_cast<double>(random() % 20)), now);
      break;
    default:
      (void)b.Beat(now);
  }
}

TEST(PresenceTest, NextDeadlineIsExactForRandomSequences) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Bench b;
    Instant now = T(0);
    for (int step = 0; step < 1000; ++step) {
      now += Milliseconds(static_cast<double>(random() % 60'000));
      while (b.presence.Tick(now)) {
      }
      RandomStep(b, random, now);
      while (b.presence.Tick(now)) {
      }
      const Instant deadline = b.presence.NextDeadline();
      ASSERT_GT(deadline, now);
      if (deadline == Instant::Never()) {
        Presence later = b.presence;
        ASSERT_FALSE(later.Tick(now + absl::Hours(1000)).has_value());
        continue;
      }
      Presence early = b.presence;
      ASSERT_FALSE(early.Tick(deadline - absl::Nanoseconds(1)).has_value());
      Presence due = b.presence;
      ASSERT_TRUE(due.Tick(deadline).has_value());
    }
  }
}

}  // namespace
}  // namespace muster::gateway
