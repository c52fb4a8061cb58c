#include "tools/musterctl/table.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/output_format.h"

namespace muster::ctl {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'750'000'000);

struct AgeCase {
  std::string name;
  absl::Duration age;
  std::string text;
};
void PrintTo(const AgeCase& c, std::ostream* os) { *os << c.name; }

class AgeTest : public testing::TestWithParam<AgeCase> {};

TEST_P(AgeTest, IsRoundedDownToTheUnitThatFits) {
  EXPECT_EQ(AgeText(GetParam().age), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(
    Boundaries, AgeTest,
    testing::Values(
        AgeCase{"Negative", absl::Seconds(-5), "0s"},
        AgeCase{"Zero", absl::ZeroDuration(), "0s"},
        AgeCase{"BeforeAMinute", absl::Milliseconds(59'999), "59s"},
        AgeCase{"AMinute", absl::Seconds(60), "1m"},
        AgeCase{"BeforeAnHour", absl::Seconds(3599), "59m"},
        AgeCase{"AnHour", absl::Hours(1), "1h"},
        AgeCase{"BeforeADay", absl::Hours(24) - absl::Seconds(1), "23h"},
        AgeCase{"ADay", absl::Hours(24), "1d"},
        AgeCase{"DaysAndHours", absl::Hours(3 * 24 + 4), "3d4h"},
        AgeCase{"BeforeTenDays", absl::Hours(240) - absl::Seconds(1), "9d23h"},
        AgeCase{"TenDays", absl::Hours(241), "10d"},
        AgeCase{"Never", absl::InfiniteDuration(), "-"}),
    [](const auto& test) { return test.param.name; });

TEST(ShortDurationTest, KeepsTheSignAndTheUnitThatFits) {
  EXPECT_EQ(ShortDuration(absl::Microseconds(999)), "999us");
  EXPECT_EQ(ShortDuration(absl::Milliseconds(1)), "1ms");
  EXPECT_EQ(ShortDuration(absl::Milliseconds(-999)), "-999ms");
  EXPECT_EQ(ShortDuration(absl::Seconds(1)), "1.0s");
  EXPECT_EQ(ShortDuration(absl::Milliseconds(59'990)), "59.9s");
  EXPECT_EQ(ShortDuration(absl::Seconds(60)), "1m");
}

TEST(ClockTextTest, NamesTheDayOnlyIfItIsNotToday) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  EXPECT_EQ(ClockText(kNow, kNow, utc), "15:06:40 UTC");
  EXPECT_EQ(ClockText(kNow - absl::Hours(24), kNow, utc),
            "2025-06-14 15:06:40 UTC");
}

TEST(WidthTest, CountsCellsNotBytes) {
  EXPECT_EQ(DisplayWidth("web-1"), 5u);
  EXPECT_EQ(DisplayWidth("größe…"), 6u);
  EXPECT_EQ(DisplayWidth("日本"), 4u);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1u);  // A combining accent.
  EXPECT_EQ(DisplayWidth("a\xff"), 2u);    // A broken byte.
}

TEST(ClipTest, TellsWhatItCut) {
  EXPECT_EQ(Clip("12345", 5), "12345");
  EXPECT_EQ(Clip("123456", 5), "1234…");
  EXPECT_EQ(Clip("日本語", 4), "日…");  // Half a character is none.
  EXPECT_EQ(Clip("abc", 1), "…");
}

TEST(PrintableTest, MachinesCannotSteerTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[31mb\n\x7f\xc2\x9b\xff"), "a?[31mb????");
  EXPECT_EQ(Printable("größe"), "größe");
}

TEST(TableTest, ANarrowTerminalTakesFromTheElasticColumnFirstThenCutsTheLine) {
  Table table({"A", "WHY", "B"}, "WHY");
  table.AddRow({{"aaaa"}, {"a long explanation of it"}, {"bbbbbb"}});
  EXPECT_EQ(table.Render({.header = false, .columns_max = 30}),
            "aaaa  a long explanat…  bbbbbb\n");
  EXPECT_EQ(table.Render({.header = false, .columns_max = 22}),
            "aaaa  a long expl…  b…\n");
  EXPECT_EQ(table.Render({.header = false}),
            "aaaa  a long explanation of it  bbbbbb\n");
}

v1::Agent Agent(const std::string& hostname, v1::Status status,
                absl::Duration since, absl::Duration heard,
                const std::string& summary,
                const std::vector<std::pair<std::string, std::string>>& labels,
                const std::string& suffix = "000000") {
  v1::Agent agent;
  agent.set_agent_id("01901f3a-8694-739b-aea5-966c26" + suffix);
  agent.set_hostname(hostname);
  agent.set_name(suffix == "000000" ? hostname : hostname + "~" + suffix);
  agent.set_status(status);
  agent.set_confirmed(true);
  *agent.mutable_status_since() = wire::ToProto(kNow - since);
  *agent.mutable_last_seen() = wire::ToProto(kNow - heard);
  agent.set_summary(summary);
  for (const auto& [key, value] : labels) {
    (*agent.mutable_labels())[key] = value;
  }
  return agent;
}

std::vector<v1::Agent> SixMachines() {
  const std::pair<std::string, std::string> prod = {"env", "prod"};
  const std::pair<std::string, std::string> web = {"role", "web"};
  return {
      Agent("db-3", v1::STATUS_OFFLINE, absl::Minutes(14), absl::Minutes(16),
            "host does not answer its neighbours", {prod, {"role", "db"}}),
      Agent("web-7", v1::STATUS_OFFLINE, absl::Minutes(4), absl::Minutes(6),
            "host answers, agent does not", {prod, web}),
      Agent("edge-12", v1::STATUS_STALE, absl::Seconds(40), absl::Seconds(70),
            "link closed, no goodbye", {{"env", "edge"}}),
      Agent("DC2", v1::STATUS_ONLINE, absl::Hours(76), absl::Seconds(8),
            "docker does not answer", {{"env", "ci"}}),
      Agent("web-1", v1::STATUS_ONLINE, absl::Hours(2), absl::Seconds(3),
            "3 restarts in the last hour", {prod, web}, "c07e55"),
      Agent("web-1", v1::STATUS_ONLINE, absl::Hours(12 * 24), absl::Seconds(21),
            "", {prod, web}, "8f1a2c")};
}

std::vector<const v1::Agent*> Pointers(const std::vector<v1::Agent>& agents) {
  std::vector<const v1::Agent*> pointers;
  for (const v1::Agent& agent : agents) pointers.push_back(&agent);
  return pointers;
}

TEST(AgentsTableTest, HasExactlyThePromisedForm) {
  const auto agents = SixMachines();
  EXPECT_EQ(
      "\n" + AgentsTable(Pointers(agents), kNow, /*wide=*/false).Render({}),
      R"(
MACHINE       STATUS   FOR   LAST SEEN  WHY                                  LABELS
db-3          offline  14m   16m        host does not answer its neighbours  env=prod,role=db
web-7         offline  4m    6m         host answers, agent does not         env=prod,role=web
edge-12       stale    40s   1m         link closed, no goodbye              env=edge
DC2           online   3d4h  8s         docker does not answer               env=ci
web-1~c07e55  online   2h    3s         3 restarts in the last hour          env=prod,role=web
web-1~8f1a2c  online   12d   21s        -                                    env=prod,role=web
)");
}

TEST(AgentsTableTest, WideAddsWhatAdministratorsAskFor) {
  v1::Agent agent = Agent("web-7", v1::STATUS_ONLINE, absl::Hours(1),
                          absl::Seconds(1), "", {});
  agent.set_address("10.2.3.7");
  agent.set_gateway("gw-1");
  agent.mutable_facts()->set_agent_version("0.1.0");
  agent.mutable_facts()->set_os("Debian 12");
  *agent.mutable_round_trip() = wire::ToProto(absl::Milliseconds(12));
  *agent.mutable_clock_skew() = wire::ToProto(absl::Milliseconds(-1300));
  const v1::Agent* only[] = {&agent};
  EXPECT_EQ("\n" + AgentsTable(only, kNow, /*wide=*/true).Render({}), R"(
MACHINE  STATUS  FOR  LAST SEEN  WHY  LABELS  ID                                    ADDRESS   AGENT  OS         RTT   SKEW   GATEWAY
web-7    online  1h   1s         -    -       01901f3a-8694-739b-aea5-966c26000000  10.2.3.7  0.1.0  Debian 12  12ms  -1.3s  gw-1
)");
}

TEST(AgentsTableTest, ColoursTheStatusWordAndNothingElse) {
  auto agents = SixMachines();
  agents.resize(1);
  EXPECT_THAT(AgentsTable(Pointers(agents), kNow, false)
                  .Render({.header = false, .color = true}),
              testing::StartsWith("db-3  \x1b[31moffline\x1b[0m  14m  "));
}

TEST(AgentsTableTest, AMachineNeverHeardAndAnUnconfirmedOneAreShownAsSuch) {
  v1::Agent agent = Agent("m", v1::STATUS_STALE, absl::Seconds(5),
                          absl::ZeroDuration(), "", {});
  agent.clear_last_seen();
  agent.set_confirmed(false);
  const v1::Agent* only[] = {&agent};
  EXPECT_EQ(AgentsTable(only, kNow, false).Render({.header = false}),
            "m  stale?  5s  -  -  -\n");
}

TEST(AgentsTableTest, HealthFindingsAreTheReasonWhenThereIsNoVerdict) {
  v1::Agent agent;
  (*agent.mutable_health())["docker"] = "does not answer";
  EXPECT_EQ(WhyText(agent), "docker does not answer");
  agent.set_summary("host_crashed");
  EXPECT_EQ(WhyText(agent), "host_crashed");
}

TEST(FooterTest, CountsWithSeparatorsAndTellsWhatIsNotShown) {
  v1::StatusCounts counts;
  counts.set_offline(2);
  counts.set_stale(1);
  counts.set_online(2997);
  counts.set_degraded(2);
  EXPECT_EQ(AgentsFooter(counts, 50, 3000),
            "2 offline, 1 stale, 2,997 online (2 degraded). 50 of 3,000 shown, "
            "problems first; --all for the rest.");
  counts.set_degraded(0);
  EXPECT_EQ(AgentsFooter(counts, 3000, 3000),
            "2 offline, 1 stale, 2,997 online.");
}

TEST(UnconfirmedWarningTest, NamesSinceWhenAndWhy) {
  v1::GatewayStatus status;
  *status.mutable_unconfirmed_since() = wire::ToProto(kNow - absl::Minutes(2));
  status.set_unconfirmed_reason("no descriptor left");
  EXPECT_EQ(UnconfirmedWarning(status, kNow, absl::UTCTimeZone()),
            "warning: not confirmed since 15:04:40 UTC: the gateway cannot "
            "hear machines (no descriptor left)");
}

TEST(UnconfirmedWarningTest, AGatewayThatWasAwayHearsNow) {
  v1::GatewayStatus status;
  status.set_unconfirmed_reason("the gateway was not running");
  status.set_blind_reason(v1::BLIND_REASON_NOT_RUNNING);
  EXPECT_EQ(UnconfirmedWarning(status, kNow, absl::UTCTimeZone()),
            "warning: not confirmed: the gateway was not running");
}

TEST(UnconfirmedWarningTest, AGatewayThatHearsIsNotSaidToBeDeaf) {
  v1::GatewayStatus status;
  status.set_presence_confirmed(true);
  EXPECT_EQ(UnconfirmedWarning(status, kNow, absl::UTCTimeZone()),
            "warning: with \"?\": not heard since the gateway last could not "
            "hear; judged when a whole lease has passed");
}

TEST(UnconfirmedWarningTest, WhoIsConnectedIsHeardWhileOnlyNewcomersWait) {
  v1::GatewayStatus status;
  status.set_unconfirmed_reason(
      "more machines connect at once than are let in");
  status.set_blind_reason(v1::BLIND_REASON_ADMISSION);
  EXPECT_EQ(UnconfirmedWarning(status, kNow, absl::UTCTimeZone()),
            "warning: not confirmed: the gateway cannot let in machines that "
            "connect now (more machines connect at once than are let in)");
}

TEST(YamlTest, QuotesWhateverAReaderCouldTakeForSomethingElse) {
  const auto yaml = JsonToYaml(
      R"({"name":"web-1","on":true,"word":"yes","number":"12","text":"a: b",)"
      R"("empty":"","list":[{"a":1,"b":[]},"x"],"map":{"k.v":null},"none":{}})");
  ASSERT_TRUE(yaml.ok());
  EXPECT_EQ(*yaml,
            "name: web-1\n"
            "\"on\": true\n"
            "word: \"yes\"\n"
            "number: \"12\"\n"
            "text: \"a: b\"\n"
            "empty: \"\"\n"
            "list:\n"
            "  - a: 1\n"
            "    b: []\n"
            "  - x\n"
            "map:\n"
            "  k.v: null\n"
            "none: {}\n");
}

TEST(YamlTest, WhatIsNoJsonIsAnError) {
  EXPECT_EQ(JsonToYaml("<html>").status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace muster::ctl
