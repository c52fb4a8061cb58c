#include "tools/musterctl/session_verbs.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"
#include "muster/v1/session.pb.h"
#include "tools/musterctl/fake_gateway.h"
#include "tools/musterctl/input_sender.h"
#include "tools/musterctl/session_viewer.h"

namespace muster::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kOpen[] = "POST /api/agents/a-1/sessions";
constexpr char kAttach[] = "POST /api/sessions/s-1/attach";
constexpr char kRead[] = "GET /api/sessions/s-1/output";
constexpr char kWrite[] = "POST /api/sessions/s-1/input";
constexpr char kDetach[] = "POST /api/sessions/s-1/detach";

v1::Session Session(v1::CommandState state) {
  v1::Session session;
  session.set_session_id("s-1");
  session.set_hostname("web-1");
  session.set_state(state);
  return session;
}

v1::ReadSessionResponse Piece(uint64_t offset, const std::string& data) {
  v1::ReadSessionResponse piece;
  piece.set_offset(offset);
  piece.set_data(data);
  *piece.mutable_session() = Session(v1::COMMAND_STATE_RUNNING);
  return piece;
}

v1::ReadSessionResponse End(uint64_t offset, int exit_code) {
  v1::ReadSessionResponse piece = Piece(offset, "");
  piece.set_end(true);
  piece.mutable_session()->set_state(
      exit_code == 0 ? v1::COMMAND_STATE_SUCCEEDED : v1::COMMAND_STATE_FAILED);
  piece.mutable_session()->set_exit_code(exit_code);
  return piece;
}

class SessionVerbsTest : public ::testing::Test {
 protected:
  SessionVerbsTest() {
    world_.console.terminal = true;
    world_.console.columns = 80;
    v1::ResolveAgentResponse resolved;
    resolved.mutable_agent()->set_agent_id("a-1");
    resolved.mutable_agent()->set_hostname("web-1");
    world_.gateway.On("GET /api/resolve", Ok(resolved));
    world_.gateway.On(kOpen, Ok(Session(v1::COMMAND_STATE_QUEUED)));
    v1::AttachSessionResponse attached;
    attached.set_attachment_id("t-1");
    *attached.mutable_session() = Session(v1::COMMAND_STATE_RUNNING);
    world_.gateway.On(kAttach, Ok(attached));
    world_.gateway.On(kWrite, [](const HttpRequest& request) {
      // As much as came.
      v1::WriteSessionRequest written;
      (void)wire::JsonToProto(request.body, written);
      v1::WriteSessionResponse response;
      response.set_accepted(written.offset() + written.data().size());
      return Ok(response);
    });
  }

  // The next read is answered only when it is given up.
  void ReadsUntilAborted() {
    world_.gateway.On(kRead, [this](const HttpRequest&) -> Reply {
      world_.gateway.aborted.WaitForNotification();
      return absl::CancelledError("given up");
    });
  }

  FakeWorld world_;
};

TEST_F(SessionVerbsTest, WhatItShowsIsShownAndItsExitCodeIsOurs) {
  world_.gateway.On(kRead, Ok(Piece(0, "$ ")));
  world_.gateway.On(kRead, Ok(Piece(2, "exit\r\n")));
  world_.gateway.On(kRead, Ok(End(8, 7)));
  EXPECT_EQ(world_.Run(
                {"exec", "-it", "web-1", "--user", "deploy", "--", "sh", "-x"}),
            7);
  EXPECT_EQ(world_.console.out, "$ exit\r\n");
  const std::string& opened = world_.gateway.requests.at(1).body;
  EXPECT_THAT(opened, HasSubstr(R"("argv":["sh","-x"])"));
  EXPECT_THAT(opened, HasSubstr(R"("size":{"rows":50,"columns":132})"));
  EXPECT_THAT(opened, HasSubstr(R"("user":"deploy")"));
}

TEST_F(SessionVerbsTest, WithoutATerminalItSaysWhatToDo) {
  world_.console.terminal = false;
  EXPECT_EQ(world_.Run({"exec", "web-1"}), kExitUsage);
  EXPECT_THAT(world_.console.err, HasSubstr("musterctl run --stdin"));
}

