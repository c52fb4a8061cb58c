// The definition of FleetStore: the audit log.

#include <string>
#include <vector>

#include "fmt/format.h"
#include "gateway/store/test_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const OrgId kAcme("acme");

// Records keep whole milliseconds, which At() does not give.
absl::Time Second(int s) { return absl::FromUnixSeconds(1'700'000'000 + s); }

class AuditStoreContract : public FleetStoreContract {
 protected:
  static AuditEntry Entry(int at, const std::string& org = "acme") {
    return {.org = OrgId(org),
            .at = Second(at),
            .principal = "alice",
            .from = "192.0.2.7",
            .method = "CreateUser",
            .target = fmt::format("user-{}", at),
            .result = "ok",
            .request_id = "r"};
  }
  AuditRecord AddOne(const AuditEntry& entry) {
    const auto added = store_->AddAudit(entry);
    EXPECT_TRUE(added.ok()) << added.status();
    return *added;
  }
  std::vector<uint64_t> Sequences(const AuditFilter& filter,
                                  size_t limit = 100) {
    std::vector<uint64_t> sequences;
    const auto listed = store_->ListAudit(filter, limit);
    EXPECT_TRUE(listed.ok()) << listed.status();
    for (const AuditRecord& r : *listed) sequences.push_back(r.sequence);
    return sequences;
  }
  // What AuditCheck says of what is kept.
  std::string Verified() {
    AuditCheck check;
    const auto listed = store_->ListAudit({.org = kAcme, .after = 0}, 1000);
    for (const AuditRecord& record : *listed) {
      (void)check.Take(record);
    }
    return check.End().ToString();
  }
  size_t Expire(int now_s, size_t rows_max = 100) {
    Retention retention;
    retention.audit = absl::Seconds(100);
    const auto deleted =
        store_->DeleteExpired(retention, Second(now_s), rows_max);
    EXPECT_TRUE(deleted.ok()) << deleted.status();
    return *deleted;
  }
};

TEST_P(AuditStoreContract, RecordsComeBackExactlyLinkedOneChainPerOrg) {
  const AuditRecord first = AddOne(Entry(1));
  const AuditRecord other = AddOne(Entry(2, "zeta"));
  const AuditRecord second = AddOne(Entry(3));
  EXPECT_EQ(first.sequence, 1u);
  EXPECT_EQ(first.previous_hash, "");
  EXPECT_EQ(other.sequence, 1u);
  EXPECT_EQ(second.sequence, 2u);
  EXPECT_EQ(second.previous_hash, first.hash);
  Reopen();
  EXPECT_THAT(*store_->ListAudit({.org = kAcme}, 9),
              ElementsAre(second, first));
  EXPECT_THAT(*store_->ListAudit({.org = kAcme, .after = 0}, 9),
              ElementsAre(first, second));
  EXPECT_THAT(*store_->AuditHeads(),
              ElementsAre(AuditHead{kAcme, 2, second.hash, 1},
                          AuditHead{OrgId("zeta"), 1, other.hash, 1}));
  EXPECT_EQ(AddOne(Entry(4)).sequence, 3u);
  EXPECT_EQ(Verified(), "OK");
}

TEST_P(AuditStoreContract, AFilterSelectsAndPagesFollow) {
  for (int i = 1; i <= 6; ++i) {
    AuditEntry entry = Entry(i);
    if (i % 2 == 0) entry.principal = "bob";
    if (i % 3 == 0) entry.method = "UpdateUser";
    AddOne(entry);
  }
  EXPECT_THAT(Sequences({.org = kAcme}, 2), ElementsAre(6, 5));
  EXPECT_THAT(Sequences({.org = kAcme, .before = 5}, 2), ElementsAre(4, 3));
  EXPECT_THAT(Sequences({.org = kAcme, .after = 4}, 9), ElementsAre(5, 6));
  EXPECT_THAT(Sequences({.org = kAcme, .after = ~uint64_t{0}}), IsEmpty());
  EXPECT_THAT(Sequences({.org = kAcme, .since = Second(2), .until = Second(4)}),
              ElementsAre(3, 2));
  EXPECT_THAT(Sequences({.org = kAcme, .principal = "bob"}),
              ElementsAre(6, 4, 2));
  EXPECT_THAT(Sequences({.org = kAcme, .method = "UpdateUser"}),
              ElementsAre(6, 3));
  EXPECT_THAT(Sequences({.org = kAcme, .target = "ser-5"}), ElementsAre(5));
  EXPECT_THAT(Sequences({.org = OrgId("zeta")}), IsEmpty());
}

TEST_P(AuditStoreContract, WhatIsUndoneLeavesNoRecordAndNoGap) {
  AddOne(Entry(1));
  ASSERT_TRUE(store_->Begin().ok());
  AddOne(Entry(2));
  store_->Rollback();
  EXPECT_EQ(AddOne(Entry(3)).sequence, 2u);
  EXPECT_EQ(Verified(), "OK");
}

TEST_P(AuditStoreContract, TheOldestGoAndTheRestIsStillAChain) {
  for (int i = 1; i <= 5; ++i) AddOne(Entry(i * 10));
  AddOne(Entry(1, "zeta"));
  EXPECT_EQ(Expire(/*now_s=*/110), 0u) << "exactly as old is kept";
  EXPECT_EQ(Expire(/*now_s=*/131), 3u);
  EXPECT_THAT(Sequences({.org = kAcme}), ElementsAre(5, 4));
  EXPECT_EQ(Verified(), "OK");
  EXPECT_EQ(store_->AuditHeads()->front().kept_from, 4u);
  EXPECT_EQ(Expire(/*now_s=*/1000), 1u);
  Reopen();
  EXPECT_THAT(Sequences({.org = kAcme}), ElementsAre(5)) << "the newest stays";
  EXPECT_THAT(Sequences({.org = OrgId("zeta")}), ElementsAre(1));
  EXPECT_EQ(AddOne(Entry(1000)).sequence, 6u);
  EXPECT_EQ(Verified(), "OK");
}

TEST_P(AuditStoreContract, SmallStepsNeverLeaveAHole) {
  for (int i = 1; i <= 5; ++i) AddOne(Entry(i));
  EXPECT_EQ(Expire(/*now_s=*/1000, /*rows_max=*/2), 2u);
  EXPECT_THAT(Sequences({.org = kAcme}), ElementsAre(5, 4, 3));
  EXPECT_EQ(Verified(), "OK");
}

TEST_P(AuditStoreContract, AClockThatWasSetLeavesNoHole) {
  AddOne(Entry(1));
  AddOne(Entry(500));
  AddOne(Entry(2));
  AddOne(Entry(3));
  EXPECT_EQ(Expire(/*now_s=*/200), 1u);
  EXPECT_THAT(Sequences({.org = kAcme}), ElementsAre(4, 3, 2));
  EXPECT_EQ(Verified(), "OK");
}

TEST_P(AuditStoreContract, AnEnrollmentSaysWithWhichToken) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  const auto first = store_->Enroll(Request(Token("t1"), "k9", "m9"));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->token, TokenId("t1"));
}

INSTANTIATE_TEST_SUITE_P(AllStores, AuditStoreContract,
                         testing::ValuesIn(Backends()),
                         [](const auto& about) { return about.param.name; });

}  // namespace
}  // namespace muster::gateway
