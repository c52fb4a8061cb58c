#include "gateway/admin/history_handlers.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fake_link.h"
#include "gateway/store/memory_fleet_store.h"
#include "gateway/store/store_journal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::Time At(int seconds) { return absl::FromUnixSeconds(1'000 + seconds); }

TransitionRecord Transition(const std::string& agent, uint64_t sequence) {
  TransitionRecord t;
  t.agent = AgentId(agent);
  t.sequence = sequence;
  t.at = At(static_cast<int>(sequence));
  t.epoch = 7;
  return t;
}

LinkRecord Link(const std::string& agent, uint64_t epoch) {
  return {AgentId(agent), epoch, "boot",       "process",
          "192.0.2.7:1",  At(1), std::nullopt, LinkEnd::kOpen};
}

IncidentRecord Incident(const std::string& id, absl::Time opened_at) {
  return {id,
          OrgId("acme"),
          "10.2.3.0/24",
          opened_at,
          std::nullopt,
          5,
          Verdict{Domain::kNetwork, Cause::kNetworkGroup, Confidence::kLikely,
                  "5 machines in 10.2.3.0/24"}};
}

// A fleet over a store in memory; calls go through the table, as the Api's do.
class HistoryHandlersTest : public ::testing::Test {
 protected:
  HistoryHandlersTest() {
    auto store = std::make_unique<MemoryFleetStore>();
    memory_ = store.get();
    client_ = std::make_unique<StoreClient>(loop_, std::move(store), nullptr,
                                            StoreClient::Options());
    journal_ = std::make_unique<StoreJournal>(*client_);
    fleet_ = std::make_unique<Fleet>(loop_, *journal_, FleetOptions());
    handlers_ = std::make_unique<HistoryHandlers>(loop_, *fleet_, *client_);
    handlers_->AddTo(table_);
    MachineRecord machine;
    machine.id = AgentId("m1");
    machine.org = OrgId("acme");
    machine.facts.hostname = "m1";
    Write([machine](FleetStore& s) { return s.PutMachine(machine); });
    fleet_->Restore(1, {.machines = {machine}});
    fleet_->Open();
  }
  ~HistoryHandlersTest() override { Settle(); }

