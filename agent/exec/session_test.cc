// Sessions and streamed input: the real muster-exec below a real Executor.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <functional>
#include <map>
#include <memory>

#include "agent/exec/executor.h"
#include "agent/exec/spool.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = ShimMessage::Kind;

constexpr absl::Duration kPatience = absl::Seconds(20);

class SessionTest : public ::testing::Test, public Executor::Delegate {
 protected:
  SessionTest() { StartAgent(); }
  ~SessionTest() override {
    for (const CommandId& id : executor_->OpenCommands()) {
      (void)executor_->Cancel(id);
      End(id);
      EXPECT_TRUE(executor_->Forget(id).ok());
    }
  }

  void OnUpdate(const Update&) override {}
  void OnOutput(const CommandId&) override {}
  void OnInput(const CommandId& id, const InputState& input) override {
    inputs_[id] = input;
    again_[id] += input.again ? 1 : 0;
  }

  void StartAgent() {
    auto executor = Executor::Open(loop_, *this,
                                   {.folder = dir_.File("exec"),
                                    .shim_path = MUSTER_EXEC_PATH,
                                    .boot_id = "boot-1"});
    ASSERT_TRUE(executor.ok()) << executor.status();
    executor_ = *std::move(executor);
    ASSERT_TRUE(executor_->Recover().ok());
  }

  CommandId Start(std::vector<std::string> argv,
                  const std::function<void(Order&)>& change = nullptr) {
    Order order;
    order.command_id = CommandId(NewUuid(clock_.Wall()));
    order.dispatch_seq = ++last_seq_;
    order.shell = Shell::kExec;
    order.argv = std::move(argv);
    order.kill_grace = absl::Seconds(1);
    if (change) change(order);
    EXPECT_TRUE(executor_->Accept(order).ok());
    EXPECT_TRUE(Eventually([&] {
      const auto last = executor_->LastUpdate(order.command_id);
      return inputs_.contains(order.command_id) ||
             (last && IsTerminal(last->state));
    })) << "there is no line to its shim";
    return order.command_id;
  }
  CommandId Open(std::vector<std::string> argv,
                 absl::Duration keep = absl::Hours(1)) {
    return Start(std::move(argv), [keep](Order& order) {
      order.terminal =
          Terminal{.size = {30, 100}, .type = "vt100", .keep = keep};
    });
  }
  CommandId Pipe(const std::string& text) {
    return Start({"sh", "-c", text},
                 [](Order& order) { order.input_streamed = true; });
  }
  void Type(const CommandId& id, std::string text) {
    executor_->Say(id,
                   {.kind = Kind::kInput, .number = typed_[id], .data = text});
    typed_[id] += text.size();
  }

  bool Eventually(const std::function<bool()>& condition) {
    const Instant deadline = clock_.Now() + kPatience;
    while (clock_.Now() < deadline) {
      loop_.RunReady();
      if (condition()) return true;
      poll(nullptr, 0, 2);
    }
    return false;
  }
  Update End(const CommandId& id) {
    EXPECT_TRUE(Eventually([&] {
      const auto last = executor_->LastUpdate(id);
      return last && IsTerminal(last->state);
    })) << "never ended";
    return executor_->LastUpdate(id).value_or(Update());
  }
  std::string Output(const CommandId& id) {
    std::string all;
    while (true) {
      const auto some =
          executor_->ReadOutput(id, Stream::kStdout, all.size(), 65536);
      if (!some.ok() || some->empty()) return all;
      all += *some;
    }
  }
  bool Shows(const CommandId& id, const std::string& text) {
    return Eventually(
        [&] { return Output(id).find(text) != std::string::npos; });
  }
  CommandFolder FolderOf(const CommandId& id) {
    return CommandFolder(dir_.File("exec") + "/commands/" + id.str());
  }

  SystemClock clock_;
  TempDir dir_;
  FakeEventLoop loop_;
  uint64_t last_seq_ = 0;
  std::map<CommandId, uint64_t> typed_;
  std::map<CommandId, InputState> inputs_;
  std::map<CommandId, int> again_;
  std::unique_ptr<Executor> executor_;
};

TEST_F(SessionTest, AProgramHasATerminalOfItsOwnAndHearsWhatIsTyped) {
  const CommandId id = Open({"sh"});
  Type(id, "tty; stty size; echo $TERM; ps -o tty= $$; exit 7\n");
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kFailed);
  EXPECT_EQ(end.exit_code, 7);
  EXPECT_THAT(Output(id), HasSubstr("/dev/pts/"));
  EXPECT_THAT(Output(id), HasSubstr("30 100\r\nvt100\r\npts/"));
  EXPECT_EQ(end.stdout_bytes, Output(id).size());
}

