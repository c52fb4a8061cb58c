// Machines that wait for approval, and machines that leave by themselves.

#include <optional>
#include <string>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Hours;
using absl::Minutes;
using absl::Seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RegistrationTest : public FleetTest {
 protected:
  AgentId AdmitAs(const std::string& name, bool pending,
                  std::optional<absl::Duration> ephemeral_for = {},
                  const std::string& machine_id = "") {
    MachineRecord record;
    record.id = AgentId(name);
    record.org = kOrg;
    record.facts.hostname = name;
    record.facts.machine_id = machine_id;
    record.pending = pending;
    record.ephemeral_for = ephemeral_for;
    journal_.machines[record.id] = record;
    fleet_->Admit(record);
    loop_.RunReady();
    return record.id;
  }
  std::optional<DisconnectReason> Knock(const AgentId& agent) {
    FakeLink link;
    const auto refused = fleet_->LinkOpened(agent, Hello(agent), link);
    return refused ? std::optional(refused->reason) : std::nullopt;
  }
  absl::Status Approve(const AgentId& agent, const OrgId& org = kOrg) {
    absl::Status result = absl::InternalError("no answer");
    fleet_->Approve(org, agent, "alice",
                    [&](absl::Status status) { result = status; });
    loop_.RunReady();
    return result;
  }
  bool IsListed(const AgentId& agent) {
    return fleet_->machines().FindLiving(kOrg, agent) != nullptr;
  }
  bool IsStored(const AgentId& agent) {
    loop_.RunReady();
    return !journal_.machines[agent].deleted_at;
  }
  // Online, then gone; offline when this returns.
  AgentId Lost(const std::string& name, absl::Duration ephemeral_for) {
    const AgentId agent = AdmitAs(name, false, ephemeral_for);
    const uint64_t epoch = Connect(agent, link_);
    fleet_->LinkClosed(agent, epoch, LinkEnd::kClosedByPeer);
    WaitForOffline(agent);
    return agent;
  }
  void WaitForOffline(const AgentId& agent) {
    for (int i = 0; i < 600 && StatusOf(agent) != Status::kOffline; ++i) {
      loop_.Advance(Seconds(1));
    }
    ASSERT_EQ(StatusOf(agent), Status::kOffline);
  }
};

// --- Approval ----------------------------------------------------------------

TEST_F(RegistrationTest, AMachineThatWaitsIsListedButNotLetIn) {
  const AgentId a = AdmitAs("web-1", true);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  EXPECT_EQ(Of(a).record.verdict->cause, Cause::kNeverConnected);
  EXPECT_EQ(Of(a).record.verdict->summary, "waits for approval");
  FakeLink link;
  const auto refused = fleet_->LinkOpened(a, Hello(a), link);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->reason, DisconnectReason::kPendingApproval);
  EXPECT_EQ(refused->text, "musterctl agents approve web-1");
  EXPECT_EQ(refused->retry_after, Seconds(30));
  EXPECT_FALSE(link.welcome.has_value());
  EXPECT_TRUE(fleet_->RefusalOf(kOrg, a, "").has_value());
  WaitForOffline(a);
  EXPECT_EQ(Of(a).record.verdict->summary, "waits for approval");
}

TEST_F(RegistrationTest, NoCommandReachesAMachineThatWaits) {
  const AgentId a = AdmitAs("a", true);
  SubmitCommand(a, "c1");
  FakeLink link;
  EXPECT_TRUE(fleet_->LinkOpened(a, Hello(a), link).has_value());
  EXPECT_THAT(link.orders, IsEmpty());
}

TEST_F(RegistrationTest, OnceApprovedTheNextAttemptIsWelcomed) {
  const AgentId a = AdmitAs("a", true);
  EXPECT_EQ(Knock(a), DisconnectReason::kPendingApproval);
  EXPECT_TRUE(Approve(a).ok());
  EXPECT_FALSE(journal_.machines[a].pending);
  EXPECT_EQ(journal_.notes[a].back().kind, NoteKind::kApproved);
  EXPECT_EQ(journal_.notes[a].back().text, "approved by alice");
  EXPECT_EQ(Of(a).record.verdict->summary, "approved, never connected");
  Connect(a, link_);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
}

