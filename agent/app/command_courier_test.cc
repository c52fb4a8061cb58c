#include "agent/app/command_courier.h"

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const CommandId kId("0190163d-8694-739b-aea5-966c26f8ad91");

class FakeRunner final : public CommandRunner {
 public:
  absl::Status Accept(Order order) override {
    accepted.push_back(order.command_id);
    return accept_status;
  }
  absl::Status Cancel(const CommandId& id) override {
    cancelled.push_back(id);
    return absl::OkStatus();
  }
  uint64_t OutputBytes(const CommandId&, Stream stream) override {
    return text[stream].size();
  }
  absl::StatusOr<std::string> ReadOutput(const CommandId&, Stream stream,
                                         uint64_t offset,
                                         size_t bytes_max) override {
    return text[stream].substr(offset, bytes_max);
  }
  absl::Status Forget(const CommandId& id) override {
    forgotten.push_back(id);
    return absl::OkStatus();
  }
  std::vector<CommandId> OpenCommands() override { return {kId}; }
  uint64_t seen_high() override { return 7; }

  absl::Status accept_status;
  std::map<Stream, std::string> text;
  std::vector<CommandId> accepted, cancelled, forgotten;
};

class CommandCourierTest : public testing::Test {
 protected:
  CommandCourierTest()
      : courier_(loop_, {.send_update =
                             [this](v1::CommandUpdate u) {
                               if (up_) updates_.push_back(u.state());
                               return up_;
                             },
                         .send_chunk =
                             [this](v1::TransferChunk c) {
                               if (up_) chunks_.push_back(c);
                               return up_;
                             }}) {
    courier_.SetRunner(&runner_);
  }

  void Update(CommandState state, uint64_t stdout_bytes = 0) {
    agent::Update update;
    update.command_id = kId;
    update.state = state;
    update.stdout_bytes = stdout_bytes;
    courier_.OnUpdate(update);
  }
  void AckUpdate(v1::CommandState state) {
    v1::CommandUpdateAck ack;
    ack.set_command_id(kId.str());
    ack.set_state(state);
    courier_.OnUpdateAck(ack);
  }
  void AckOutput(uint64_t offset) {
    v1::TransferAck ack;
    ack.set_command_id(kId.str());
    ack.set_stream(v1::OUTPUT_STREAM_STDOUT);
    ack.set_offset(offset);
    courier_.OnTransferAck(ack);
  }
  void Write(const std::string& text) {
    runner_.text[Stream::kStdout] += text;
    courier_.OnOutput(kId);
  }
  std::string Sent() const {
    std::string out;
    for (const v1::TransferChunk& c : chunks_) out += c.chunk().data();
    return out;
  }

  bool up_ = true;
  FakeEventLoop loop_;
  FakeRunner runner_;
  std::vector<v1::CommandState> updates_;
  std::vector<v1::TransferChunk> chunks_;
  CommandCourier courier_;
};

TEST_F(CommandCourierTest, AnOrderIsAcceptedACancelPassedOn) {
  v1::CommandOrder order;
  order.set_command_id(kId.str());
  order.set_shell_type(v1::SHELL_TYPE_BASH);
  courier_.OnOrder(order);
  courier_.OnCancel(kId.str());
  EXPECT_THAT(runner_.accepted, ElementsAre(kId));
  EXPECT_THAT(runner_.cancelled, ElementsAre(kId));
  EXPECT_THAT(updates_, IsEmpty());
}

TEST_F(CommandCourierTest, AnOrderThatCannotBeTakenIsRejected) {
  v1::CommandOrder order;
  order.set_command_id(kId.str());
  courier_.OnOrder(order);  // No shell.
  EXPECT_THAT(runner_.accepted, IsEmpty());
  order.set_shell_type(v1::SHELL_TYPE_BASH);
  runner_.accept_status = absl::ResourceExhaustedError("full");
  courier_.OnOrder(order);
  EXPECT_THAT(updates_, ElementsAre(v1::COMMAND_STATE_REJECTED,
                                    v1::COMMAND_STATE_REJECTED));
}

TEST_F(CommandCourierTest, AnUpdateIsRepeatedOnEveryLinkUntilItIsAcknowledged) {
  up_ = false;
  Update(CommandState::kRunning);
  up_ = true;
  courier_.OnOnline();
  courier_.OnOnline();
  EXPECT_THAT(updates_, ElementsAre(v1::COMMAND_STATE_RUNNING,
                                    v1::COMMAND_STATE_RUNNING));
  AckUpdate(v1::COMMAND_STATE_RUNNING);
  courier_.OnOnline();
  EXPECT_EQ(updates_.size(), 2u);
}

TEST_F(CommandCourierTest,
       ACommandIsForgottenOnlyWhenResultAndOutputAreDurableThere) {
  Write("hello");
  Update(CommandState::kSucceeded, 5);
  AckUpdate(v1::COMMAND_STATE_RUNNING);  // Of an earlier state.
  AckUpdate(v1::COMMAND_STATE_SUCCEEDED);
  AckOutput(4);
  EXPECT_THAT(runner_.forgotten, IsEmpty());
  AckOutput(5);
  EXPECT_THAT(runner_.forgotten, ElementsAre(kId));
  courier_.OnOnline();
  EXPECT_EQ(updates_.size(), 1u);
}

TEST_F(CommandCourierTest, OutputFirstThenTheResultIsForgottenToo) {
  Write("hello");
  AckOutput(5);
  Update(CommandState::kFailed, 5);
  EXPECT_THAT(runner_.forgotten, IsEmpty());
  AckUpdate(v1::COMMAND_STATE_FAILED);
  EXPECT_THAT(runner_.forgotten, ElementsAre(kId));
}

TEST_F(CommandCourierTest, OutputGoesOutAsItGrowsAndResumesWhereTheGatewayIs) {
  Write("abc");
  Write("def");
  EXPECT_EQ(Sent(), "abcdef");
  AckOutput(2);
  chunks_.clear();
  courier_.OnOnline();
  EXPECT_EQ(Sent(), "cdef");
  EXPECT_EQ(chunks_[0].chunk().offset(), 2u);
}

TEST_F(CommandCourierTest, ABrokenTransferIsTriedAgainAfterASecond) {
  Write("abc");
  chunks_.clear();
  courier_.OnTransferLost();
  loop_.Advance(absl::Milliseconds(999));
  EXPECT_EQ(Sent(), "");
  loop_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Sent(), "abc");
}

TEST_F(CommandCourierTest, NoMoreThanTheWindowIsUnderWay) {
  Write(std::string(1'000'000, 'x'));
  EXPECT_EQ(Sent().size(), 64u * 1024);
  AckOutput(1000);
  EXPECT_GE(Sent().size(), 64u * 1024 + 1000);
}

TEST_F(CommandCourierTest, TheHelloNamesWhatIsOpen) {
  EXPECT_EQ(courier_.ForHello().seen_high, 7u);
  EXPECT_THAT(courier_.ForHello().open_command_ids, ElementsAre(kId.str()));
}

}  // namespace
}  // namespace muster::agent
