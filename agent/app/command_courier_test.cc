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
    if (offset < begin) return absl::OutOfRangeError("not kept");
    return text[stream].substr(offset, bytes_max);
  }
  uint64_t OutputBegin(const CommandId&) override { return begin; }
  bool IsSession(const CommandId&) override { return session; }
  void Say(const CommandId&, const ShimMessage& message) override {
    said.push_back(message);
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
  bool session = false;
  uint64_t begin = 0;
  std::vector<ShimMessage> said;
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
                             },
                         .send_taken =
                             [this](v1::InputTaken t) {
                               if (up_) taken_.push_back(t);
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
  std::vector<v1::InputTaken> taken_;
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

TEST_F(CommandCourierTest, AnOrderSaysWhoIssuedItAndWhy) {
  v1::CommandOrder order;
  order.set_shell_type(v1::SHELL_TYPE_BASH);
  order.set_issued_by("alice");
  order.set_purpose("disk full");
  EXPECT_EQ(FromProto(order)->issued_by, "alice");
  EXPECT_EQ(FromProto(order)->purpose, "disk full");
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

TEST_F(CommandCourierTest, WhatASessionDoesNotKeepAnyMoreIsSkipped) {
  Write("0123456789");
  AckOutput(10);
  chunks_.clear();
  up_ = false;
  Write("abcdef");
  runner_.begin = 12;
  up_ = true;
  courier_.OnOnline();
  ASSERT_EQ(chunks_.size(), 1u);
  EXPECT_EQ(chunks_[0].chunk().offset(), 12u);
  EXPECT_EQ(Sent(), "cdef");
}

TEST_F(CommandCourierTest, InputIsPassedOnWithItsEndAndItsSize) {
  courier_.OnInput(kId, {.taken = 5});
  v1::CommandInput input;
  input.set_command_id(kId.str());
  input.set_offset(5);
  input.set_data("abc");
  input.set_end(true);
  input.mutable_size()->set_rows(50);
  input.mutable_size()->set_columns(132);
  courier_.OnCommandInput(input);
  using Kind = ShimMessage::Kind;
  EXPECT_THAT(
      runner_.said,
      ElementsAre(ShimMessage{.kind = Kind::kSize, .size = {50, 132}},
                  ShimMessage{.kind = Kind::kInput, .number = 5, .data = "abc"},
                  ShimMessage{.kind = Kind::kEnd, .number = 8}));
}

TEST_F(CommandCourierTest, EveryNewLinkIsToldWhereTheInputGoesOn) {
  courier_.OnInput(kId, {.taken = 5});
  EXPECT_FALSE(taken_.at(0).again());
  courier_.OnOnline();
  ASSERT_EQ(taken_.size(), 2u);
  EXPECT_EQ(taken_[1].offset(), 5u);
  EXPECT_TRUE(taken_[1].again());
}

TEST_F(CommandCourierTest, TheShimOfASessionIsToldWhetherThereIsAGateway) {
  runner_.session = true;
  courier_.OnInput(kId, {.again = true});
  courier_.OnOnline();
  Write("abc");
  AckOutput(3);
  courier_.OnOffline();
  using Kind = ShimMessage::Kind;
  EXPECT_THAT(runner_.said,
              ElementsAre(ShimMessage{.kind = Kind::kAlone},
                          ShimMessage{.kind = Kind::kAcknowledged},
                          ShimMessage{.kind = Kind::kAcknowledged, .number = 3},
                          ShimMessage{.kind = Kind::kAlone}));
}

}  // namespace
}  // namespace muster::agent
