// Commands: at most once, nothing lost, and what happened is what is told.

#include <signal.h>

#include <atomic>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"
#include "tests/integration/raw_agent.h"

namespace muster::integration {
namespace {

using ::testing::HasSubstr;

// Commands of a test leave traces in a folder of its own.
struct Scratch {
  TempDir dir;
  std::string path(const std::string& name) const { return dir.File(name); }
};

v1::SubmitCommandRequest Request(const MiniFleet& fleet, int i,
                                 const std::string& text) {
  v1::SubmitCommandRequest request;
  request.set_agent_id(fleet.agent_id(i));
  request.set_command(text);
  return request;
}

absl::StatusOr<v1::Command> Cancel(MiniFleet& fleet, const std::string& id) {
  v1::CancelCommandRequest request;
  request.set_command_id(id);
  return fleet.rest().Call<v1::Command>("CancelCommand", request);
}

TEST(CommandTest, EveryCommandRunsOnceHoweverOftenTheLinkIsCut) {
  constexpr int kRounds = 50;
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  std::minstd_rand random(20261122);
  std::vector<std::string> ids;
  for (int round = 0; round < kRounds; ++round) {
    const auto command =
        fleet.Submit(0, fmt::format("echo {} >> {}; echo out{}", round,
                                    scratch.path("ran"), round));
    ASSERT_TRUE(command.ok()) << command.status();
    ids.push_back(command->command_id());
    absl::SleepFor(absl::Microseconds(random() % 30'000));
    fleet.relay(0).Cut();
  }
  for (int round = 0; round < kRounds; ++round) {
    const auto ran = fleet.Finish(ids[round]);
    ASSERT_TRUE(ran.ok()) << ran.status();
    EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SUCCEEDED);
    EXPECT_EQ(ran->out, fmt::format("out{}\n", round));
  }
  std::string traces = *ReadFile(scratch.path("ran"), 1 << 20);
  std::vector<int> times(kRounds, 0);
  std::istringstream lines(traces);
  for (int round; lines >> round;) ++times.at(round);
  EXPECT_THAT(times, testing::Each(1));
}

TEST(CommandTest, RunsInTheSurroundingsThatItIsGivenAndRepeatsNoSecret) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  v1::SubmitCommandRequest request =
      Request(fleet, 0, "pwd; umask; echo $SECRET; cat");
  request.set_shell_type(v1::SHELL_TYPE_SH);
  v1::Surroundings& surroundings = *request.mutable_surroundings();
  surroundings.set_working_directory(scratch.dir.path());
  (*surroundings.mutable_environment())["SECRET"] = "s3cret";
  surroundings.set_umask(027);
  surroundings.set_input(std::string("\0\xff", 2));
  (*request.mutable_labels())["change"] = "4711";
  request.set_purpose("disk full");
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->surroundings().environment().at("SECRET"), "");
  EXPECT_EQ(command->surroundings().input(), "");
  EXPECT_EQ(command->input_bytes(), 2u);
  EXPECT_EQ(command->labels().at("change"), "4711");
  EXPECT_EQ(command->purpose(), "disk full");
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->out,
            scratch.dir.path() + "\n0027\ns3cret\n" + std::string("\0\xff", 2));
}

TEST(CommandTest, WhatTheMachineCannotDoIsRejectedWithTheReason) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  v1::SubmitCommandRequest request = Request(fleet, 0, "true");
  request.mutable_surroundings()->set_user("no-such-user");
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_REJECTED);
  EXPECT_EQ(ran->command.reason(), "user_unknown");
}

TEST(CommandTest, AnAgentThatCrashesLosesNoResultAndRepeatsNothing) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto command = fleet.Submit(
      0, fmt::format("echo x >> {0}; until [ -e {1} ]; do sleep 0.02; done; "
                     "echo done; exit 5",
                     scratch.path("ran"), scratch.path("go")));
  ASSERT_TRUE(command.ok()) << command.status();
  ASSERT_TRUE(
      fleet.WaitForState(command->command_id(), v1::COMMAND_STATE_RUNNING));
  fleet.CrashAgent(0);
  fleet.RestartGateway();
  ASSERT_TRUE(WriteFileDurably(scratch.path("go"), "", 0600).ok());
  fleet.StartAgent(0);
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.exit_code(), 5);
  EXPECT_EQ(ran->out, "done\n");
  EXPECT_EQ(*ReadFile(scratch.path("ran"), 100), "x\n");
}

TEST(CommandTest, ACommandUnderWayOutlivesAGatewayRestart) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto command = fleet.Submit(
      0, fmt::format("echo a; until [ -e {} ]; do sleep 0.02; done; echo b",
                     scratch.path("go")));
  ASSERT_TRUE(command.ok()) << command.status();
  ASSERT_TRUE(
      fleet.WaitForState(command->command_id(), v1::COMMAND_STATE_RUNNING));
  fleet.StopGateway();
  ASSERT_TRUE(WriteFileDurably(scratch.path("go"), "", 0600).ok());
  fleet.StartGateway();
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SUCCEEDED);
  EXPECT_EQ(ran->out, "a\nb\n");
}