TEST_F(RegistrationTest, ApprovalIsIdempotentAndOfThisOrgOnly) {
  const AgentId a = AdmitAs("a", true);
  EXPECT_EQ(ErrorCode(Approve(a, OrgId("other"))), "not_found");
  EXPECT_EQ(ErrorCode(Approve(AgentId("nobody"))), "not_found");
  EXPECT_EQ(Knock(a), DisconnectReason::kPendingApproval);
  EXPECT_TRUE(Approve(a).ok());
  EXPECT_TRUE(Approve(a).ok());
  EXPECT_EQ(journal_.notes[a].size(), 1u);
}

TEST_F(RegistrationTest, AnApprovalThatWasNotStoredIsStoredLater) {
  const AgentId a = AdmitAs("a", true);
  journal_.FailNext(2);  // Its note, too.
  EXPECT_FALSE(Approve(a).ok());
  EXPECT_TRUE(journal_.machines[a].pending);
  EXPECT_EQ(Knock(a), std::nullopt);
  loop_.Advance(Seconds(6));
  EXPECT_FALSE(journal_.machines[a].pending);
}

TEST_F(RegistrationTest, WhoWaitsStillWaitsAfterARestart) {
  const AgentId a = AdmitAs("a", true);
  Start({});
  EXPECT_EQ(Knock(a), DisconnectReason::kPendingApproval);
  EXPECT_TRUE(Approve(a).ok());
  Start({});
  EXPECT_EQ(Knock(a), std::nullopt);
}

TEST_F(RegistrationTest, ARefusedMachineIsDeletedAndToldSo) {
  const AgentId a = AdmitAs("a", true);
  fleet_->Delete(kOrg, a, [](auto) {});
  EXPECT_EQ(Knock(a), DisconnectReason::kDeregistered);
}

TEST_F(RegistrationTest, OnlyAnApprovedMachineTakesTheOldOnesPlace) {
  const AgentId old = AdmitAs("a1", false, {}, "m");
  const AgentId newer = AdmitAs("a2", true, {}, "m");
  EXPECT_EQ(Of(old).record.replaced_by, std::nullopt);
  EXPECT_TRUE(Approve(newer).ok());
  EXPECT_EQ(Of(old).record.replaced_by, newer);
}

// --- Leaving -----------------------------------------------------------------

TEST_F(RegistrationTest, AnEphemeralMachineLeavesOnceItWasOfflineForSoLong) {
  const AgentId a = Lost("a", Hours(2));
  loop_.Advance(Hours(2) - Minutes(2));
  EXPECT_TRUE(IsListed(a));
  loop_.Advance(Minutes(3));
  EXPECT_FALSE(IsListed(a));
  EXPECT_FALSE(IsStored(a));
  EXPECT_EQ(journal_.notes[a].back().kind, NoteKind::kLeft);
  EXPECT_THAT(journal_.notes[a].back().text, HasSubstr("left by itself"));
  EXPECT_EQ(Knock(a), DisconnectReason::kDeregistered);
}

TEST_F(RegistrationTest, OneThatIsNotEphemeralStays) {
  const AgentId a = AdmitAs("a", false);
  WaitForOffline(a);
  loop_.Advance(Hours(30));
  EXPECT_TRUE(IsListed(a));
}

TEST_F(RegistrationTest, OneThatNeverCameLeavesToo) {
  const AgentId a = AdmitAs("a", true, Hours(1));
  WaitForOffline(a);
  loop_.Advance(Hours(1) + Minutes(1));
  EXPECT_FALSE(IsListed(a));
}

TEST_F(RegistrationTest, WhoIsBackBeginsAnew) {
  const AgentId a = Lost("a", Hours(2));
  loop_.Advance(Hours(1) + Minutes(50));
  FakeLink back;
  const uint64_t epoch = Connect(a, back);
  EXPECT_EQ(StatusOf(a), Status::kOnline);
  loop_.Advance(Seconds(1));
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  WaitForOffline(a);
  loop_.Advance(Hours(1) + Minutes(50));
  EXPECT_TRUE(IsListed(a));
  loop_.Advance(Minutes(11));
  EXPECT_FALSE(IsListed(a));
}

