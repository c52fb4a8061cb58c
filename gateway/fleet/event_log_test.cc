#include "gateway/fleet/event_log.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const OrgId kOther("other");

Event NoteOf(const OrgId& org, const std::string& text) {
  NoteRecord note;
  note.text = text;
  return {.org = org, .what = std::move(note)};
}

std::vector<std::string> TextsOf(const EventLog::Reading& reading) {
  std::vector<std::string> texts;
  for (const Event* event : reading.events) {
    texts.push_back(std::get<NoteRecord>(event->what).text);
  }
  return texts;
}

class EventLogTest : public ::testing::Test {
 protected:
  EventLogTest() { log_.BeginRun(7, absl::FromUnixSeconds(1000)); }

  void Say(const std::string& text) { log_.Publish(NoteOf(kOrg, text)); }

  EventLog log_{{.kept_max = 4}};
};

TEST_F(EventLogTest, AReaderWithoutAVersionIsToldWhereItBegins) {
  Say("before");
  const auto start = log_.Read(kOrg, std::nullopt, 10);
  EXPECT_THAT(start.events, IsEmpty());
  EXPECT_EQ(start.reset, EventReset::kStart);
  Say("after");
  const auto next = log_.Read(kOrg, start.next, 10);
  EXPECT_THAT(TextsOf(next), ElementsAre("after"));
  EXPECT_EQ(next.reset, std::nullopt);
  EXPECT_EQ(next.events[0]->version, next.next);
}

TEST_F(EventLogTest, AReaderIsGivenAtMostSoManyAndGoesOnAfterThem) {
  const auto start = log_.Read(kOrg, std::nullopt, 10).next;
  for (const char* text : {"1", "2", "3"}) Say(text);
  const auto two = log_.Read(kOrg, start, 2);
  EXPECT_THAT(TextsOf(two), ElementsAre("1", "2"));
  const auto rest = log_.Read(kOrg, two.next, 2);
  EXPECT_THAT(TextsOf(rest), ElementsAre("3"));
  EXPECT_THAT(log_.Read(kOrg, rest.next, 2).events, IsEmpty());
  EXPECT_EQ(log_.Read(kOrg, rest.next, 2).next, rest.next);
}

TEST_F(EventLogTest, AReaderThatIsTooLateIsToldSo) {
  const auto start = log_.Read(kOrg, std::nullopt, 10).next;
  for (int i = 0; i < 4; ++i) Say("kept");
  EXPECT_EQ(log_.Read(kOrg, start, 10).events.size(), 4u);
  Say("one more");
  const auto late = log_.Read(kOrg, start, 10);
  EXPECT_EQ(late.reset, EventReset::kTooOld);
  EXPECT_THAT(late.events, IsEmpty());
  EXPECT_EQ(late.next.number, start.number + 5);
}

TEST_F(EventLogTest, AVersionOfAnotherLifeIsNotMistakenForOneOfThis) {
  Say("said");
  const EventVersion mine = log_.Read(kOrg, std::nullopt, 10).next;
  const auto reset_of = [&](EventVersion version) {
    return log_.Read(kOrg, version, 10).reset;
  };
  EXPECT_EQ(reset_of(mine), std::nullopt);
  EXPECT_EQ(reset_of({mine.run - 1, mine.number}),
            EventReset::kGatewayRestarted);
  EXPECT_EQ(reset_of({mine.run, mine.number + 1}),
            EventReset::kGatewayRestarted);
  // A restored copy of the database gives run 7 again, a day later.
  EventLog restored({.kept_max = 4});
  restored.BeginRun(7, absl::FromUnixSeconds(1000) + absl::Hours(24));
  for (int i = 0; i < 3; ++i) restored.Publish(NoteOf(kOrg, "other"));
  EXPECT_EQ(restored.Read(kOrg, mine, 10).reset, EventReset::kGatewayRestarted);
}

TEST_F(EventLogTest, EachOrgHasAStreamOfItsOwn) {
  const auto mine = log_.Read(kOrg, std::nullopt, 10).next;
  const auto theirs = log_.Read(kOther, std::nullopt, 10).next;
  Say("mine");
  log_.Publish(NoteOf(kOther, "theirs"));
  log_.Publish(NoteOf(OrgId(), "of all"));
  EXPECT_THAT(TextsOf(log_.Read(kOrg, mine, 10)),
              ElementsAre("mine", "of all"));
  EXPECT_THAT(TextsOf(log_.Read(kOther, theirs, 10)),
              ElementsAre("theirs", "of all"));
}

