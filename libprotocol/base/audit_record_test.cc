#include "libprotocol/base/audit_record.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster {
namespace {

using testing::HasSubstr;

AuditEntry Entry(int number) {
  return {.org = OrgId("acme"),
          .at = absl::FromUnixMillis(1'777'630'830'250 + number),
          .principal = "alice",
          .from = "192.0.2.7",
          .method = "CreateUser",
          .target = fmt::format("user-{}", number),
          .result = "ok",
          .request_id = "r"};
}

std::vector<AuditRecord> Chain(int records) {
  std::vector<AuditRecord> chain;
  AuditHead head;
  for (int i = 1; i <= records; ++i) {
    chain.push_back(Linked(Entry(i), head));
    head.sequence = chain.back().sequence;
    head.hash = chain.back().hash;
  }
  return chain;
}

std::string Check(const std::vector<AuditRecord>& chain,
                  std::optional<AuditHead> head = std::nullopt) {
  AuditCheck check(std::move(head));
  for (const AuditRecord& record : chain) (void)check.Take(record);
  return check.End().ToString();
}

AuditHead HeadOf(const AuditRecord& record) {
  return {.org = record.org, .sequence = record.sequence, .hash = record.hash};
}

TEST(AuditRecordTest, TheBytesAreThoseOfTheDocument) {
  const std::vector<AuditRecord> chain = Chain(1);
  EXPECT_EQ(AuditBytes(chain[0]),
            "0:,1:1,4:acme,24:2026-05-01T10:20:30.251Z,5:alice,9:192.0.2.7,"
            "10:CreateUser,6:user-1,2:ok,1:r,");
  // printf '0:,1:1,…' | sha256sum
  EXPECT_EQ(chain[0].hash,
            "6a57d9f7c8c56e89f0c7debc5f62ad7b"
            "975f10049c5878c1c88e6cfcfca62e78");
}

TEST(AuditRecordTest, TimeCountsInMillisecondsSoThatItsTextIsAllOfIt) {
  AuditEntry entry = Entry(0);
  entry.at += absl::Microseconds(999);
  EXPECT_EQ(Linked(entry, AuditHead()), Linked(Entry(0), AuditHead()));
}

TEST(AuditCheckTest, AChainIsIntactAndSoIsWhatIsKeptOfIt) {
  std::vector<AuditRecord> chain = Chain(5);
  EXPECT_EQ(Check(chain), "OK");
  EXPECT_EQ(Check({}), "OK");
  EXPECT_EQ(Check(chain, HeadOf(chain[4])), "OK");
  chain.erase(chain.begin(), chain.begin() + 2);
  EXPECT_EQ(Check(chain, HeadOf(chain[0])), "OK");
}

TEST(AuditCheckTest, WhateverIsChangedIsFound) {
  const std::vector<std::function<void(AuditRecord&)>> changes = {
      [](AuditRecord& r) { r.org = OrgId("zeta"); },
      [](AuditRecord& r) { r.at += absl::Milliseconds(1); },
      [](AuditRecord& r) { r.principal = "bob"; },
      [](AuditRecord& r) { r.from = "192.0.2.8"; },
      [](AuditRecord& r) { r.method = "UpdateUser"; },
      [](AuditRecord& r) { r.target.clear(); },
      [](AuditRecord& r) { r.result = "not_found"; },
      [](AuditRecord& r) { r.request_id[0] ^= 1; },
      [](AuditRecord& r) { r.previous_hash[0] ^= 1; },
      [](AuditRecord& r) { r.hash[0] ^= 1; },
      // A byte that goes over into the next field.
      [](AuditRecord& r) { r.principal += r.from[0], r.from.erase(0, 1); }};
  for (const auto& change : changes) {
    std::vector<AuditRecord> chain = Chain(4);
    change(chain[1]);
    EXPECT_THAT(Check(chain), HasSubstr("record 2 was changed"));
  }
}

TEST(AuditCheckTest, AChangeWithAHashThatFitsBreaksTheNextRecord) {
  std::vector<AuditRecord> chain = Chain(4);
  chain[1].principal = "bob";
  chain[1].hash = AuditHash(chain[1]);
  EXPECT_THAT(Check(chain), HasSubstr("record 3 does not follow record 2"));
}

TEST(AuditCheckTest, AChainThatWasWrittenAnewIsNotThatOfAnEarlierHead) {
  const AuditHead head = HeadOf(Chain(4)[3]);
  std::vector<AuditRecord> forged;
  AuditHead last;
  for (int i = 1; i <= 5; ++i) {
    AuditEntry entry = Entry(i);
    if (i == 2) entry.principal = "bob";
    forged.push_back(Linked(entry, last));
    last = HeadOf(forged.back());
  }
  EXPECT_EQ(Check(forged), "OK") << "by itself it is a chain";
  EXPECT_THAT(Check(forged, head),
              HasSubstr("record 4 is not the one of the earlier head"));
}

TEST(AuditCheckTest, WhatIsMissingIsNamed) {
  const std::vector<AuditRecord> whole = Chain(6);
  std::vector<AuditRecord> chain = whole;
  chain.erase(chain.begin() + 2);
  EXPECT_THAT(Check(chain), HasSubstr("record 3 is missing"));
  chain.erase(chain.begin() + 2);
  EXPECT_THAT(Check(chain), HasSubstr("records 3 to 4 are missing"));
}

TEST(AuditCheckTest, ACutTailIsSeenByAnEarlierHeadOnly) {
  std::vector<AuditRecord> chain = Chain(6);
  const AuditHead head = HeadOf(chain[5]);
  chain.resize(4);
  EXPECT_EQ(Check(chain), "OK");
  EXPECT_THAT(Check(chain, head), HasSubstr("records 5 to 6 are missing"));
  EXPECT_THAT(Check({}, head), HasSubstr("records 1 to 6 are missing"));
}

TEST(AuditCheckTest, AnotherOrderIsFound) {
  std::vector<AuditRecord> chain = Chain(4);
  std::swap(chain[2], chain[3]);
  EXPECT_THAT(Check(chain), HasSubstr("record 3 is missing"));
  chain = Chain(4);
  std::swap(chain[2].sequence, chain[3].sequence);
  std::swap(chain[2], chain[3]);
  EXPECT_THAT(Check(chain), HasSubstr("record 3 was changed"));
  chain = Chain(2);
  chain.push_back(chain[1]);
  EXPECT_THAT(Check(chain), HasSubstr("record 2 comes after record 2"));
}

TEST(AuditCheckTest, ABeginningIsTheFirstOrFollowsAnother) {
  std::vector<AuditRecord> chain = Chain(3);
  chain[0].previous_hash = chain[1].hash;
  chain[0].hash = AuditHash(chain[0]);
  EXPECT_THAT(Check(chain), HasSubstr("record 1 is no beginning"));
  chain = Chain(3);
  chain.erase(chain.begin());
  chain[0].previous_hash.clear();
  EXPECT_THAT(Check(chain), HasSubstr("record 2 is no beginning"));
}

TEST(AuditCheckTest, OfAHeadThatIsNotKeptNothingIsSaid) {
  std::vector<AuditRecord> chain = Chain(4);
  const AuditHead head = HeadOf(chain[0]);
  chain.erase(chain.begin(), chain.begin() + 2);
  EXPECT_THAT(Check(chain, head), HasSubstr("OUT_OF_RANGE"));
}

}  // namespace
}  // namespace muster
