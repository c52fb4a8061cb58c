// The definition of FleetStore: its history.

#include "gateway/store/test_fleet_store.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class HistoryStoreContract : public FleetStoreContract {};

TEST_P(HistoryStoreContract, HistoryIsNeverRewritten) {
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 1)).ok());
  TransitionRecord other = Transition("m1", 1);
  other.to = Status::kOnline;
  EXPECT_EQ(CodeOf(store_->AddTransition(other)),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(store_->AddTransition(Transition("nobody", 1))),
            absl::StatusCode::kNotFound);
  Reopen();
  EXPECT_THAT(*store_->ListTransitions(AgentId("m1"), 9),
              ElementsAre(Transition("m1", 1)));
}

TEST_P(HistoryStoreContract, TransitionsAreListedNewestFirstUpToTheLimit) {
  for (const uint64_t sequence : {1, 2, 3}) {
    ASSERT_TRUE(store_->AddTransition(Transition("m1", sequence)).ok());
    ASSERT_TRUE(store_->AddTransition(Transition("m2", sequence)).ok());
  }
  TransitionRecord online = Transition("m1", 4);
  online.verdict.reset();
  ASSERT_TRUE(store_->AddTransition(online).ok());
  Reopen();
  EXPECT_THAT(*store_->ListTransitions(AgentId("m1"), 2),
              ElementsAre(online, Transition("m1", 3)));
  EXPECT_THAT(*store_->ListTransitions(AgentId("nobody"), 2), IsEmpty());
}

TEST_P(HistoryStoreContract, TheOfflineThatANoteDisputesIsMarked) {
  const auto add = [&](uint64_t sequence, Status to, uint64_t epoch) {
    TransitionRecord t = Transition("m1", sequence);
    t.to = to;
    t.epoch = epoch;
    ASSERT_TRUE(store_->AddTransition(t).ok());
  };
  add(1, Status::kOffline, 5);  // Not the last word of its epoch.
  add(2, Status::kOnline, 5);
  add(3, Status::kStale, 5);
  add(4, Status::kOffline, 5);
  add(5, Status::kOnline, 6);
  add(6, Status::kStale, 6);
  add(7, Status::kOffline, 6);  // Drifted, which disputes nothing.
  NoteRecord note{AgentId("m1"), At(9), NoteKind::kDisputed, 5, {}, "heard"};
  ASSERT_TRUE(store_->AddNote(note).ok());
  note.kind = NoteKind::kDrift;
  note.epoch = 6;
  ASSERT_TRUE(store_->AddNote(note).ok());
  note.kind = NoteKind::kDisputed;
  note.agent = AgentId("m2");
  ASSERT_TRUE(store_->AddNote(note).ok());
  Reopen();
  std::vector<uint64_t> disputed;
  const auto listed = *store_->ListTransitions(AgentId("m1"), 9);
  for (const StoredTransition& t : listed) {
    if (t.disputed) disputed.push_back(t.sequence);
  }
  EXPECT_THAT(disputed, ElementsAre(4));
}

TEST_P(HistoryStoreContract, ALinkIsReplacedByAgentAndEpoch) {
  EXPECT_EQ(CodeOf(store_->PutLink(Link("nobody", 1))),
            absl::StatusCode::kNotFound);
  for (const uint64_t epoch : {5, 9, 7}) {
    ASSERT_TRUE(store_->PutLink(Link("m1", epoch)).ok());
  }
  LinkRecord closed = Link("m1", 9);
  closed.closed_at = At(60);
  closed.end = LinkEnd::kSilence;
  ASSERT_TRUE(store_->PutLink(closed).ok());
  Reopen();
  EXPECT_THAT(*store_->ListLinks(AgentId("m1"), 2),
              ElementsAre(closed, Link("m1", 7)));
}

TEST_P(HistoryStoreContract, NotesAreListedNewestFirstUpToTheLimit) {
  NoteRecord first{AgentId("m1"),
                   At(9),
                   NoteKind::kDrift,
                   7,
                   {},
                   "the agent knows a newer epoch"};
  NoteRecord second = first;
  second.at = At(3);  // The wall clock was set back.
  second.kind = NoteKind::kInterruption;
  second.verdict = Verdict{Domain::kAgent, Cause::kAgentRestarted,
                           Confidence::kLikely, "agent restarted"};
  for (const NoteRecord& note : {first, second, second}) {
    ASSERT_TRUE(store_->AddNote(note).ok());
  }
  NoteRecord other = first;
  other.agent = AgentId("m2");
  ASSERT_TRUE(store_->AddNote(other).ok());
  other.agent = AgentId("nobody");
  EXPECT_EQ(CodeOf(store_->AddNote(other)), absl::StatusCode::kNotFound);
  Reopen();
  EXPECT_THAT(*store_->ListNotes(first.agent, 2), ElementsAre(second, second));
  EXPECT_THAT(*store_->ListNotes(first.agent, 9),
              ElementsAre(second, second, first));
  EXPECT_THAT(*store_->ListNotes(other.agent, 9), IsEmpty());
}

// --- The gateway itself -----------------------------------------------------

TEST_P(HistoryStoreContract, BlindIntervalsAreListedNewestFirstUpToTheLimit) {
  const BlindRecord early{At(1), At(4), BlindReason::kSuspended};
  const BlindRecord late{At(2), At(5), BlindReason::kDescriptors};
  for (const BlindRecord& blind : {late, early, late}) {
    ASSERT_TRUE(store_->AddBlindInterval(blind).ok());
  }
  Reopen();
  EXPECT_THAT(*store_->ListBlindIntervals(9), ElementsAre(late, late, early));
  EXPECT_THAT(*store_->ListBlindIntervals(1), ElementsAre(late));
}

