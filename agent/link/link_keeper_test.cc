#include "agent/link/link_keeper.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/base/thread_event_loop.h"
#include "libprotocol/net/test_pki.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::agent {
namespace {

using ConnectStream =
    grpc::ServerReaderWriter<v1::GatewayMessage, v1::AgentMessage>;

v1::GatewayMessage Welcome(absl::Duration interval = absl::Milliseconds(50)) {
  v1::GatewayMessage m;
  m.mutable_welcome()->set_protocol(1);
  m.mutable_welcome()->set_epoch(1);
  *m.mutable_welcome()->mutable_heartbeat_interval() = wire::ToProto(interval);
  return m;
}

v1::GatewayMessage AckOf(const v1::Heartbeat& heartbeat) {
  v1::GatewayMessage m;
  m.mutable_heartbeat_ack()->set_sequence(heartbeat.sequence());
  m.mutable_heartbeat_ack()->set_acknowledgement(heartbeat.acknowledged() + 1);
  return m;
}

// Welcomes, acknowledges, and reads until the agent is done.
grpc::Status ServeWell(ConnectStream& stream) {
  stream.Write(Welcome());
  v1::AgentMessage message;
  while (stream.Read(&message)) {
    if (message.has_heartbeat()) stream.Write(AckOf(message.heartbeat()));
  }
  return grpc::Status::OK;
}

// A gateway that does what the test says, on a thread per stream.
class ScriptedGateway final : public v1::AgentLink::Service {
 public:
  // `attempt` counts from 1; the hello has been read.
  using Script = std::function<grpc::Status(int attempt, ConnectStream&)>;

  explicit ScriptedGateway(Script script,
                           std::shared_ptr<grpc::ServerCredentials>
                               credentials = grpc::InsecureServerCredentials())
      : script_(std::move(script)) {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    builder.AddListeningPort("127.0.0.1:0", std::move(credentials), &port_);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedGateway() override {
    server_->Shutdown(std::chrono::system_clock::time_point());
  }

  std::string endpoint() const { return fmt::format("127.0.0.1:{}", port_); }

 private:
  grpc::Status Connect(grpc::ServerContext*, ConnectStream* stream) override {
    v1::AgentMessage hello;
    if (!stream->Read(&hello) || !hello.has_hello()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "expected a hello"};
    }
    int attempt;
    {
      MutexLock lock(mu_);
      attempt = ++attempts_;
    }
    return script_(attempt, *stream);
  }
  grpc::Status Transfer(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::TransferAck, v1::TransferChunk>* stream)
      override {
    v1::TransferChunk chunk;
    while (stream->Read(&chunk)) {
      v1::TransferAck ack;
      ack.set_command_id(chunk.command_id());
      ack.set_stream(chunk.chunk().stream());
      ack.set_offset(chunk.chunk().offset() + chunk.chunk().data().size());
      stream->Write(ack);
    }
    return grpc::Status::OK;
  }

  const Script script_;
  int port_ = 0;
  Mutex mu_;
  int attempts_ ABSL_GUARDED_BY(mu_) = 0;
  std::unique_ptr<grpc::Server> server_;
};

// What a keeper told, waited for with a deadline.
class Witness final : public LinkKeeper::Delegate {
 public:
  void OnOnline(const WentOnline&) override { Note("online"); }
  void OnOffline(const WentOffline& a) override {
    Note("offline " + a.failure_class);
  }
  void OnHeartbeatAcknowledged(const HeartbeatAcknowledged&) override {
    Note("acknowledged");
  }
  void OnOrder(v1::CommandOrder order) override {
    Note("order " + order.command_id());
  }
  void OnTransferAck(const v1::TransferAck& ack) override {
    Note(fmt::format("transferred {} {}", ack.command_id(), ack.offset()));
  }
  void OnDeregistered(const std::string&) override { Note("deregistered"); }
  void OnStopped() override { Note("stopped"); }

