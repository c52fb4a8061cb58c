#include "libprotocol/net/probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/net/dial.h"
#include "libprotocol/net/test_pki.h"
#include "libprotocol/net/test_server.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/testing/sanitizers.h"

namespace muster {
namespace {

using testing::HasSubstr;

constexpr char kName[] = "gateway.muster.internal";
constexpr absl::Duration kLong = absl::Seconds(20);

std::string Silence(const std::string&) { return ""; }

class ProbeTest : public testing::Test {
 protected:
  // A server as the gateway's fleet port is, up to its first word.
  TestServer::Options Gateway() {
    TestServer::Options options;
    options.tls = true;
    options.leaf = pki_.IssueServer(kName);
    options.client_ca = pki_.ca_pem;
    options.greeting = "SETTINGS";
    return options;
  }
  ProbeTarget Target(const TestServer& server) {
    ProbeTarget target;
    target.endpoint = fmt::format("127.0.0.1:{}", server.port());
    target.server_name = kName;
    target.ca_pem = pki_.ca_pem;
    const TestPki::Leaf client = pki_.IssueClient();
    target.certificate_pem = client.certificate_pem;
    target.key_pem = client.key_pem;
    return target;
  }
  static void ExpectEnd(const ProbeResult& result, ProbeStep step,
                        std::optional<FailureClass> failure) {
    EXPECT_EQ(ProbeStepName(result.step), ProbeStepName(step)) << result.error;
    EXPECT_EQ(result.failure, failure) << result.error;
    EXPECT_EQ(result.error.empty(), step == ProbeStep::kDone);
  }

