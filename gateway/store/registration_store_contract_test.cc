// The definition of FleetStore: whom a registration token admits, and what is
// remembered of the others.

#include <string>

#include "gateway/fleet/errors.h"
#include "gateway/store/test_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const OrgId kAcme("acme");

class RegistrationStoreContract : public FleetStoreContract {
 protected:
  // The name of the reason; "admitted" if there is none.
  std::string Outcome(const EnrollmentRequest& request) {
    const auto enrolled = store_->Enroll(request);
    if (enrolled.ok()) return "admitted";
    EXPECT_EQ(ErrorCode(enrolled.status()), "token_refused");
    const auto reason = RefusalReasonOf(enrolled.status());
    return reason ? std::string(NameOf(*reason)) : "no reason";
  }
  static EnrollmentRequest From(const std::string& address,
                                const std::string& key) {
    EnrollmentRequest request = Request(Token("t1"), key, "new-" + key);
    request.address = address;
    return request;
  }
  static EnrollmentRequest Named(const std::string& hostname,
                                 const std::string& key) {
    EnrollmentRequest request = Request(Token("t1"), key, "new-" + key);
    request.facts.hostname = hostname;
    return request;
  }
  uint32_t Uses() { return store_->ListTokens(kAcme)->front().uses; }
};

TEST_P(RegistrationStoreContract, ALimitedTokenComesBackExactly) {
  TokenRecord token = Token("t1");
  token.allowed_from = {"10.0.0.0/8", "2001:db8::/32"};
  token.hostname_glob = "web-*";
  token.approval = true;
  token.ephemeral_for = absl::Hours(36);
  ASSERT_TRUE(store_->AddToken(token).ok());
  Reopen();
  EXPECT_THAT(*store_->ListTokens(kAcme), ElementsAre(token));
}

TEST_P(RegistrationStoreContract, ATokenAdmitsFromItsNetworksOnly) {
  TokenRecord token = Token("t1", 5);
  token.allowed_from = {"10.0.0.0/8", "2001:db8::/32"};
  ASSERT_TRUE(store_->AddToken(token).ok());
  EXPECT_EQ(Outcome(From("10.9.8.7", "k1")), "admitted");
  EXPECT_EQ(Outcome(From("::ffff:10.9.8.7", "k2")), "admitted");
  EXPECT_EQ(Outcome(From("2001:db8::7", "k3")), "admitted");
  EXPECT_EQ(Outcome(From("11.0.0.1", "k4")), "address");
  EXPECT_EQ(Outcome(From("", "k4")), "address");
  // Nor does its holder come again from elsewhere.
  EXPECT_EQ(Outcome(From("11.0.0.1", "k1")), "address");
  EXPECT_EQ(Outcome(From("10.0.0.1", "k1")), "admitted");
  EXPECT_EQ(Uses(), 3u);
}

TEST_P(RegistrationStoreContract, ATokenAdmitsHostnamesOfItsPatternOnly) {
  TokenRecord token = Token("t1", 5);
  token.hostname_glob = "web-?";
  ASSERT_TRUE(store_->AddToken(token).ok());
  EXPECT_EQ(Outcome(Named("web-1", "k1")), "admitted");
  EXPECT_EQ(Outcome(Named("web-10", "k2")), "hostname");
  EXPECT_EQ(Outcome(Named("db-1", "k2")), "hostname");
  EXPECT_EQ(Uses(), 1u);
}

TEST_P(RegistrationStoreContract, EachRefusalHasItsReasonAndCountsNothing) {
  EXPECT_EQ(Outcome(From("10.0.0.1", "k1")), "unknown");
  TokenRecord token = Token("t1");
  token.allowed_from = {"10.0.0.0/8"};
  ASSERT_TRUE(store_->AddToken(token).ok());
  EXPECT_EQ(Outcome(From("11.0.0.1", "k1")), "address");
  EXPECT_EQ(Uses(), 0u);
  EnrollmentRequest late = From("10.0.0.1", "k1");
  late.now = token.expires_at;
  EXPECT_EQ(Outcome(late), "expired");
  EXPECT_EQ(Outcome(From("10.0.0.1", "k1")), "admitted");
  EXPECT_EQ(Outcome(From("10.0.0.1", "k2")), "used_up");
  ASSERT_TRUE(store_->RevokeToken(kAcme, token.id, At(5)).ok());
  EXPECT_EQ(Outcome(From("10.0.0.1", "k2")), "revoked");
  EXPECT_EQ(Uses(), 1u);
}

