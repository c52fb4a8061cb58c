#include "tools/musterctl/command_line.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::HasSubstr;

Message Parsed(std::vector<std::string> arguments) {
  const auto parsed = ParseCommandLine(std::move(arguments));
  const auto* message = std::get_if<Message>(&parsed);
  return message == nullptr ? Message{-1, "runs"} : *message;
}

TEST(CommandLineTest, EveryVerbHasHelpWithAnExample) {
  const std::vector<std::vector<std::string>> verbs = {{"login"},
                                                       {"agents", "ls"},
                                                       {"agents", "get"},
                                                       {"agents", "rm"},
                                                       {"agents", "label"},
                                                       {"agents", "wait"},
                                                       {"run"},
                                                       {"commands", "ls"},
                                                       {"commands", "get"},
                                                       {"commands", "output"},
                                                       {"commands", "cancel"},
                                                       {"presence", "get"},
                                                       {"presence", "set"},
                                                       {"tokens", "create"},
                                                       {"tokens", "ls"},
                                                       {"tokens", "refusals"},
                                                       {"agents", "approve"},
                                                       {"tokens", "revoke"},
                                                       {"status"},
                                                       {"version"},
                                                       {"context", "ls"},
                                                       {"context", "use"},
                                                       {"context", "rm"}};
  for (std::vector<std::string> verb : verbs) {
    verb.push_back("--help");
    const Message message = Parsed(verb);
    EXPECT_EQ(message.code, 0) << message.text;
    EXPECT_THAT(message.text, HasSubstr("Example"));
    EXPECT_THAT(message.text, HasSubstr("\n  musterctl " + verb[0]));
  }
}

struct UsageCase {
  std::string name;
  std::vector<std::string> arguments;
  std::string text;
};
void PrintTo(const UsageCase& c, std::ostream* os) { *os << c.name; }

class UsageTest : public testing::TestWithParam<UsageCase> {};

TEST_P(UsageTest, IsExitCodeTwoAndSaysWhatIsWrong) {
  const Message message = Parsed(GetParam().arguments);
  EXPECT_EQ(message.code, 2);
  EXPECT_THAT(message.text, HasSubstr(GetParam().text));
  EXPECT_THAT(message.text, HasSubstr("\nhint: musterctl "));
}

INSTANTIATE_TEST_SUITE_P(
    , UsageTest,
    testing::Values(
        UsageCase{"Nothing", {}, "musterctl needs one more word"},
        UsageCase{"NoVerb", {"agents"}, "musterctl agents needs one more word"},
        UsageCase{"UnknownNoun", {"agnets"}, "musterctl has no \"agnets\""},
        UsageCase{"UnknownVerb",
                  {"agents", "lss"},
                  "musterctl agents has no \"lss\""},
        UsageCase{"UnknownFlag", {"status", "--bogus"}, "--bogus"},
        UsageCase{"NoUnit",
                  {"agents", "wait", "a", "--timeout", "5"},
                  "--timeout: expected a duration"},
        UsageCase{"Negative",
                  {"tokens", "create", "--ttl=-5s"},
                  "--ttl: -5s is negative"},
        UsageCase{"UnknownStatus",
                  {"agents", "ls", "--status", "gone"},
                  "--status: \"gone\" is none of online|stale|offline"},
        UsageCase{"UnknownShell",
                  {"run", "a", "--shell", "fish", "--", "x"},
                  "--shell: \"fish\" is none of bash|sh|zsh|python3|pwsh|exec"},
        UsageCase{"UnknownFormat",
                  {"status", "-o", "xml"},
                  "\"xml\" is none of table, wide, json, yaml, name"},
        UsageCase{"LimitTooLow", {"commands", "ls", "--limit", "0"}, "--limit"},
        UsageCase{"WordsWithoutDashes", {"run", "a", "uptime"}, "uptime"},
        UsageCase{"NoMachine", {"run", "--", "x"}, "AGENT is required"},
        UsageCase{"OneMachineAndAll",
                  {"run", "a", "--all", "--", "x"},
                  "AGENT stands alone"},
        UsageCase{"DashesElsewhere",
                  {"status", "--", "x"},
                  "only run and exec take a command"}),
    [](const auto& test) { return test.param.name; });

