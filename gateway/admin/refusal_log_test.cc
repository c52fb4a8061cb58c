#include "gateway/admin/refusal_log.h"

#include <memory>
#include <string>

#include "gateway/store/memory_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::gateway {
namespace {

using testing::SizeIs;

class RefusalLogTest : public testing::Test {
 protected:
  RefusalLogTest() {
    auto store = std::make_unique<MemoryFleetStore>();
    memory_ = store.get();
    TokenRecord token;
    token.id = TokenId("t1");
    token.org = OrgId("acme");
    token.secret_sha256 = std::string(32, 's');
    EXPECT_TRUE(memory_->AddToken(token).ok());
    client_ = std::make_unique<StoreClient>(loop_, std::move(store), nullptr);
    log_ = std::make_unique<RefusalLog>(loop_.clock(), *client_);
  }
  ~RefusalLogTest() override { Settle(); }

  void Settle() {
    client_->Flush();
    loop_.RunReady();
  }
  void Refuse(RefusalReason reason, int times) {
    EnrollmentRequest request;
    request.token_sha256 = std::string(32, 's');
    request.address = "192.0.2.9";
    for (int i = 0; i < times; ++i) log_->Take(request, reason);
    Settle();
  }
  size_t Rows() { return memory_->ListRefusals(OrgId("acme"), 9999)->size(); }

  FakeEventLoop loop_;
  std::unique_ptr<StoreClient> client_;
  MemoryFleetStore* memory_ = nullptr;
  std::unique_ptr<RefusalLog> log_;
};

TEST_F(RefusalLogTest, AtMostSixtyRowsAMinuteAreWrittenAndTheRestIsCounted) {
  Refuse(RefusalReason::kUsedUp, 1000);
  EXPECT_EQ(Rows(), 30u);
  EXPECT_EQ(log_->not_recorded(), 970u);
  for (int second = 0; second < 60; ++second) {
    loop_.Advance(absl::Seconds(1));
    Refuse(RefusalReason::kUsedUp, 10);
  }
  EXPECT_EQ(Rows(), 60u);
}

TEST_F(RefusalLogTest, UnknownTokensAreCountedAndNeverWritten) {
  Refuse(RefusalReason::kUnknown, 1000);
  EXPECT_EQ(Rows(), 0u);
  EXPECT_EQ(log_->unknown_tokens(), 1000u);
  EXPECT_EQ(log_->not_recorded(), 0u);
}

TEST_F(RefusalLogTest, WhatTheStoreDoesNotTakeIsCounted) {
  memory_->FailWith(absl::UnavailableError("locked"));
  Refuse(RefusalReason::kExpired, 2);
  EXPECT_EQ(log_->not_recorded(), 2u);
  memory_->FailWith(absl::OkStatus());
  Refuse(RefusalReason::kExpired, 1);
  EXPECT_EQ(Rows(), 1u);
}

}  // namespace
}  // namespace muster::gateway
