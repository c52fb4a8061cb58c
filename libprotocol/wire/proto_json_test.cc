#include "libprotocol/wire/proto_json.h"

#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/proto_time.h"
#include "libprotocol/wire/utf8.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::wire {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::HasSubstr;
using testing::StartsWith;

std::string Error(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(ToStd(status.message()));
}

std::string CommandError(std::string_view json) {
  v1::SubmitCommandRequest request;
  return Error(JsonToProto(json, request));
}

TEST(ProtoJsonWriteTest, AMachineReadsLikeTheContractSays) {
  v1::Agent agent;
  agent.set_agent_id("a1");
  agent.set_hostname("web \"7\"\n");
  agent.set_status(v1::STATUS_ONLINE);
  *agent.mutable_status_since() =
      ToProto(absl::FromUnixMillis(1'700'000'000'250));
  agent.set_cause(v1::CAUSE_NETWORK_ONE_WAY);
  (*agent.mutable_labels())["z"] = "1";
  (*agent.mutable_labels())["a"] = "2";
  agent.set_epoch(18'446'744'073'709'551'615u);
  *agent.mutable_round_trip() = ToProto(absl::Milliseconds(1500));
  EXPECT_EQ(
      ProtoToJson(agent),
      R"({"agent_id":"a1","hostname":"web \"7\"\n","status":"online",)"
      R"("status_since":"2023-11-14T22:13:20.250Z","confirmed":false,)"
      R"("cause":"network_one_way","summary":"","health":{},)"
      R"("labels":{"a":"2","z":"1"},"address":"","round_trip":"1.5s",)"
      R"("epoch":18446744073709551615,"name":"","gateway":"","replaces":[],)"
      R"("pending":false})");
}

TEST(ProtoJsonWriteTest, BytesAreBase64AndListsAreAlwaysThere) {
  v1::OutputChunk chunk;
  chunk.set_data(std::string("\0\xff", 2));
  EXPECT_EQ(ProtoToJson(chunk),
            R"({"stream":"unspecified","offset":0,"data":"AP8="})");
  EXPECT_EQ(ProtoToJson(v1::ListTokensResponse()), R"({"tokens":[]})");
}

TEST(ProtoJsonWriteTest, TheTextIsAlwaysValidUtf8) {
  std::string out;
  AppendJsonString("a\xff\xc3(\xed\xa0\x80z\x01\x7fü", out);
  EXPECT_TRUE(IsUtf8(out));
  EXPECT_EQ(out.substr(0, 5), "\"a\xEF\xBF\xBD");
  EXPECT_THAT(out, HasSubstr("z\\u0001\\u007fü\""));
}

