// What happened, as an operator asks for it over REST.

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

using ::testing::IsEmpty;

// Every transition of machine `i`, read in pages of `limit`, oldest first.
std::vector<v1::Transition> AllTransitions(MiniFleet& fleet, int i,
                                           uint32_t limit) {
  std::vector<v1::Transition> all;
  v1::ListTransitionsRequest request;
  request.set_agent_id(fleet.agent_id(i));
  request.set_limit(limit);
  do {
    const auto page = fleet.rest().Call<v1::ListTransitionsResponse>(
        "ListTransitions", request);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) break;
    all.insert(all.begin(), page->transitions().rbegin(),
               page->transitions().rend());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return all;
}

TEST(HistoryTest, AStopAndAStartAreToldAsTheyWere) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  const auto written = fleet.Transitions(0);
  const std::vector<v1::Transition> told = AllTransitions(fleet, 0, 1);
  ASSERT_EQ(told.size(), written.size());
  for (size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].sequence(), i + 1);
    EXPECT_EQ(int{told[i].to()}, static_cast<int>(written[i].to));
    EXPECT_TRUE(told[i].durable());
  }
  EXPECT_EQ(told.back().to(), v1::STATUS_OFFLINE);
  EXPECT_EQ(told.back().cause(), v1::CAUSE_AGENT_STOPPED);

  v1::ListLinksRequest request;
  request.set_agent_id(fleet.agent_id(0));
  EXPECT_TRUE(Eventually([&] {
    const auto links =
        fleet.rest().Call<v1::ListLinksResponse>("ListLinks", request);
    return links.ok() && links->links_size() > 0 &&
           links->links(0).ended() == v1::LINK_END_GOODBYE;
  })) << "its last link ended with a goodbye";
}

TEST(HistoryTest, ARestartOfTheGatewayIsInItsOwnHistoryOnly) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const size_t before = AllTransitions(fleet, 0, 100).size();
  const uint64_t epoch = fleet.Record(0).epoch;
  fleet.RestartGateway();
  ASSERT_TRUE(Eventually([&] { return fleet.Record(0).epoch > epoch; }));
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  EXPECT_EQ(AllTransitions(fleet, 0, 100).size(), before);
  const auto blind = fleet.rest().Call<v1::ListBlindIntervalsResponse>(
      "ListBlindIntervals", v1::ListBlindIntervalsRequest());
  ASSERT_TRUE(blind.ok()) << blind.status();
  ASSERT_GT(blind->blind_intervals_size(), 0);
  EXPECT_EQ(blind->blind_intervals(0).reason(), v1::BLIND_REASON_NOT_RUNNING);
  const auto incidents = fleet.rest().Call<v1::ListIncidentsResponse>(
      "ListIncidents", v1::ListIncidentsRequest());
  ASSERT_TRUE(incidents.ok()) << incidents.status();
  EXPECT_THAT(incidents->incidents(), IsEmpty());
}

TEST(HistoryTest, AWatcherSeesHeartbeatsOneAfterTheOther) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  v1::WatchHeartbeatsRequest request;
  request.set_agent_id(fleet.agent_id(0));
  *request.mutable_wait() = wire::ToProto(absl::Seconds(20));
  std::vector<uint64_t> sequences;
  while (sequences.size() < 3) {
    const auto answer = fleet.rest().Call<v1::WatchHeartbeatsResponse>(
        "WatchHeartbeats", request, {.wait = absl::Seconds(20)});
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_GT(answer->heartbeats_size(), 0) << "none within 20 s";
    EXPECT_EQ(answer->missed(), 0u);
    for (const v1::HeartbeatSample& h : answer->heartbeats()) {
      EXPECT_TRUE(h.has_clock_skew());
      sequences.push_back(h.sequence());
    }
    request.set_after(answer->next());
  }
  for (size_t i = 1; i < sequences.size(); ++i) {
    EXPECT_EQ(sequences[i], sequences[i - 1] + 1);
  }
}

TEST(HistoryTest, WhatIsAskedWronglyIsRefusedByName) {
  MiniFleet fleet;
  v1::ListTransitionsRequest request;
  request.set_agent_id("2ee09ba5-e227-400b-993e-6a97faaff50d");
  EXPECT_EQ(ProblemCode(fleet.rest()
                            .Call<v1::ListTransitionsResponse>(
                                "ListTransitions", request)
                            .status()),
            "not_found");
  const auto bad = fleet.rest().Get("/api/incidents?since=yesterday");
  ASSERT_TRUE(bad.ok()) << bad.status();
  EXPECT_EQ(bad->status, 400);
  EXPECT_THAT(bad->body,
              ::testing::HasSubstr("since: expected a time such as"));
}

}  // namespace
}  // namespace muster::integration
