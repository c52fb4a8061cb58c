#include "tools/musterctl/endings_verbs.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kId[] = "0193f0a2-7c11-7abc-8def-0123456789ab";
constexpr char kPath[] = "/api/agents/0193f0a2-7c11-7abc-8def-0123456789ab/";

class EndingsTest : public testing::Test {
 protected:
  EndingsTest() {
    agent_.set_agent_id(kId);
    agent_.set_hostname("web-1");
    agent_.set_name("web-1");
    agent_.set_status(v1::STATUS_STALE);
    agent_.set_confirmed(true);
    v1::ResolveAgentResponse resolved;
    *resolved.mutable_agent() = agent_;
    gateway_.On("GET /api/resolve", Ok(resolved));
  }
  std::string Route(std::string_view verb, std::string_view what) {
    return fmt::format("{} {}{}", verb, kPath, what);
  }

  FakeWorld world_;
  FakeGateway& gateway_ = world_.gateway;
  FakeConsole& console_ = world_.console;
  v1::Agent agent_;
};

TEST_F(EndingsTest, AMachineThatWaitsIsApproved) {
  gateway_.On(Route("POST", "approve"), Ok(agent_));
  EXPECT_EQ(world_.Run({"agents", "approve", "web-1"}), 0) << console_.err;
  EXPECT_THAT(console_.err, HasSubstr("web-1~6789ab is approved: an agent"));
}

TEST_F(EndingsTest, AMachineIsSilencedAndShownAgain) {
  gateway_.On(Route("POST", "silence"), Ok(agent_));
  gateway_.On(Route("DELETE", "silence"), Ok(agent_));
  EXPECT_EQ(world_.Run({"agents", "silence", "web-1"}), 0) << console_.err;
  EXPECT_THAT(console_.err, HasSubstr("web-1~6789ab is silenced until"));
  EXPECT_EQ(world_.Run({"agents", "unsilence", "web-1"}), 0);
  EXPECT_THAT(console_.err, HasSubstr("web-1~6789ab is shown again."));
}

TEST_F(EndingsTest, SilencedMachinesAreListedOnRequestAndCountedApart) {
  v1::ListAgentsResponse page;
  page.mutable_counts()->set_silenced(1);
  gateway_.On("GET /api/agents", Ok(page));
  *agent_.mutable_silenced_at() = wire::ToProto(world_.time.wall);
  *page.add_agents() = agent_;
  gateway_.On("GET /api/agents", Ok(page));
  EXPECT_EQ(world_.Run({"agents", "ls"}), 0);
  EXPECT_EQ(console_.err,
            "0 offline, 0 stale, 0 online. 1 silenced: --silenced.\n");
  EXPECT_EQ(world_.Run({"agents", "ls", "--silenced"}), 0);
  EXPECT_THAT(console_.out, HasSubstr("stale (silenced)"));
  EXPECT_THAT(gateway_.Targets(),
              ElementsAre("GET /api/agents?limit=1000",
                          "GET /api/agents?limit=1000&silenced=true"));
}

TEST_F(EndingsTest, AReissueAsksFirstAndPrintsTheLines) {
  v1::CreateTokenResponse made;
  made.set_join_script("muster-agent join --replace\n");
  made.mutable_token()->set_uses_max(1);
  gateway_.On(Route("POST", "reissue"), Ok(made));
  EXPECT_EQ(world_.Run({"agents", "reissue", "web-1"}), 2);
  EXPECT_THAT(console_.err, HasSubstr("give -y"));
  console_.terminal = true;
  console_.input = "n";
  EXPECT_EQ(world_.Run({"agents", "reissue", "web-1"}), 1);
  EXPECT_THAT(console_.err, HasSubstr("Reissue web-1~6789ab (stale)?"));
  EXPECT_THAT(console_.out, testing::IsEmpty());
  console_.input = "y";
  EXPECT_EQ(world_.Run({"agents", "reissue", "web-1", "--ttl", "1h"}), 0);
  EXPECT_EQ(console_.out, "muster-agent join --replace\n");
  EXPECT_THAT(gateway_.requests.back().body, HasSubstr(R"("ttl":"3600s")"));
  console_.terminal = false;
  EXPECT_EQ(world_.Run({"agents", "reissue", "web-1", "-y"}), 0);
}

}  // namespace
}  // namespace muster::ctl
