// Sessions and streamed input, over REST, through a real gateway and agent.

#include <functional>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/session.pb.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kWait = absl::Seconds(5);

// One who is attached to a session, or only looks.
class Viewer {
 public:
  Viewer(MiniFleet& fleet, std::string session_id)
      : fleet_(fleet), id_(std::move(session_id)) {}

  absl::Status Attach() {
    v1::AttachSessionRequest request;
    request.set_session_id(id_);
    auto answer =
        fleet_.rest().Call<v1::AttachSessionResponse>("AttachSession", request);
    if (!answer.ok()) return answer.status();
    attachment_ = answer->attachment_id();
    typed_ = answer->input_offset();
    return absl::OkStatus();
  }
  absl::Status Type(const std::string& text) {
    v1::WriteSessionRequest request;
    request.set_session_id(id_);
    request.set_attachment_id(attachment_);
    request.set_offset(typed_);
    request.set_data(text);
    *request.mutable_wait() = wire::ToProto(kWait);
    auto answer =
        fleet_.rest().Call<v1::WriteSessionResponse>("WriteSession", request);
    if (answer.ok()) typed_ = answer->accepted();
    return answer.status();
  }
  // Reads until `text` is shown, or the end.
  bool Shows(const std::string& text) {
    return Eventually([&] {
      Read();
      return shown.find(text) != std::string::npos;
    });
  }
  bool Ends() {
    return Eventually([&] { return Read() && ended; });
  }
  bool Read() {
    v1::ReadSessionRequest request;
    request.set_session_id(id_);
    request.set_attachment_id(attachment_);
    request.set_offset(offset_);
    *request.mutable_wait() = wire::ToProto(absl::Milliseconds(200));
    auto answer =
        fleet_.rest().Call<v1::ReadSessionResponse>("ReadSession", request);
    last = answer.status();
    if (!answer.ok()) return false;
    if (answer->offset() > offset_) gaps += answer->offset() - offset_;
    shown += answer->data();
    offset_ = answer->offset() + answer->data().size();
    ended = answer->end();
    session = answer->session();
    return true;
  }

  std::string shown;
  uint64_t gaps = 0;
  bool ended = false;
  v1::Session session;
  absl::Status last;

 private:
  MiniFleet& fleet_;
  const std::string id_;
  std::string attachment_;
  uint64_t typed_ = 0;
  uint64_t offset_ = 0;
};

absl::StatusOr<v1::Session> Open(
    MiniFleet& fleet, std::vector<std::string> argv,
    const std::function<void(v1::OpenSessionRequest&)>& change = nullptr) {
  v1::OpenSessionRequest request;
  request.set_agent_id(fleet.agent_id(0));
  request.mutable_argv()->Assign(argv.begin(), argv.end());
  if (change) change(request);
  return fleet.rest().Call<v1::Session>("OpenSession", request);
}

TEST(SessionTest, WhatIsTypedIsExecutedAndTheExitCodeIsTold) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto session = Open(fleet, {"sh"});
  ASSERT_TRUE(session.ok()) << session.status();
  Viewer viewer(fleet, session->session_id());
  ASSERT_TRUE(viewer.Attach().ok());
  ASSERT_TRUE(viewer.Type("echo $((6 * 7)); exit 5\n").ok());
  ASSERT_TRUE(viewer.Ends());
  EXPECT_THAT(viewer.shown, HasSubstr("42\r\n"));
  EXPECT_EQ(viewer.session.state(), v1::COMMAND_STATE_FAILED);
  EXPECT_EQ(viewer.session.exit_code(), 5);
}

TEST(SessionTest, ItGoesOnOverALostLinkAndAKilledAgent) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto session = Open(fleet, {"sh"});
  ASSERT_TRUE(session.ok()) << session.status();
  Viewer viewer(fleet, session->session_id());
  ASSERT_TRUE(viewer.Attach().ok());
  ASSERT_TRUE(viewer.Type("x=1; echo fir''st\n").ok());
  ASSERT_TRUE(viewer.Shows("first"));
  fleet.relay(0).Cut();
  ASSERT_TRUE(viewer.Type("x=$x.2; echo sec''ond\n").ok());
  ASSERT_TRUE(viewer.Shows("second"));
  fleet.CrashAgent(0);
  ASSERT_TRUE(viewer.Type("x=$x.3; echo $x\n").ok());
  fleet.StartAgent(0);
  ASSERT_TRUE(viewer.Shows("1.2.3\r\n")) << "no line was typed twice or lost";
  ASSERT_TRUE(viewer.Type("exit\n").ok());
  ASSERT_TRUE(viewer.Ends());
  EXPECT_EQ(viewer.gaps, 0u);
}