  void Settle() {
    client_->Flush();
    loop_.RunReady();
  }
  template <typename Work>
  void Write(Work work) {
    client_->Write(std::move(work), [](const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
    });
    Settle();
  }

  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const std::string& name,
                                const Request& request) {
    const auto& method = *v1::ListAgentsRequest::descriptor()
                              ->file()
                              ->service(0)
                              ->FindMethodByName(name);
    Caller caller;
    caller.org = OrgId("acme");
    absl::StatusOr<Response> seen = absl::InternalError("no reply");
    (*table_.Find(method))(
        caller, request,
        [&seen](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> r) {
          if (!r.ok()) {
            seen = r.status();
          } else {
            seen = static_cast<Response&>(**r);
          }
        });
    Settle();
    Settle();  // A read is answered by the store's thread.
    return seen;
  }

  // What a page shows, and all pages of `limit` rows together.
  std::vector<uint64_t> Sequences(uint32_t limit) {
    std::vector<uint64_t> sequences;
    v1::ListTransitionsRequest request;
    request.set_agent_id("m1");
    request.set_limit(limit);
    do {
      const auto page =
          Call<v1::ListTransitionsResponse>("ListTransitions", request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      EXPECT_LE(page->transitions_size(), static_cast<int>(limit));
      for (const auto& t : page->transitions()) {
        sequences.push_back(t.sequence());
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return sequences;
  }

  FakeEventLoop loop_;
  MemoryFleetStore* memory_ = nullptr;
  std::unique_ptr<StoreClient> client_;
  std::unique_ptr<StoreJournal> journal_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<HistoryHandlers> handlers_;
  HandlerTable table_;
  FakeLink link_;
};

v1::ListTransitionsRequest OfM1() {
  v1::ListTransitionsRequest request;
  request.set_agent_id("m1");
  return request;
}

TEST_F(HistoryHandlersTest, PagesOfTransitionsJoinToTheWholeNewestFirst) {
  for (const uint64_t s : {1, 2, 3, 4, 5}) {
    Write([s](FleetStore& store) {
      return store.AddTransition(Transition("m1", s));
    });
  }
  for (const uint32_t limit : {1, 2, 3, 5, 9}) {
    EXPECT_THAT(Sequences(limit), ElementsAre(5, 4, 3, 2, 1)) << limit;
  }
}

TEST_F(HistoryHandlersTest, ATransitionTellsItsCauseAndThatItIsDurable) {
  TransitionRecord record = Transition("m1", 1);
  record.to = Status::kOffline;
  record.verdict = Verdict{Domain::kAgent, Cause::kAgentStopped,
                           Confidence::kProven, "agent stopped"};
  Write([record](FleetStore& store) { return store.AddTransition(record); });
  const auto page =
      Call<v1::ListTransitionsResponse>("ListTransitions", OfM1());
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->transitions_size(), 1);
  const v1::Transition& t = page->transitions(0);
  EXPECT_EQ(t.to(), v1::STATUS_OFFLINE);
  EXPECT_EQ(t.domain(), v1::DOMAIN_AGENT);
  EXPECT_EQ(t.cause(), v1::CAUSE_AGENT_STOPPED);
  EXPECT_EQ(t.confidence(), v1::CONFIDENCE_PROVEN);
  EXPECT_EQ(t.summary(), "agent stopped");
  EXPECT_EQ(t.epoch(), record.epoch);
  EXPECT_EQ(wire::FromProto(t.at()), record.at);
  EXPECT_TRUE(t.durable());
  EXPECT_EQ(page->next_page_token(), "");
}

TEST_F(HistoryHandlersTest, ADisputedOfflineIsMarkedAndItsRowIsNotRewritten) {
  TransitionRecord record = Transition("m1", 1);
  record.to = Status::kOffline;
  Write([record](FleetStore& store) { return store.AddTransition(record); });
  NoteRecord note;
  note.agent = record.agent;
  note.kind = NoteKind::kDisputed;
  note.epoch = record.epoch;
  Write([note](FleetStore& store) { return store.AddNote(note); });
  const auto page =
      Call<v1::ListTransitionsResponse>("ListTransitions", OfM1());
  ASSERT_EQ(page->transitions_size(), 1);
  EXPECT_TRUE(page->transitions(0).disputed());
  EXPECT_EQ((*memory_->ListTransitions(record.agent, 9))[0], record);
}

TEST_F(HistoryHandlersTest, WhatTheStoreHasNotTakenYetIsShownAndMarked) {
  const AgentId agent("m1");
  for (const uint64_t s : {1, 2}) {
    Write([s](FleetStore& store) {
      return store.AddTransition(Transition("m1", s));
    });
  }
  fleet_->machines().Find(agent)->record.transition_sequence = 2;
  memory_->FailWith(absl::UnavailableError("locked"));
  HelloNotice hello;
  hello.facts.hostname = "m1";
  hello.org = fleet_->machines().Find(agent)->record.org;
  ASSERT_FALSE(fleet_->LinkOpened(agent, hello, link_).has_value());
  ASSERT_TRUE(fleet_->Heartbeat(agent, link_.welcome->epoch,
                                {.sequence = 1,
                                 .acknowledged = link_.welcome->acknowledgement,
                                 .sent_at = std::nullopt,
                                 .round_trip = std::nullopt}));
  Settle();  // It is refused, and waits.
  memory_->FailWith(absl::OkStatus());
  auto page = Call<v1::ListTransitionsResponse>("ListTransitions", OfM1());
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->transitions_size(), 3);
  EXPECT_EQ(page->transitions(0).sequence(), 3u);
  EXPECT_EQ(page->transitions(0).to(), v1::STATUS_ONLINE);
  EXPECT_FALSE(page->transitions(0).durable());
  EXPECT_TRUE(page->transitions(1).durable());
  EXPECT_THAT(Sequences(1), ElementsAre(3, 2, 1)) << "pages agree";

  loop_.Advance(absl::Seconds(2));  // It is written again.
  Settle();
  page = Call<v1::ListTransitionsResponse>("ListTransitions", OfM1());
  ASSERT_EQ(page->transitions_size(), 3);
  EXPECT_TRUE(page->transitions(0).durable());
}

