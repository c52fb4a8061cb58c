#include "tools/musterctl/run_verb.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kSubmit[] = "POST /api/agents/id-1/commands";
constexpr char kOutput[] = "GET /api/commands/c-1/output";
constexpr char kCancel[] = "POST /api/commands/c-1/cancel";

const absl::Status kReset = FailureStatus(
    absl::StatusCode::kUnavailable, FailureClass::kConnectionReset, "reset");
const absl::Status kRefused = FailureStatus(absl::StatusCode::kUnavailable,
                                            FailureClass::kRefused, "refused");

v1::Command Command(v1::CommandState state) {
  v1::Command command;
  command.set_command_id("c-1");
  command.set_state(state);
  if (state >= v1::COMMAND_STATE_RUNNING) {
    *command.mutable_started_at() = wire::ToProto(absl::UnixEpoch());
  }
  return command;
}

v1::Command Exited(int code) {
  v1::Command command = Command(code == 0 ? v1::COMMAND_STATE_SUCCEEDED
                                          : v1::COMMAND_STATE_FAILED);
  command.set_exit_code(code);
  return command;
}

struct Chunk {
  v1::OutputStream stream;
  uint64_t offset;
  std::string data;
};
constexpr auto kOut = v1::OUTPUT_STREAM_STDOUT;
constexpr auto kErr = v1::OUTPUT_STREAM_STDERR;

Reply Output(const v1::Command& command, const std::vector<Chunk>& chunks,
             bool end = true) {
  v1::GetOutputResponse response;
  for (const Chunk& chunk : chunks) {
    v1::OutputChunk* added = response.add_chunks();
    added->set_stream(chunk.stream);
    added->set_offset(chunk.offset);
    added->set_data(chunk.data);
  }
  *response.mutable_command() = command;
  response.set_end(end);
  return Ok(response);
}

class RunTest : public testing::Test {
 protected:
  RunTest() {
    v1::ResolveAgentResponse resolved;
    resolved.mutable_agent()->set_agent_id("id-1");
    resolved.mutable_agent()->set_hostname("web-1");
    world_.gateway.On("GET /api/resolve", Ok(resolved));
  }

  // `run web-1 -- uptime` with what has been scripted.
  int Run() { return world_.Run({"run", "web-1", "--", "uptime"}); }

  // The same, accepted and ended at once as `command`.
  int RunEndingAs(const v1::Command& command) {
    world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
    world_.gateway.On(kOutput, Output(command, {}));
    return Run();
  }

  int Count(const std::string& prefix) const {
    int count = 0;
    for (const std::string& target : world_.gateway.Targets()) {
      count += target.starts_with(prefix);
    }
    return count;
  }

  FakeWorld world_;
};

TEST_F(RunTest, WhatIsNotUtf8IsRefusedAndNotAltered) {
  EXPECT_EQ(world_.Run({"run", "web-1", "--", "rm", "caf\xe9"}),
            kExitDidNotRun);
  EXPECT_THAT(world_.console.err,
              HasSubstr("argv: must be UTF-8, and is not at byte 3 (0xe9)"));
  EXPECT_EQ(Count("POST"), 0);
}

TEST_F(RunTest, FlagsForManyMachinesAreRefusedForOne) {
  EXPECT_EQ(world_.Run({"run", "--dry-run", "web-1", "--", "reboot"}),
            kExitUsage);
  EXPECT_THAT(world_.console.err, HasSubstr("--dry-run"));
  EXPECT_EQ(world_.Run({"run", "web-1", "--canary", "2", "--", "reboot"}),
            kExitUsage);
  EXPECT_EQ(Count(""), 0);
}

TEST_F(RunTest, StreamedInputNeedsSomebodyWhoReadsIt) {
  EXPECT_EQ(world_.Run({"run", "web-1", "--stdin", "--detach", "--", "cat"}),
            kExitUsage);
  EXPECT_EQ(Count(""), 0);
}