TEST(ProtoJsonReadTest, WhatWasWrittenIsReadBackTheSame) {
  v1::GetOutputResponse response;
  v1::OutputChunk& chunk = *response.add_chunks();
  chunk.set_stream(v1::OUTPUT_STREAM_STDERR);
  chunk.set_data("\xfe\xff");
  v1::Command& command = *response.mutable_command();
  command.add_argv("a");
  command.add_argv("b");
  command.set_exit_code(-1);
  *command.mutable_timeout() = ToProto(absl::Nanoseconds(1'000'000'001));
  *command.mutable_created_at() = ToProto(absl::FromUnixMillis(-1));
  v1::GetOutputResponse back;
  ASSERT_EQ(JsonToProto(ProtoToJson(response), back), absl::OkStatus());
  EXPECT_TRUE(MessageDifferencer::Equals(response, back));
}

TEST(ProtoJsonReadTest, ARequestIsReadWithDefaultsLeftAlone) {
  v1::SubmitCommandRequest request;
  ASSERT_EQ(JsonToProto(R"({"command": "uptime", "shell_type": "bash",)"
                        R"( "timeout": "1h30m", "kill_grace": null})",
                        request),
            absl::OkStatus());
  EXPECT_EQ(request.command(), "uptime");
  EXPECT_EQ(request.shell_type(), v1::SHELL_TYPE_BASH);
  EXPECT_EQ(FromProto(request.timeout()), absl::Minutes(90));
  EXPECT_FALSE(request.has_kill_grace());
}

TEST(ProtoJsonReadTest, EveryErrorBeginsWithThePath) {
  v1::SetLabelsRequest labels;
  EXPECT_EQ(Error(JsonToProto(R"({"set":{"env":3}})", labels)),
            "set.env: expected a string, got 3");
  EXPECT_EQ(CommandError(R"({"shell_type":"fish"})"),
            "shell_type: expected one of bash, sh, zsh, python3, pwsh, exec; "
            "got \"fish\"");
  EXPECT_EQ(CommandError(R"({"argv":["a",true]})"),
            "argv[1]: expected a string, got true");
  EXPECT_EQ(CommandError(R"({"comand":"x"})"), "comand: unknown field");
  EXPECT_EQ(CommandError(R"({"command":null})"),
            "command: expected a string, got null");
  EXPECT_EQ(CommandError(R"({"timeout":30})"),
            "timeout: expected a duration such as \"30s\", got 30");
  EXPECT_THAT(CommandError(R"({"timeout":"30"})"), StartsWith("timeout: "));
  EXPECT_EQ(CommandError("[]"), "body: expected an object, got a list");
  v1::CreateTokenRequest token;
  EXPECT_EQ(Error(JsonToProto(R"({"uses_max":-1})", token)),
            "uses_max: expected an integer from 0 to 4294967295, got -1");
  EXPECT_EQ(Error(JsonToProto(R"({"uses_max":4294967296})", token)),
            "uses_max: expected an integer from 0 to 4294967295, got "
            "4294967296");
  EXPECT_EQ(Error(JsonToProto(R"({"uses_max":1.0})", token)),
            "uses_max: expected an integer from 0 to 4294967295, got 1.0");
  v1::Agent agent;
  EXPECT_EQ(Error(JsonToProto(R"({"facts":{"runtime":"x"}})", agent)),
            "facts.runtime: expected one of process, systemd, container; got "
            "\"x\"");
  EXPECT_THAT(Error(JsonToProto(R"({"last_seen":"infinite-past"})", agent)),
              StartsWith("last_seen: expected a time"));
  EXPECT_THAT(Error(JsonToProto(R"({"confirmed":"yes"})", agent)),
              StartsWith("confirmed: expected true or false"));
}

TEST(ProtoJsonReadTest, MalformedTextNamesTheByte) {
  for (std::string_view text :
       {"", "{", "{\"command\":\"x\",}", "{} x", "{\"command\":'x'}", "nul",
        "{\"command\":\"\xff\"}", "{\"command\":\"\\ud800\"}",
        "{\"command\":\"a\nb\"}", "{\"command\":1e999}"}) {
    EXPECT_THAT(CommandError(text), StartsWith("body: not valid JSON at byte"))
        << text;
  }
  EXPECT_THAT(CommandError("{\"command\":\"\xff\"}"),
              HasSubstr("invalid UTF-8"));
}

TEST(ProtoJsonReadTest, ADuplicateKeyIsRefusedAtEveryLevel) {
  EXPECT_EQ(CommandError(R"({"command":"a","command":"b"})"),
            "command: given twice");
  v1::SetLabelsRequest labels;
  EXPECT_EQ(Error(JsonToProto(R"({"set":{"e":"1","e":"1"}})", labels)),
            "e: given twice");
}

TEST(ProtoJsonReadTest, SixteenLevelsAreReadAndSeventeenAreNot) {
  const auto nested = [](int levels) {
    return "{\"x\":" + std::string(levels - 1, '[') +
           std::string(levels - 1, ']') + "}";
  };
  EXPECT_EQ(CommandError(nested(16)), "x: unknown field");
  EXPECT_EQ(CommandError(nested(17)), "body: nested deeper than 16");
  EXPECT_EQ(CommandError(std::string(1 << 20, '[')),
            "body: nested deeper than 16");
}

TEST(ProtoJsonReadTest, ErrorsStayShortWhateverWasSent) {
  const std::string big(1 << 20, 'x');
  EXPECT_LT(CommandError("{\"" + big + "\":1}").size(), 200u);
  EXPECT_LT(CommandError("{\"shell_type\":\"" + big + "\"}").size(), 300u);
  EXPECT_LT(CommandError("{\"command\":" + big + "}").size(), 200u);
}

TEST(ProtoJsonReadTest, AFieldOfThePathMayNotComeAgain) {
  const std::vector<std::string> taken = {"agent_id"};
  v1::SubmitCommandRequest request;
  EXPECT_EQ(Error(JsonToProto(R"({"agent_id":""})", request,
                              {.taken_fields = taken})),
            "agent_id: already given in the path");
  EXPECT_EQ(Error(QueryToProto({{"agent_id", "x"}}, request,
                               {.taken_fields = taken})),
            "agent_id: already given in the path");
}

TEST(ProtoJsonReadTest, AClientReadsTheAnswerOfANewerGateway) {
  v1::Agent agent;
  ASSERT_EQ(
      JsonToProto(R"({"mood":{"x":[1]},"status":"asleep","hostname":"h"})",
                  agent, {.ignore_unknown = true}),
      absl::OkStatus());
  EXPECT_EQ(agent.hostname(), "h");
  EXPECT_EQ(agent.status(), v1::STATUS_UNSPECIFIED);
}

TEST(QueryTest, RepeatedKeysAppendAndTypesAreRead) {
  v1::ListAgentsRequest request;
  ASSERT_EQ(QueryToProto({{"status", "online"},
                          {"status", "stale"},
                          {"label", "env=prod"},
                          {"hostname", "12"},
                          {"limit", "5"}},
                         request),
            absl::OkStatus());
  EXPECT_EQ(request.status_size(), 2);
  EXPECT_EQ(request.status(1), v1::STATUS_STALE);
  EXPECT_EQ(request.label(0), "env=prod");
  EXPECT_EQ(request.hostname(), "12");
  EXPECT_EQ(request.limit(), 5u);
  v1::GetCommandRequest wait;
  ASSERT_EQ(QueryToProto({{"wait", "30s"}}, wait), absl::OkStatus());
  EXPECT_EQ(wait.wait().seconds(), 30);
}

TEST(QueryTest, WhatIsNotKnownIsAnErrorThatListsWhatIs) {
  v1::ListAgentsRequest request;
  EXPECT_EQ(Error(QueryToProto({{"colour", "red"}}, request)),
            "colour: unknown parameter; known: status, hostname, label, "
            "limit, page_token, silenced");
  EXPECT_EQ(Error(QueryToProto({{"limit", "1"}, {"limit", "2"}}, request)),
            "limit: given more than once");
  EXPECT_EQ(Error(QueryToProto({{"limit", "-1"}}, request)),
            "limit: expected an integer from 0 to 4294967295, got \"-1\"");
  EXPECT_EQ(Error(QueryToProto({{"hostname", "\xff"}}, request)),
            "hostname: not valid UTF-8");
  v1::GetStatusRequest empty;
  EXPECT_EQ(Error(QueryToProto({{"x", ""}}, empty)),
            "x: unknown parameter; none is known here");
}

struct DurationCase {
  std::string text;
  absl::Duration expected;
};

TEST(DurationTextTest, EveryWrittenFormIsRead) {
  for (const DurationCase& c : std::vector<DurationCase>{
           {"500ms", absl::Milliseconds(500)},
           {"30s", absl::Seconds(30)},
           {"1.5s", absl::Milliseconds(1500)},
           {"5m", absl::Minutes(5)},
           {"2h", absl::Hours(2)},
           {"1d", absl::Hours(24)},
           {"1h30m", absl::Minutes(90)},
           {"1d2h3m4s5ms", absl::Hours(26) + absl::Minutes(3) +
                               absl::Seconds(4) + absl::Milliseconds(5)},
           {"-2s", -absl::Seconds(2)},
           {"0s", absl::ZeroDuration()}}) {
    EXPECT_EQ(ParseDurationText(c.text).value_or(absl::InfiniteDuration()),
              c.expected)
        << c.text;
  }
}

TEST(DurationTextTest, AnythingElseIsRefused) {
  for (std::string_view text : {"",
                                "-",
                                "30",
                                "s",
                                "1 s",
                                "30s ",
                                "+1s",
                                "1m1h",
                                "1s1s",
                                "1.s",
                                ".5s",
                                "1..5s",
                                "1e3s",
                                "inf",
                                "1x",
                                "315576000001s",
                                "99999999999999999999d",
                                "999999999999999d",
                                "1.0000000001s",
                                "--1s"}) {
    EXPECT_FALSE(ParseDurationText(text).ok()) << text;
  }
}

TEST(DurationTextTest, ADurationThatIsTooLongIsToldFromWhatIsNone) {
  for (const char* text : {"315576000001s", "99999999999999s",
                           "999999999999999d", "99999999999999999999d"}) {
    EXPECT_EQ(
        std::string(ParseDurationText(text).status().message()),
        "must be at most 315576000000s, got \"" + std::string(text) + "\"");
  }
}

TEST(DurationTextTest, TheLongestDurationIsNever) {
  EXPECT_EQ(DurationOrNeverText(absl::InfiniteDuration()), "never");
  EXPECT_EQ(DurationOrNeverText(FromProto(ToProto(absl::InfiniteDuration()))),
            "never");
  EXPECT_EQ(DurationOrNeverText(absl::Seconds(30)), "30s");
  EXPECT_EQ(*ParseDurationOrNever("never"), absl::InfiniteDuration());
  EXPECT_EQ(*ParseDurationOrNever("30s"), absl::Seconds(30));
  EXPECT_FALSE(ParseDurationOrNever("-never").ok());
  EXPECT_FALSE(ParseDurationOrNever("Never").ok());
}

TEST(DurationTextTest, WritingUsesSecondsAndNoMoreDecimalsThanNeeded) {
  EXPECT_EQ(DurationText(absl::Seconds(30)), "30s");
  EXPECT_EQ(DurationText(absl::Milliseconds(-1500)), "-1.5s");
  EXPECT_EQ(DurationText(absl::Nanoseconds(1)), "0.000000001s");
  EXPECT_EQ(DurationText(absl::ZeroDuration()), "0s");
  EXPECT_EQ(DurationText(absl::InfiniteDuration()), "315576000000s");
}

TEST(ProtoTimeTest, TimesSurviveTheTripAndExtremesAreClamped) {
  const absl::Time t = absl::FromUnixNanos(-1);
  EXPECT_EQ(FromProto(ToProto(t)), t);
  EXPECT_EQ(ToProto(absl::InfiniteFuture()).seconds(), kTimestampSecondsMax);
  EXPECT_EQ(ToProto(absl::InfinitePast()).seconds(), kTimestampSecondsMin);
  EXPECT_EQ(FromProto(ToProto(-absl::Milliseconds(1500))),
            -absl::Milliseconds(1500));
}

}  // namespace
}  // namespace muster::wire