TEST_P(HistoryStoreContract, IncidentsAreReplacedByIdAndOutliveTheRun) {
  const IncidentRecord first = Incident("i1", At(1));
  IncidentRecord second = Incident("i2", At(2));
  IncidentRecord foreign = Incident("i3", At(3));
  foreign.org = OrgId("other");
  for (const IncidentRecord& incident : {first, second, foreign}) {
    ASSERT_TRUE(store_->PutIncident(incident).ok());
  }
  second.closed_at = At(30);
  second.machines = 41;
  second.verdict.summary = "41 machines";
  ASSERT_TRUE(store_->PutIncident(second).ok());
  Reopen();
  EXPECT_THAT(*store_->ListIncidents(first.org, 9), ElementsAre(second, first));
  EXPECT_THAT(*store_->ListIncidents(first.org, 1), ElementsAre(second));
  ASSERT_TRUE(store_->BeginRun(At(99)).ok());
  EXPECT_THAT(*store_->ListIncidents(first.org, 9), ElementsAre(second, first));
  EXPECT_THAT(*store_->LoadOpenIncidents(), ElementsAre(first, foreign));
  IncidentRecord late = second;  // Written by one who did not know more.
  late.machines = 5;
  late.closed_at.reset();
  ASSERT_TRUE(store_->PutIncident(late).ok());
  EXPECT_THAT(*store_->ListIncidents(first.org, 1), ElementsAre(second));
}

TEST_P(HistoryStoreContract, AHistoryIsReadFromTheRowOnWhereAPageEnded) {
  for (const uint64_t n : {1, 2, 3}) {
    ASSERT_TRUE(store_->AddTransition(Transition("m1", n)).ok());
    ASSERT_TRUE(store_->PutLink(Link("m1", n)).ok());
    ASSERT_TRUE(
        store_->AddNote({AgentId("m1"), At(5), NoteKind::kDrift, n, {}, ""})
            .ok());
    ASSERT_TRUE(
        store_->AddBlindInterval({At(0), At(5), static_cast<BlindReason>(n)})
            .ok());
    ASSERT_TRUE(
        store_->PutIncident(Incident("i" + std::to_string(n), At(5))).ok());
  }
  HistoryRange range(1);
  range.newest = 2;
  EXPECT_THAT(*store_->ListTransitions(AgentId("m1"), range),
              ElementsAre(Transition("m1", 2)));
  EXPECT_THAT(*store_->ListLinks(AgentId("m1"), range),
              ElementsAre(Link("m1", 2)));
  range.newest = store_->ListNotes(AgentId("m1"), 9)->at(1).arrival;
  EXPECT_EQ(store_->ListNotes(AgentId("m1"), range)->at(0).epoch, 2u);
  // Of those that share a time, the first were on the page.
  range.newest = absl::ToUnixMicros(At(5));
  range.skip = 1;
  EXPECT_EQ(store_->ListBlindIntervals(range)->at(0).reason,
            BlindReason::kStoodStill);
  EXPECT_EQ(store_->ListIncidents(OrgId("acme"), range)->at(0).id, "i2");
  range.newest -= 1;
  EXPECT_THAT(*store_->ListBlindIntervals(range), IsEmpty());
  EXPECT_THAT(*store_->ListIncidents(OrgId("acme"), range), IsEmpty());
}

TEST_P(HistoryStoreContract, AHistoryIsOfTheTimeBetweenItsBounds) {
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 10)).ok());  // At(10).
  ASSERT_TRUE(
      store_->AddNote({AgentId("m1"), At(10), NoteKind::kDrift, 1, {}, ""})
          .ok());
  LinkRecord link = Link("m1", 1);
  link.opened_at = At(10);
  link.closed_at = At(20);
  ASSERT_TRUE(store_->PutLink(link).ok());
  ASSERT_TRUE(
      store_->AddBlindInterval({At(10), At(20), BlindReason::kSuspended}).ok());
  IncidentRecord incident = Incident("i1", At(10));
  incident.closed_at = At(20);
  ASSERT_TRUE(store_->PutIncident(incident).ok());

  // How many of those that happened at 10, and of those that lasted to 20.
  const auto seen = [this](int since, int until) {
    HistoryRange range(9);
    range.since = At(since);
    range.until = At(until);
    const size_t moments =
        store_->ListTransitions(AgentId("m1"), range)->size() +
        store_->ListNotes(AgentId("m1"), range)->size();
    const size_t spans = store_->ListLinks(AgentId("m1"), range)->size() +
                         store_->ListBlindIntervals(range)->size() +
                         store_->ListIncidents(OrgId("acme"), range)->size();
    return std::pair(moments, spans);
  };
  EXPECT_EQ(seen(0, 10), std::pair(size_t{0}, size_t{0}));
  EXPECT_EQ(seen(0, 11), std::pair(size_t{2}, size_t{3}));
  EXPECT_EQ(seen(10, 11), std::pair(size_t{2}, size_t{3}));
  EXPECT_EQ(seen(11, 12), std::pair(size_t{0}, size_t{3}));
  EXPECT_EQ(seen(20, 30), std::pair(size_t{0}, size_t{3}));
  EXPECT_EQ(seen(21, 30), std::pair(size_t{0}, size_t{0}));
  // What has not ended lasts.
  link.closed_at.reset();
  incident.id += "again";
  incident.closed_at.reset();
  ASSERT_TRUE(store_->PutLink(link).ok());
  ASSERT_TRUE(store_->PutIncident(incident).ok());
  EXPECT_EQ(seen(21, 30), std::pair(size_t{0}, size_t{2}));
}

INSTANTIATE_TEST_SUITE_P(, HistoryStoreContract, testing::ValuesIn(Backends()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace muster::gateway
