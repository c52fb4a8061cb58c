// What the gateway answers to agents that break the protocol.

#include <atomic>
#include <string>
#include <thread>

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

v1::Status StatusOf(MiniFleet& fleet, const std::string& agent_id) {
  v1::GetAgentRequest request;
  request.set_agent_id(agent_id);
  const auto agent = fleet.rest().Call<v1::Agent>("GetAgent", request);
  return agent.ok() ? agent->status() : v1::STATUS_UNSPECIFIED;
}

v1::CommandUpdate UpdateOf(const std::string& command_id,
                           v1::CommandState state) {
  v1::CommandUpdate update;
  update.set_command_id(command_id);
  update.set_state(state);
  return update;
}

TEST(RawAgentTest, AnEchoedHeartbeatMakesItOnline) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("raw");
  RawAgent raw(fleet, machine);
  ASSERT_TRUE(raw.SendHello());
  const auto welcome = raw.Read();
  ASSERT_TRUE(welcome && welcome->has_welcome());
  EXPECT_EQ(welcome->welcome().protocol(), 1u);
  // The hello alone proves only one direction.
  EXPECT_EQ(StatusOf(fleet, machine.agent_id), v1::STATUS_STALE);
  // So does a heartbeat that echoes nothing.
  ASSERT_TRUE(raw.SendHeartbeat(1, 0));
  ASSERT_TRUE(raw.ReadUntil(v1::GatewayMessage::kHeartbeatAck));
  EXPECT_EQ(StatusOf(fleet, machine.agent_id), v1::STATUS_STALE);
  // Or one that echoes what was never said.
  ASSERT_TRUE(raw.SendHeartbeat(2, 1000));
  ASSERT_TRUE(raw.ReadUntil(v1::GatewayMessage::kHeartbeatAck));
  EXPECT_EQ(StatusOf(fleet, machine.agent_id), v1::STATUS_STALE);
  ASSERT_TRUE(raw.SendHeartbeat(3, welcome->welcome().acknowledgement()));
  const auto ack = raw.ReadUntil(v1::GatewayMessage::kHeartbeatAck);
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->heartbeat_ack().sequence(), 3u);
  EXPECT_GT(ack->heartbeat_ack().acknowledgement(),
            welcome->welcome().acknowledgement());
  EXPECT_EQ(StatusOf(fleet, machine.agent_id), v1::STATUS_ONLINE);
}

TEST(RawAgentTest, AnotherVersionIsRefusedNamingBothRanges) {
  MiniFleet fleet({.agents = 0});
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.Send(RawAgent::HelloOf(7, 9)));
  const auto refused = raw.ReadDisconnect();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason(), v1::DISCONNECT_REASON_VERSION_REFUSED);
  EXPECT_THAT(refused->text(), HasSubstr("7 to 9"));
  EXPECT_THAT(refused->text(), HasSubstr("1 to 1"));
  EXPECT_EQ(refused->protocol_min(), 1u);
  EXPECT_EQ(refused->protocol_max(), 1u);
  EXPECT_TRUE(raw.Finish().ok());
}

TEST(RawAgentTest, ALinkWithoutHelloIsClosedAndMakesNobodyHeard) {
  MiniFleet fleet({.agents = 0, .configure = [](auto& config) {
                     config.hello_timeout = absl::Milliseconds(300);
                   }});
  const Credentials machine = fleet.Register("raw");
  RawAgent raw(fleet, machine);
  const auto refused = raw.ReadDisconnect();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason(), v1::DISCONNECT_REASON_PROTOCOL_ERROR);
  EXPECT_THAT(refused->text(), HasSubstr("no hello"));
  EXPECT_EQ(StatusOf(fleet, machine.agent_id), v1::STATUS_STALE);
}

TEST(RawAgentTest, AHeartbeatBeforeTheHelloEndsTheLink) {
  MiniFleet fleet({.agents = 0});
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.SendHeartbeat(1, 1));
  const auto refused = raw.ReadDisconnect();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason(), v1::DISCONNECT_REASON_PROTOCOL_ERROR);
  EXPECT_THAT(refused->text(), HasSubstr("hello"));
}

TEST(RawAgentTest, ASecondHelloEndsTheLink) {
  MiniFleet fleet({.agents = 0});
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.GoOnline());
  ASSERT_TRUE(raw.SendHello());
  const auto refused = raw.ReadDisconnect();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->reason(), v1::DISCONNECT_REASON_PROTOCOL_ERROR);
}