TEST(CommandTest, AQueuedCommandIsCancelledAtOnceAndNeverRuns) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  auto request = Request(fleet, 0, "touch " + scratch.path("ran"));
  request.set_if_offline(v1::IF_OFFLINE_QUEUE);
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->state(), v1::COMMAND_STATE_QUEUED);
  const auto cancelled = Cancel(fleet, command->command_id());
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state(), v1::COMMAND_STATE_CANCELLED);
  fleet.StartAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  ASSERT_TRUE(fleet.Run(0, "true").ok());  // It would have come after.
  EXPECT_FALSE(FileExists(scratch.path("ran")));
}

TEST(CommandTest, ARunningCommandIsCancelledWithAllItsChildren) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto command = fleet.Submit(
      0, fmt::format("sleep 60 & echo $! > {0}.new; mv {0}.new {0}; wait",
                     scratch.path("child")));
  ASSERT_TRUE(command.ok()) << command.status();
  ASSERT_TRUE(Eventually([&] { return FileExists(scratch.path("child")); }));
  ASSERT_TRUE(Cancel(fleet, command->command_id()).ok());
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_CANCELLED);
  const int child = std::stoi(*ReadFile(scratch.path("child"), 100));
  EXPECT_NE(kill(child, 0), 0) << "the child lives";
}

TEST(CommandTest, ACommandThatTakesTooLongTimesOut) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  auto request = Request(fleet, 0, "echo before; sleep 60");
  *request.mutable_timeout() = wire::ToProto(absl::Seconds(1));
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_TIMED_OUT);
  EXPECT_EQ(ran->out, "before\n");
}

TEST(CommandTest, AnUndeliveredCommandExpires) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  auto request = Request(fleet, 0, "true");
  request.set_if_offline(v1::IF_OFFLINE_QUEUE);
  *request.mutable_queue_ttl() = wire::ToProto(absl::Seconds(1));
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_EXPIRED);
  EXPECT_THAT(ran->command.reason(),
              testing::ContainsRegex("^delivery_timeout: .* is stale"));
}

TEST(CommandTest, ASentCommandWithoutAWordIsUnknownUntilTheAgentSpeaks) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("mute");
  RawAgent raw(fleet, machine);
  ASSERT_TRUE(raw.GoOnline());
  v1::SubmitCommandRequest request;
  request.set_agent_id(machine.agent_id);
  request.set_command("true");
  request.set_purpose("a test");
  *request.mutable_delivery_timeout() = wire::ToProto(absl::Seconds(1));
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  const auto order = raw.ReadUntil(v1::GatewayMessage::kCommand);
  ASSERT_TRUE(order);
  EXPECT_EQ(order->command().command_id(), command->command_id());
  EXPECT_EQ(order->command().issued_by(), "admin-token");
  EXPECT_EQ(order->command().purpose(), "a test");
  ASSERT_TRUE(fleet.WaitForState(command->command_id(),
                                 v1::COMMAND_STATE_OUTCOME_UNKNOWN));
  v1::CommandUpdate update;
  update.set_command_id(command->command_id());
  update.set_dispatch_seq(order->command().dispatch_seq());
  update.set_state(v1::COMMAND_STATE_SUCCEEDED);
  update.set_exit_code(0);
  ASSERT_TRUE(raw.SendUpdate(update));
  // What was stored meanwhile may be acknowledged first.
  v1::CommandState acked = v1::COMMAND_STATE_UNSPECIFIED;
  while (acked != v1::COMMAND_STATE_SUCCEEDED) {
    const auto ack = raw.ReadUntil(v1::GatewayMessage::kUpdateAck);
    ASSERT_TRUE(ack);
    acked = ack->update_ack().state();
  }
  EXPECT_EQ(fleet.GetCommand(command->command_id())->state(),
            v1::COMMAND_STATE_SUCCEEDED);
}

TEST(CommandTest, AnIdempotencyKeyMeansOneCommand) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  auto request = Request(fleet, 0, "echo x >> " + scratch.path("ran"));
  request.set_idempotency_key("once");
  const auto first = fleet.Submit(request);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(fleet.Finish(first->command_id()).ok());
  const auto again = fleet.Submit(request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->command_id(), first->command_id());
  fleet.RestartGateway();
  EXPECT_EQ(fleet.Submit(request)->command_id(), first->command_id());
  EXPECT_EQ(*ReadFile(scratch.path("ran"), 100), "x\n");
  request.set_command("echo y");
  const auto other = fleet.Submit(request);
  const auto problem = ctl::ProblemOf(other.status());
  ASSERT_TRUE(problem) << other.status();
  EXPECT_EQ(problem->status, 409);
}