TEST_F(RunTest, OutputIsReadAsTheMessageItself) {
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, [](const HttpRequest& request) {
    EXPECT_THAT(request.headers,
                testing::Contains(testing::Field(&HttpHeader::value,
                                                 "application/x-protobuf")));
    v1::GetOutputResponse response;
    v1::OutputChunk& chunk = *response.add_chunks();
    chunk.set_stream(v1::OUTPUT_STREAM_STDOUT);
    chunk.set_data(std::string("\0\xff", 2));
    *response.mutable_command() = Exited(0);
    response.set_end(true);
    return Reply(
        HttpResponse{.status = 200,
                     .headers = {{"Content-Type", "application/x-protobuf"}},
                     .body = response.SerializeAsString()});
  });
  EXPECT_EQ(Run(), 0);
  EXPECT_EQ(world_.console.out, std::string("\0\xff", 2));
}

TEST_F(RunTest, OutputArrivesExactlyHoweverItIsSplit) {
  const std::string text =
      "gr\xc3\xb6\xc3\x9f"
      "e\n";
  const v1::Command running = Command(v1::COMMAND_STATE_RUNNING);
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput,
                    Output(running, {{kOut, 0, text.substr(0, 3)}}, false));
  world_.gateway.On(kOutput, Output(running, {{kErr, 0, "\xff"}}, false));
  world_.gateway.On(kOutput, Output(Exited(0), {{kOut, 3, text.substr(3)}}));
  EXPECT_EQ(Run(), 0);
  EXPECT_EQ(world_.console.out, text);
  EXPECT_EQ(world_.console.err, "\xff");
  EXPECT_THAT(world_.gateway.requests.back().target,
              EndsWith("?stdout_offset=3&stderr_offset=1&wait=1s"));
}

TEST_F(RunTest, BytesThatComeTwiceAreWrittenOnceAndAGapIsTold) {
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, Output(Exited(0), {{kOut, 0, "abc"},
                                                {kOut, 0, "abcd"},
                                                {kOut, 1, "bc"},
                                                {kOut, 6, "g"}}));
  EXPECT_EQ(Run(), 0);
  EXPECT_EQ(world_.console.out, "abcdg");
  EXPECT_EQ(world_.console.err, "warning: 2 bytes of stdout were lost\n");
}

TEST_F(RunTest, ALostConnectionIsReadAgainAndNothingIsSubmittedTwice) {
  const v1::Command running = Command(v1::COMMAND_STATE_RUNNING);
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, Output(running, {{kOut, 0, "one "}}, false));
  world_.gateway.On(kOutput, Reply(kReset));
  world_.gateway.On(kOutput, Reply(kRefused));
  world_.gateway.On(kOutput, Refused(503, "unavailable", "draining"));
  world_.gateway.On(kOutput, Output(Exited(7), {{kOut, 4, "two"}}));
  EXPECT_EQ(Run(), 7);
  EXPECT_EQ(world_.console.out, "one two");
  EXPECT_EQ(world_.console.err,
            "warning: reset; the command goes on, reading again\n");
  EXPECT_EQ(Count(kSubmit), 1);
}

TEST_F(RunTest, AGatewayThatNeverComesBackLeavesTheOutcomeUnknown) {
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, Reply(kRefused));
  EXPECT_EQ(Run(), 255);
  EXPECT_THAT(world_.console.err, HasSubstr("do not repeat it; musterctl "
                                            "commands get c-1; exit 255\n"));
}

TEST_F(RunTest, ASubmissionWhoseAnswerWasLostIsRepeatedWithTheSameKey) {
  world_.gateway.On(kSubmit, Reply(kReset));
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, Output(Exited(0), {}));
  EXPECT_EQ(Run(), 0);
  std::vector<std::string> keys;
  for (const HttpRequest& request : world_.gateway.requests) {
    for (const HttpHeader& header : request.headers) {
      if (header.name == "Idempotency-Key") keys.push_back(header.value);
    }
  }
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0], keys[1]);
  EXPECT_EQ(keys[0].size(), 36u);
}

TEST_F(RunTest, ASubmissionThatIsNeverAnsweredMayHaveRun) {
  world_.gateway.On(kSubmit, Reply(kReset));
  EXPECT_EQ(Run(), 255);
  EXPECT_THAT(world_.console.err, HasSubstr("do not repeat it"));
}