  void Note(std::string what) {
    MutexLock lock(mu_);
    notes_.push_back(std::move(what));
    changed_.NotifyAll();
  }
  // True once `what` was noted `times` times; false after ten seconds.
  bool Await(const std::string& what, int times = 1) {
    const Instant deadline = SystemClock().Now() + absl::Seconds(10);
    MutexLock lock(mu_);
    while (std::count(notes_.begin(), notes_.end(), what) < times) {
      const absl::Duration left = deadline - SystemClock().Now();
      if (left <= absl::ZeroDuration()) return false;
      changed_.WaitFor(mu_, left);
    }
    return true;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mu_);
};

// One keeper on a loop of its own or of others.
class Agent {
 public:
  Agent(EventLoop& loop, const std::string& endpoint, LinkPolicy policy = {},
        std::shared_ptr<grpc::ChannelCredentials> credentials =
            grpc::InsecureChannelCredentials())
      : loop_(loop) {
    LinkKeeper::Options options;
    options.dial.endpoint = endpoint;
    options.dial.credentials = std::move(credentials);
    options.policy = policy;
    keeper_ = std::make_unique<LinkKeeper>(loop, witness, options);
    loop_.Post([this] { keeper_->Start(); });
  }
  ~Agent() {
    Do([](LinkKeeper& k) { k.Goodbye(v1::GOODBYE_REASON_STOP, {}); });
    EXPECT_TRUE(witness.Await("stopped"));
    loop_.Post([this] {
      keeper_.reset();
      witness.Note("destroyed");
    });
    EXPECT_TRUE(witness.Await("destroyed"));
  }
  void Do(std::function<void(LinkKeeper&)> task) {
    loop_.Post([this, task = std::move(task)] { task(*keeper_); });
  }

  Witness witness;

