#include "tools/musterctl/events_verb.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kRoute[] = "GET /api/events";

class EventsTest : public testing::Test {
 protected:
  EventsTest() {
    setenv("TZ", "UTC", 1);
    tzset();
  }

  v1::Event Event(const std::string& version, v1::EventKind kind,
                  const std::string& hostname) {
    v1::Event event;
    event.set_version(version);
    event.set_kind(kind);
    event.set_hostname(hostname);
    if (!hostname.empty()) event.set_agent_id("id-" + hostname + "-c07e55");
    *event.mutable_at() = wire::ToProto(world_.time.wall);
    return event;
  }
  v1::Event Stale(const std::string& version) {
    v1::Event event = Event(version, v1::EVENT_KIND_TRANSITION, "web-1");
    v1::Transition& t = *event.mutable_transition();
    t.set_from(v1::STATUS_ONLINE);
    t.set_to(v1::STATUS_STALE);
    t.set_summary("silent, link not closed");
    return event;
  }
  static v1::WatchEventsResponse Answer(const std::string& next,
                                        std::vector<v1::Event> events) {
    v1::WatchEventsResponse answer;
    answer.set_next(next);
    for (v1::Event& event : events) *answer.add_events() = std::move(event);
    return answer;
  }
  static v1::WatchEventsResponse Reset(const std::string& next,
                                       v1::EventReset reset) {
    v1::WatchEventsResponse answer = Answer(next, {});
    answer.set_reset(reset);
    return answer;
  }

  FakeWorld world_;
};

TEST_F(EventsTest, FollowingBeginsNowAndShowsALineForEach) {
  v1::Event incident = Event("3-3", v1::EVENT_KIND_INCIDENT, "");
  incident.mutable_incident()->set_machines(41);
  incident.mutable_incident()->set_group("10.2.3.0/24");
  incident.mutable_incident()->set_summary("silent with others");
  v1::Event blind = Event("3-4", v1::EVENT_KIND_BLIND_INTERVAL, "");
  blind.mutable_blind_interval()->set_reason(v1::BLIND_REASON_STOOD_STILL);
  world_.gateway.On(kRoute, Ok(Reset("3-1", v1::EVENT_RESET_START)));
  world_.gateway.On(kRoute, Ok(Answer("3-2", {Stale("3-2")})));
  world_.gateway.On(kRoute, Ok(Answer("3-4", {incident, blind})));
  EXPECT_EQ(world_.Run({"events", "-f", "--count", "3"}), 0);
  EXPECT_EQ(
      world_.console.out,
      "TIME          MACHINE                   WHAT                WHY\n"
      "15:06:40.000  web-1~c07e55              online -> stale     silent, "
      "link not closed\n"
      "15:06:40.000  -                         incident            41 machines "
      "of 10.2.3.0/24: silent with others\n"
      "15:06:40.000  -                         gateway blind       the "
      "gateway's process stood still\n");
  EXPECT_THAT(world_.console.err, IsEmpty());
  EXPECT_THAT(
      world_.gateway.Targets(),
      ElementsAre("GET /api/events", "GET /api/events?after=3-1&wait=15s",
                  "GET /api/events?after=3-2&wait=15s"));
}

TEST_F(EventsTest, MachinesOfOneNameAreToldApart) {
  v1::Event other = Stale("3-3");
  other.set_agent_id("id-web-1-8f1a2c");
  world_.gateway.On(kRoute, Ok(Answer("3-3", {Stale("3-2"), other})));
  world_.gateway.On(kRoute, Ok(Answer("3-3", {})));
  EXPECT_EQ(world_.Run({"events", "--since", "3-1", "--no-headers"}), 0);
  EXPECT_THAT(world_.console.out, HasSubstr("  web-1~c07e55  "));
  EXPECT_THAT(world_.console.out, HasSubstr("  web-1~8f1a2c  "));
}

TEST_F(EventsTest, WhatTheGatewayHasForgottenIsSaid) {
  world_.gateway.On(kRoute,
                    Ok(Reset("4-1", v1::EVENT_RESET_GATEWAY_RESTARTED)));
  EXPECT_EQ(world_.Run({"events", "--since", "3-9"}), 0);
  EXPECT_THAT(world_.console.out, IsEmpty());
  EXPECT_EQ(world_.console.err,
            "events before now are not known any more (gateway_restarted): "
            "musterctl agents ls\n");
}

TEST_F(EventsTest, WithoutFollowingItShowsWhatThereIsAndEnds) {
  world_.gateway.On(kRoute, Ok(Answer("3-3", {Stale("3-2"), Stale("3-3")})));
  world_.gateway.On(kRoute, Ok(Answer("3-3", {})));
  EXPECT_EQ(world_.Run({"events", "--since", "3-1", "-o", "name"}), 0);
  EXPECT_EQ(world_.console.out, "3-2\n3-3\n");
  EXPECT_EQ(world_.Run({"events"}), 2);
  EXPECT_THAT(world_.console.err, HasSubstr("needs -f"));
}

TEST_F(EventsTest, JsonIsALineForEachEvent) {
  world_.gateway.On(kRoute, Ok(Reset("3-1", v1::EVENT_RESET_START)));
  world_.gateway.On(kRoute, Ok(Answer("3-3", {Stale("3-2"), Stale("3-3")})));
  EXPECT_EQ(world_.Run({"events", "-f", "--count", "2", "-o", "json"}), 0);
  EXPECT_EQ(
      std::count(world_.console.out.begin(), world_.console.out.end(), '\n'),
      2);
  EXPECT_THAT(world_.console.out, HasSubstr(R"({"version":"3-3",)"));
}

TEST_F(EventsTest, AGatewayThatIsAwayIsWaitedForOnceItHasAnswered) {
  world_.gateway.On(kRoute, absl::UnavailableError("connection refused"));
  EXPECT_EQ(world_.Run({"events", "-f"}), 5);
  FakeWorld world;
  world.gateway.On(kRoute, Ok(Reset("3-1", v1::EVENT_RESET_START)));
  world.gateway.On(kRoute, absl::UnavailableError("connection refused"));
  world.gateway.On(kRoute, Ok(Reset("4-1", v1::EVENT_RESET_GATEWAY_RESTARTED)));
  world.gateway.On(kRoute, Ok(Answer("4-2", {Stale("4-2")})));
  EXPECT_EQ(world.Run({"events", "-f", "--count", "1", "-o", "name"}), 0);
  EXPECT_EQ(world.console.out, "4-2\n");
  EXPECT_THAT(world.console.err, HasSubstr("answers again after"));
}

}  // namespace
}  // namespace muster::ctl
