#include "tools/musterctl/audit_verbs.h"

#include <fstream>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"
#include "libprotocol/wire/audit_proto.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::HasSubstr;

constexpr char kList[] = "GET /api/audit";
constexpr char kVerify[] = "GET /api/audit/verify";

class AuditVerbsTest : public testing::Test {
 protected:
  AuditVerbsTest() {
    AuditHead head;
    for (int i = 1; i <= 4; ++i) {
      AuditEntry entry{.org = OrgId("default"),
                       .at = absl::FromUnixSeconds(1'750'000'000 + i),
                       .principal = "alice",
                       .from = "192.0.2.7",
                       .method = "RevokeToken",
                       .target = fmt::format("t-{}", i),
                       .result = i == 4 ? "not_found" : "ok",
                       .request_id = "r"};
      chain_.push_back(Linked(std::move(entry), head));
      head.sequence = chain_.back().sequence;
      head.hash = chain_.back().hash;
    }
    head_ = head.hash;
  }
  // The gateway has what is in chain_.
  void Serve() {
    v1::ListAuditResponse page;
    for (const AuditRecord& r : chain_) {
      *page.add_records() = wire::ToProto(r);
    }
    world_.gateway.On(kList, Ok(page));
    world_.gateway.On(kList, Ok(v1::ListAuditResponse()));
    v1::VerifyAuditResponse verified;
    verified.set_intact(true);
    verified.set_head_sequence(4);
    verified.set_head_hash(head_);
    world_.gateway.On(kVerify, Ok(verified));
  }
  std::string FileOf(const std::vector<AuditRecord>& records) {
    const std::string path = dir_.File("audit.jsonl");
    std::ofstream file(path);
    for (const AuditRecord& r : records) {
      file << wire::ProtoToJson(wire::ToProto(r)) << "\n";
    }
    return path;
  }
  std::string Head(size_t i) {
    return fmt::format("{}:{}", chain_[i].sequence, chain_[i].hash);
  }

  std::vector<AuditRecord> chain_;
  std::string head_;  // What the gateway says it is.
  TempDir dir_;
  FakeWorld world_;
};

TEST_F(AuditVerbsTest, LsShowsWhoDidWhatFromWhere) {
  Serve();
  EXPECT_EQ(world_.Run({"audit", "ls", "--principal", "alice", "--method",
                        "RevokeToken", "--target", "t-"}),
            kExitOk);
  EXPECT_THAT(world_.gateway.Targets()[0],
              testing::AllOf(HasSubstr("principal=alice"),
                             HasSubstr("method=RevokeToken"),
                             HasSubstr("target=t-"), HasSubstr("limit=50")));
  EXPECT_THAT(world_.console.out, HasSubstr("PRINCIPAL"));
  EXPECT_THAT(
      world_.console.out,
      HasSubstr("alice      192.0.2.7  RevokeToken  t-4     not_found"));
}

TEST_F(AuditVerbsTest, VerifyRecomputesWhatTheGatewayTells) {
  Serve();
  EXPECT_EQ(world_.Run({"audit", "verify", "--head", Head(1)}), kExitOk)
      << world_.console.err;
  EXPECT_EQ(world_.console.out,
            "intact: records 1 to 4\nhead " + Head(3) + "\n");
  EXPECT_THAT(world_.gateway.Targets()[2], HasSubstr("after_sequence=4"));
}

TEST_F(AuditVerbsTest, AGatewayThatSaysAllIsWellIsNotBelieved) {
  chain_[1].principal = "bob";
  Serve();
  EXPECT_EQ(world_.Run({"audit", "verify"}), kExitFailure);
  EXPECT_THAT(world_.console.err, HasSubstr("record 2 was changed"));
}

TEST_F(AuditVerbsTest, NorIsOneWhoseHeadIsNotInItsChain) {
  head_ = std::string(64, '0');
  Serve();
  EXPECT_EQ(world_.Run({"audit", "verify"}), kExitFailure);
  EXPECT_THAT(world_.console.err,
              HasSubstr("record 4 is not the one of the earlier head"));
}

TEST_F(AuditVerbsTest, WhatTheGatewayFoundIsSaid) {
  v1::VerifyAuditResponse verified;
  verified.set_why("record 3 is missing");
  world_.gateway.On(kVerify, Ok(verified));
  EXPECT_EQ(world_.Run({"audit", "verify"}), kExitFailure);
  EXPECT_THAT(world_.console.err, HasSubstr("record 3 is missing"));
}

TEST_F(AuditVerbsTest, AFileIsVerifiedWithoutAGateway) {
  EXPECT_EQ(world_.Run({"audit", "verify", FileOf(chain_)}), kExitOk)
      << world_.console.err;
  EXPECT_THAT(world_.console.out, HasSubstr("intact: records 1 to 4"));
  EXPECT_TRUE(world_.gateway.requests.empty());
  const std::string head = Head(3);
  chain_.pop_back();
  const std::string file = FileOf(chain_);
  EXPECT_EQ(world_.Run({"audit", "verify", file}), kExitOk);
  EXPECT_EQ(world_.Run({"audit", "verify", file, "--head", head}),
            kExitFailure);
  EXPECT_THAT(world_.console.err, HasSubstr("record 4 is missing"));
}

TEST_F(AuditVerbsTest, ALineThatIsNoRecordIsNamed) {
  const std::string path = FileOf({chain_[0]});
  std::ofstream(path, std::ios::app) << "{\"sequence\": \n";
  EXPECT_EQ(world_.Run({"audit", "verify", path}), kExitFailure);
  EXPECT_THAT(world_.console.err, HasSubstr("audit.jsonl:2: "));
  EXPECT_EQ(world_.Run({"audit", "verify", dir_.File("none")}), kExitNotFound);
}

TEST_F(AuditVerbsTest, AHeadIsANumberAndAHash) {
  for (const char* head : {"", "1", "1:", "0:ab", "x:ab", "1:zz"}) {
    EXPECT_EQ(world_.Run({"audit", "verify", "--head", head}), kExitUsage)
        << head;
  }
}

TEST_F(AuditVerbsTest, WhatIsExportedCanBeVerified) {
  Serve();
  EXPECT_EQ(world_.Run({"audit", "export"}), kExitOk);
  const std::string path = dir_.File("exported");
  std::ofstream(path) << world_.console.out;
  EXPECT_EQ(world_.Run({"audit", "verify", path, "--head", Head(3)}), kExitOk)
      << world_.console.err;
}

}  // namespace
}  // namespace muster::ctl
