#include "gateway/admin/audit_handlers.h"

#include <memory>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gateway/admin/audit_log.h"
#include "gateway/admin/audited.h"
#include "gateway/store/memory_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "libprotocol/wire/audit_proto.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class AuditHandlersTest : public testing::Test {
 protected:
  AuditHandlersTest() {
    auto store = std::make_unique<MemoryFleetStore>();
    memory_ = store.get();
    client_ = std::make_unique<StoreClient>(loop_, std::move(store), nullptr);
    log_ = std::make_unique<AuditLog>(*client_);
    handlers_ = std::make_unique<AuditHandlers>(*client_);
    handlers_->AddTo(table_);
  }
  ~AuditHandlersTest() override { Settle(); }

  void Settle() {
    client_->Flush();
    loop_.RunReady();
  }
  void Keep(int records, const std::string& principal = "alice",
            const std::string& org = "acme") {
    for (int i = 0; i < records; ++i) {
      log_->Keep({.org = OrgId(org),
                  .at = loop_.clock().Wall(),
                  .principal = principal,
                  .from = "192.0.2.7",
                  .method = "DeleteAgent",
                  .target = "m-1",
                  .result = "ok",
                  .request_id = "r"},
                 [](const absl::Status& kept) { EXPECT_TRUE(kept.ok()); });
    }
    Settle();
  }
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const std::string& name,
                                const Request& request) {
    const auto& method = *v1::ListAgentsRequest::descriptor()
                              ->file()
                              ->service(0)
                              ->FindMethodByName(name);
    Caller caller;
    caller.principal = "root";
    caller.org = OrgId("acme");
    absl::StatusOr<Response> seen = absl::InternalError("no reply");
    bool replied = false;
    (*table_.Find(method))(
        caller, request,
        [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> r) {
          replied = true;
          if (!r.ok()) {
            seen = r.status();
          } else {
            seen = static_cast<Response&>(**r);
          }
        });
    while (!replied) Settle();
    return seen;
  }
  std::vector<uint64_t> List(const v1::ListAuditRequest& request,
                             std::string* next = nullptr) {
    const auto listed = Call<v1::ListAuditResponse>("ListAudit", request);
    EXPECT_TRUE(listed.ok()) << listed.status();
    std::vector<uint64_t> sequences;
    for (const auto& r : listed->records()) sequences.push_back(r.sequence());
    if (next != nullptr) *next = listed->next_page_token();
    return sequences;
  }
  v1::VerifyAuditResponse Verify() {
    const auto verified =
        Call<v1::VerifyAuditResponse>("VerifyAudit", v1::VerifyAuditRequest());
    EXPECT_TRUE(verified.ok()) << verified.status();
    return *verified;
  }

  FakeEventLoop loop_;
  MemoryFleetStore* memory_ = nullptr;
  std::unique_ptr<StoreClient> client_;
  std::unique_ptr<AuditLog> log_;
  std::unique_ptr<AuditHandlers> handlers_;
  HandlerTable table_;
};

TEST_F(AuditHandlersTest, PagesFollowNewestFirst) {
  Keep(5);
  Keep(1, "eve", "zeta");
  v1::ListAuditRequest request;
  request.set_limit(2);
  std::string next;
  EXPECT_THAT(List(request, &next), ElementsAre(5, 4));
  request.set_page_token(next);
  EXPECT_THAT(List(request, &next), ElementsAre(3, 2));
  request.set_page_token(next);
  EXPECT_THAT(List(request, &next), ElementsAre(1));
  EXPECT_EQ(next, "");
}

