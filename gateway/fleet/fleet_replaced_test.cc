// A machine that comes back under a new identity.

#include <optional>
#include <string>

#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ReplacedTest : public FleetTest {
 protected:
  std::string ReplacedBy(const AgentId& agent) {
    EXPECT_EQ(journal_.machines[agent].replaced_by,  // Durable.
              Of(agent).record.replaced_by);
    return muster::gateway::ReplacedBy(Of(agent).record)
        .value_or(AgentId("nobody"))
        .str();
  }
};

TEST_F(ReplacedTest, ANewIdentityReplacesTheOldOneOfItsMachine) {
  const AgentId old = AdmitFrom("m", "a1");
  EXPECT_EQ(ReplacedBy(old), "nobody");
  AdmitFrom("m", "a2");
  EXPECT_EQ(ReplacedBy(old), "a2");
  AdmitFrom("m", "a3");
  EXPECT_EQ(ReplacedBy(old), "a2");
  EXPECT_EQ(ReplacedBy(AgentId("a2")), "a3");
}

TEST_F(ReplacedTest, AnOnlineMachineIsNotReplaced) {
  const AgentId old = AdmitFrom("m", "a1");
  Connect(old, link_);
  AdmitFrom("m", "a2");
  EXPECT_EQ(ReplacedBy(old), "nobody");
}

TEST_F(ReplacedTest, NobodyIsReplacedBeforeItCouldBeBackAfterARestart) {
  const AgentId old = AdmitFrom("m", "a1");
  Connect(old, link_);
  loop_.RunReady();
  Start({});
  ASSERT_EQ(StatusOf(old), Status::kOnline);
  AdmitFrom("m", "a2");
  EXPECT_EQ(ReplacedBy(old), "nobody");
}

TEST_F(ReplacedTest, OnlyTheSameLivingMachineOfTheSameOrgIsReplaced) {
  const AgentId other_machine = AdmitFrom("m2", "a1");
  const AgentId nameless = AdmitFrom("", "a2");
  const AgentId deleted = AdmitFrom("m", "a3");
  fleet_->Delete(kOrg, deleted, [](auto) {});
  MachineRecord foreign;
  foreign.id = AgentId("a4");
  foreign.org = OrgId("other");
  foreign.facts.machine_id = "m";
  fleet_->Admit(foreign);
  AdmitFrom("", "a5");
  AdmitFrom("m", "a6");
  for (const AgentId& agent : {other_machine, nameless, deleted, foreign.id}) {
    EXPECT_FALSE(Of(agent).record.replaced_by.has_value()) << agent.str();
  }
}

// `muster-agent join --replace` registers while the old identity still runs.
TEST_F(ReplacedTest, WhoGivesAnIdentityUpReplacesItOnceItIsGone) {
  const AgentId old = AdmitFrom("m", "a1");
  Connect(old, link_);
  AdmitFrom("m", "a2", "a1");
  EXPECT_EQ(ReplacedBy(old), "nobody");  // It is online.
  Start({});                             // What it said outlives the gateway.
  EXPECT_EQ(ReplacedBy(old), "nobody");
  loop_.Advance(Seconds(76));
  EXPECT_EQ(StatusOf(old), Status::kStale);
  EXPECT_EQ(ReplacedBy(old), "a2");
}

TEST_F(ReplacedTest, OneWhoseLinkIsLostIsReplacedWhenItIsJudged) {
  const AgentId old = AdmitFrom("m", "a1");
  const uint64_t epoch = Connect(old, link_);
  loop_.Advance(kTick);
  fleet_->LinkClosed(old, epoch, LinkEnd::kClosedByPeer);
  AdmitFrom("m", "a2");  // Killed, wiped and joined again within the grace.
  EXPECT_EQ(ReplacedBy(old), "nobody");
  loop_.Advance(Seconds(6));
  EXPECT_EQ(ReplacedBy(old), "a2");
}

TEST_F(ReplacedTest, OneThatIsBackWithinTheGraceWasNotReplaced) {
  const AgentId old = AdmitFrom("m", "a1");
  const uint64_t epoch = Connect(old, link_);
  loop_.Advance(kTick);
  fleet_->LinkClosed(old, epoch, LinkEnd::kClosedByPeer);
  AdmitFrom("m", "a2");
  FakeLink back;
  fleet_->LinkClosed(old, Connect(old, back), LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(6));
  EXPECT_EQ(StatusOf(old), Status::kStale);
  EXPECT_EQ(ReplacedBy(old), "nobody");
}

TEST_F(ReplacedTest, AllThatAreGoneAreReplacedByTheNewest) {
  const AgentId first = AdmitFrom("m", "a1");
  Connect(first, link_);
  const AgentId second = AdmitFrom("m", "a2");
  loop_.Advance(Seconds(121));
  AdmitFrom("m", "a3");
  EXPECT_EQ(ReplacedBy(first), "a3");
  EXPECT_EQ(ReplacedBy(second), "a3");
}

