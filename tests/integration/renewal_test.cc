// Certificates that are due, that have ended, and keys that nobody believes.

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "agent/app/renewal.h"
#include "agent/app/web_port.h"
#include "agent/link/gateway_link.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/net/probe.h"
#include "libprotocol/net/tls_material.h"
#include "tests/integration/mini_fleet.h"
#include "tests/integration/raw_agent.h"

namespace muster::integration {
namespace {

using agent::Agent;
using ::testing::HasSubstr;

constexpr absl::Duration kDay = absl::Hours(24);

absl::Time EndOf(const Credentials& machine) {
  return ParseCertificate(machine.certificate_pem)->not_after;
}

// How far somebody with these credentials gets at the fleet port.
ProbeResult Knock(MiniFleet& fleet, const Credentials& machine) {
  return ProbeGateway(
      {.endpoint = fmt::format("127.0.0.1:{}", fleet.gateway().fleet_port()),
       .server_name = agent::kGatewayName,
       .ca_pem = machine.ca_pem,
       .certificate_pem = machine.certificate_pem,
       .key_pem = machine.key_pem,
       .web = std::nullopt},
      absl::Seconds(20));
}

bool IsRefused(const ProbeResult& result) {
  return result.step == ProbeStep::kGateway &&
         result.failure == FailureClass::kRefusedByGateway;
}

absl::Status Renew(MiniFleet& fleet, const std::string& certificate_pem,
                   const Secret& key) {
  v1::RenewRequest request;
  request.set_certificate_pem(certificate_pem);
  request.set_csr_pem(*MakeCsr(key, "x"));
  v1::RenewResponse response;
  return agent::Post({fleet.rest().url()}, "/api/agents/renew", "the renewal",
                     request, response);
}

void Delete(MiniFleet& fleet, const std::string& agent_id) {
  v1::DeleteAgentRequest request;
  request.set_agent_id(agent_id);
  ASSERT_TRUE(
      fleet.rest().Call<v1::DeleteAgentResponse>("DeleteAgent", request).ok());
}

void Reissue(MiniFleet& fleet, const std::string& agent_id) {
  v1::ReissueAgentRequest request;
  request.set_agent_id(agent_id);
  ASSERT_TRUE(
      fleet.rest().Call<v1::CreateTokenResponse>("ReissueAgent", request).ok());
}

TEST(RenewalTest, ACertificateThatIsDueIsRenewedOnItsLink) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  fleet.AgeCertificate(0, 25 * kDay);
  const absl::Time before = EndOf(fleet.CredentialsOf(0));
  fleet.StartAgent(0);
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const uint64_t epoch = fleet.Link(0).epoch;
  ASSERT_TRUE(Eventually(
      [&] { return EndOf(fleet.CredentialsOf(0)) > before + 20 * kDay; }));
  EXPECT_EQ(fleet.Link(0).epoch, epoch);
  // What was saved is what the next life dials with.
  fleet.StopAgent(0);
  fleet.StartAgent(0);
  EXPECT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
}

TEST(RenewalTest, OneThatIsNotDueStays) {
  MiniFleet fleet({.agents = 0});
  RawAgent raw(fleet, fleet.Register("raw"));
  ASSERT_TRUE(raw.SendHello());
  const auto welcome = raw.Read();
  ASSERT_TRUE(welcome && welcome->has_welcome());
  const int64_t days =
      welcome->welcome().renew_certificate_in().seconds() / (24 * 3600);
  EXPECT_EQ(days, 19);  // Two thirds of 30 days, less what has passed.
}

TEST(RenewalTest, AMachineThatWasAwayForMonthsComesBackByItself) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  const std::string id = fleet.agent_id(0);
  fleet.StopAgent(0);
  fleet.AgeCertificate(0, 150 * kDay);
  EXPECT_TRUE(IsRefused(Knock(fleet, fleet.CredentialsOf(0))));
  fleet.StartAgent(0);
  EXPECT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  EXPECT_EQ(fleet.agent_id(0), id);
}

TEST(RenewalTest, AfterHalfAYearOnlyATokenHelps) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  fleet.AgeCertificate(0, 211 * kDay);
  const Credentials old = fleet.CredentialsOf(0);
  const auto refused = Renew(fleet, old.certificate_pem, old.key_pem);
  EXPECT_EQ(agent::RefusalCode(refused), "credential_expired");
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("join again with a token"));
}

TEST(RenewalTest, AKeyThatWasTakenAwayDoesNotGetThroughTheHandshake) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("raw");
  EXPECT_EQ(Knock(fleet, machine).step, ProbeStep::kDone);
  Reissue(fleet, machine.agent_id);
  EXPECT_TRUE(IsRefused(Knock(fleet, machine)));
  EXPECT_EQ(agent::RefusalCode(
                Renew(fleet, machine.certificate_pem, machine.key_pem)),
            "credential_revoked");
  fleet.RestartGateway();
  EXPECT_TRUE(IsRefused(Knock(fleet, machine)));
}

TEST(RenewalTest, NorDoesThatOfADeletedOrAnUnknownMachine) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("raw");
  Delete(fleet, machine.agent_id);
  EXPECT_TRUE(IsRefused(Knock(fleet, machine)));
  EXPECT_EQ(agent::RefusalCode(
                Renew(fleet, machine.certificate_pem, machine.key_pem)),
            "deregistered");
  const Credentials unknown = fleet.Forge();
  EXPECT_TRUE(IsRefused(Knock(fleet, unknown)));
  EXPECT_EQ(agent::RefusalCode(
                Renew(fleet, unknown.certificate_pem, unknown.key_pem)),
            "not_registered");
}