TEST_F(SessionVerbsTest, WhoOpenedItIsToldWhatOfItsBeginningWasMissed) {
  world_.gateway.On(kRead, Ok(Piece(100, "late")));
  world_.gateway.On(kRead, Ok(End(104, 0)));
  EXPECT_EQ(world_.Run({"exec", "web-1"}), 0);
  EXPECT_EQ(world_.console.out, "\r\n[100 bytes were not shown]\r\nlate");
}

TEST_F(SessionVerbsTest, WhoWantedItsEndIsNotToldThatItLivesOn) {
  world_.typed = {{.bytes = "~."}, {.bytes = "\r~d"}};
  world_.gateway.On("DELETE /api/sessions/s-1",
                    absl::DeadlineExceededError("no answer"));
  ReadsUntilAborted();
  world_.gateway.On(kDetach, Ok(Session(v1::COMMAND_STATE_RUNNING)));
  EXPECT_EQ(world_.Run({"sessions", "attach", "s-1"}), 0);
  EXPECT_THAT(world_.console.err, HasSubstr("whether it ends is not known"));
  EXPECT_THAT(world_.console.err, HasSubstr("the session was asked to end"));
}

TEST_F(SessionVerbsTest, ALostGatewayIsWaitedForAndReadOnFromThere) {
  world_.gateway.On(kRead, Ok(Piece(0, "one")));
  world_.gateway.On(kRead, absl::UnavailableError("connection lost"));
  world_.gateway.On(kRead, Ok(Piece(1, "netwo")));
  world_.gateway.On(kRead, Ok(End(6, 0)));
  EXPECT_EQ(world_.Run({"sessions", "attach", "s-1"}), 0);
  EXPECT_EQ(world_.console.out, "onetwo");
  EXPECT_THAT(world_.console.err, HasSubstr("no answer from the gateway"));
  EXPECT_THAT(world_.console.err, HasSubstr("the gateway is back"));
}

TEST_F(SessionVerbsTest, AGatewayThatWasRestartedIsAttachedToAgain) {
  world_.gateway.On(kRead, Refused(409, "not_attached", "nobody is"));
  world_.gateway.On(kRead, Ok(End(0, 0)));
  EXPECT_EQ(world_.Run({"sessions", "attach", "s-1"}), 0);
  int attached = 0;
  for (const std::string& target : world_.gateway.Targets()) {
    attached += target == kAttach ? 1 : 0;
  }
  EXPECT_EQ(attached, 2);
}

TEST_F(SessionVerbsTest, WhoIsTakenOverIsToldAndEnds) {
  world_.gateway.On(kRead, Refused(409, "session_taken_over", "somebody else"));
  EXPECT_EQ(world_.Run({"sessions", "attach", "s-1"}), kExitConflict);
  EXPECT_THAT(world_.console.err, HasSubstr("somebody else"));
}

TEST_F(SessionVerbsTest, BytesThatWereSkippedAreCounted) {
  world_.gateway.On(kRead, Ok(Piece(0, "a")));
  world_.gateway.On(kRead, Ok(Piece(11, "b")));
  world_.gateway.On(kRead, Ok(End(12, 0)));
  world_.Run({"sessions", "attach", "s-1"});
  EXPECT_EQ(world_.console.out, "a\r\n[10 bytes were not shown]\r\nb");
}

TEST_F(SessionVerbsTest, WhoOnlyLooksNeitherAttachesNorTypes) {
  world_.gateway.On(kRead, Ok(End(0, 0)));
  EXPECT_EQ(world_.Run({"sessions", "attach", "--read-only", "s-1"}), 0);
  EXPECT_EQ(world_.gateway.requests.size(), 1u);
}

TEST_F(SessionVerbsTest, TildeDLeavesIt) {
  world_.typed = {{.bytes = "ls\r"}, {.bytes = "~d"}};
  world_.gateway.On(kRead, Ok(Piece(0, "$ ")));
  ReadsUntilAborted();
  world_.gateway.On(kDetach, Ok(Session(v1::COMMAND_STATE_RUNNING)));
  EXPECT_EQ(world_.Run({"sessions", "attach", "s-1"}), 0);
  EXPECT_THAT(world_.console.err, HasSubstr("musterctl sessions attach s-1"));
}

