// What was decided is written, in order, whatever the store does.

#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Milliseconds;
using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HistoryTest : public FleetTest {};

TEST_F(HistoryTest, TransitionsThatTheStoreRefusedAreWrittenInOrderLater) {
  const AgentId a = Admit("a");
  journal_.FailNext(1000);
  Connect(a, link_);
  loop_.Advance(Seconds(130));
  EXPECT_EQ(StatusOf(a), Status::kOffline) << "judging goes on";
  EXPECT_THAT(History(a), IsEmpty());
  journal_.FailNext(0);
  loop_.Advance(Seconds(1));
  EXPECT_THAT(History(a),
              ElementsAre(Status::kOnline, Status::kStale, Status::kOffline));
  EXPECT_EQ(journal_.machines[a].status, Status::kOffline);
}

TEST_F(HistoryTest, ATransitionIsMarkedDurableWhenTheStoreHasIt) {
  const AgentId a = Admit("a");
  journal_.Hold();
  Connect(a, link_);
  loop_.RunReady();
  EXPECT_EQ(Of(a).record.transition_sequence, 1u);
  EXPECT_EQ(Of(a).durable_sequence, 0u);
  journal_.Release();
  loop_.RunReady();
  EXPECT_EQ(Of(a).durable_sequence, 1u);
}

TEST_F(HistoryTest,
       ACrashLeavesNoGapThoughTheMachineWasWrittenBeforeItsHistory) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.RunReady();
  journal_.FailNext(1000);
  loop_.Advance(Seconds(75));
  ASSERT_EQ(StatusOf(a), Status::kStale);
  journal_.FailNext(0);
  fleet_->Goodbye(a, Of(a).record.epoch, {});
  loop_.RunReady();
  EXPECT_EQ(journal_.machines[a].status, Status::kOnline);
  EXPECT_EQ(journal_.machines[a].verdict, std::nullopt);
  Start({});  // Before it was tried again.
  loop_.Advance(Seconds(75));
  EXPECT_EQ(History(a), (std::vector{Status::kOnline, Status::kStale}));
}

TEST_F(HistoryTest, WhatWasFoundOutWhileATransitionWaitedIsStoredWithIt) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.RunReady();
  journal_.Hold();
  loop_.Advance(Seconds(75));
  ASSERT_EQ(StatusOf(a), Status::kStale);
  fleet_->Goodbye(a, Of(a).record.epoch,
                  {.summary = "stops", .back_within = absl::Minutes(10)});
  journal_.Release();
  loop_.RunReady();
  EXPECT_EQ(journal_.machines[a].status, Status::kStale);
  EXPECT_EQ(journal_.machines[a].verdict->summary, "stops");
}

TEST_F(HistoryTest,
       APromiseIsKeptThoughTheGatewayDiedBeforeItsTransitionWasStored) {
  const AgentId a = Admit("a");
  Connect(a, link_);
  loop_.RunReady();
  // As the store may be found: the record was written, its transition was not.
  journal_.machines[a].promised_back = loop_.Wall() + absl::Minutes(10);
  Start({});
  loop_.Advance(Seconds(599));
  EXPECT_EQ(StatusOf(a), Status::kStale);
  loop_.Advance(Seconds(1));
  EXPECT_EQ(StatusOf(a), Status::kOffline);
}

TEST_F(HistoryTest, WhatIsDecidedWhileTheStoreWritesIsNotWrittenBeforeThat) {
  const AgentId a = Admit("a");
  journal_.Hold();
  Connect(a, link_);
  loop_.RunReady();
  fleet_->Goodbye(a, Of(a).record.epoch, {});
  journal_.FailNext(2);  // That it was heard, and that it is online.
  journal_.Release();
  loop_.RunReady();
  EXPECT_THAT(journal_.transitions[a], IsEmpty()) << "the first was refused";
  loop_.Advance(Seconds(1));
  EXPECT_EQ(History(a), (std::vector{Status::kOnline, Status::kStale}));
}

TEST_F(HistoryTest, LinkRowsThatTheStoreRefusedAreWrittenLater) {
  const AgentId a = Admit("a");
  journal_.FailNext(1000);
  const uint64_t epoch = Connect(a, link_);
  loop_.Advance(Seconds(1));
  fleet_->LinkClosed(a, epoch, LinkEnd::kClosedByPeer);
  loop_.Advance(Seconds(2));
  EXPECT_TRUE(journal_.links.empty());
  journal_.FailNext(0);
  loop_.Advance(Seconds(1));
  EXPECT_EQ((journal_.links[{a, epoch}].end), LinkEnd::kClosedByPeer);
}

}  // namespace
}  // namespace muster::gateway
