#include "tools/musterctl/history_verbs.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kHistory[] = "GET /api/agents/id-web-1-c07e55/";

class HistoryTest : public testing::Test {
 protected:
  HistoryTest() {
    setenv("TZ", "UTC", 1);
    web_1_.set_hostname("web-1");
    web_1_.set_name("web-1");
    web_1_.set_agent_id("id-web-1-c07e55");
    web_1_.set_status(v1::STATUS_ONLINE);
    web_1_.set_confirmed(true);
    gateway_.On("GET /api/resolve", [this](const HttpRequest&) {
      v1::ResolveAgentResponse resolved;
      *resolved.mutable_agent() = web_1_;
      return Ok(resolved);
    });
    gateway_.On("GET /api/whoami", Ok(v1::WhoAmIResponse()));
  }

  // So long before now, which is 15:06:40 UTC.
  google::protobuf::Timestamp Ago(absl::Duration d) {
    return wire::ToProto(world_.time.wall - d);
  }
  static v1::Transition Transition(uint64_t sequence, v1::Status from,
                                   v1::Status to,
                                   google::protobuf::Timestamp at) {
    v1::Transition t;
    t.set_sequence(sequence);
    t.set_from(from);
    t.set_to(to);
    *t.mutable_at() = std::move(at);
    t.set_epoch(7);
    t.set_durable(true);
    return t;
  }
  // Went stale 10 min ago, offline 9 min ago, and is back since 2 min.
  void HasBeenAway() {
    v1::ListTransitionsResponse transitions;
    v1::Transition back = Transition(3, v1::STATUS_OFFLINE, v1::STATUS_ONLINE,
                                     Ago(absl::Minutes(2)));
    back.set_durable(false);
    *transitions.add_transitions() = back;
    v1::Transition offline = Transition(2, v1::STATUS_STALE, v1::STATUS_OFFLINE,
                                        Ago(absl::Minutes(9)));
    offline.set_summary("agent stopped");
    offline.set_cause(v1::CAUSE_AGENT_STOPPED);
    offline.set_confidence(v1::CONFIDENCE_PROVEN);
    *transitions.add_transitions() = offline;
    *transitions.add_transitions() = Transition(
        1, v1::STATUS_ONLINE, v1::STATUS_STALE, Ago(absl::Minutes(10)));
    gateway_.On(std::string(kHistory) + "transitions", Ok(transitions));

    v1::ListNotesResponse notes;
    v1::Note* note = notes.add_notes();
    note->set_kind(v1::NOTE_KIND_DISPUTED);
    note->set_text("it was never \x1b[31moffline");
    *note->mutable_at() = Ago(absl::Minutes(1));
    gateway_.On(std::string(kHistory) + "notes", Ok(notes));

    v1::ListBlindIntervalsResponse blind;
    v1::BlindInterval* b = blind.add_blind_intervals();
    *b->mutable_from() = Ago(absl::Minutes(5));
    *b->mutable_to() = Ago(absl::Minutes(5) - absl::Milliseconds(12'500));
    b->set_reason(v1::BLIND_REASON_STOOD_STILL);
    gateway_.On("GET /api/blind-intervals", Ok(blind));
  }

  FakeWorld world_;
  v1::Agent web_1_;  // Whom every name means.
  FakeConsole& console_ = world_.console;
  FakeGateway& gateway_ = world_.gateway;
};

TEST_F(HistoryTest, ItIsToldNewestFirstWithTheGatewaysOwnDeafnessBetween) {
  HasBeenAway();
  EXPECT_EQ(world_.Run({"agents", "history", "web-1"}), 0) << console_.err;
  EXPECT_EQ(
      console_.out,
      "WHEN          WHAT               FOR    WHY\n"
      "15:05:40 UTC  disputed           -      it was never ?[31moffline\n"
      "15:04:40 UTC  offline -> online  2m     (not stored yet)\n"
      "15:01:40 UTC  gateway blind      12.5s  the gateway's process stood "
      "still\n"
      "14:57:40 UTC  stale -> offline   7m     agent stopped\n"
      "14:56:40 UTC  online -> stale    1m     -\n");
  EXPECT_THAT(console_.err, IsEmpty());
  EXPECT_THAT(
      gateway_.Targets(),
      ElementsAre("GET /api/resolve?name=web-1",
                  std::string(kHistory) + "transitions?limit=50",
                  std::string(kHistory) + "notes?limit=50",
                  // As far back as the rest, all of them.
                  "GET /api/blind-intervals?since=2025-06-15T14%3A56%3A40.000Z"
                  "&limit=1000"));
}

TEST_F(HistoryTest, SinceIsCountedBackAndAsksForAllOfThatTime) {
  HasBeenAway();
  EXPECT_EQ(
      world_.Run({"agents", "history", "web-1", "--since", "1h", "-o", "wide"}),
      0);
  EXPECT_THAT(console_.out, HasSubstr("SEQ  EPOCH  DETAIL\n"));
  EXPECT_THAT(console_.out, HasSubstr("2    7      agent_stopped, proven\n"));
  EXPECT_THAT(
      gateway_.Targets()[1],
      HasSubstr("transitions?since=2025-06-15T14%3A06%3A40.000Z&limit="));
  EXPECT_THAT(gateway_.Targets()[3],
              HasSubstr("blind-intervals?since=2025-06-15T14%3A06%3A40.000Z"));
}

TEST_F(HistoryTest, LinksAreShownByTheirBeginningAndTheirEnd) {
  HasBeenAway();
  v1::ListLinksResponse links;
  v1::Link* open = links.add_links();
  open->set_epoch(9);
  open->set_address("10.2.3.4:5");
  *open->mutable_opened_at() = Ago(absl::Minutes(2));
  v1::Link* closed = links.add_links();
  closed->set_epoch(7);
  *closed->mutable_opened_at() = Ago(absl::Hours(3));
  *closed->mutable_closed_at() = Ago(absl::Minutes(10));
  closed->set_ended(v1::LINK_END_GOODBYE);
  gateway_.On(std::string(kHistory) + "links", Ok(links));
  EXPECT_EQ(world_.Run({"agents", "history", "web-1", "--links"}), 0);
  EXPECT_THAT(console_.out,
              HasSubstr("link opened        2m     from 10.2.3.4:5"));
  EXPECT_THAT(console_.out, HasSubstr("link closed        2h     goodbye"));
  console_.out.clear();
  EXPECT_EQ(world_.Run({"agents", "history", "web-1", "--links", "--limit", "2",
                        "--no-headers"}),
            0);
  EXPECT_EQ(
      console_.out,
      "15:05:40 UTC  disputed           -      it was never ?[31moffline\n"
      "15:04:40 UTC  offline -> online  2m     (not stored yet)\n"
      "15:01:40 UTC  gateway blind      12.5s  the gateway's process "
      "stood still\n");
  EXPECT_EQ(console_.err, "\n2 newest shown; --since or --limit for more.\n");
}

TEST_F(HistoryTest, TreesHoldEveryListAndNamesAreSequences) {
  HasBeenAway();
  EXPECT_EQ(world_.Run({"agents", "history", "web-1", "-o", "json"}), 0);
  EXPECT_THAT(console_.out, HasSubstr(R"({"transitions":[{"sequence":3,)"));
  EXPECT_THAT(console_.out, HasSubstr(R"("notes":[{)"));
  EXPECT_THAT(console_.out, HasSubstr(R"("blind_intervals":[{)"));
  EXPECT_THAT(console_.out, testing::Not(HasSubstr("next_page_token")));
  console_.out.clear();
  EXPECT_EQ(world_.Run({"agents", "history", "web-1", "-o", "yaml"}), 0);
  EXPECT_THAT(console_.out, HasSubstr("transitions:\n  - sequence: 3\n"));
  console_.out.clear();
  EXPECT_EQ(world_.Run({"agents", "history", "web-1", "-o", "name"}), 0);
  EXPECT_EQ(console_.out, "3\n2\n1\n");
}

TEST_F(HistoryTest, EveryPageIsReadUpToTheLimit) {
  v1::ListTransitionsResponse first, second;
  *first.add_transitions() = Transition(2, v1::STATUS_STALE, v1::STATUS_OFFLINE,
                                        Ago(absl::Minutes(1)));
  first.set_next_page_token("p 2");
  *second.add_transitions() =
      Transition(1, v1::STATUS_ONLINE, v1::STATUS_STALE, Ago(absl::Minutes(2)));
  gateway_.On(std::string(kHistory) + "transitions", Ok(first));
  gateway_.On(std::string(kHistory) + "transitions", Ok(second));
  gateway_.On(std::string(kHistory) + "notes", Ok(v1::ListNotesResponse()));
  gateway_.On("GET /api/blind-intervals", Ok(v1::ListBlindIntervalsResponse()));
  EXPECT_EQ(world_.Run({"agents", "history", "web-1", "-o", "name"}), 0);
  EXPECT_EQ(console_.out, "2\n1\n");
  EXPECT_THAT(gateway_.Targets()[2], HasSubstr("limit=49&page_token=p%202"));
}

TEST_F(HistoryTest, AnOfflineThatShouldNotHaveBeenSaidIsMarked) {
  v1::ListTransitionsResponse page;
  v1::Transition& t = *page.add_transitions();
  t = Transition(7, v1::STATUS_STALE, v1::STATUS_OFFLINE,
                 Ago(absl::Minutes(1)));
  t.set_disputed(true);
  t.set_summary("silent, no link");
  gateway_.On(std::string(kHistory) + "transitions", Ok(page));
  gateway_.On(std::string(kHistory) + "notes", Ok(v1::ListNotesResponse()));
  gateway_.On("GET /api/blind-intervals", Ok(v1::ListBlindIntervalsResponse()));
  EXPECT_EQ(world_.Run({"agents", "history", "web-1"}), 0);
  EXPECT_THAT(console_.out, HasSubstr("silent, no link (disputed)"));
}

TEST_F(HistoryTest, IncidentsAndTheGatewaysOwnTroubleAreOneTable) {
  HasBeenAway();
  v1::ListIncidentsResponse incidents;
  v1::Incident* i = incidents.add_incidents();
  i->set_incident_id("01a2-5b01c7");
  i->set_group("10.2.3.0/24");
  i->set_machines(41);
  i->set_summary("41 machines silent within 2 s");
  i->set_cause(v1::CAUSE_NETWORK_GROUP);
  i->set_confidence(v1::CONFIDENCE_LIKELY);
  *i->mutable_opened_at() = Ago(absl::Minutes(3));
  gateway_.On("GET /api/incidents", Ok(incidents));
  EXPECT_EQ(world_.Run({"incidents", "--since", "24h"}), 0) << console_.err;
  EXPECT_EQ(console_.out,
            "OPENED        INCIDENT  STATE  FOR    MACHINES  GROUP        WHY\n"
            "15:03:40 UTC  ~5b01c7   open   3m     41        10.2.3.0/24  41 "
            "machines silent within 2 s\n"
            "15:01:40 UTC  gateway   blind  12.5s  all       -            the "
            "gateway's process stood still\n");
  console_.out.clear();
  EXPECT_EQ(world_.Run({"incidents", "-o", "name"}), 0);
  EXPECT_EQ(console_.out, "01a2-5b01c7\n");
}

TEST_F(HistoryTest, WhereNothingHappenedThatIsSaid) {
  gateway_.On("GET /api/incidents", Ok(v1::ListIncidentsResponse()));
  gateway_.On("GET /api/blind-intervals", Ok(v1::ListBlindIntervalsResponse()));
  EXPECT_EQ(world_.Run({"incidents"}), 0);
  EXPECT_EQ(console_.err, "No incidents.\n");
  EXPECT_THAT(console_.out, IsEmpty());
}

TEST_F(HistoryTest, WhatTheGatewayRefusesDecidesTheExitCode) {
  gateway_.On("GET /api/incidents", Refused(403, "permission_denied", "no"));
  EXPECT_EQ(world_.Run({"incidents"}), 4);
  EXPECT_EQ(world_.Run({"incidents", "--since", "yesterday"}), 2);
  EXPECT_THAT(console_.err, HasSubstr("--since"));
  EXPECT_EQ(world_.Run({"agents", "history"}), 2);
}

TEST_F(HistoryTest, StatusSaysSinceWhenPresenceCannotBeVouchedForAndWhy) {
  v1::GatewayStatus status;
  status.set_presence_confirmed(true);
  gateway_.On("GET /api/status", Ok(status));
  *status.mutable_unconfirmed_since() = Ago(absl::Minutes(3));
  status.set_unconfirmed_reason("no descriptor left");
  status.set_presence_confirmed(false);
  gateway_.On("GET /api/status", Ok(status));
  const auto presence = [this] {
    console_.out.clear();
    EXPECT_EQ(world_.Run({"status"}), 0) << console_.err;
    const size_t from = console_.out.find("Presence");
    return console_.out.substr(from, console_.out.find('\n', from) - from);
  };
  EXPECT_THAT(presence(), testing::EndsWith(" confirmed"));
  EXPECT_THAT(console_.err, IsEmpty());
  EXPECT_THAT(presence(), testing::EndsWith(
                              " unconfirmed since 15:03:40 UTC: no descriptor "
                              "left"));
  EXPECT_THAT(console_.err, HasSubstr("warning: not confirmed since 15:03:40"));
}

TEST_F(HistoryTest, WatchingShowsEachHeartbeatAndWhatElseChanges) {
  v1::WatchHeartbeatsResponse answer;
  answer.set_status(v1::STATUS_ONLINE);
  answer.set_next(17);
  *answer.mutable_heartbeat_interval() = wire::ToProto(absl::Seconds(30));
  gateway_.On(std::string(kHistory) + "heartbeats", Ok(answer));
  v1::HeartbeatSample* beat = answer.add_heartbeats();
  beat->set_epoch(7);
  beat->set_sequence(812);
  *beat->mutable_at() = Ago(absl::Milliseconds(4));
  *beat->mutable_round_trip() = wire::ToProto(absl::Microseconds(1300));
  *beat->mutable_clock_skew() = wire::ToProto(absl::Milliseconds(-3));
  answer.set_next(18);
  gateway_.On(std::string(kHistory) + "heartbeats", Ok(answer));
  beat = answer.mutable_heartbeats(0);
  beat->set_epoch(8);
  beat->set_sequence(1);
  beat->clear_round_trip();
  beat->clear_clock_skew();
  answer.set_status(v1::STATUS_STALE);
  answer.set_missed(2);
  gateway_.On(std::string(kHistory) + "heartbeats", Ok(answer));
  EXPECT_EQ(world_.Run({"agents", "watch", "web-1", "--count", "2"}), 0);
  EXPECT_EQ(console_.out,
            "TIME          SEQ       RTT     SKEW\n"
            "15:06:39.996  812       1ms     -3ms\n"
            "15:06:39.996  1         -       -\n");
  EXPECT_EQ(console_.err,
            "web-1 is online; a heartbeat is due every 30.0s\n"
            "web-1 is stale; a heartbeat is due every 30.0s\n"
            "2 missed\n"
            "a new link, epoch 8\n");
  EXPECT_THAT(
      gateway_.Targets(),
      ElementsAre("GET /api/resolve?name=web-1",
                  std::string(kHistory) + "heartbeats",
                  std::string(kHistory) + "heartbeats?after=17&wait=5s",
                  std::string(kHistory) + "heartbeats?after=18&wait=5s"));
}

TEST_F(HistoryTest, WatchingOneOfSeveralOfANameSaysWhichOneItIs) {
  web_1_.set_name("web-1~c07e55");
  v1::WatchHeartbeatsResponse answer;
  answer.set_status(v1::STATUS_ONLINE);
  answer.add_heartbeats();
  gateway_.On(std::string(kHistory) + "heartbeats", Ok(answer));
  EXPECT_EQ(world_.Run({"agents", "watch", "web-1~c07e55", "--count", "1"}), 0);
  EXPECT_THAT(console_.err, testing::StartsWith("web-1~c07e55 is online;"));
}

TEST_F(HistoryTest, WatchingMarksAStatusThatTheGatewayCannotVouchFor) {
  web_1_.set_confirmed(false);
  v1::WatchHeartbeatsResponse answer;
  answer.set_status(v1::STATUS_ONLINE);
  gateway_.On(std::string(kHistory) + "heartbeats", Ok(answer));
  answer.set_status(v1::STATUS_STALE);  // It has been judged since.
  answer.add_heartbeats();
  gateway_.On(std::string(kHistory) + "heartbeats", Ok(answer));
  EXPECT_EQ(world_.Run({"agents", "watch", "web-1", "--count", "1"}), 0);
  EXPECT_THAT(console_.err, testing::StartsWith("web-1 is online?;"));
  EXPECT_THAT(console_.err, HasSubstr("\nweb-1 is stale;"));
}

TEST_F(HistoryTest, WatchingWaitsForAGatewayThatRestarts) {
  const std::string path = std::string(kHistory) + "heartbeats";
  v1::WatchHeartbeatsResponse answer;
  answer.set_status(v1::STATUS_ONLINE);
  answer.set_next(17);
  *answer.mutable_heartbeat_interval() = wire::ToProto(absl::Seconds(30));
  gateway_.On(path, Ok(answer));
  const Reply gone = absl::UnavailableError("connection refused");
  gateway_.On(path, Refused(503, "unavailable", "the gateway stops"));
  for (int i = 0; i < 7; ++i) gateway_.On(path, gone);
  answer.add_heartbeats()->set_sequence(1);
  answer.set_next(9'001);
  gateway_.On(path, Ok(answer));
  EXPECT_EQ(
      world_.Run({"agents", "watch", "web-1", "--count", "1", "-o", "name"}),
      0);
  EXPECT_EQ(console_.out, "1\n");
  // 0.5 + 1 + 2 + 4 + 8 + 10 + 10 + 10 s.
  EXPECT_EQ(console_.err,
            "web-1 is online; a heartbeat is due every 30.0s\n"
            "warning: the gateway stops; asking again\n"
            "warning: connection refused; asking again\n"
            "the gateway answers again after 45.5s; heartbeats meanwhile "
            "may be missing\n");
}

TEST_F(HistoryTest, WatchingDoesNotWaitForWhatNeverComes) {
  const std::string path = std::string(kHistory) + "heartbeats";
  gateway_.On(path, absl::UnavailableError("connection refused"));
  EXPECT_EQ(world_.Run({"agents", "watch", "web-1"}), 5) << "not even begun";
}

TEST_F(HistoryTest, WatchingEndsWhenTheMachineIsRemoved) {
  const std::string path = std::string(kHistory) + "heartbeats";
  v1::WatchHeartbeatsResponse answer;
  answer.set_next(17);
  gateway_.On(path, Ok(answer));
  gateway_.On(path, Refused(404, "not_found", "no such agent"));
  EXPECT_EQ(world_.Run({"agents", "watch", "web-1"}), 3);
}

}  // namespace
}  // namespace muster::ctl