TEST(CommandLineTest, TheWordsOfACommandAreNeverTakenForFlagsOrVerbs) {
  FakeWorld world;
  v1::ResolveAgentResponse resolved;
  resolved.mutable_agent()->set_agent_id("id");
  v1::Command command;
  command.set_command_id("c");
  world.gateway.On("GET /api/resolve", Ok(resolved));
  world.gateway.On("POST /api/agents/id/commands", Ok(command));
  EXPECT_EQ(world.Run({"run", "status", "--detach", "--", "agents", "--help",
                       "-o", "json", "--", "[x,y]"}),
            0);
  EXPECT_THAT(world.gateway.requests[0].target, HasSubstr("name=status"));
  EXPECT_THAT(
      world.gateway.requests[1].body,
      HasSubstr(R"("argv":["agents","--help","-o","json","--","[x,y]"])"));
}

TEST(CommandLineTest, AMachineMayStandBehindAShell) {
  FakeWorld world;
  v1::ResolveAgentResponse resolved;
  resolved.mutable_agent()->set_agent_id("id");
  v1::Command command;
  command.set_command_id("c");
  world.gateway.On("GET /api/resolve", Ok(resolved));
  world.gateway.On("POST /api/agents/id/commands", Ok(command));
  EXPECT_EQ(world.Run({"run", "--shell", "sh", "web-1", "--detach", "--", "x"}),
            0);
  EXPECT_THAT(world.gateway.requests[1].body, HasSubstr(R"("command":"x")"));
}

TEST(CommandLineTest, TheTimeoutOfRunIsTheCommandsAndGlobalFlagsGoAnywhere) {
  FakeWorld world;
  v1::ResolveAgentResponse resolved;
  resolved.mutable_agent()->set_agent_id("id");
  v1::Command command;
  command.set_command_id("c");
  world.gateway.On("GET /api/resolve", Ok(resolved));
  world.gateway.On("POST /api/agents/id/commands", Ok(command));
  EXPECT_EQ(world.Run({"--timeout", "9s", "run", "a", "--timeout", "1h30m",
                       "--if-offline", "queue", "-s", "http://[::1]:1",
                       "--detach", "--", "x"}),
            0);
  EXPECT_EQ(world.gateway.requests[1].timeout, absl::Seconds(9));
  EXPECT_THAT(world.gateway.requests[1].body, HasSubstr("\"5400s\""));
  EXPECT_THAT(world.gateway.requests[1].body,
              HasSubstr("\"if_offline\":\"queue\""));
  EXPECT_EQ(world.endpoints[0].server, "http://[::1]:1");
}

TEST(CommandLineTest, AQueuedCommandSaysForHowLong) {
  FakeWorld world;
  v1::ResolveAgentResponse resolved;
  resolved.mutable_agent()->set_agent_id("id");
  world.gateway.On("GET /api/resolve", Ok(resolved));
  world.gateway.On("POST /api/agents/id/commands", Ok(v1::Command()));
  EXPECT_EQ(world.Run({"run", "a", "--if-offline", "queue:2h", "--detach", "--",
                       "x"}),
            0);
  EXPECT_THAT(world.gateway.requests[1].body,
              testing::AllOf(HasSubstr("\"if_offline\":\"queue\""),
                             HasSubstr("\"queue_ttl\":\"7200s\"")));
  for (const char* wrong : {"queue:", "queue:soon", "queu:2h", "later"}) {
    EXPECT_EQ(world.Run({"run", "a", "--if-offline", wrong, "--", "x"}), 2);
    EXPECT_THAT(world.console.err, HasSubstr("--if-offline: "));
  }
}

TEST(CommandLineTest, VersionAsksNobody) {
  FakeWorld world;
  EXPECT_EQ(world.Run({"version"}), 0);
  EXPECT_THAT(world.console.out, testing::StartsWith("musterctl "));
  EXPECT_TRUE(world.endpoints.empty());
}

}  // namespace
}  // namespace muster::ctl