 private:
  EventLoop& loop_;
  std::unique_ptr<LinkKeeper> keeper_;
};

class LinkKeeperTest : public testing::Test {
 protected:
  SystemClock clock_;
  ThreadEventLoop loop_{clock_};
};

TEST_F(LinkKeeperTest, LinksHeartbeatsAndSaysGoodbye) {
  Witness gateway_saw;
  ScriptedGateway gateway([&](int, ConnectStream& stream) {
    stream.Write(Welcome());
    v1::AgentMessage message;
    while (stream.Read(&message)) {
      if (message.has_heartbeat()) stream.Write(AckOf(message.heartbeat()));
      if (message.has_goodbye()) gateway_saw.Note("goodbye");
    }
    return grpc::Status::OK;
  });
  {
    Agent agent(loop_, gateway.endpoint());
    EXPECT_TRUE(agent.witness.Await("online"));
    EXPECT_TRUE(agent.witness.Await("acknowledged", 3));
  }
  EXPECT_TRUE(gateway_saw.Await("goodbye"));
}

TEST_F(LinkKeeperTest, ALostLinkIsMadeAgain) {
  ScriptedGateway gateway([](int attempt, ConnectStream& stream) {
    if (attempt == 1) return grpc::Status::OK;
    return ServeWell(stream);
  });
  Agent agent(loop_, gateway.endpoint());
  EXPECT_TRUE(agent.witness.Await("offline eof"));
  EXPECT_TRUE(agent.witness.Await("acknowledged"));
}

TEST_F(LinkKeeperTest, ADeadGatewayIsRefusedNotFatal) {
  std::string endpoint;
  {
    ScriptedGateway gone([](int, ConnectStream&) { return grpc::Status::OK; });
    endpoint = gone.endpoint();
  }
  Agent agent(loop_, endpoint);
  EXPECT_TRUE(agent.witness.Await("offline refused", 2));
}

TEST_F(LinkKeeperTest, AGatewayThatFallsSilentIsLeftAfterTheOwnLease) {
  ScriptedGateway gateway([](int attempt, ConnectStream& stream) {
    if (attempt > 1) return ServeWell(stream);
    stream.Write(Welcome());
    v1::AgentMessage message;
    while (stream.Read(&message)) {
    }
    return grpc::Status::OK;
  });
  Agent agent(loop_, gateway.endpoint());
  EXPECT_TRUE(agent.witness.Await("offline no_answer"));
  EXPECT_TRUE(agent.witness.Await("acknowledged"));
}

TEST_F(LinkKeeperTest, AGatewayThatNeverWelcomesIsADialTimeout) {
  ScriptedGateway gateway([](int, ConnectStream& stream) {
    v1::AgentMessage message;
    while (stream.Read(&message)) {
    }
    return grpc::Status::OK;
  });
  Agent agent(loop_, gateway.endpoint(),
              {.welcome_timeout = absl::Milliseconds(50)});
  EXPECT_TRUE(agent.witness.Await("offline dial_timeout", 2));
}

TEST_F(LinkKeeperTest, ADeregisteredAgentStopsForGood) {
  ScriptedGateway gateway([](int, ConnectStream& stream) {
    v1::GatewayMessage m;
    m.mutable_disconnect()->set_reason(v1::DISCONNECT_REASON_DEREGISTERED);
    stream.Write(m);
    return grpc::Status::OK;
  });
  Agent agent(loop_, gateway.endpoint());
  EXPECT_TRUE(agent.witness.Await("deregistered"));
  EXPECT_TRUE(agent.witness.Await("stopped"));
}

TEST_F(LinkKeeperTest, OrdersArriveAndOutputGoesOutOnTheSameConnection) {
  ScriptedGateway gateway([](int, ConnectStream& stream) {
    v1::GatewayMessage order;
    order.mutable_command()->set_command_id("c1");
    stream.Write(Welcome());
    stream.Write(order);
    v1::AgentMessage message;
    while (stream.Read(&message)) {
    }
    return grpc::Status::OK;
  });
  Agent agent(loop_, gateway.endpoint(),
              {.heartbeat_interval = absl::Seconds(30), .lease_intervals = 99});
  EXPECT_TRUE(agent.witness.Await("order c1"));
  agent.Do([](LinkKeeper& keeper) {
    v1::TransferChunk chunk;
    chunk.set_command_id("c1");
    chunk.mutable_chunk()->set_data("12345");
    EXPECT_TRUE(keeper.Send(chunk));
    EXPECT_TRUE(keeper.Send(chunk));
  });
  EXPECT_TRUE(agent.witness.Await("transferred c1 5", 2));
}

TEST_F(LinkKeeperTest, ManyLinksShareOneLoop) {
  ScriptedGateway gateway(
      [](int, ConnectStream& stream) { return ServeWell(stream); });
  std::vector<std::unique_ptr<Agent>> agents;
  for (int i = 0; i < 50; ++i) {
    agents.push_back(std::make_unique<Agent>(loop_, gateway.endpoint()));
  }
  for (const auto& agent : agents) {
    EXPECT_TRUE(agent->witness.Await("acknowledged", 2));
  }
}

std::shared_ptr<grpc::ServerCredentials> MutualTls(TestPki& pki,
                                                   const std::string& name) {
  const TestPki::Leaf leaf = pki.IssueServer(name);
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = pki.ca_pem;
  options.pem_key_cert_pairs = {{leaf.key_pem.Reveal(), leaf.certificate_pem}};
  return grpc::SslServerCredentials(options);
}

TEST_F(LinkKeeperTest, OverMutualTlsOnlyTheFixedNameOfOurAuthorityIsBelieved) {
  TestPki pki, other_pki;
  const TestPki::Leaf leaf = pki.IssueClient();
  const auto credentials =
      MakeAgentCredentials(pki.ca_pem, leaf.certificate_pem, leaf.key_pem);
  const auto serve = [](int, ConnectStream& s) { return ServeWell(s); };
  ScriptedGateway ours(serve, MutualTls(pki, kGatewayName));
  ScriptedGateway misnamed(serve, MutualTls(pki, "gateway.example"));
  ScriptedGateway foreign(serve, MutualTls(other_pki, kGatewayName));
  Agent good(loop_, ours.endpoint(), {}, credentials);
  EXPECT_TRUE(good.witness.Await("acknowledged", 2));
  for (const ScriptedGateway* gateway : {&misnamed, &foreign}) {
    Agent agent(loop_, gateway->endpoint(), {}, credentials);
    EXPECT_TRUE(agent.witness.Await("offline tls_failure"));
  }
}

struct ClassifyCase {
  std::string name;
  grpc::StatusCode code;
  std::string text;
  std::string expected;
};
class ClassifyStatusTest : public testing::TestWithParam<ClassifyCase> {};

TEST_P(ClassifyStatusTest, NamesTheFailure) {
  EXPECT_EQ(
      FailureClassName(ClassifyStatus({GetParam().code, GetParam().text})),
      GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(
    Codes, ClassifyStatusTest,
    testing::Values(ClassifyCase{"Finished", grpc::StatusCode::OK, "", "eof"},
                    ClassifyCase{"Closed", grpc::StatusCode::UNAVAILABLE,
                                 "Socket closed", "eof"},
                    ClassifyCase{"Reset", grpc::StatusCode::UNAVAILABLE,
                                 "recvmsg:Connection reset by peer",
                                 "connection_reset"},
                    ClassifyCase{"Refusal", grpc::StatusCode::PERMISSION_DENIED,
                                 "no", "refused_by_gateway"},
                    ClassifyCase{"StreamReset", grpc::StatusCode::INTERNAL,
                                 "RST_STREAM", "connection_reset"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace muster::agent