TEST_F(EventLogTest, AVersionIsReadAsItIsWritten) {
  const EventVersion version{7, 1'763'852'400'123'456};
  EXPECT_EQ(version.Text(), "7-1763852400123456");
  EXPECT_EQ(*EventVersion::Parse("after", version.Text()), version);
  for (const char* bad : {"", "7", "7-", "-1", "7-1 ", " 7-1", "7-1-2", "7--1",
                          "+7-1", "0x7-1", "7-99999999999999999999"}) {
    const auto parsed = EventVersion::Parse("after", bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_THAT(ToStd(parsed.status().message()), HasSubstr("after: must be"));
  }
}

// P11. Readers that come and go, slow ones among them; what each has put
// together is what was said.
TEST_F(EventLogTest, WhoeverResumesSeesEveryLaterEventOnceInOrderOrIsTold) {
  std::mt19937 random(11);
  const auto draw = [&](unsigned n) { return random() % n; };
  EventLog log({.kept_max = 64});
  log.BeginRun(1, absl::UnixEpoch());
  struct Reader {
    std::optional<EventVersion> at;
    std::vector<std::string> seen;  // Since its last snapshot.
  };
  std::vector<Reader> readers(20);
  std::vector<std::string> said;
  size_t resets = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (draw(2) == 0) {
      said.push_back(std::to_string(said.size()));
      log.Publish(NoteOf(kOrg, said.back()));
      log.Publish(NoteOf(kOther, "not for these"));
      continue;
    }
    const size_t who = draw(20) * draw(20) / 20;  // Some come seldom.
    Reader& reader = readers[who];
    const auto reading = log.Read(kOrg, reader.at, 1 + draw(8));
    for (std::string& text : TextsOf(reading)) {
      reader.seen.push_back(std::move(text));
    }
    if (reading.reset) {
      ++resets;
      reader.seen = said;  // A snapshot has it all.
    }
    reader.at = reading.next;
    ASSERT_LE(reader.seen.size(), said.size());
    ASSERT_TRUE(
        std::equal(reader.seen.begin(), reader.seen.end(), said.begin()))
        << "reader " << who << " at step " << step;
  }
  EXPECT_GT(resets, readers.size()) << "some were too late";
}

class Follower final : public EventTap {
 public:
  explicit Follower(EventLog& log) : log_(log) { log_.set_tap(this); }
  ~Follower() override { log_.set_tap(nullptr); }
  void OnEvent(const OrgId& org) override {
    const auto reading = log_.Read(org, after_, 100);
    for (const Event* event : reading.events) events.push_back(*event);
    after_ = reading.next;
  }
  std::vector<Event> events;

 private:
  EventLog& log_;
  std::optional<EventVersion> after_ = log_.Read(kOrg, std::nullopt, 1).next;
};

using FleetEventsTest = FleetTest;

TEST_F(FleetEventsTest, ATransitionIsToldInTheTurnInWhichItIsDecided) {
  const AgentId a = Admit("a");
  Follower follower(fleet_->events());
  journal_.Hold();  // Whatever the store does.
  Connect(a, link_);
  ASSERT_EQ(follower.events.size(), 1u);
  loop_.Advance(Seconds(75) - kTick);
  EXPECT_EQ(follower.events.size(), 1u);
  loop_.Advance(kTick);
  ASSERT_EQ(follower.events.size(), 2u);
  const Event& stale = follower.events[1];
  const auto& transition = std::get<TransitionRecord>(stale.what);
  EXPECT_EQ(stale.agent, a);
  EXPECT_EQ(stale.hostname, "a");
  EXPECT_EQ(stale.at, loop_.Wall());
  EXPECT_EQ(transition.from, Status::kOnline);
  EXPECT_EQ(transition.to, Status::kStale);
  EXPECT_EQ(transition.verdict->summary, "silent, link not closed");
  EXPECT_EQ(stale.late, absl::ZeroDuration());
  EXPECT_EQ(follower.events[0].late, std::nullopt) << "no deadline decided it";
}

TEST_F(FleetEventsTest, MachinesThatJoinAndLeaveAreToldOnce) {
  Follower follower(fleet_->events());
  const AgentId a = Admit("a");
  fleet_->Admit(Of(a).record);  // Its registration is repeated.
  fleet_->Delete(kOrg, a, [](auto) {});
  fleet_->Delete(kOrg, a, [](auto) {});
  ASSERT_EQ(follower.events.size(), 2u);
  EXPECT_EQ(std::get<Membership>(follower.events[0].what),
            Membership::kAdmitted);
  EXPECT_EQ(std::get<Membership>(follower.events[1].what),
            Membership::kDeleted);
  EXPECT_EQ(follower.events[1].agent, a);
  EXPECT_EQ(follower.events[1].hostname, "a");
}

TEST_F(FleetEventsTest, ALateLoopSaysHowLateItJudged) {
  const AgentId a = Admit("a");
  Follower follower(fleet_->events());
  Connect(a, link_);
  loop_.Advance(Seconds(74));
  loop_.SuspendFor(Seconds(1.5));
  loop_.RunReady();
  ASSERT_EQ(follower.events.size(), 2u);
  EXPECT_EQ(follower.events[1].late, Seconds(0.5));
}

TEST_F(FleetEventsTest, WhatIsToldIsWhatTheHistoryKeeps) {
  Follower follower(fleet_->events());
  std::vector<FakeLink> links(6);
  for (size_t i = 0; i < links.size(); ++i) {
    const AgentId id = Admit(fmt::format("m{}", i));
    HelloNotice hello = Hello(id);
    hello.address = fmt::format("10.2.3.{}", i + 1);
    EXPECT_FALSE(fleet_->LinkOpened(id, hello, links[i]).has_value());
    echo_[id] = links[i].welcome->acknowledgement;
    EXPECT_TRUE(Beat(id, links[i].welcome->epoch));
  }
  loop_.Advance(Seconds(400));
  loop_.SuspendFor(Seconds(30));
  loop_.Advance(Seconds(1));
  std::map<AgentId, std::vector<TransitionRecord>> told;
  std::vector<BlindRecord> blind;
  std::map<std::string, IncidentRecord> incidents;
  for (const Event& event : follower.events) {
    if (const auto* t = std::get_if<TransitionRecord>(&event.what)) {
      told[t->agent].push_back(*t);
    } else if (const auto* b = std::get_if<BlindRecord>(&event.what)) {
      blind.push_back(*b);
    } else if (const auto* i = std::get_if<IncidentRecord>(&event.what)) {
      incidents[i->id] = *i;
    }
  }
  EXPECT_EQ(told, journal_.transitions);
  EXPECT_EQ(blind, journal_.blind);
  EXPECT_EQ(incidents.size(), 1u);
  EXPECT_EQ(incidents, journal_.incidents);
}

}  // namespace
}  // namespace muster::gateway
