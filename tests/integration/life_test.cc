// The life of a machine, from its registration to its end.

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

using agent::Agent;
using ::testing::HasSubstr;

TEST(LifeTest, AJoinedMachineComesOnline) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto agent = fleet.Get(0);
  ASSERT_TRUE(agent.ok()) << agent.status();
  EXPECT_EQ(agent->hostname(), "m0");
  EXPECT_EQ(agent->agent_id(), fleet.agent_id(0));
  EXPECT_TRUE(agent->has_last_seen());
  EXPECT_TRUE(agent->confirmed());
  EXPECT_EQ(agent->address(), "127.0.0.1");
}

TEST(LifeTest, ACommandsBytesArriveExactly) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto ran =
      fleet.Run(0, R"(printf 'a\0b\xff\n'; printf 'e\0' >&2; exit 7)");
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_FAILED);
  EXPECT_EQ(ran->command.exit_code(), 7);
  EXPECT_EQ(ran->out, std::string("a\0b\xff\n", 5));
  EXPECT_EQ(ran->err, std::string("e\0", 2));
}

TEST(LifeTest, AMebibyteOfOutputArrivesWhole) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto ran =
      fleet.Run(0, "for i in $(seq -w 1 131072); do echo 0$i; done");
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SUCCEEDED);
  ASSERT_EQ(ran->out.size(), 1u << 20);
  EXPECT_EQ(ran->out.substr(0, 8), "0000001\n");
  EXPECT_EQ(ran->out.substr(ran->out.size() - 8), "0131072\n");
  EXPECT_EQ(std::count(ran->out.begin(), ran->out.end(), '\n'), 131072);
}

TEST(LifeTest, ASignalIsToldApartFromAnExitCode) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto ran = fleet.Run(0, "kill -KILL $$");
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SIGNALED);
  EXPECT_EQ(ran->command.signal(), 9);
}

TEST(LifeTest, AStoppedAgentIsStaleThenOfflineAndComesBackAsItself) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const std::string id = fleet.agent_id(0);
  fleet.StopAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  EXPECT_EQ(fleet.Get(0)->cause(), v1::CAUSE_AGENT_STOPPED);
  const auto history = fleet.Transitions(0);
  ASSERT_GE(history.size(), 2u);
  EXPECT_EQ(history[history.size() - 2].to, gateway::Status::kStale);
  fleet.StartAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  EXPECT_EQ(fleet.agent_id(0), id);
}

TEST(LifeTest, ADeletedMachineIsToldSoAndStops) {
  MiniFleet fleet({.agents = 2});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  v1::DeleteAgentRequest request;
  request.set_agent_id(fleet.agent_id(0));
  const auto deleted =
      fleet.rest().Call<v1::DeleteAgentResponse>("DeleteAgent", request);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(fleet.WaitForEnd(0), Agent::End::kDeregistered);
  EXPECT_EQ(ProblemCode(fleet.Get(0).status()), "not_found");
  EXPECT_EQ(fleet.Get(1)->status(), v1::STATUS_ONLINE);
}

TEST(LifeTest, ADeletedMachineStaysRefusedAfterAGatewayRestart) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  v1::DeleteAgentRequest request;
  request.set_agent_id(fleet.agent_id(0));
  ASSERT_TRUE(
      fleet.rest().Call<v1::DeleteAgentResponse>("DeleteAgent", request).ok());
  fleet.RestartGateway();
  fleet.StartAgent(0);
  EXPECT_EQ(fleet.WaitForEnd(0), Agent::End::kDeregistered);
}

TEST(LifeTest, AWipedMachineJoinsAsANewOne) {
  MiniFleet fleet;
  const std::string before = fleet.agent_id(0);
  fleet.WipeAgent(0);
  fleet.StartAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  EXPECT_NE(fleet.agent_id(0), before);
}

TEST(LifeTest, AMachineThatNeverConnectsGoesOfflineForThatReason) {
  MiniFleet fleet({.agents = 0, .presence = QuickPresence()});
  const Credentials machine = fleet.Register("ghost");
  v1::GetAgentRequest request;
  request.set_agent_id(machine.agent_id);
  absl::StatusOr<v1::Agent> agent;
  ASSERT_TRUE(Eventually([&] {
    agent = fleet.rest().Call<v1::Agent>("GetAgent", request);
    return agent.ok() && agent->status() == v1::STATUS_OFFLINE;
  }));
  EXPECT_EQ(agent->cause(), v1::CAUSE_NEVER_CONNECTED);
  EXPECT_FALSE(agent->has_last_seen());
}

TEST(LifeTest, LabelsSelectMachinesAndOutliveTheGateway) {
  MiniFleet fleet({.agents = 2});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  v1::SetLabelsRequest set;
  set.set_agent_id(fleet.agent_id(1));
  (*set.mutable_set())["role"] = "db";
  const auto labelled = fleet.rest().Call<v1::Agent>("SetLabels", set);
  ASSERT_TRUE(labelled.ok()) << labelled.status();
  fleet.RestartGateway();
  const auto matches = [&](const std::string& term) {
    v1::ListAgentsRequest list;
    list.add_label(term);
    std::vector<std::string> names;
    const auto answer =
        fleet.rest().Call<v1::ListAgentsResponse>("ListAgents", list);
    EXPECT_TRUE(answer.ok()) << answer.status();
    for (const v1::Agent& agent : answer->agents()) {
      names.push_back(agent.hostname());
    }
    return names;
  };
  EXPECT_THAT(matches("role=db"), testing::ElementsAre("m1"));
  EXPECT_THAT(matches("role!=db"), testing::ElementsAre("m0"));
  EXPECT_THAT(matches("role"), testing::ElementsAre("m1"));
}

TEST(LifeTest, TheListFiltersByStatusAndNameAndCountsAll) {
  MiniFleet fleet({.agents = 3});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  fleet.StopAgent(1);
  ASSERT_TRUE(fleet.WaitForStatus(1, v1::STATUS_STALE));
  v1::ListAgentsRequest list;
  list.add_status(v1::STATUS_ONLINE);
  list.set_hostname("m?");
  list.set_limit(1);
  auto page = fleet.rest().Call<v1::ListAgentsResponse>("ListAgents", list);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->agents_size(), 1);
  EXPECT_EQ(page->agents(0).hostname(), "m0");
  EXPECT_EQ(page->matched(), 2u);
  EXPECT_EQ(page->counts().online(), 2u);
  EXPECT_EQ(page->counts().stale(), 1u);
  list.set_page_token(page->next_page_token());
  page = fleet.rest().Call<v1::ListAgentsResponse>("ListAgents", list);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->agents_size(), 1);
  EXPECT_EQ(page->agents(0).hostname(), "m2");
  EXPECT_TRUE(page->next_page_token().empty());
}

TEST(LifeTest, FleetsSideBySideDoNotMeet) {
  MiniFleet one({.agents = 2}), two({.agents = 2});
  ASSERT_TRUE(one.WaitForAllOnline());
  ASSERT_TRUE(two.WaitForAllOnline());
  EXPECT_EQ(one.Run(0, "echo one")->out, "one\n");
  EXPECT_EQ(two.Run(0, "echo two")->out, "two\n");
  v1::GetAgentRequest request;
  request.set_agent_id(one.agent_id(0));
  EXPECT_EQ(
      ProblemCode(two.rest().Call<v1::Agent>("GetAgent", request).status()),
      "not_found");
}

}  // namespace
}  // namespace muster::integration