TEST_F(HistoryHandlersTest, TimeBoundsSelectWhatHappenedBetweenThem) {
  for (const uint64_t s : {1, 2, 3, 4}) {
    TransitionRecord record = Transition("m1", s);
    record.at = At(static_cast<int>(s) * 10);
    Write([record](FleetStore& store) { return store.AddTransition(record); });
  }
  v1::ListTransitionsRequest request = OfM1();
  *request.mutable_since() = wire::ToProto(At(20));
  *request.mutable_until() = wire::ToProto(At(40));
  const auto page =
      Call<v1::ListTransitionsResponse>("ListTransitions", request);
  ASSERT_EQ(page->transitions_size(), 2) << "since counts, until does not";
  EXPECT_EQ(page->transitions(0).sequence(), 3u);
  EXPECT_EQ(page->transitions(1).sequence(), 2u);
}

TEST_F(HistoryHandlersTest, ErrorsNameFieldBoundAndValue) {
  v1::ListTransitionsRequest request = OfM1();
  *request.mutable_since() = wire::ToProto(absl::FromUnixSeconds(200));
  *request.mutable_until() = wire::ToProto(absl::FromUnixSeconds(100));
  const auto call = [&] {
    return Call<v1::ListTransitionsResponse>("ListTransitions", request)
        .status();
  };
  EXPECT_EQ(call(),
            absl::InvalidArgumentError("since: must be before until "
                                       "(1970-01-01T00:01:40.000Z), got "
                                       "1970-01-01T00:03:20.000Z"));
  request = OfM1();
  request.set_limit(1001);
  EXPECT_EQ(call(), absl::InvalidArgumentError(
                        "limit: must be 1 to 1000, or 0 for 100, got 1001"));
  request = OfM1();
  for (const char* token : {"x", "AAAA", "bGlua3MKNQow" /* of links */}) {
    request.set_page_token(token);
    EXPECT_THAT(call().ToString(), HasSubstr("page_token: expected the next_"));
  }
}

TEST_F(HistoryHandlersTest, AnUnknownMachineIsNotFoundOnEveryRoute) {
  const absl::Status unknown = NotFound("agent", "nobody");
  v1::ListTransitionsRequest transitions;
  transitions.set_agent_id("nobody");
  EXPECT_EQ(Call<v1::ListTransitionsResponse>("ListTransitions", transitions)
                .status(),
            unknown);
  v1::ListLinksRequest links;
  links.set_agent_id("nobody");
  EXPECT_EQ(Call<v1::ListLinksResponse>("ListLinks", links).status(), unknown);
  v1::ListNotesRequest notes;
  notes.set_agent_id("nobody");
  EXPECT_EQ(Call<v1::ListNotesResponse>("ListNotes", notes).status(), unknown);
  v1::WatchHeartbeatsRequest watch;
  watch.set_agent_id("nobody");
  EXPECT_EQ(
      Call<v1::WatchHeartbeatsResponse>("WatchHeartbeats", watch).status(),
      unknown);
}