TEST_F(AuditHandlersTest, AfterASequenceTheyComeOldestFirst) {
  Keep(5);
  v1::ListAuditRequest request;
  request.set_after_sequence(0);
  request.set_limit(2);
  std::string next;
  EXPECT_THAT(List(request, &next), ElementsAre(1, 2));
  EXPECT_EQ(next, "");
  request.set_after_sequence(4);
  EXPECT_THAT(List(request), ElementsAre(5));
  request.set_page_token("x");
  EXPECT_EQ(Call<v1::ListAuditResponse>("ListAudit", request).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(AuditHandlersTest, AFilterSelects) {
  Keep(1, "alice");
  Keep(1, "bob");
  v1::ListAuditRequest request;
  request.set_principal("bob");
  EXPECT_THAT(List(request), ElementsAre(2));
  request.set_target("m-2");
  EXPECT_THAT(List(request), IsEmpty());
}

TEST_F(AuditHandlersTest, WhatIsListedCanBeRecomputed) {
  Keep(3);
  v1::ListAuditRequest request;
  request.set_after_sequence(0);
  const auto listed = Call<v1::ListAuditResponse>("ListAudit", request);
  AuditCheck check;
  for (const auto& record : listed->records()) {
    EXPECT_TRUE(check.Take(wire::FromProto(record)).ok());
  }
  EXPECT_EQ(check.records(), 3u);
}

TEST_F(AuditHandlersTest, AChainOfSeveralStepsIsVerifiedToItsHead) {
  EXPECT_TRUE(Verify().intact());
  EXPECT_EQ(Verify().head_sequence(), 0u);
  const auto records = static_cast<int>(AuditHandlers::kStepRecords) + 1;
  Keep(records);
  const v1::VerifyAuditResponse verified = Verify();
  EXPECT_TRUE(verified.intact());
  EXPECT_EQ(verified.records(), static_cast<uint64_t>(records));
  EXPECT_EQ(verified.first_sequence(), 1u);
  EXPECT_EQ(verified.head_sequence(), static_cast<uint64_t>(records));
  EXPECT_EQ(verified.head_hash(), memory_->AuditHeads()->front().hash);
  EXPECT_EQ(verified.why(), "");
}

TEST_F(AuditHandlersTest, WhatExpiredIsNotMissed) {
  Keep(2);
  loop_.Advance(absl::Hours(24));
  Keep(2);
  Retention retention;
  retention.audit = absl::Hours(1);
  ASSERT_EQ(*memory_->DeleteExpired(retention, loop_.clock().Wall(), 100), 2u);
  const v1::VerifyAuditResponse verified = Verify();
  EXPECT_TRUE(verified.intact()) << verified.why();
  EXPECT_EQ(verified.first_sequence(), 3u);
}

TEST_F(AuditHandlersTest, AHeadIsToldWhenItHasMovedOrAllAre) {
  std::vector<std::string> lines;
  TapLog([&lines](std::string_view line) {
    if (line.find("msg=audit_head") != std::string_view::npos) {
      lines.emplace_back(line);
    }
  });
  const auto tell = [&](bool all) {
    lines.clear();
    log_->TellHeads(all);
    Settle();
    return lines.size();
  };
  EXPECT_EQ(tell(true), 0u);
  Keep(2);
  EXPECT_EQ(tell(false), 1u);
  EXPECT_THAT(lines[0],
              HasSubstr(fmt::format("org=acme sequence=2 hash={}",
                                    memory_->AuditHeads()->front().hash)));
  EXPECT_EQ(tell(false), 0u);
  EXPECT_EQ(tell(true), 1u);
  TapLog(nullptr);
}

// --- audited.h --------------------------------------------------------------

class AuditedTest : public AuditHandlersTest {
 protected:
  AuditedTest() {
    caller_.principal = "alice";
    caller_.org = OrgId("acme");
    caller_.audit = std::make_shared<AuditTicket>();
    caller_.audit->entry.org = caller_.org;
    caller_.audit->entry.method = "CreateUser";
  }
  absl::Status Write(const absl::Status& work) {
    absl::Status seen = absl::InternalError("no answer");
    client_->Write(Audited(caller_,
                           [work](FleetStore& store) {
                             UserRecord user;
                             user.org = OrgId("acme");
                             user.name = "bob";
                             EXPECT_TRUE(store.AddUser(user).ok());
                             return work;
                           }),
                   [&seen](const absl::Status& status) { seen = status; });
    Settle();
    return seen;
  }
  Caller caller_;
};

TEST_F(AuditedTest, TheChangeAndItsRecordAreThere) {
  NameTarget(caller_, "bob");
  EXPECT_TRUE(Write(absl::OkStatus()).ok());
  EXPECT_TRUE(caller_.audit->kept);
  const auto records = *memory_->ListAudit({.org = OrgId("acme")}, 9);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].target, "bob");
  EXPECT_EQ(records[0].result, "ok");
}

TEST_F(AuditedTest, WorkThatFailsLeavesNeither) {
  EXPECT_EQ(Write(absl::NotFoundError("x")).code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(caller_.audit->kept);
  EXPECT_THAT(*memory_->AuditHeads(), IsEmpty());
  EXPECT_THAT(*memory_->LoadUsers(), IsEmpty());
}

TEST_F(AuditedTest, AHandlerThatIsCalledByNobodyRecordsNothing) {
  caller_.audit = nullptr;
  NameTarget(caller_, "bob");
  EXPECT_TRUE(Write(absl::OkStatus()).ok());
  EXPECT_THAT(*memory_->AuditHeads(), IsEmpty());
}

}  // namespace
}  // namespace muster::gateway