TEST_F(SessionVerbsTest, OpenSessionsAreListed) {
  v1::ListSessionsResponse list;
  *list.add_sessions() = Session(v1::COMMAND_STATE_RUNNING);
  list.mutable_sessions(0)->set_attached(true);
  world_.gateway.On("GET /api/sessions", Ok(list));
  EXPECT_EQ(world_.Run({"sessions", "ls"}), 0);
  EXPECT_THAT(world_.console.out, HasSubstr("running, attached"));
  EXPECT_THAT(world_.console.out, HasSubstr("login shell"));
}

TEST_F(SessionVerbsTest, ARecordingIsPlayedWithItsPauses) {
  world_.gateway.On("GET /api/sessions/s-1/recording",
                    Json(200,
                         "{\"version\":2}\n[1.0,\"o\",\"a\\r\\n\"]\n"
                         "[100.0,\"o\",\"b\"]\n"));
  const absl::Time before = world_.time.wall;
  EXPECT_EQ(world_.Run({"sessions", "play", "s-1", "--idle-max", "2s"}), 0);
  EXPECT_EQ(world_.console.out, "a\r\nb\n");
  EXPECT_EQ(world_.time.wall - before, absl::Seconds(3));
}

TEST_F(SessionVerbsTest, WhatIsNoRecordingIsNotPlayed) {
  world_.gateway.On("GET /api/sessions/s-1/recording",
                    Json(200, "{\"version\":2}\nnonsense\n"));
  EXPECT_EQ(world_.Run({"sessions", "play", "s-1"}), kExitFailure);
  EXPECT_THAT(world_.console.err, HasSubstr("no asciicast"));
}

// --- Keys -------------------------------------------------------------------

// What is left of `typed`, and the wish.
using Taken = std::pair<std::string, EscapeKeys::Wish>;
Taken Take(EscapeKeys& keys, std::string typed) {
  const EscapeKeys::Wish wish = keys.Take(typed);
  return {typed, wish};
}

TEST(EscapeKeysTest, OnlyAtTheStartOfALine) {
  EscapeKeys keys;
  EXPECT_EQ(Take(keys, "a~d"), Taken("a~d", EscapeKeys::Wish::kNone));
  EXPECT_EQ(Take(keys, "\r~"), Taken("\r", EscapeKeys::Wish::kNone));
  EXPECT_EQ(Take(keys, "d"), Taken("", EscapeKeys::Wish::kDetach));
}

TEST(EscapeKeysTest, ATildeIsTypedTwiceOrBeforeAnythingElse) {
  EscapeKeys keys;
  EXPECT_EQ(Take(keys, "~~\r"), Taken("~\r", EscapeKeys::Wish::kNone));
  EXPECT_EQ(Take(keys, "~/x\r"), Taken("~/x\r", EscapeKeys::Wish::kNone));
  EXPECT_EQ(Take(keys, "~."), Taken("", EscapeKeys::Wish::kEnd));
}

TEST(EscapeKeysTest, AfterAskingForHelpItIsTypedOn) {
  EscapeKeys keys;
  EXPECT_EQ(Take(keys, "~?~x\r"), Taken("~x\r", EscapeKeys::Wish::kHelp));
  EXPECT_EQ(Take(keys, "~?~d"), Taken("", EscapeKeys::Wish::kDetach));
}

// --- Sending ----------------------------------------------------------------

