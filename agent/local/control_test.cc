#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "agent/local/control_client.h"
#include "agent/local/control_protocol.h"
#include "agent/local/control_server.h"
#include "agent/local/local_socket.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/base/thread_event_loop.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using testing::HasSubstr;

TEST(ControlProtocolTest, EveryVerbSurvivesTheWire) {
  for (const ControlVerb verb :
       {ControlVerb::kStatus, ControlVerb::kHeartbeatNow, ControlVerb::kStop,
        ControlVerb::kStopForUpgrade, ControlVerb::kLeave,
        ControlVerb::kReplaced}) {
    std::string line = RenderRequest({verb});
    ASSERT_EQ(line.back(), '\n');
    line.pop_back();
    ASSERT_TRUE(ParseRequest(line).ok());
    EXPECT_EQ(*ParseRequest(line), ControlRequest{verb});
  }
}

TEST(ControlProtocolTest, APromiseSurvivesTheWireWithinItsBounds) {
  const auto read = [](absl::Duration promise) {
    std::string line = RenderRequest({ControlVerb::kStop, promise});
    line.pop_back();
    return ParseRequest(line);
  };
  for (const absl::Duration promise :
       {absl::Seconds(1), absl::Minutes(20), absl::Hours(1)}) {
    ASSERT_TRUE(read(promise).ok()) << promise;
    EXPECT_EQ(read(promise)->back_within, promise);
  }
  for (const absl::Duration promise :
       {absl::ZeroDuration(), absl::Seconds(-1),
        absl::Hours(1) + absl::Milliseconds(1)}) {
    EXPECT_FALSE(read(promise).ok()) << promise;
  }
  EXPECT_EQ(read(absl::Hours(2)).status().message(),
            "back_within: must be 1s to 1h, got 2h");
}

TEST(ControlProtocolTest, ARequestThatIsNoneIsAnErrorThatSaysWhy) {
  const auto error = [](std::string_view line) {
    return std::string(ParseRequest(line).status().message());
  };
  EXPECT_THAT(error("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(error("{}"), HasSubstr("verb: expected a string"));
  EXPECT_THAT(error(R"({"verb":3})"), HasSubstr("verb: expected a string"));
  EXPECT_THAT(error(R"({"verb":"dance"})"), HasSubstr("verb: unknown"));
  EXPECT_THAT(error(R"({"verb":"stop","back_within":60})"),
              HasSubstr("back_within: expected a string"));
  EXPECT_FALSE(ParseRequest(R"({"verb":"stop","back_within":"x"})").ok());
  EXPECT_FALSE(ParseRequest("{").ok());
  EXPECT_THAT(error(std::string(kControlLineBytesMax + 1, ' ')),
              HasSubstr("at most"));
}

TEST(ControlProtocolTest, AReplyKeepsTextAndFieldsWhateverTheyHold) {
  std::string line = RenderReply(
      {.ok = true, .text = "a\n\"b\" \xff", .fields = {{"agent_id", "x"}}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  line.pop_back();
  const auto reply = ParseReply(line);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->ok);
  EXPECT_THAT(reply->text, testing::StartsWith("a\n\"b\""));
  EXPECT_EQ(reply->fields.at("agent_id"), "x");
}

class ControlTest : public testing::Test {
 protected:
  std::unique_ptr<ControlServer> Start() {
    auto server = ControlServer::Start(
        path_, loop_,
        [](const ControlRequest& request, ControlServer::Reply r) {
          r({.ok = true, .text = std::string(VerbName(request.verb))});
        });
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }
  absl::StatusOr<ControlReply> Ask(ControlVerb verb) {
    return AskAgent(path_, {verb}, absl::Seconds(10), clock_);
  }
  // Sends raw bytes and returns what comes back.
  std::string Raw(const std::string& bytes) {
    const auto address = MakeLocalAddress(path_);
    const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), address->get(), address->size()), 0);
    EXPECT_GE(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    shutdown(fd.get(), SHUT_WR);
    return ReadLine(fd.get(), absl::Seconds(10), clock_).value_or("");
  }

  SystemClock clock_;
  TempDir dir_;
  const std::string path_ = dir_.File("agent.sock");
  ThreadEventLoop loop_{clock_};
};

TEST_F(ControlTest, TheRunningAgentAnswers) {
  const auto server = Start();
  EXPECT_EQ(Ask(ControlVerb::kStatus)->text, "status");
  EXPECT_EQ(Ask(ControlVerb::kHeartbeatNow)->text, "heartbeat-now");
}

TEST_F(ControlTest, OnlyTheOwnerMayAsk) {
  const auto server = Start();
  struct stat st;
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(ControlTest, WithoutAnAgentTheAnswerSaysSo) {
  EXPECT_THAT(std::string(Ask(ControlVerb::kStatus).status().message()),
              HasSubstr("no agent is running here"));
}

TEST_F(ControlTest, ASocketLeftByADeadAgentIsReplacedAndTheOwnRemoved) {
  {
    const auto address = MakeLocalAddress(path_);
    const Fd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(dead.get(), address->get(), address->size()), 0);
  }
  {
    const auto server = Start();
    EXPECT_TRUE(Ask(ControlVerb::kStatus).ok());
  }
  EXPECT_FALSE(FileExists(path_));
}

TEST_F(ControlTest, NonsenseGetsAnErrorAndTheServerGoesOn) {
  const auto server = Start();
  EXPECT_THAT(Raw("dance\n"), HasSubstr("\"ok\":false"));
  EXPECT_THAT(Raw(std::string(20'000, 'x')), HasSubstr("\"ok\":false"));
  EXPECT_THAT(Raw(""), HasSubstr("\"ok\":false"));
  EXPECT_TRUE(Ask(ControlVerb::kStatus).ok());
}

TEST_F(ControlTest, APathTooLongForASocketIsRefused) {
  const auto server =
      ControlServer::Start(dir_.File(std::string(120, 'x')), loop_,
                           [](const ControlRequest&, ControlServer::Reply) {});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace muster::agent