TEST(RenewalTest, AMachineLearnsOnTheWebPortWhyItIsNotLetIn) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  Delete(fleet, fleet.agent_id(0));
  fleet.StartAgent(0);
  EXPECT_EQ(fleet.WaitForEnd(0), Agent::End::kDeregistered);
}

TEST(RenewalTest, NobodyIsCertifiedForAKeyThatIsNotHis) {
  MiniFleet fleet({.agents = 0});
  MiniFleet other({.agents = 0});
  const Credentials machine = fleet.Register("raw");
  const Secret stranger = *GenerateKey();
  const absl::Status foreign_key =
      Renew(fleet, machine.certificate_pem, stranger);
  EXPECT_EQ(agent::RefusalCode(foreign_key), "invalid_argument");
  EXPECT_THAT(std::string(foreign_key.message()), HasSubstr("csr_pem"));
  const Credentials elsewhere = other.Register("raw");
  EXPECT_EQ(agent::RefusalCode(
                Renew(fleet, elsewhere.certificate_pem, elsewhere.key_pem)),
            "unauthenticated");
  // A server's certificate is no agent's.
  const auto authority = *gateway::CertificateAuthority::OpenOrCreate(
      fleet.gateway_folder() + "/ca", SystemClock().Wall());
  const auto server = *authority->FleetServer(SystemClock().Wall());
  EXPECT_EQ(
      agent::RefusalCode(Renew(fleet, server.certificate_pem, server.key_pem)),
      "unauthenticated");
  EXPECT_EQ(agent::RefusalCode(Renew(fleet, "nonsense", stranger)),
            "invalid_argument");
}

TEST(RenewalTest, ALinkGetsCertificatesForItsOwnKeyAndNotOften) {
  MiniFleet fleet({.agents = 0});
  const Credentials machine = fleet.Register("raw");
  RawAgent raw(fleet, machine);
  ASSERT_TRUE(raw.GoOnline());
  v1::AgentMessage ask;
  ask.mutable_certificate_request()->set_csr_pem(
      *MakeCsr(machine.key_pem, "x"));
  ASSERT_TRUE(raw.Send(ask));
  const auto issued = raw.ReadUntil(v1::GatewayMessage::kCertificate);
  ASSERT_TRUE(issued);
  EXPECT_TRUE(CheckKeyMatchesCertificate(
                  machine.key_pem, issued->certificate().certificate_pem())
                  .ok());
  EXPECT_EQ(issued->certificate().ca_pem(), machine.ca_pem);
  ASSERT_TRUE(raw.Send(ask));
  const auto refused = raw.ReadDisconnect();
  ASSERT_TRUE(refused);
  EXPECT_THAT(refused->text(), HasSubstr("at most one every 1m"));
  RawAgent thief(fleet, machine);
  ASSERT_TRUE(thief.GoOnline());
  ask.mutable_certificate_request()->set_csr_pem(*MakeCsr(*GenerateKey(), "x"));
  ASSERT_TRUE(thief.Send(ask));
  const auto caught = thief.ReadDisconnect();
  ASSERT_TRUE(caught);
  EXPECT_THAT(caught->text(), HasSubstr("csr_pem: must be of"));
}

// A clock that is `ahead`.
class WrongClock final : public Clock {
 public:
  explicit WrongClock(absl::Duration ahead) : ahead_(ahead) {}
  Instant Now() const override { return right_.Now(); }
  absl::Time Wall() const override { return right_.Wall() + ahead_; }
  absl::Duration Suspended() const override { return right_.Suspended(); }

 private:
  const SystemClock right_;
  const absl::Duration ahead_;
};

TEST(RenewalTest, AWrongClockIsToldApartFromAnEndedCertificate) {
  MiniFleet fleet;
  ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
  fleet.StopAgent(0);
  for (const absl::Duration ahead : {absl::ZeroDuration(), absl::Hours(3)}) {
    const WrongClock clock(ahead);
    ThreadEventLoop loop(clock);
    std::atomic<int> renewed = 0;
    std::unique_ptr<agent::Renewal> renewal;
    std::optional<absl::Duration> wrong;
    loop.Post([&] {
      renewal = std::make_unique<agent::Renewal>(
          loop, fleet.state(0), *fleet.state(0).LoadIdentity(),
          *fleet.state(0).LoadKey(), 0,
          agent::Renewal::Ports{
              .ask = [](const v1::CertificateRequest&) { return false; },
              .renewed =
                  [&](const agent::Identity&) {
                    wrong = renewal->clock_wrong();
                    ++renewed;
                  },
              .refused = [](const v1::Disconnect&) {}});
      renewal->OnTurnedAway();
      renewal->OnTurnedAway();  // Too early for another call.
    });
    EXPECT_TRUE(Eventually([&] { return renewed == 1; }));
    loop.Post([&] { renewal.reset(); });
    loop.Stop();
    if (ahead == absl::ZeroDuration()) {
      EXPECT_FALSE(wrong.has_value());
    } else {
      ASSERT_TRUE(wrong.has_value());
      EXPECT_LT(absl::AbsDuration(*wrong - ahead), absl::Minutes(1));
    }
  }
}

}  // namespace
}  // namespace muster::integration