TEST(CommandTest, AMachineThatIsAwayIsUnreachableAndSaysWhy) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  const auto command = fleet.Submit(0, "true");
  const auto problem = ctl::ProblemOf(command.status());
  ASSERT_TRUE(problem) << command.status();
  EXPECT_EQ(problem->status, 400);
  EXPECT_EQ(problem->code, "agent_unreachable");
  EXPECT_THAT(problem->detail, HasSubstr("agent was stopped"));
}

TEST(CommandTest, AQueuedCommandIsDeliveredWhenTheMachineIsBack) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  auto request = Request(fleet, 0, "echo late");
  request.set_if_offline(v1::IF_OFFLINE_QUEUE);
  *request.mutable_queue_ttl() = wire::ToProto(absl::Minutes(5));
  const auto command = fleet.Submit(request);
  ASSERT_TRUE(command.ok()) << command.status();
  fleet.RestartGateway();
  fleet.StartAgent(0);
  const auto ran = fleet.Finish(command->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->out, "late\n");
}

TEST(CommandTest, TwoMachinesOutputsDoNotMix) {
  MiniFleet fleet({.agents = 2});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  std::string outs[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      const auto ran =
          fleet.Run(i, fmt::format("for i in $(seq 20000); do echo {}; done",
                                   i == 0 ? "left" : "right"));
      if (ran.ok()) outs[i] = ran->out;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(outs[0].size(), 20'000u * 5);
  EXPECT_EQ(outs[1].size(), 20'000u * 6);
  EXPECT_EQ(outs[0].find("right"), std::string::npos);
  EXPECT_EQ(outs[1].find("left"), std::string::npos);
}

TEST(CommandTest, AWaitingCallAnswersWithTheEndAndNotBefore) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto command = fleet.Submit(
      0,
      fmt::format("until [ -e {} ]; do sleep 0.02; done", scratch.path("go")));
  ASSERT_TRUE(command.ok()) << command.status();
  std::atomic<bool> released = false;
  absl::StatusOr<Ran> ran;
  std::thread caller([&] {
    ran = fleet.Finish(command->command_id());
    EXPECT_TRUE(released);
  });
  EXPECT_TRUE(
      fleet.WaitForState(command->command_id(), v1::COMMAND_STATE_RUNNING));
  released = true;
  EXPECT_TRUE(WriteFileDurably(scratch.path("go"), "", 0600).ok());
  caller.join();
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SUCCEEDED);
}

TEST(CommandTest, OutputStreamsWhileTheCommandRuns) {
  MiniFleet fleet;
  const Scratch scratch;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const auto command = fleet.Submit(
      0, fmt::format("for n in 1 2 3; do echo line $n; "
                     "until [ -e {}$n ]; do sleep 0.02; done; done",
                     scratch.path("go")));
  ASSERT_TRUE(command.ok()) << command.status();
  v1::GetOutputRequest request;
  request.set_command_id(command->command_id());
  *request.mutable_wait() = wire::ToProto(absl::Seconds(20));
  const auto next = [&] {
    std::string bytes;
    const auto part = fleet.rest().Call<v1::GetOutputResponse>(
        "GetOutput", request, {.wait = absl::Seconds(20)});
    EXPECT_TRUE(part.ok()) << part.status();
    if (!part.ok()) return bytes;
    for (const v1::OutputChunk& chunk : part->chunks()) bytes += chunk.data();
    request.set_stdout_offset(request.stdout_offset() + bytes.size());
    EXPECT_EQ(part->end(), bytes.empty());
    return bytes;
  };
  for (int n = 1; n <= 3; ++n) {
    EXPECT_EQ(next(), fmt::format("line {}\n", n));
    const std::string go = fmt::format("{}{}", scratch.path("go"), n);
    ASSERT_TRUE(WriteFileDurably(go, "", 0600).ok());
  }
  EXPECT_EQ(next(), "");
}

// Its first answer may have been lost.
TEST(CommandTest, ARepeatedRequestHasItsAnswerThoughTheMachineIsAwayNow) {
  MiniFleet fleet({.presence = QuickPresence()});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  v1::SubmitCommandRequest request = Request(fleet, 0, "true");
  request.set_idempotency_key("once");
  const auto first = fleet.rest().Call<v1::Command>("SubmitCommand", request);
  ASSERT_TRUE(first.ok()) << first.status();
  fleet.CrashAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_OFFLINE));
  const auto again = fleet.rest().Call<v1::Command>("SubmitCommand", request);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->command_id(), first->command_id());
  request.set_idempotency_key("another");
  EXPECT_EQ(
      ProblemCode(
          fleet.rest().Call<v1::Command>("SubmitCommand", request).status()),
      "agent_unreachable");
}

}  // namespace
}  // namespace muster::integration