TEST_F(RunTest, ASubmissionThatWasNeverSentDidNotRun) {
  world_.gateway.On(kSubmit, Reply(kRefused));
  EXPECT_EQ(Run(), 125);
  EXPECT_EQ(Count(kSubmit), 1);
  EXPECT_THAT(world_.console.err, EndsWith("musterctl: the command did not "
                                           "run; safe to repeat; exit 125\n"));
}

TEST_F(RunTest, ARefusalIsShownAndDidNotRun) {
  world_.gateway.On(
      kSubmit, Refused(400, "agent_unreachable", "web-1 is offline for 6 min"));
  EXPECT_EQ(Run(), 125);
  EXPECT_EQ(
      world_.console.err,
      "error: web-1 is offline for 6 min\n"
      "hint: --if-offline queue:2h runs it if the machine is back by then\n"
      "musterctl: the command did not run; safe to repeat; exit 125\n");
}

TEST_F(RunTest, DetachedTellsTheIdAndUsesTheOrdinaryExitCodes) {
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  EXPECT_EQ(world_.Run({"run", "web-1", "--detach", "--", "uptime"}), 0);
  EXPECT_EQ(world_.console.out, "c-1\n");
  FakeWorld other;
  v1::ResolveAgentResponse resolved;
  resolved.mutable_agent()->set_agent_id("id-1");
  other.gateway.On("GET /api/resolve", Ok(resolved));
  other.gateway.On(kSubmit, Refused(400, "agent_unreachable", "offline"));
  EXPECT_EQ(other.Run({"run", "web-1", "--detach", "--", "uptime"}), 7);
}

struct ExitCase {
  std::string name;
  v1::Command command;
  int code;
  std::string last_line;  // A part of it.
};
void PrintTo(const ExitCase& c, std::ostream* os) { *os << c.name; }

class ExitCodeTest : public RunTest,
                     public testing::WithParamInterface<ExitCase> {};

TEST_P(ExitCodeTest, SaysWhatHappened) {
  EXPECT_EQ(RunEndingAs(GetParam().command), GetParam().code);
  if (GetParam().last_line.empty()) {
    EXPECT_THAT(world_.console.err, IsEmpty());
  } else {
    EXPECT_THAT(world_.console.err, HasSubstr(GetParam().last_line));
    EXPECT_THAT(world_.console.err,
                EndsWith("exit " + std::to_string(GetParam().code) + "\n"));
  }
}

v1::Command Ended(v1::CommandState state, int signal, bool started,
                  const std::string& reason) {
  v1::Command command = Command(state);
  if (signal != 0) command.set_signal(signal);
  if (!started) command.clear_started_at();
  command.set_reason(reason);
  return command;
}

INSTANTIATE_TEST_SUITE_P(
    , ExitCodeTest,
    testing::Values(
        ExitCase{"Zero", Exited(0), 0, ""},
        ExitCase{"ItsOwn", Exited(3), 3, ""},
        ExitCase{"ItsOwnThatLooksLikeOurs", Exited(125), 125, ""},
        ExitCase{"Killed", Ended(v1::COMMAND_STATE_SIGNALED, 9, true, ""), 137,
                 "killed by signal 9 (Killed)"},
        ExitCase{"TimedOut", Ended(v1::COMMAND_STATE_TIMED_OUT, 15, true, ""),
                 124, "timed out"},
        ExitCase{"Expired",
                 Ended(v1::COMMAND_STATE_EXPIRED, 0, false, "not_delivered"),
                 125, "did not run (not_delivered); safe to repeat"},
        ExitCase{
            "Rejected",
            Ended(v1::COMMAND_STATE_REJECTED, 0, false, "shell_unavailable"),
            125, "did not run (shell_unavailable); safe to repeat"},
        ExitCase{"CancelledBefore",
                 Ended(v1::COMMAND_STATE_CANCELLED, 0, false, ""), 125,
                 "did not run; safe to repeat"},
        ExitCase{"CancelledWhileRunning",
                 Ended(v1::COMMAND_STATE_CANCELLED, 15, true, ""), 143,
                 "cancelled after it had started"},
        ExitCase{"CancelledAndEndedByItself",
                 Ended(v1::COMMAND_STATE_CANCELLED, 0, true, ""), 130,
                 "cancelled after it had started"},
        ExitCase{"Unknown",
                 Ended(v1::COMMAND_STATE_OUTCOME_UNKNOWN, 0, true, "shim_lost"),
                 255, "outcome of command c-1 is unknown (shim_lost)"}),
    [](const auto& test) { return test.param.name; });