TEST(RawAgentTest, AHeartbeatOfAnOlderEpochIsNotAcknowledged) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("raw");
  RawAgent old_link(fleet, machine);
  ASSERT_TRUE(old_link.GoOnline());
  RawAgent new_link(fleet, machine);
  ASSERT_TRUE(new_link.GoOnline());
  EXPECT_GT(new_link.epoch(), old_link.epoch());
  const auto superseded = old_link.ReadDisconnect();
  ASSERT_TRUE(superseded);
  EXPECT_EQ(superseded->reason(), v1::DISCONNECT_REASON_SUPERSEDED);
  // The old epoch, said on the new link.
  v1::AgentMessage stale;
  stale.mutable_heartbeat()->set_epoch(old_link.epoch());
  stale.mutable_heartbeat()->set_sequence(2);
  stale.mutable_heartbeat()->set_acknowledged(2);
  ASSERT_TRUE(new_link.Send(stale));
  while (const auto message = new_link.Read()) {
    EXPECT_FALSE(message->has_heartbeat_ack());
  }
  EXPECT_EQ(StatusOf(fleet, machine.agent_id), v1::STATUS_ONLINE);
}

TEST(RawAgentTest, ACertificateOfAnotherCaNeverGetsAWord) {
  MiniFleet mine({.agents = 0}), theirs({.agents = 0});
  Credentials stranger = theirs.Forge();
  stranger.ca_pem = mine.Forge().ca_pem;
  RawAgent raw(mine, stranger, absl::Seconds(1));
  raw.SendHello();
  EXPECT_FALSE(raw.Read());
}

TEST(RawAgentTest, AWordOnAnotherMachinesCommandChangesNothing) {
  MiniFleet fleet({.agents = 1});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.GoOnline());
  const TempDir scratch;
  const std::string go = scratch.File("go");
  const auto running = fleet.Submit(
      0, fmt::format("until [ -e {} ]; do sleep 0.02; done; echo mine", go));
  ASSERT_TRUE(running.ok()) << running.status();
  ASSERT_TRUE(
      fleet.WaitForState(running->command_id(), v1::COMMAND_STATE_RUNNING));
  auto lie = UpdateOf(running->command_id(), v1::COMMAND_STATE_FAILED);
  lie.set_exit_code(66);
  ASSERT_TRUE(raw.SendUpdate(lie));
  v1::TransferChunk chunk;
  chunk.set_command_id(running->command_id());
  chunk.mutable_chunk()->set_stream(v1::OUTPUT_STREAM_STDOUT);
  chunk.mutable_chunk()->set_data("not mine\n");
  EXPECT_FALSE(raw.Transfer(chunk));
  EXPECT_EQ(raw.FinishTransfer().error_code(), grpc::StatusCode::NOT_FOUND);
  ASSERT_TRUE(WriteFileDurably(go, "", 0600).ok());
  const auto ran = fleet.Finish(running->command_id());
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->command.state(), v1::COMMAND_STATE_SUCCEEDED);
  EXPECT_EQ(ran->out, "mine\n");
}

TEST(RawAgentTest, AnAgentThatLiesInEveryNumberHarmsOnlyItself) {
  MiniFleet fleet({.agents = 1});
  ASSERT_TRUE(fleet.WaitForAllOnline());
  const Credentials liar = fleet.Register("raw");
  RawAgent raw(fleet, liar);
  v1::AgentMessage hello = RawAgent::HelloOf(1, 1);
  hello.mutable_hello()->set_last_epoch(UINT64_MAX);
  hello.mutable_hello()->set_seen_high(INT64_MAX);
  hello.mutable_hello()->mutable_instance()->set_boot_id(std::string(63, 'b') +
                                                         "é");
  ASSERT_TRUE(raw.Send(hello));
  const auto welcome = raw.Read();
  ASSERT_TRUE(welcome && welcome->has_welcome());
  v1::AgentMessage beat;
  beat.mutable_heartbeat()->set_epoch(raw.epoch());
  beat.mutable_heartbeat()->set_sequence(UINT64_MAX);
  beat.mutable_heartbeat()->set_acknowledged(
      welcome->welcome().acknowledgement());
  beat.mutable_heartbeat()->mutable_sent_at()->set_seconds(INT64_MAX);
  beat.mutable_heartbeat()->mutable_round_trip()->set_seconds(INT64_MIN);
  ASSERT_TRUE(raw.Send(beat));
  ASSERT_TRUE(raw.ReadUntil(v1::GatewayMessage::kHeartbeatAck));
  EXPECT_EQ(StatusOf(fleet, liar.agent_id), v1::STATUS_ONLINE);

  v1::SubmitCommandRequest request;
  request.set_agent_id(liar.agent_id);
  request.set_command("true");
  const auto submitted =
      fleet.rest().Call<v1::Command>("SubmitCommand", request);
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  const std::string id = submitted->command_id();
  v1::TransferChunk chunk;
  chunk.set_command_id(id);
  chunk.mutable_chunk()->set_stream(v1::OUTPUT_STREAM_STDOUT);
  chunk.mutable_chunk()->set_offset(UINT64_MAX - 1);
  chunk.mutable_chunk()->set_data("far");
  (void)raw.Transfer(chunk);
  v1::CommandUpdate update = UpdateOf(id, v1::COMMAND_STATE_FAILED);
  update.set_exit_code(INT32_MIN);
  update.set_reason(std::string(254, 'r') + "é");
  update.mutable_started_at()->set_seconds(INT64_MIN);
  update.mutable_finished_at()->set_seconds(INT64_MAX);
  update.set_stdout_bytes(UINT64_MAX);
  update.set_stderr_bytes(UINT64_MAX);
  update.set_output_dropped_bytes(UINT64_MAX);
  ASSERT_TRUE(raw.SendUpdate(update));

  v1::GetCommandRequest get;
  get.set_command_id(id);
  EXPECT_TRUE(Eventually([&] {
    const auto command = fleet.rest().Call<v1::Command>("GetCommand", get);
    return command.ok() && command->state() == v1::COMMAND_STATE_FAILED;
  }));
  EXPECT_EQ(fleet.Run(0, "echo well")->out, "well\n");
  fleet.RestartGateway();
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  EXPECT_TRUE(fleet.rest().Call<v1::Command>("GetCommand", get).ok());
}