// Clones of one image share the machine-id: while another is online nobody
// knows whose place this is.
TEST_F(ReplacedTest, AmongClonesOnlyTheOneThatIsNamedIsReplaced) {
  const AgentId first = AdmitFrom("m", "a1");
  Connect(first, link_);
  const AgentId second = AdmitFrom("m", "a2");
  AdmitFrom("m", "a3");
  EXPECT_EQ(ReplacedBy(first), "nobody");
  EXPECT_EQ(ReplacedBy(second), "nobody");
  AdmitFrom("m", "a4", "a2");
  EXPECT_EQ(ReplacedBy(second), "a4");
  EXPECT_EQ(ReplacedBy(first), "nobody");
}

TEST_F(ReplacedTest, TwoDoNotReplaceEachOther) {
  const AgentId first = AdmitFrom("m", "a1");
  const AgentId second = AdmitFrom("m", "a2");
  fleet_->Admit(Of(first).record);  // Its registration is repeated.
  loop_.RunReady();
  EXPECT_EQ(ReplacedBy(first), "a2");
  EXPECT_EQ(ReplacedBy(second), "nobody");
}

TEST_F(ReplacedTest, AStrangerCannotNameTheMachineItReplaces) {
  const AgentId old = AdmitFrom("m", "a1");
  AdmitFrom("m2", "a2", "a1");
  AdmitFrom("m2", "a3", "no such id");
  EXPECT_EQ(ReplacedBy(old), "nobody");
}

TEST_F(ReplacedTest, AReplacementIsLinkedWhenTheRegistrationIsRepeated) {
  const AgentId old = AdmitFrom("m", "a1");
  // Admitted by the store, but the gateway ended before it linked the two.
  MachineRecord fresh;
  fresh.id = AgentId("a2");
  fresh.org = kOrg;
  fresh.facts.machine_id = "m";
  journal_.machines[fresh.id] = fresh;
  Start({});
  fleet_->Admit(fresh);
  loop_.RunReady();
  EXPECT_EQ(ReplacedBy(old), "a2");
}

TEST_F(ReplacedTest, AMachineThatIsBackWasNotReplaced) {
  const AgentId old = AdmitFrom("m", "a1");
  AdmitFrom("m", "a2");
  Connect(old, link_);
  loop_.RunReady();
  EXPECT_EQ(ReplacedBy(old), "nobody");
}

TEST_F(ReplacedTest, BothHistoriesOfAReplacedMachineSaySo) {
  const AgentId old = AdmitFrom("m", "a1");
  const AgentId newer = AdmitFrom("m", "a2");
  EXPECT_THAT(journal_.notes[old].back().text, HasSubstr("replaced by a2~a2"));
  EXPECT_THAT(journal_.notes[newer].back().text,
              HasSubstr("takes the place of a1~a1"));
  EXPECT_THAT(fleet_->machines().ReplacesOf(newer), ElementsAre(old));
  Start({});
  EXPECT_THAT(fleet_->machines().ReplacesOf(newer), ElementsAre(old));
}

TEST_F(ReplacedTest, AReplacedMachineIsSilencedAfterADayOffline) {
  const AgentId old = AdmitFrom("m", "a1");
  AdmitFrom("m", "a2");
  const AgentId other = Admit("b");
  loop_.Advance(Seconds(120));
  ASSERT_EQ(StatusOf(old), Status::kOffline);
  loop_.Advance(absl::Hours(20));
  fleet_.reset();
  loop_.Advance(absl::Hours(3));
  Start({});  // Whatever the gateway lived through.
  loop_.Advance(absl::Hours(1) - Seconds(1));
  EXPECT_FALSE(Silenced(Of(old).record));
  loop_.Advance(Seconds(1));
  EXPECT_TRUE(Silenced(Of(old).record));
  EXPECT_FALSE(Silenced(Of(other).record)) << "offline, but not replaced";
  loop_.RunReady();
  EXPECT_TRUE(journal_.machines[old].silenced_at.has_value());
  EXPECT_THAT(journal_.notes[old].back().text, HasSubstr("silenced: "));
  Connect(old, link_);
  loop_.RunReady();
  EXPECT_FALSE(Silenced(Of(old).record));
  EXPECT_THAT(journal_.notes[old].back().text, HasSubstr("it was heard"));
}

TEST_F(ReplacedTest, AnOperatorSilencesWhatIsNotConnectedAndShowsItAgain) {
  const AgentId old = AdmitFrom("m", "a1");
  AdmitFrom("m", "a2");
  std::optional<absl::Status> done;
  const auto set = [&](bool silenced) {
    done.reset();
    fleet_->SetSilenced(kOrg, old, silenced, "admin",
                        [&](absl::Status status) { done = status; });
    loop_.RunReady();
    return done->code();
  };
  EXPECT_EQ(set(true), absl::StatusCode::kOk);
  EXPECT_TRUE(Silenced(journal_.machines[old]));
  EXPECT_EQ(set(true), absl::StatusCode::kOk) << "idempotent";
  EXPECT_EQ(set(false), absl::StatusCode::kOk);
  EXPECT_FALSE(Silenced(journal_.machines[old]));
  loop_.Advance(absl::Hours(50));
  EXPECT_FALSE(Silenced(Of(old).record)) << "an operator wants to see it";
  EXPECT_THAT(journal_.notes[old].back().text, HasSubstr("shown again by "));
  Connect(old, link_);
  EXPECT_EQ(Of(old).record.silenced_at, std::nullopt);
  EXPECT_EQ(set(true), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(Silenced(Of(old).record));
}

}  // namespace
}  // namespace muster::gateway
