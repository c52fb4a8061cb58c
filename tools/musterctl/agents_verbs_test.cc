#include "tools/musterctl/agents_verbs.h"

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

v1::Agent Agent(const FakeWorld& world, const std::string& hostname,
                const std::string& id, v1::Status status,
                absl::Duration since = absl::Hours(2)) {
  v1::Agent agent;
  agent.set_hostname(hostname);
  agent.set_name(hostname);
  agent.set_agent_id(id);
  agent.set_status(status);
  agent.set_confirmed(true);
  *agent.mutable_status_since() = wire::ToProto(world.time.wall - since);
  *agent.mutable_last_seen() = agent.status_since();
  return agent;
}

class AgentsTest : public testing::Test {
 protected:
  void Resolves(const v1::Agent& agent) {
    v1::ResolveAgentResponse response;
    *response.mutable_agent() = agent;
    world_.gateway.On("GET /api/resolve", Ok(response));
  }
  v1::Agent Web1(v1::Status status = v1::STATUS_ONLINE) {
    return Agent(world_, "web-1", "id-web-1-c07e55", status);
  }

  FakeWorld world_;
  FakeConsole& console_ = world_.console;
  FakeGateway& gateway_ = world_.gateway;
};

TEST_F(AgentsTest, PipedEveryPageIsReadAndThereIsNoFooter) {
  v1::ListAgentsResponse first, second;
  *first.add_agents() = Agent(world_, "a", "id-a", v1::STATUS_OFFLINE);
  first.set_next_page_token("p 2");
  *second.add_agents() = Agent(world_, "b", "id-b", v1::STATUS_ONLINE);
  gateway_.On("GET /api/agents", Ok(first));
  gateway_.On("GET /api/agents", Ok(second));
  EXPECT_EQ(world_.Run({"agents", "ls"}), 0);
  EXPECT_EQ(console_.out,
            "MACHINE  STATUS   FOR  LAST SEEN  WHY  LABELS\n"
            "a        offline  2h   2h         -    -\n"
            "b        online   2h   2h         -    -\n");
  EXPECT_THAT(console_.err, IsEmpty());
  EXPECT_THAT(gateway_.Targets(),
              ElementsAre("GET /api/agents?limit=1000",
                          "GET /api/agents?limit=1000&page_token=p%202"));
}

TEST_F(AgentsTest, ATerminalShowsFiftyAndTheFooterOnStderr) {
  v1::ListAgentsResponse page;
  *page.add_agents() = Agent(world_, "a", "id-a", v1::STATUS_ONLINE);
  page.set_next_page_token("more");
  page.mutable_counts()->set_online(3000);
  page.set_matched(3000);
  for (int i = 1; i < 50; ++i) *page.add_agents() = page.agents(0);
  gateway_.On("GET /api/agents", Ok(page));
  console_.terminal = true;
  console_.columns = 100;
  EXPECT_EQ(world_.Run({"agents", "ls", "--color", "never"}), 0);
  EXPECT_THAT(gateway_.Targets(), ElementsAre("GET /api/agents?limit=50"));
  EXPECT_EQ(console_.err,
            "\n0 offline, 0 stale, 3,000 online. 50 of 3,000 shown, problems "
            "first; --all for the rest.\n");
}