TEST(RawAgentTest, AChunkThatIsTooLongIsRefusedAndTheLinkLives) {
  MiniFleet fleet({.agents = 0});
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.GoOnline());
  v1::TransferChunk chunk;
  chunk.set_command_id("01a2045a-2d1e-7805-8d36-95aad08835c2");
  chunk.mutable_chunk()->set_stream(v1::OUTPUT_STREAM_STDOUT);
  chunk.mutable_chunk()->set_data(std::string((64 << 10) + 1, 'x'));
  EXPECT_FALSE(raw.Transfer(chunk));
  const grpc::Status status = raw.FinishTransfer();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("65536"));
  EXPECT_THAT(status.error_message(), HasSubstr("65537"));
  ASSERT_TRUE(raw.SendHeartbeat(2, 2));
  EXPECT_TRUE(raw.ReadUntil(v1::GatewayMessage::kHeartbeatAck));
}

TEST(RawAgentTest, AMessageOf300KibEndsThatLinkOnly) {
  MiniFleet fleet({.agents = 1});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.GoOnline());
  v1::CommandUpdate update = UpdateOf("x", v1::COMMAND_STATE_RECEIVED);
  update.set_reason(std::string(300 << 10, 'x'));
  raw.SendUpdate(update);
  EXPECT_FALSE(raw.ReadUntil(v1::GatewayMessage::kUpdateAck));
  EXPECT_EQ(fleet.Run(0, "echo on")->out, "on\n");
}

TEST(RawAgentTest, AFloodOfMessagesHoldsUpNobodyElse) {
  MiniFleet fleet({.agents = 1});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.GoOnline());
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    while (raw.Read()) {
    }
  });
  std::thread flood([&] {
    v1::CommandUpdate update = UpdateOf("nobody's", v1::COMMAND_STATE_RECEIVED);
    for (uint64_t i = 2; !stop; ++i) {
      if (!raw.SendHeartbeat(i, i) || !raw.SendUpdate(update)) return;
    }
  });
  for (int i = 0; i < 5; ++i) {
    const auto ran = fleet.Run(0, "echo through");
    EXPECT_TRUE(ran.ok() && ran->out == "through\n") << ran.status();
  }
  EXPECT_EQ(fleet.Get(0)->status(), v1::STATUS_ONLINE);
  stop = true;
  flood.join();
  raw.Cancel();
  reader.join();
}

TEST(RawAgentTest, AnAgentThatDoesNotReadLosesItsLink) {
  MiniFleet fleet({.agents = 1, .configure = [](auto& config) {
                     config.close_grace = absl::Milliseconds(100);
                     config.agent_messages_max = 1e6;
                   }});
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const Credentials machine = fleet.Register("raw");
  RawAgent raw(fleet, machine);
  ASSERT_TRUE(raw.GoOnline());
  // Each is answered; the answers fill the network, then the outbox.
  for (uint64_t i = 2; i < 100'000 && raw.SendHeartbeat(i, i); ++i) {
  }
  EXPECT_TRUE(Eventually([&] {
    gateway::LinkEnd end{};
    fleet.gateway().OnLoop([&](gateway::Fleet& rules) {
      end = rules.machines().Find(AgentId(machine.agent_id))->link_record.end;
    });
    return end == gateway::LinkEnd::kClosedByGateway;
  }));
  EXPECT_EQ(fleet.Run(0, "echo on")->out, "on\n");
}

}  // namespace
}  // namespace muster::integration