TEST_F(RunTest, AnUnknownOutcomeEndsTheReadingThoughOutputIsMissing) {
  const auto unknown = Command(v1::COMMAND_STATE_OUTCOME_UNKNOWN);
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, Output(unknown, {{kOut, 0, "half"}}, false));
  world_.gateway.On(kOutput, Output(unknown, {}, false));
  EXPECT_EQ(Run(), 255);
  EXPECT_EQ(world_.console.out, "half");
}

TEST_F(RunTest, AnEndedCommandWhoseOutputNeverComesIsNotWaitedForForEver) {
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, [this](const HttpRequest&) {
    world_.time.Pass(absl::Seconds(1));
    return Output(Exited(4), {}, /*end=*/false);
  });
  EXPECT_EQ(Run(), 4);
  EXPECT_THAT(world_.console.err, HasSubstr("musterctl commands output c-1"));
}

TEST_F(RunTest, CtrlCAsksToCancelOnceAndReportsTheEnd) {
  const v1::Command running = Command(v1::COMMAND_STATE_RUNNING);
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, [&](const HttpRequest&) {
    world_.time.interrupted = true;
    return Output(running, {}, false);
  });
  world_.gateway.On(kOutput, Output(running, {{kOut, 0, "bye"}}, false));
  world_.gateway.On(
      kOutput, Output(Ended(v1::COMMAND_STATE_CANCELLED, 15, true, ""), {}));
  world_.gateway.On(kCancel, Ok(running));
  EXPECT_EQ(Run(), 143);
  EXPECT_EQ(Count(kCancel), 1);
  EXPECT_EQ(world_.console.out, "bye");
  EXPECT_THAT(world_.time.last_words, HasSubstr("command c-1 is left running"));
}

TEST_F(RunTest, OutputThatNobodyReadsAnyMoreCancelsTheCommand) {
  const v1::Command running = Command(v1::COMMAND_STATE_RUNNING);
  world_.gateway.On(kSubmit, Ok(Command(v1::COMMAND_STATE_QUEUED)));
  world_.gateway.On(kOutput, [&](const HttpRequest&) {
    world_.console.out_failure = "Broken pipe";
    return Output(running, {{kOut, 0, "y\n"}}, false);
  });
  world_.gateway.On(kOutput, [&](const HttpRequest& request) {
    EXPECT_THAT(request.target, HasSubstr("stdout_offset=9223372036854775807"));
    return Output(running, {}, false);
  });
  world_.gateway.On(  // Much output is left, which nobody waits for.
      kOutput,
      Output(Ended(v1::COMMAND_STATE_CANCELLED, 15, true, ""), {}, false));
  world_.gateway.On(kCancel, Ok(running));
  EXPECT_EQ(Run(), 143);
  EXPECT_EQ(Count(kCancel), 1);
  EXPECT_EQ(world_.console.err,
            "musterctl: standard output: Broken pipe; cancelling command c-1\n"
            "musterctl: the command was cancelled after it had started; exit "
            "143\n");
}

TEST_F(RunTest, DroppedOutputIsTold) {
  v1::Command command = Exited(0);
  command.set_output_dropped_bytes(12);
  EXPECT_EQ(RunEndingAs(command), 0);
  EXPECT_THAT(world_.console.err, HasSubstr("dropped 12 bytes"));
}

// What is submitted -------------------------------------------------------

absl::StatusOr<v1::SubmitCommandRequest> Submission(
    const std::vector<std::string>& words,
    v1::ShellType shell = v1::SHELL_TYPE_UNSPECIFIED,
    const std::string& script = "", const std::string& input = "") {
  FakeConsole console;
  console.input = input;
  RunOptions options;
  options.words = words;
  options.shell = shell;
  options.script = script;
  return SubmissionOf(options, console);
}