// A gateway that takes what it is given in the way that a test wants.
struct SendTest : ::testing::Test {
  void Send(std::vector<LiveInput::Event> events,
            std::deque<absl::StatusOr<InputSender::Progress>> answers) {
    absl::Notification first_arrived, done;
    FakeInput input(std::move(events), &first_arrived);
    const InputSender::Put put = [&](GatewayApi&,
                                     const InputSender::Part& part) {
      parts.push_back(
          fmt::format("{}:{}{}", part.offset, part.bytes, part.end ? "$" : ""));
      absl::StatusOr<InputSender::Progress> answer = answers.front();
      answers.pop_front();
      const bool all =
          answer.ok() && answer->accepted == part.offset + part.bytes.size();
      if (all && !first_arrived.HasBeenNotified()) first_arrived.Notify();
      if (answers.empty()) done.Notify();
      return answer;
    };
    InputSender sender(input, NewLine(), 0, put);
    done.WaitForNotification();
  }
  Line NewLine() {
    auto transport = std::make_unique<FakeTransport>(gateway);
    auto api = std::make_unique<GatewayApi>(*transport, Secret("mst_secret"),
                                            absl::Seconds(1));
    return {std::move(transport), std::move(api)};
  }
  FakeGateway gateway;
  std::vector<std::string> parts;
};

TEST_F(SendTest, WhatDidNotFitIsSentAgainWithItsEnd) {
  Send({{.bytes = "abcdef"}, {.bytes = "", .ended = true}},
       {InputSender::Progress{.accepted = 4},
        InputSender::Progress{.accepted = 6},
        InputSender::Progress{.accepted = 6}});
  EXPECT_THAT(parts, ElementsAre("0:abcdef", "4:ef", "6:$"));
}

TEST_F(SendTest, WhatARestartedGatewayForgotIsSentAgain) {
  Send({{.bytes = "abcd"}, {.bytes = "ef"}},
       {InputSender::Progress{.accepted = 4, .taken = 1},
        InputSender::Progress{.accepted = 2, .taken = 2},
        InputSender::Progress{.accepted = 6, .taken = 2}});
  EXPECT_THAT(parts, ElementsAre("0:abcd", "4:ef", "2:cdef"));
}

TEST_F(SendTest, AfterTheEndItIsSeenThatTheMachineHasIt) {
  Send({{.bytes = "abcd"}, {.bytes = "", .ended = true}},
       {InputSender::Progress{.accepted = 4, .taken = 1},
        InputSender::Progress{.accepted = 4, .taken = 1},
        InputSender::Progress{.accepted = 1, .taken = 1},
        InputSender::Progress{.accepted = 4, .taken = 4}});
  EXPECT_THAT(parts, ElementsAre("0:abcd", "4:$", "4:$", "1:bcd$"));
}

TEST_F(SendTest, KeysAreSeenWhileTheGatewayDoesNotAnswer) {
  FakeInput input({{.bytes = "a"}, {.bytes = "b"}});
  absl::Notification second_seen;
  const auto wait_for_second = [&](GatewayApi&, const InputSender::Part& part) {
    second_seen.WaitForNotification();
    parts.push_back(part.bytes);
    return absl::StatusOr<InputSender::Progress>(
        InputSender::Progress{part.offset + part.bytes.size()});
  };
  {
    InputSender sender(input, NewLine(), 0, wait_for_second,
                       [&](std::string& bytes) {
                         if (bytes != "b") return true;
                         second_seen.Notify();
                         return false;
                       });
    second_seen.WaitForNotification();
  }
  std::string all;
  for (const std::string& part : parts) all += part;
  EXPECT_EQ(all, "ab") << "what was typed before still goes out";
}

TEST_F(SendTest, WhatTheMachineHasNotTakenIsAskedAboutWithoutAnotherKey) {
  Send({{.bytes = "abcd"}}, {InputSender::Progress{.accepted = 4, .taken = 0},
                             InputSender::Progress{.accepted = 0, .taken = 0},
                             InputSender::Progress{.accepted = 4, .taken = 4}});
  EXPECT_THAT(parts, ElementsAre("0:abcd", "4:", "0:abcd"));
}

TEST_F(SendTest, ALostAnswerIsAskedForAgain) {
  Send({{.bytes = "ab"}},
       {absl::UnavailableError("lost"), InputSender::Progress{.accepted = 2}});
  EXPECT_THAT(parts, ElementsAre("0:ab", "0:ab"));
}

}  // namespace
}  // namespace muster::ctl