TEST_F(SessionTest, WithoutAProgramItIsTheLoginShell) {
  const CommandId id = Open({});
  Type(id, "echo \"<$0>\"; exit\n");
  End(id);
  EXPECT_THAT(Output(id), HasSubstr("<-"));
}

TEST_F(SessionTest, CtrlCReachesTheProgramInTheForeground) {
  const CommandId id = Open({"sh", "-c",
                             "trap 'echo caught; exit 3' INT; "
                             "echo ready; while :; do sleep 0.05; "
                             "done"});
  ASSERT_TRUE(Shows(id, "ready"));
  Type(id, "\x03");
  EXPECT_EQ(End(id).exit_code, 3);
  EXPECT_THAT(Output(id), HasSubstr("caught"));
}

TEST_F(SessionTest, AChangeOfSizeIsHeard) {
  const CommandId id = Open({"sh", "-c",
                             "trap 'stty size; exit' WINCH; "
                             "echo ready; while :; do sleep 0.05; "
                             "done"});
  ASSERT_TRUE(Shows(id, "ready"));
  executor_->Say(id, {.kind = Kind::kSize, .size = {50, 132}});
  End(id);
  EXPECT_THAT(Output(id), HasSubstr("50 132"));
}

TEST_F(SessionTest, ItOutlivesTheAgentAndIsTypedIntoAgain) {
  const CommandId id = Open({"sh"});
  Type(id, "x=kept; echo on''e\n");
  ASSERT_TRUE(Shows(id, "one"));
  executor_.reset();
  inputs_.clear();
  StartAgent();
  ASSERT_TRUE(Eventually([&] { return inputs_.contains(id); }));
  EXPECT_TRUE(inputs_[id].again);
  EXPECT_EQ(inputs_[id].taken, typed_[id]);
  Type(id, "echo $x; exit\n");
  End(id);
  EXPECT_THAT(Output(id), HasSubstr("kept\r\n"));
}

TEST_F(SessionTest, WhatIsSentTwiceIsTypedOnceAndWhatComesAfterAGapIsNot) {
  const CommandId id = Open({"sh", "-c", "stty -echo; echo ready; cat"});
  ASSERT_TRUE(Shows(id, "ready"));
  Type(id, "one\n");
  ASSERT_TRUE(Eventually([&] { return inputs_[id].taken == 4; }));
  typed_[id] = 0;
  Type(id, "one\ntwo\n");
  ASSERT_TRUE(Eventually([&] { return inputs_[id].taken == 8; }));
  typed_[id] = 20;
  Type(id, "lost\n");
  typed_[id] = 8;
  Type(id, "three\n\x04");
  End(id);
  EXPECT_EQ(Output(id), "ready\r\none\r\ntwo\r\nthree\r\n");
}

TEST_F(SessionTest, CancelEndsAShellThatIgnoresSigterm) {
  const CommandId id = Open({"bash", "-i"});
  Type(id, "trap '' TERM HUP; sleep 100 & echo rea''dy\n");
  ASSERT_TRUE(Shows(id, "ready"));
  ASSERT_TRUE(executor_->Cancel(id).ok());
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kCancelled);
  EXPECT_EQ(end.reason, "");
}

TEST_F(SessionTest, WithoutAGatewayItEndsAfterItsTime) {
  const CommandId id = Open({"sleep", "100"}, absl::Milliseconds(300));
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kCancelled);
  EXPECT_EQ(end.reason, "no_gateway");
}

TEST_F(SessionTest, WithAGatewayItLivesOn) {
  const CommandId id =
      Open({"sh", "-c", "sleep 2; echo lived"}, absl::Seconds(1));
  executor_->Say(id, {.kind = Kind::kAcknowledged});
  EXPECT_EQ(End(id).state, CommandState::kSucceeded);
}

// 3 MiB, and nobody reads: its end is kept, and disk space is bounded.
TEST_F(SessionTest, WhatNobodyReadsIsGivenBackAndTheRestIsWhereItWas) {
  const CommandId id = Open({"sh", "-c",
                             "stty -opost; head -c 3145728 "
                             "/dev/zero | tr '\\0' x; echo end"});
  const Update end = End(id);
  EXPECT_EQ(end.stdout_bytes, 3145728u + 4);
  EXPECT_TRUE(absl::IsOutOfRange(
      executor_->ReadOutput(id, Stream::kStdout, 0, 10).status()));
  const uint64_t begin = executor_->OutputBegin(id);
  EXPECT_EQ(begin, end.stdout_bytes - kRingBytes);
  EXPECT_EQ(executor_->ReadOutput(id, Stream::kStdout, begin, 3).value(),
            "xxx");
  EXPECT_EQ(
      executor_->ReadOutput(id, Stream::kStdout, end.stdout_bytes - 4, 100)
          .value(),
      "end\n");
  struct stat st;
  ASSERT_EQ(stat(FolderOf(id).File("out").c_str(), &st), 0);
  EXPECT_LE(static_cast<uint64_t>(st.st_blocks) * 512, 2 * kRingBytes + 65536);
}

