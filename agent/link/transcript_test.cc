// The agent's side of the wire, byte for byte.
//
// testdata/transcript_v1.txt holds every message that an agent sends in a
// scripted conversation: its kind, its bytes in hex. A change of these bytes is
// a change of the protocol: gateways of the two previous minor versions read
// them. To record a deliberate one, run the test with MUSTER_RECORD=1.

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "agent/link/link_machine.h"
#include "fmt/format.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::agent {
namespace {

const absl::Time kWall = absl::FromUnixSeconds(1'700'000'000);

std::string Hex(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  std::string out;
  for (const unsigned char c : bytes) out += fmt::format("{:02x}", c);
  return out;
}

v1::AgentFacts Facts() {
  v1::AgentFacts facts;
  facts.set_hostname("web-7");
  facts.set_machine_id("5f2b");
  facts.set_os("Debian GNU/Linux 12 (bookworm)");
  facts.set_kernel("6.1.0-25-amd64");
  facts.set_architecture("x86_64");
  facts.set_agent_version("0.1.0");
  facts.set_runtime(v1::RUNTIME_KIND_SYSTEMD);
  facts.set_runtime_name("muster-agent.service");
  return facts;
}

v1::Instance ThisInstance() {
  v1::Instance instance;
  instance.set_boot_id("41d05be2-0000-4000-8000-000000000000");
  instance.set_process_start_id("7c1e9a04");
  return instance;
}

class Transcript {
 public:
  void Note(const LinkActions& actions) {
    for (const LinkAction& a : actions) {
      const auto* send = std::get_if<SendMessage>(&a);
      if (!send) continue;
      const auto* field = send->message.GetDescriptor()->FindFieldByNumber(
          static_cast<int>(send->message.kind_case()));
      text_ += fmt::format("{} {}\n", field->name(), Hex(send->message));
    }
  }
  void Note(std::string_view kind, const google::protobuf::Message& message) {
    text_ += fmt::format("{} {}\n", kind, Hex(message));
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

v1::GatewayMessage Welcome(uint64_t epoch, uint64_t acknowledgement) {
  v1::GatewayMessage m;
  m.mutable_welcome()->set_protocol(1);
  m.mutable_welcome()->set_epoch(epoch);
  m.mutable_welcome()->set_acknowledgement(acknowledgement);
  *m.mutable_welcome()->mutable_heartbeat_interval() =
      wire::ToProto(absl::Seconds(30));
  return m;
}

v1::GatewayMessage Ack(uint64_t sequence, uint64_t acknowledgement) {
  v1::GatewayMessage m;
  m.mutable_heartbeat_ack()->set_sequence(sequence);
  m.mutable_heartbeat_ack()->set_acknowledgement(acknowledgement);
  return m;
}

v1::AgentMessage FinishedCommand() {
  v1::AgentMessage m;
  v1::CommandUpdate& u = *m.mutable_command_update();
  u.set_command_id("0190163d-8694-739b-aea5-966c26f8ad91");
  u.set_dispatch_seq(12);
  u.set_state(v1::COMMAND_STATE_FAILED);
  u.set_exit_code(3);
  *u.mutable_started_at() = wire::ToProto(kWall);
  *u.mutable_finished_at() = wire::ToProto(kWall + absl::Seconds(1));
  u.set_stdout_bytes(5);
  return m;
}

v1::TransferChunk Chunk() {
  v1::TransferChunk c;
  c.set_command_id("0190163d-8694-739b-aea5-966c26f8ad91");
  c.mutable_chunk()->set_stream(v1::OUTPUT_STREAM_STDOUT);
  c.mutable_chunk()->set_offset(3);
  c.mutable_chunk()->set_data("hi");
  return c;
}

// Connect, two heartbeats, a lost link, a second link, goodbye.
std::string Conversation() {
  Transcript script;
  CommandsForHello commands;
  LinkMachine machine(
      {}, Facts(), ThisInstance(), [] { return 0.5; },
      [&commands] { return commands; });
  Instant now;
  const auto wall = [&now] { return kWall + now.since_boot(); };
  script.Note(machine.Start(now));
  now += absl::Milliseconds(40);
  script.Note(machine.Message(Welcome(4'294'967'297, 9), now, wall()));
  now += absl::Milliseconds(15);
  script.Note(machine.Message(Ack(1, 10), now, wall()));
  now = machine.wake_at();
  script.Note(machine.Tick(now, wall()));
  commands = {12, {"0190163d-8694-739b-aea5-966c26f8ad91"}};
  script.Note(machine.LinkDown("connection_reset", "", now));
  now = machine.wake_at();
  script.Note(machine.Tick(now, wall()));
  script.Note(machine.Message(Welcome(4'294'967'298, 1), now, wall()));
  script.Note("command_update", FinishedCommand());
  script.Note("transfer_chunk", Chunk());
  script.Note(
      machine.Goodbye(v1::GOODBYE_REASON_TERMINATED, absl::Seconds(30), now));
  return script.text();
}

TEST(TranscriptTest, TheAgentSendsTheRecordedBytes) {
  const std::string path = MUSTER_TESTDATA "/transcript_v1.txt";
  if (std::getenv("MUSTER_RECORD")) std::ofstream(path) << Conversation();
  std::ostringstream recorded;
  recorded << std::ifstream(path).rdbuf();
  ASSERT_FALSE(recorded.str().empty()) << path;
  EXPECT_EQ(Conversation(), recorded.str());
}

}  // namespace
}  // namespace muster::agent