TEST(SessionTest, ItGoesOnOverARestartOfTheGateway) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto session = Open(fleet, {"sh"});
  ASSERT_TRUE(session.ok()) << session.status();
  {
    Viewer viewer(fleet, session->session_id());
    ASSERT_TRUE(viewer.Attach().ok());
    ASSERT_TRUE(viewer.Type("x=kept; echo fir''st\n").ok());
    ASSERT_TRUE(viewer.Shows("first"));
  }
  fleet.RestartGateway();
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  Viewer viewer(fleet, session->session_id());
  ASSERT_TRUE(Eventually([&] { return viewer.Attach().ok(); }));
  ASSERT_TRUE(viewer.Type("echo $x; exit\n").ok());
  ASSERT_TRUE(viewer.Ends());
  EXPECT_THAT(viewer.shown, HasSubstr("kept\r\n"));
}

TEST(SessionTest, WhoAttachesTakesItFromTheOther) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto session = Open(fleet, {"sh"});
  ASSERT_TRUE(session.ok()) << session.status();
  Viewer first(fleet, session->session_id());
  Viewer second(fleet, session->session_id());
  ASSERT_TRUE(first.Attach().ok());
  ASSERT_TRUE(second.Attach().ok());
  EXPECT_EQ(ProblemCode(first.Type("echo no\n")), "session_taken_over");
  Viewer looks(fleet, session->session_id());
  ASSERT_TRUE(second.Type("echo y''es; exit\n").ok());
  ASSERT_TRUE(looks.Ends());
  EXPECT_THAT(looks.shown, HasSubstr("yes"));
  EXPECT_THAT(looks.shown, ::testing::Not(HasSubstr("no")));
}

TEST(SessionTest, ARecordingIsTheWholeOfWhatWasShown) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto session =
      Open(fleet, {"echo", "hi"},
           [](v1::OpenSessionRequest& request) { request.set_record(true); });
  ASSERT_TRUE(session.ok()) << session.status();
  Viewer looks(fleet, session->session_id());
  ASSERT_TRUE(looks.Ends());
  EXPECT_EQ(looks.shown, "This session is recorded.\r\nhi\r\n");
  const auto cast =
      fleet.rest().Get("/api/sessions/" + session->session_id() + "/recording");
  ASSERT_TRUE(cast.ok()) << cast.status();
  EXPECT_THAT(cast->body, HasSubstr(R"({"version":2,"width":80,"height":24)"));
  EXPECT_THAT(cast->body, HasSubstr(R"(hi\r\n"])"));
}

TEST(SessionTest, OnAMachineThatIsNotOnlineItSaysWhy) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.CrashAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  const auto session = Open(fleet, {"sh"});
  EXPECT_EQ(ProblemCode(session.status()), "agent_unreachable");
}

TEST(SessionTest, EndedByAnOperatorItSaysByWhom) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto session = Open(fleet, {"sleep", "1000"});
  ASSERT_TRUE(session.ok()) << session.status();
  Viewer viewer(fleet, session->session_id());
  ASSERT_TRUE(viewer.Attach().ok());
  v1::EndSessionRequest request;
  request.set_session_id(session->session_id());
  ASSERT_TRUE(fleet.rest().Call<v1::Session>("EndSession", request).ok());
  ASSERT_TRUE(viewer.Ends());
  EXPECT_EQ(viewer.session.state(), v1::COMMAND_STATE_CANCELLED);
  EXPECT_THAT(viewer.session.reason(), HasSubstr("ended by "));
}

// --- Streamed input ---------------------------------------------------------

TEST(InputTest, WhatIsPipedArrivesExactlyOverLostLinks) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  v1::SubmitCommandRequest submit;
  submit.set_agent_id(fleet.agent_id(0));
  submit.set_command("cat");
  submit.set_input_streamed(true);
  const auto command = fleet.rest().Call<v1::Command>("SubmitCommand", submit);
  ASSERT_TRUE(command.ok()) << command.status();
  std::string all;
  for (int i = 0; i < 40'000; ++i) all += fmt::format("{}\n", i);
  v1::WriteInputRequest request;
  request.set_command_id(command->command_id());
  *request.mutable_wait() = wire::ToProto(kWait);
  uint64_t offset = 0;
  int parts = 0;
  while (offset < all.size()) {
    request.set_offset(offset);
    request.set_data(all.substr(offset, 30'000));
    request.set_end(offset + request.data().size() == all.size());
    const auto answer =
        fleet.rest().Call<v1::WriteInputResponse>("WriteInput", request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    offset = answer->accepted();
    if (++parts % 3 == 0) fleet.relay(0).Cut();
  }
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SUCCEEDED);
  EXPECT_TRUE(ran->out == all) << ran->out.size() << " of " << all.size();
}

TEST(InputTest, ACommandThatWasSubmittedWithoutItReadsNothing) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto command = fleet.Submit(0, "sleep 1");
  ASSERT_TRUE(command.ok());
  v1::WriteInputRequest request;
  request.set_command_id(command->command_id());
  request.set_data("x");
  const auto answer =
      fleet.rest().Call<v1::WriteInputResponse>("WriteInput", request);
  EXPECT_EQ(ProblemCode(answer.status()), "input_not_streamed");
}

}  // namespace
}  // namespace muster::integration