TEST_F(SessionTest, AProgramWaitsForAGatewayThatIsSlow) {
  const CommandId id = Open({"sh", "-c",
                             "stty -opost; head -c 3145728 "
                             "/dev/zero; echo end"});
  executor_->Say(id, {.kind = Kind::kAcknowledged});
  ASSERT_TRUE(Eventually([&] {
    return executor_->OutputBytes(id, Stream::kStdout) >= kRingBytes / 2;
  }));
  // It has stopped there: whatever more comes is what was on its way.
  const uint64_t held = executor_->OutputBytes(id, Stream::kStdout);
  EXPECT_LE(held, kRingBytes);
  uint64_t read = 0;
  EXPECT_TRUE(Eventually([&] {
    const auto some = executor_->ReadOutput(id, Stream::kStdout, read, 1 << 20);
    if (!some.ok()) return false;
    read += some->size();
    executor_->Say(id, {.kind = Kind::kAcknowledged, .number = read});
    return read == 3145728u + 4;
  })) << "no byte is lost";
}

TEST_F(SessionTest, ABackgroundProcessThatHoldsTheTerminalIsNotWaitedFor) {
  const CommandId id = Open({"sh", "-c", "trap '' HUP; sleep 30 & exit 4"});
  const Update end = End(id);
  EXPECT_EQ(end.exit_code, 4);
  EXPECT_THAT(end.reason, StartsWith("pipe_held_by: "));
  const pid_t sleeper = std::stoi(end.reason.substr(end.reason.find(' ')));
  EXPECT_EQ(kill(sleeper, SIGKILL), 0);
}

TEST_F(SessionTest, ARecordedOneSaysSo) {
  const CommandId id = Start({"echo", "hi"}, [](Order& order) {
    order.terminal = Terminal{.keep = absl::Hours(1), .recorded = true};
  });
  End(id);
  EXPECT_EQ(Output(id), "This session is recorded.\r\nhi\r\n");
}

// --- Streamed input ---------------------------------------------------------

TEST_F(SessionTest, InputArrivesExactlyAndItsEndIsTold) {
  const CommandId id = Pipe("sha256sum; echo done");
  std::string sent;
  while (sent.size() < 300000) {
    const std::string part(10000, static_cast<char>('a' + sent.size() % 23));
    ASSERT_TRUE(Eventually([&] {
      return sent.size() - inputs_[id].taken <= kBacklogBytesMax - part.size();
    }));
    Type(id, part);
    sent += part;
  }
  executor_->Say(id, {.kind = Kind::kEnd, .number = sent.size()});
  EXPECT_EQ(End(id).state, CommandState::kSucceeded);
  EXPECT_EQ(inputs_[id].taken, sent.size());
  EXPECT_THAT(Output(id), HasSubstr("done"));
}

TEST_F(SessionTest, ACommandThatReadsNoMoreIsNoError) {
  const CommandId id = Pipe("head -c 3; exec 0<&-; sleep 0.2; echo; echo on");
  Type(id, "abcdef");
  ASSERT_TRUE(Eventually([&] { return inputs_[id].closed; }));
  EXPECT_EQ(End(id).state, CommandState::kSucceeded);
  EXPECT_EQ(Output(id), "abc\non\n");
}

TEST_F(SessionTest, WithoutAnEndACommandWaitsAndCanBeCancelled) {
  const CommandId id = Pipe("cat; echo never");
  Type(id, "x");
  ASSERT_TRUE(Shows(id, "x"));
  ASSERT_TRUE(executor_->Cancel(id).ok());
  EXPECT_EQ(End(id).state, CommandState::kCancelled);
  EXPECT_EQ(Output(id), "x");
}

// --- Messages ---------------------------------------------------------------

TEST(ShimMessageTest, WhatIsEncodedIsReadBack) {
  const ShimMessage message{.kind = Kind::kInput,
                            .number = 0x0123456789abcdef,
                            .size = {50, 132},
                            .data = std::string("a\0b", 3)};
  EXPECT_EQ(ParseShimMessage(Encode(message)), message);
}

TEST(ShimMessageTest, WhatIsTooShortOrTooLongIsNone) {
  const std::string good = Encode({.kind = Kind::kTaken});
  EXPECT_FALSE(ParseShimMessage(good.substr(1)));
  EXPECT_FALSE(ParseShimMessage(""));
  EXPECT_FALSE(ParseShimMessage(good + std::string(kInputBytesMax + 1, 'x')));
}

}  // namespace
}  // namespace muster::agent