TEST(SubmissionTest, OneWordIsATextForTheShell) {
  const auto request = Submission({"echo $HOME | wc"});
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->command(), "echo $HOME | wc");
  EXPECT_EQ(request->shell_type(), v1::SHELL_TYPE_UNSPECIFIED);
}

TEST(SubmissionTest, SeveralWordsAreExecutedAsTheyAre) {
  const auto request = Submission({"echo", "$HOME", ""});
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->shell_type(), v1::SHELL_TYPE_EXEC);
  EXPECT_THAT(request->argv(), testing::ElementsAre("echo", "$HOME", ""));
  EXPECT_THAT(request->command(), IsEmpty());
}

TEST(SubmissionTest, SeveralWordsForAShellAreQuotedForIt) {
  const auto request = Submission({"echo", "it's", "$x"}, v1::SHELL_TYPE_BASH);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->command(), R"('echo' 'it'\''s' '$x')");
}

TEST(SubmissionTest, AScriptComesFromStandardInput) {
  const auto request = Submission({}, v1::SHELL_TYPE_PYTHON3, "-", "print(1)");
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->command(), "print(1)");
}

TEST(SubmissionTest, SurroundingsComeFromFlagsEnvironmentAndInput) {
  RunOptions options;
  options.words = {"psql"};
  options.user = "postgres";
  options.umask = "027";
  options.input = "-";
  options.labels = {"change=47=11"};
  options.environment = {"A=b=c", "EMPTY=", "MUSTER_TEST_SECRET"};
  ASSERT_EQ(setenv("MUSTER_TEST_SECRET", "s3cret", 1), 0);
  FakeConsole console;
  console.input = "select 1";
  const auto request = SubmissionOf(options, console);
  ASSERT_TRUE(request.ok()) << request.status();
  const v1::Surroundings& surroundings = request->surroundings();
  EXPECT_EQ(surroundings.user(), "postgres");
  EXPECT_EQ(surroundings.umask(), 027u);
  EXPECT_EQ(surroundings.input(), "select 1");
  EXPECT_EQ(surroundings.environment().at("A"), "b=c");
  EXPECT_EQ(surroundings.environment().at("EMPTY"), "");
  EXPECT_EQ(surroundings.environment().at("MUSTER_TEST_SECRET"), "s3cret");
  EXPECT_EQ(request->labels().at("change"), "47=11");
}

TEST(SubmissionTest, AFlagThatMeansNothingIsNamed) {
  const auto error = [](auto change) {
    RunOptions options;
    options.words = {"true"};
    change(options);
    FakeConsole console;
    return std::string(SubmissionOf(options, console).status().message());
  };
  EXPECT_EQ(error([](RunOptions& o) { o.umask = "0888"; }),
            "--umask: must be octal 0 to 0777, got '0888'");
  EXPECT_EQ(error([](RunOptions& o) { o.environment = {"MUSTER_TEST_UNSET"}; }),
            "--env: MUSTER_TEST_UNSET is not set here; give "
            "MUSTER_TEST_UNSET=VALUE");
  EXPECT_EQ(error([](RunOptions& o) { o.labels = {"change"}; }),
            "--label: must be KEY=VALUE, got 'change'");
}

TEST(SubmissionTest, CombinationsThatMeanNothingAreRefused) {
  EXPECT_FALSE(Submission({}).ok());
  EXPECT_FALSE(Submission({"a"}, v1::SHELL_TYPE_BASH, "-").ok());
  EXPECT_FALSE(Submission({"a", "b"}, v1::SHELL_TYPE_PYTHON3).ok());
  EXPECT_FALSE(Submission({}, v1::SHELL_TYPE_EXEC, "-", "x").ok());
  EXPECT_FALSE(
      Submission({}, v1::SHELL_TYPE_BASH, "-", std::string(300'000, 'x')).ok());
  EXPECT_FALSE(Submission({}, v1::SHELL_TYPE_BASH, "/nonexistent/file").ok());
}

}  // namespace
}  // namespace muster::ctl