  TestPki pki_;
};

TEST_F(ProbeTest, AnOpenWayIsWalkedToTheEnd) {
  TestServer server(Gateway(), Silence);
  const ProbeTarget target = Target(server);
  const ProbeResult result = ProbeGateway(target, kLong);
  ExpectEnd(result, ProbeStep::kDone, std::nullopt);
  EXPECT_EQ(result.address, target.endpoint);
}

TEST_F(ProbeTest, ANameWithoutAddressEndsAtResolve) {
  if (kThreadSanitizer) GTEST_SKIP() << "the resolver has threads of its own";
  TestServer server(Gateway(), Silence);
  ProbeTarget target = Target(server);
  target.endpoint = "no-such-host.invalid:7443";
  ExpectEnd(ProbeGateway(target, kLong), ProbeStep::kResolve,
            FailureClass::kDnsFailure);
}

TEST_F(ProbeTest, AnUnusableEndpointIsNoFailureOfTheNetwork) {
  TestServer server(Gateway(), Silence);
  ProbeTarget target = Target(server);
  target.endpoint = "nonsense";
  ExpectEnd(ProbeGateway(target, kLong), ProbeStep::kResolve, std::nullopt);
}

TEST_F(ProbeTest, NobodyListeningIsRefused) {
  ProbeTarget target;
  {
    TestServer gone(Gateway(), Silence);
    target = Target(gone);
  }
  ExpectEnd(ProbeGateway(target, kLong), ProbeStep::kConnect,
            FailureClass::kRefused);
}

TEST_F(ProbeTest, AHostThatDropsOurPacketsTimesOut) {
  // A listener whose queue is full drops the next handshake: Linux's own way to
  // be silent on loopback.
  Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(listener.get(), generic, size), 0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  ASSERT_EQ(getsockname(listener.get(), generic, &size), 0);
  Fd fill(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(fill.get(), generic, size), 0);
  TestServer server(Gateway(), Silence);
  ProbeTarget target = Target(server);
  target.endpoint = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  const ProbeResult result = ProbeGateway(target, absl::Milliseconds(100));
  ExpectEnd(result, ProbeStep::kConnect, FailureClass::kDialTimeout);
  EXPECT_GE(result.took, absl::Milliseconds(100));
}

TEST_F(ProbeTest, AServerThatNeverSpeaksTlsTimesOutThere) {
  TestServer server({}, Silence);
  ExpectEnd(ProbeGateway(Target(server), absl::Milliseconds(100)),
            ProbeStep::kTls, FailureClass::kDialTimeout);
}

TEST_F(ProbeTest, AnotherServiceOnThePortIsATlsFailure) {
  TestServer::Options other;
  other.greeting = "SSH-2.0-OpenSSH_9.2\r\n";
  TestServer server(other, Silence);
  ExpectEnd(ProbeGateway(Target(server), kLong), ProbeStep::kTls,
            FailureClass::kTlsFailure);
}

TEST_F(ProbeTest, AnAcceptedConnectionThatIsClosedAtOnceIsEof) {
  TestServer::Options full;
  full.hang_up = true;
  TestServer server(full, Silence);
  const ProbeResult result = ProbeGateway(Target(server), kLong);
  EXPECT_EQ(result.step, ProbeStep::kTls);
  // Which of the two depends on whether our first packet was there already.
  EXPECT_TRUE(result.failure == FailureClass::kEof ||
              result.failure == FailureClass::kConnectionReset)
      << result.error;
}

TEST_F(ProbeTest, AnImpostorIsATlsFailure) {
  TestPki foreign;
  TestServer::Options options = Gateway();
  options.leaf = foreign.IssueServer(kName);
  TestServer server(options, Silence);
  ExpectEnd(ProbeGateway(Target(server), kLong), ProbeStep::kTls,
            FailureClass::kTlsFailure);
}

TEST_F(ProbeTest, AServerOfOurCaWithAnotherNameIsATlsFailure) {
  TestServer::Options options = Gateway();
  options.leaf = pki_.IssueServer("other.example");
  TestServer server(options, Silence);
  const ProbeResult result = ProbeGateway(Target(server), kLong);
  ExpectEnd(result, ProbeStep::kTls, FailureClass::kTlsFailure);
  EXPECT_THAT(result.error, HasSubstr(kName));
}

TEST_F(ProbeTest, ACertificateThatTheGatewayRefusesIsTold) {
  TestPki foreign;
  TestServer server(Gateway(), Silence);
  ProbeTarget target = Target(server);
  const TestPki::Leaf client = foreign.IssueClient();
  target.certificate_pem = client.certificate_pem;
  target.key_pem = client.key_pem;
  ExpectEnd(ProbeGateway(target, kLong), ProbeStep::kGateway,
            FailureClass::kRefusedByGateway);
}

TEST_F(ProbeTest, AGatewayThatHangsUpAfterTheHandshakeRefusedUs) {
  TestServer::Options options = Gateway();
  options.hang_up = true;
  TestServer server(options, Silence);
  ExpectEnd(ProbeGateway(Target(server), kLong), ProbeStep::kGateway,
            FailureClass::kRefusedByGateway);
}

TEST_F(ProbeTest, TheWebPortIsAskedLast) {
  TestServer server(Gateway(), Silence);
  std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  TestServer web({}, [&](const std::string& request) {
    EXPECT_THAT(request, HasSubstr("GET /health HTTP/1.1"));
    return answer;
  });
  ProbeTarget target = Target(server);
  target.web.emplace().base_url =
      fmt::format("http://127.0.0.1:{}", web.port());
  ExpectEnd(ProbeGateway(target, kLong), ProbeStep::kDone, std::nullopt);
  answer = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
  const ProbeResult result = ProbeGateway(target, kLong);
  ExpectEnd(result, ProbeStep::kHealth, FailureClass::kRefusedByGateway);
  EXPECT_THAT(result.error, HasSubstr("503"));
}

TEST(DialTest, AnAddressToListenOnIsFound) {
  EXPECT_EQ(ResolveListenAddress("127.0.0.1:0")->ToString(), "127.0.0.1:0");
  EXPECT_EQ(ResolveListenAddress("[::1]:7443")->ToString(), "[::1]:7443");
  EXPECT_THAT(ResolveListenAddress("nowhere").status().message(),
              HasSubstr("\"nowhere\""));
}

}  // namespace
}  // namespace muster