TEST_F(RegistrationTest, AnOpenLinkThatHasEchoedNothingYetIsNotCut) {
  const AgentId a = Lost("a", Hours(1));
  loop_.Advance(Hours(1) - Seconds(5));
  FakeLink back;
  ASSERT_FALSE(fleet_->LinkOpened(a, Hello(a), back).has_value());
  loop_.Advance(Seconds(20));
  EXPECT_TRUE(IsListed(a));
}

TEST_F(RegistrationTest, AGatewayThatSleptTakesNobodyOut) {
  const AgentId a = Lost("a", Hours(2));
  loop_.Advance(Hours(1));
  loop_.SuspendFor(Hours(24 * 7));
  loop_.Advance(Minutes(50));
  EXPECT_TRUE(IsListed(a));
  loop_.Advance(Minutes(20));
  EXPECT_FALSE(IsListed(a));
}

TEST_F(RegistrationTest, AStepOfTheWallClockTakesNobodyOut) {
  const AgentId a = Lost("a", Hours(2));
  loop_.StepWall(Hours(24 * 365));
  loop_.Advance(Hours(1));
  EXPECT_TRUE(IsListed(a));
}

TEST_F(RegistrationTest, OnlyTimeInWhichFormerLivesListenedCounts) {
  const AgentId a = Lost("a", Hours(3));
  loop_.Advance(Hours(1));
  alive_at_ = loop_.clock().Wall();
  fleet_.reset();
  loop_.Advance(Hours(24 * 7));
  Start({});
  loop_.Advance(Hours(1));
  EXPECT_TRUE(IsListed(a));
  // Again: what it was down before is no time in which it listened.
  alive_at_ = loop_.clock().Wall();
  Start({});
  loop_.Advance(Minutes(50));
  EXPECT_TRUE(IsListed(a));
  loop_.Advance(Minutes(20));
  EXPECT_FALSE(IsListed(a));
  Start({});
  EXPECT_FALSE(IsListed(a));
}

TEST_F(RegistrationTest, AfterARestartThereIsTimeToComeBack) {
  const AgentId a = Lost("a", Hours(1));
  loop_.Advance(Minutes(59));
  alive_at_ = loop_.clock().Wall() + Hours(3);  // Whatever that life said.
  Start({});
  loop_.Advance(Minutes(1));
  EXPECT_TRUE(IsListed(a));
  loop_.Advance(Minutes(5));
  EXPECT_FALSE(IsListed(a));
}

TEST_F(RegistrationTest, ASuspendedMachineIsCutOffUntilItIsApproved) {
  const AgentId a = AdmitAs("a", false);
  std::vector<std::string> pins;
  fleet_->TellKeys(
      [&](const AgentId&, std::string_view pin) { pins.emplace_back(pin); });
  Connect(a, link_);
  ASSERT_EQ(StatusOf(a), Status::kOnline);
  for (int i = 0; i < 2; ++i) {  // A second time changes nothing more.
    fleet_->Suspend(kOrg, a, "admin", [](const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
    });
    loop_.RunReady();
  }
  EXPECT_EQ(link_.closed->reason, DisconnectReason::kPendingApproval);
  EXPECT_EQ(StatusOf(a), Status::kStale);
  EXPECT_EQ(Of(a).record.verdict->summary, "suspended: waits for approval");
  EXPECT_EQ(Knock(a), DisconnectReason::kPendingApproval);
  EXPECT_TRUE(journal_.machines[a].pending);
  EXPECT_TRUE(Approve(a).ok());
  EXPECT_FALSE(journal_.machines[a].pending);
  EXPECT_EQ(pins.size(), 2u) << "none may, and the same may again";
  EXPECT_EQ(Knock(a), std::nullopt);
}

}  // namespace
}  // namespace muster::gateway