TEST_F(AgentsTest, ColourIsForTerminalsUnlessSaidOtherwise) {
  v1::ListAgentsResponse page;
  *page.add_agents() = Agent(world_, "a", "id-a", v1::STATUS_ONLINE);
  gateway_.On("GET /api/agents", Ok(page));
  const std::string painted = "\x1b[32monline\x1b[0m";
  const auto out = [&](std::vector<std::string> arguments) {
    console_.out.clear();
    EXPECT_EQ(world_.Run(std::move(arguments)), 0);
    return console_.out;
  };
  EXPECT_THAT(out({"agents", "ls"}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(out({"agents", "ls", "--color", "always"}), HasSubstr(painted));
  console_.terminal = true;
  EXPECT_THAT(out({"agents", "ls"}), HasSubstr(painted));
  world_.environment["NO_COLOR"] = "1";
  EXPECT_THAT(out({"agents", "ls"}), Not(HasSubstr("\x1b")));
}

TEST_F(AgentsTest, FiltersBecomeQueryParameters) {
  gateway_.On("GET /api/agents", Ok(v1::ListAgentsResponse()));
  EXPECT_EQ(
      world_.Run({"agents", "ls", "--status", "offline,stale", "-l", "env=prod",
                  "-l", "x!=ü", "--hostname", "web-*", "--limit", "7"}),
      0);
  EXPECT_THAT(gateway_.Targets(),
              ElementsAre("GET /api/agents?status=offline&status=stale"
                          "&hostname=web-%2A&label=env%3Dprod"
                          "&label=x%21%3D%C3%BC&limit=7"));
}

TEST_F(AgentsTest, JsonIsTheAnswerItself) {
  const std::string body = R"({"agents": [], "new_field": 1})";
  gateway_.On("GET /api/agents", Json(200, body));
  EXPECT_EQ(world_.Run({"agents", "ls", "-o", "json"}), 0);
  EXPECT_EQ(console_.out, body + "\n");
}

TEST_F(AgentsTest, JsonOfSeveralPagesIsOneList) {
  gateway_.On("GET /api/agents",
              Json(200, R"({"agents":[{"hostname":"a"}],)"
                        R"("next_page_token":"2","matched":2})"));
  gateway_.On("GET /api/agents",
              Json(200, R"({"agents":[{"hostname":"b"}],)"
                        R"("next_page_token":"","matched":2})"));
  EXPECT_EQ(world_.Run({"agents", "ls", "-o", "json"}), 0);
  EXPECT_EQ(console_.out,
            "{\"agents\":[{\"hostname\":\"a\"},{\"hostname\":\"b\"}],"
            "\"next_page_token\":\"\",\"matched\":2}\n");
}

// Only the gateway knows whether another page, or no page at all, has the same.
TEST_F(AgentsTest, NamesAreThoseThatTheGatewayUnderstands) {
  v1::Agent one = Agent(world_, "web-1", "id-c07e55", v1::STATUS_ONLINE);
  one.set_name("web-1~c07e55");
  v1::ListAgentsResponse page;
  *page.add_agents() = one;
  *page.add_agents() = Agent(world_, "db-1", "id-000001", v1::STATUS_ONLINE);
  gateway_.On("GET /api/agents", Ok(page));
  EXPECT_EQ(world_.Run({"agents", "ls", "-o", "name"}), 0);
  EXPECT_EQ(console_.out, "web-1~c07e55\ndb-1\n");
  Resolves(one);
  gateway_.On("GET /api/agents/id-c07e55", Ok(one));
  console_.out.clear();
  EXPECT_EQ(world_.Run({"agents", "get", "web-1~c07e55", "-o", "name"}), 0);
  EXPECT_EQ(console_.out, "web-1~c07e55\n");
}

TEST_F(AgentsTest, AnEmptyFleetTellsHowToBegin) {
  gateway_.On("GET /api/agents", Ok(v1::ListAgentsResponse()));
  EXPECT_EQ(world_.Run({"agents", "ls"}), 0);
  EXPECT_THAT(console_.out, IsEmpty());
  EXPECT_THAT(console_.err,
              testing::StartsWith("No machines yet. On a machine run:\n"));
  EXPECT_THAT(console_.err, HasSubstr("musterctl tokens create"));
}

TEST_F(AgentsTest, AFilterThatMatchesNothingIsNoEmptyFleet) {
  v1::ListAgentsResponse page;
  page.mutable_counts()->set_online(3);
  gateway_.On("GET /api/agents", Ok(page));
  EXPECT_EQ(world_.Run({"agents", "ls", "--hostname", "x"}), 0);
  EXPECT_EQ(console_.err, "No machine matches.\n");
}

TEST_F(AgentsTest, WhatTheGatewayCannotVouchForCarriesAMarkAndTheReason) {
  v1::ListAgentsResponse page;
  *page.add_agents() = Agent(world_, "a", "id-a", v1::STATUS_ONLINE);
  page.mutable_agents(0)->set_confirmed(false);
  v1::GatewayStatus status;
  status.set_unconfirmed_reason("no descriptor left");
  gateway_.On("GET /api/agents", Ok(page));
  gateway_.On("GET /api/status", Ok(status));
  EXPECT_EQ(world_.Run({"agents", "ls", "--no-headers"}), 0);
  EXPECT_EQ(console_.out, "a  online?  2h  2h  -  -\n");
  EXPECT_EQ(console_.err,
            "warning: not confirmed: the gateway cannot hear machines (no "
            "descriptor left)\n");
}

TEST_F(AgentsTest, AgesAreMeasuredByTheGatewaysClock) {
  v1::ListAgentsResponse page;
  *page.add_agents() = Agent(world_, "a", "id-a", v1::STATUS_ONLINE);
  HttpResponse response = *Ok(page);
  response.headers.push_back(
      {"date", absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT",
                                world_.time.wall + absl::Hours(1),
                                absl::UTCTimeZone())});
  gateway_.On("GET /api/agents", Reply(response));
  EXPECT_EQ(world_.Run({"agents", "ls", "--no-headers"}), 0);
  EXPECT_EQ(console_.out, "a  online  3h  3h  -  -\n");
}

TEST_F(AgentsTest, TheNameOfAGatewayIsThatOfItsHost) {
  v1::GatewayStatus status;
  status.set_name("gw-1");
  gateway_.On("GET /api/status", Ok(status));
  EXPECT_EQ(world_.Run({"status", "-o", "name"}), 0);
  EXPECT_EQ(console_.out, "gw-1\n");
}

TEST_F(AgentsTest, ATypoSuggestsTheNearestName) {
  v1::ResolveAgentResponse response;
  response.add_suggestions("web-8");
  gateway_.On("GET /api/resolve", Ok(response));
  EXPECT_EQ(world_.Run({"agents", "get", "web-9"}), 3);
  EXPECT_EQ(console_.err,
            "error: agent \"web-9\" not found\nhint: did you mean web-8?\n");
  EXPECT_THAT(gateway_.Targets(), ElementsAre("GET /api/resolve?name=web-9"));
}

TEST_F(AgentsTest, AnAmbiguousNameListsTheCandidates) {
  v1::ResolveAgentResponse response;
  *response.add_candidates() =
      Agent(world_, "web-1", "id-c07e55", v1::STATUS_ONLINE);
  *response.add_candidates() = Agent(world_, "web-1", "id-8f1a2c",
                                     v1::STATUS_OFFLINE, absl::Hours(12 * 24));
  for (v1::Agent& agent : *response.mutable_candidates()) agent.clear_name();
  gateway_.On("GET /api/resolve", Ok(response));
  EXPECT_EQ(world_.Run({"agents", "get", "web-1"}), 6);
  EXPECT_EQ(console_.err,
            "error: agent \"web-1\" is one of 2 machines:\n"
            "  web-1~c07e55 online 2h\n"
            "  web-1~8f1a2c offline 12d\n"
            "hint: type one of these names\n");
}

TEST_F(AgentsTest, RemovingAsksOnATerminalAndNeedsAYesElsewhere) {
  Resolves(Web1());
  gateway_.On("DELETE /api/agents/id-web-1-c07e55",
              Json(200, R"({"agent_id":"id-web-1-c07e55"})"));
  EXPECT_EQ(world_.Run({"agents", "rm", "web-1"}), 2);
  EXPECT_THAT(gateway_.requests, IsEmpty());

  console_.terminal = true;
  console_.input = "n";
  EXPECT_EQ(world_.Run({"agents", "rm", "web-1"}), 1);
  EXPECT_THAT(gateway_.Targets(), ElementsAre("GET /api/resolve?name=web-1"));

  console_.input = "y";
  EXPECT_EQ(world_.Run({"agents", "rm", "web-1"}), 0);
  console_.terminal = false;
  EXPECT_EQ(world_.Run({"agents", "rm", "web-1", "-y"}), 0);
  EXPECT_EQ(gateway_.requests.back().method, "DELETE");
}

TEST_F(AgentsTest, LabelsAreSetAndRemovedInOneCall) {
  Resolves(Web1());
  v1::Agent labelled = Web1();
  (*labelled.mutable_labels())["env"] = "prod";
  gateway_.On("PATCH /api/agents/id-web-1-c07e55/labels", Ok(labelled));
  EXPECT_EQ(world_.Run({"agents", "label", "web-1", "env=prod", "old-"}), 0);
  EXPECT_EQ(gateway_.requests.back().body,
            R"({"set":{"env":"prod"},"remove":["old"]})");
  EXPECT_EQ(console_.out, "web-1  env=prod\n");
  EXPECT_EQ(world_.Run({"agents", "label", "web-1", "nonsense"}), 2);
}

TEST_F(AgentsTest, WaitingEndsWithTheStatusOrWithACodeOfItsOwn) {
  Resolves(Web1(v1::STATUS_OFFLINE));
  const std::string get = "GET /api/agents/id-web-1-c07e55";
  gateway_.On(get, Ok(Web1(v1::STATUS_OFFLINE)));
  gateway_.On(get, Reply(absl::UnavailableError("restarting")));
  gateway_.On(get, Ok(Web1(v1::STATUS_ONLINE)));
  EXPECT_EQ(world_.Run({"agents", "wait", "web-1"}), 0);
  EXPECT_EQ(console_.err, "web-1 is online.\n");

  console_.err.clear();
  EXPECT_EQ(world_.Run({"agents", "wait", "web-1", "--for", "stale",
                        "--timeout", "2s"}),
            124);
  EXPECT_EQ(console_.err,
            "error: web-1 is still online after 2.0s, not stale\n");
}

TEST_F(AgentsTest, OneOfSeveralOfANameIsToldApartInEveryAnswer) {
  v1::Agent agent = Web1();
  agent.set_name("web-1~c07e55");
  Resolves(agent);
  gateway_.On("PATCH /api/agents/id-web-1-c07e55/labels", Ok(agent));
  EXPECT_EQ(world_.Run({"agents", "label", "web-1~c07e55", "old-"}), 0);
  EXPECT_EQ(console_.out, "web-1~c07e55  -\n");
  EXPECT_EQ(world_.Run({"agents", "wait", "web-1~c07e55"}), 0);
  EXPECT_EQ(console_.err, "web-1~c07e55 is online.\n");
  console_.err.clear();
  EXPECT_EQ(world_.Run({"agents", "wait", "web-1~c07e55", "--for", "stale",
                        "--timeout", "0s"}),
            124);
  EXPECT_THAT(console_.err, testing::StartsWith("error: web-1~c07e55 is "));
}

struct ErrorCase {
  std::string name;
  Reply reply;
  int code;
};
void PrintTo(const ErrorCase& c, std::ostream* os) { *os << c.name; }

class ErrorCodeTest : public testing::TestWithParam<ErrorCase> {};

TEST_P(ErrorCodeTest, HasItsOwnExitCode) {
  FakeWorld world;
  world.gateway.On("GET /api/status", GetParam().reply);
  EXPECT_EQ(world.Run({"status"}), GetParam().code);
  EXPECT_THAT(world.console.err, testing::StartsWith("error: "));
  EXPECT_THAT(world.console.out, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    , ErrorCodeTest,
    testing::Values(
        ErrorCase{"BadArgument", Refused(400, "invalid_argument", "x"), 2},
        ErrorCase{"Precondition", Refused(400, "failed_precondition", "x"), 1},
        ErrorCase{"AgentUnreachable", Refused(400, "agent_unreachable", "x"),
                  7},
        ErrorCase{"NoToken", Refused(401, "unauthenticated", "x"), 4},
        ErrorCase{"NotAllowed", Refused(403, "permission_denied", "x"), 4},
        ErrorCase{"NotFound", Refused(404, "not_found", "x"), 3},
        ErrorCase{"Conflict", Refused(409, "aborted", "x"), 6},
        ErrorCase{"TooMany", Refused(429, "resource_exhausted", "x"), 1},
        ErrorCase{"Bug", Refused(500, "internal", "x"), 1},
        ErrorCase{"Draining", Refused(503, "unavailable", "x"), 5},
        ErrorCase{"ProxysPage", Json(502, "<html>"), 5},
        ErrorCase{"NotOurs", Json(200, "<html>"), 1},
        ErrorCase{"Unreachable", Reply(absl::UnavailableError("refused")), 5},
        ErrorCase{"Slow", Reply(absl::DeadlineExceededError("30 s")), 5}),
    [](const auto& test) { return test.param.name; });

TEST(ErrorTest, WithJsonItIsTheGatewaysProblemObject) {
  FakeWorld world;
  const Reply refused = Refused(404, "not_found", "no such command");
  world.gateway.On("GET /api/commands/c", refused);
  EXPECT_EQ(world.Run({"commands", "get", "c", "-o", "json"}), 3);
  EXPECT_EQ(world.console.err, refused->body + "\n");
}

TEST(TokensTest, CreatingPrintsExactlyTheJoinScript) {
  FakeWorld world;
  v1::CreateTokenResponse response;
  response.set_join_script("curl … <<'EOF'\nmst_join_x\nEOF\n");
  response.set_web_loopback(true);
  response.mutable_token()->set_uses_max(1);
  world.gateway.On("POST /api/tokens", Ok(response));
  EXPECT_EQ(world.Run({"tokens", "create", "--ttl", "1h", "--uses", "2", "-l",
                       "env=prod"}),
            0);
  EXPECT_EQ(world.console.out, response.join_script());
  EXPECT_THAT(world.console.err, HasSubstr("only reachable on its own host"));
  EXPECT_EQ(world.gateway.requests.back().body,
            R"({"ttl":"3600s","uses_max":2,"labels":{"env":"prod"}})");
}

TEST(TokensTest, WhoMayUseATokenIsAskedForAndListed) {
  FakeWorld world;
  v1::CreateTokenResponse response;
  v1::Token& token = *response.mutable_token();
  token.set_token_id("t1");
  token.set_uses_max(1);
  token.add_allowed_from("10.0.0.0/8");
  token.add_allowed_from("::1");
  token.set_hostname("web-*");
  token.set_approval(true);
  token.set_ephemeral(true);
  *token.mutable_expire() = wire::ToProto(absl::Hours(36));
  world.gateway.On("POST /api/tokens", Ok(response));
  EXPECT_EQ(world.Run({"tokens", "create", "--from", "10.0.0.0/8", "--from",
                       "::1", "--hostname", "web-*", "--approval",
                       "--ephemeral", "--expire", "36h"}),
            0)
      << world.console.err;
  EXPECT_EQ(world.gateway.requests.back().body,
            R"({"allowed_from":["10.0.0.0/8","::1"],"hostname":"web-*",)"
            R"("approval":true,"ephemeral":true,"expire":"129600s"})");
  EXPECT_THAT(world.console.err, HasSubstr("musterctl agents approve NAME"));
  EXPECT_THAT(world.console.err, HasSubstr("once offline for 1d12h"));
  v1::ListTokensResponse list;
  *list.add_tokens() = token;
  list.add_tokens()->set_token_id("t2");
  world.gateway.On("GET /api/tokens", Ok(list));
  EXPECT_EQ(world.Run({"tokens", "ls"}), 0);
  EXPECT_THAT(world.console.out,
              HasSubstr("from 10.0.0.0/8 ::1, host web-*, approval, "
                        "ephemeral 1d12h"));
}

TEST(TokensTest, RefusalsAreATableAndWhatIsOnlyCountedIsSaidBelow) {
  FakeWorld world;
  v1::ListRefusalsResponse response;
  v1::Refusal& refusal = *response.add_refusals();
  *refusal.mutable_at() = wire::ToProto(world.time.wall - absl::Minutes(4));
  refusal.set_reason(v1::REFUSAL_REASON_USED_UP);
  refusal.set_token_id("t1");
  refusal.set_address("10.2.3.12");
  refusal.set_hostname("web-12");
  response.set_unknown_tokens(7);
  world.gateway.On("GET /api/refusals", Ok(response));
  EXPECT_EQ(world.Run({"tokens", "refusals", "--limit", "5"}), 0);
  EXPECT_EQ(world.console.out,
            "AGE  REASON   ADDRESS    HOSTNAME  TOKEN\n"
            "4m   used_up  10.2.3.12  web-12    t1\n");
  EXPECT_EQ(world.console.err,
            "Since the gateway started:\n"
            "7 more with a token that does not exist.\n");
}

TEST(CommandsTest, OutputIsReadToWhatIsThereAndKeepsTheStreamsApart) {
  FakeWorld world;
  v1::GetOutputResponse some, nothing;
  auto* out = some.add_chunks();
  out->set_stream(v1::OUTPUT_STREAM_STDOUT);
  out->set_data("out");
  auto* err = some.add_chunks();
  err->set_stream(v1::OUTPUT_STREAM_STDERR);
  err->set_data("err");
  world.gateway.On("GET /api/commands/c/output", Ok(some));
  world.gateway.On("GET /api/commands/c/output", Ok(nothing));
  EXPECT_EQ(world.Run({"commands", "output", "c"}), 0);
  EXPECT_EQ(world.console.out, "out");
  EXPECT_EQ(world.console.err, "err");
}

TEST(CommandsTest, TheListIsATableOfOneLineEach) {
  FakeWorld world;
  v1::ListCommandsResponse response;
  v1::Command* command = response.add_commands();
  command->set_command_id("c-1");
  command->set_hostname("web-1");
  command->set_state(v1::COMMAND_STATE_FAILED);
  command->set_exit_code(3);
  command->set_command("first line\nsecond");
  command->set_issued_by("admin");
  *command->mutable_created_at() =
      wire::ToProto(world.time.wall - absl::Minutes(5));
  world.gateway.On("GET /api/commands", Ok(response));
  EXPECT_EQ(world.Run({"commands", "ls"}), 0);
  EXPECT_EQ(world.console.out,
            "COMMAND  MACHINE  STATE   EXIT  AGE  BY     TEXT\n"
            "c-1      web-1    failed  3     5m   admin  first line\n");
}

}  // namespace
}  // namespace muster::ctl