TEST_P(RegistrationStoreContract, ANewMachineIsWhatItsTokenSays) {
  TokenRecord token = Token("t1", 2);
  token.approval = true;
  token.ephemeral_for = absl::Hours(24);
  ASSERT_TRUE(store_->AddToken(token).ok());
  ASSERT_TRUE(store_->AddToken(Token("t2")).ok());
  ASSERT_EQ(Outcome(Request(Token("t1"), "k1", "m8")), "admitted");
  // What is known already keeps what it has, whatever the token.
  ASSERT_EQ(Outcome(Request(Token("t2"), "k1", "m9")), "admitted");
  Reopen();
  MachineRecord machine = store_->LoadMachines()->back();
  EXPECT_EQ(machine.id, AgentId("m8"));
  EXPECT_TRUE(machine.pending);
  EXPECT_EQ(machine.ephemeral_for, absl::Hours(24));
  EXPECT_EQ(machine.verdict->summary, "waits for approval");
  machine.pending = false;
  ASSERT_TRUE(store_->PutMachine(machine).ok());
  Reopen();
  EXPECT_FALSE(store_->LoadMachines()->back().pending);
}

TEST_P(RegistrationStoreContract, RefusalsAreRememberedNewestFirst) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  const EnrollmentRequest first = From("11.0.0.1", "k1");
  EnrollmentRequest second = Named("db-1", "k2");
  second.now = At(20);
  ASSERT_TRUE(store_->AddRefusal(first, RefusalReason::kAddress).ok());
  ASSERT_TRUE(store_->AddRefusal(second, RefusalReason::kHostname).ok());
  Reopen();
  const RefusalRecord newest{.org = kAcme,
                             .token = TokenId("t1"),
                             .at = At(20),
                             .reason = RefusalReason::kHostname,
                             .address = second.address,
                             .hostname = "db-1"};
  const RefusalRecord oldest{.org = kAcme,
                             .token = TokenId("t1"),
                             .at = At(10),
                             .reason = RefusalReason::kAddress,
                             .address = "11.0.0.1",
                             .hostname = first.facts.hostname};
  EXPECT_THAT(*store_->ListRefusals(kAcme, 9), ElementsAre(newest, oldest));
  EXPECT_THAT(*store_->ListRefusals(kAcme, 1), ElementsAre(newest));
  EXPECT_THAT(*store_->ListRefusals(OrgId("other"), 9), IsEmpty());
}

TEST_P(RegistrationStoreContract, AStrangerWithoutATokenLeavesNoRow) {
  EXPECT_EQ(CodeOf(store_->AddRefusal(From("11.0.0.1", "k1"),
                                      RefusalReason::kUnknown)),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(*store_->ListRefusals(kAcme, 9), IsEmpty());
}

TEST_P(RegistrationStoreContract, TheNewestThousandRefusalsOfAnOrgAreKept) {
  TokenRecord foreign = Token("t2");
  foreign.org = OrgId("other");
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  ASSERT_TRUE(store_->AddToken(foreign).ok());
  ASSERT_TRUE(
      store_->AddRefusal(Request(foreign, "k1", "m9"), RefusalReason::kUsedUp)
          .ok());
  ASSERT_TRUE(store_->Begin().ok());
  for (int i = 0; i < 1003; ++i) {
    EnrollmentRequest request = From("11.0.0.1", "k1");
    request.now = At(i);
    ASSERT_TRUE(store_->AddRefusal(request, RefusalReason::kUsedUp).ok());
  }
  ASSERT_TRUE(store_->Commit().ok());
  const auto kept = store_->ListRefusals(kAcme, 5000);
  ASSERT_THAT(*kept, SizeIs(FleetStore::kRefusalsMax));
  EXPECT_EQ(kept->front().at, At(1002));
  EXPECT_EQ(kept->back().at, At(3));
  EXPECT_THAT(*store_->ListRefusals(OrgId("other"), 5000), SizeIs(1));
}

INSTANTIATE_TEST_SUITE_P(AllStores, RegistrationStoreContract,
                         testing::ValuesIn(Backends()),
                         [](const auto& about) { return about.param.name; });

}  // namespace
}  // namespace muster::gateway