TEST_F(HistoryHandlersTest, LinksTellHowTheyEndedAndPageByEpoch) {
  LinkRecord closed = Link("m1", 7);
  closed.closed_at = At(60);
  closed.end = LinkEnd::kSilence;
  Write([closed](FleetStore& store) { return store.PutLink(closed); });
  Write([](FleetStore& store) { return store.PutLink(Link("m1", 9)); });
  v1::ListLinksRequest request;
  request.set_agent_id("m1");
  request.set_limit(1);
  auto page = Call<v1::ListLinksResponse>("ListLinks", request);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->links(0).epoch(), 9u);
  EXPECT_FALSE(page->links(0).has_closed_at() || page->links(0).has_ended());
  request.set_page_token(page->next_page_token());
  page = Call<v1::ListLinksResponse>("ListLinks", request);
  EXPECT_EQ(page->links(0).epoch(), 7u);
  EXPECT_EQ(page->links(0).ended(), v1::LINK_END_SILENCE);
  EXPECT_EQ(page->links(0).address(), closed.address);
  EXPECT_EQ(page->next_page_token(), "");
  *request.mutable_since() = wire::ToProto(At(61));
  request.clear_page_token();
  page = Call<v1::ListLinksResponse>("ListLinks", request);
  ASSERT_EQ(page->links_size(), 1) << "an open one lasts";
  EXPECT_EQ(page->links(0).epoch(), 9u);
}

TEST_F(HistoryHandlersTest, NotesPageByArrival) {
  for (int i = 0; i < 3; ++i) {
    Write([i](FleetStore& store) {
      return store.AddNote({AgentId("m1"),
                            At(5),
                            NoteKind::kDrift,
                            1,
                            {},
                            fmt::format("note {}", i)});
    });
  }
  v1::ListNotesRequest request;
  request.set_agent_id("m1");
  request.set_limit(2);
  std::vector<std::string> texts;
  do {
    const auto page = Call<v1::ListNotesResponse>("ListNotes", request);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const auto& note : page->notes()) {
      EXPECT_EQ(note.kind(), v1::NOTE_KIND_DRIFT);
      EXPECT_FALSE(note.has_cause());
      texts.push_back(note.text());
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(texts, ElementsAre("note 2", "note 1", "note 0"));
}

TEST_F(HistoryHandlersTest, IntervalsThatEndTogetherAreAllOnSomePage) {
  for (int i = 1; i <= 5; ++i) {
    Write([i](FleetStore& store) {
      return store.AddBlindInterval({At(i), At(50), BlindReason::kStoodStill});
    });
  }
  for (const uint32_t limit : {1, 2, 3}) {
    v1::ListBlindIntervalsRequest request;
    request.set_limit(limit);
    std::vector<absl::Time> from;
    do {
      const auto page =
          Call<v1::ListBlindIntervalsResponse>("ListBlindIntervals", request);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const auto& b : page->blind_intervals()) {
        EXPECT_EQ(b.reason(), v1::BLIND_REASON_STOOD_STILL);
        from.push_back(wire::FromProto(b.from()));
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    EXPECT_THAT(from, ElementsAre(At(5), At(4), At(3), At(2), At(1))) << limit;
  }
}

TEST_F(HistoryHandlersTest, IncidentsAreThoseOfTheCallersOrg) {
  IncidentRecord foreign = Incident("i9", At(9));
  foreign.org = OrgId("other");
  for (const IncidentRecord& incident :
       {Incident("i1", At(1)), Incident("i2", At(1)), foreign}) {
    Write(
        [incident](FleetStore& store) { return store.PutIncident(incident); });
  }
  v1::ListIncidentsRequest request;
  request.set_limit(1);
  auto page = Call<v1::ListIncidentsResponse>("ListIncidents", request);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->incidents(0).incident_id(), "i2");
  EXPECT_EQ(page->incidents(0).cause(), v1::CAUSE_NETWORK_GROUP);
  request.set_page_token(page->next_page_token());
  page = Call<v1::ListIncidentsResponse>("ListIncidents", request);
  EXPECT_EQ(page->incidents(0).incident_id(), "i1");
  EXPECT_EQ(page->next_page_token(), "");
  request.clear_page_token();
  *request.mutable_until() = wire::ToProto(At(1));
  page = Call<v1::ListIncidentsResponse>("ListIncidents", request);
  EXPECT_THAT(page->incidents(), IsEmpty());
}

}  // namespace
}  // namespace muster::gateway
