// The definition of FleetStore: users and what speaks for them.

#include <string>

#include "gateway/store/test_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;

class UserStoreContract : public FleetStoreContract {
 protected:
  static UserRecord User(const std::string& name,
                         const std::string& org = "acme") {
    return {.org = OrgId(org),
            .name = name,
            .kind = UserKind::kService,
            .role = UserRole::kOperator,
            .created_by = "admin-token",
            .created_at = At(1),
            .disabled_at = std::nullopt};
  }
  static UserEdit Disabled(bool disabled, int at = 9) {
    return {.role = std::nullopt, .disabled = disabled, .at = At(at)};
  }
  static AccessTokenRecord Token(const std::string& id,
                                 const std::string& user) {
    return {.id = TokenId(id),
            .org = OrgId("acme"),
            .user = user,
            .secret_sha256 = std::string(31, '\0') + id.back(),
            .description = "for grafana",
            .scopes = {"metrics:read"},
            .created_by = "admin-token",
            .created_at = At(2),
            .expires_at = At(100),
            .revoked_at = std::nullopt};
  }
};

TEST_P(UserStoreContract, UsersAndTokensComeBackExactly) {
  ASSERT_TRUE(store_->AddUser(User("bob", "acme")).ok());
  ASSERT_TRUE(store_->AddUser(User("alice", "acme")).ok());
  ASSERT_TRUE(store_->AddUser(User("bob", "zeta")).ok());
  ASSERT_TRUE(store_->AddAccessToken(Token("t2", "bob")).ok());
  ASSERT_TRUE(store_->AddAccessToken(Token("t1", "alice")).ok());
  Reopen();
  EXPECT_THAT(*store_->LoadUsers(),
              ElementsAre(User("alice"), User("bob"), User("bob", "zeta")));
  EXPECT_THAT(*store_->LoadAccessTokens(),
              ElementsAre(Token("t1", "alice"), Token("t2", "bob")));
}

TEST_P(UserStoreContract, OrgsComeBackExactlyAndAreMadeOnce) {
  const OrgRecord zeta{OrgId("zeta"), "admin-token", At(2)};
  const OrgRecord acme{OrgId("acme"), "admin-token", At(3)};
  ASSERT_TRUE(store_->AddOrg(zeta).ok());
  ASSERT_TRUE(store_->AddOrg(acme).ok());
  EXPECT_EQ(CodeOf(store_->AddOrg(zeta)), absl::StatusCode::kAlreadyExists);
  Reopen();
  EXPECT_THAT(*store_->LoadOrgs(), ElementsAre(acme, zeta));
}

TEST_P(UserStoreContract, ANameIsUsedOnce) {
  ASSERT_TRUE(store_->AddUser(User("bob")).ok());
  EXPECT_EQ(CodeOf(store_->AddUser(User("bob"))),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(UserStoreContract, AnEditChangesWhatItNames) {
  ASSERT_TRUE(store_->AddUser(User("bob")).ok());
  const OrgId org("acme");
  UserRecord expected = User("bob");
  expected.disabled_at = At(5);
  EXPECT_EQ(*store_->EditUser(org, "bob", Disabled(true, 5)), expected);
  expected.role = UserRole::kAdmin;
  EXPECT_EQ(*store_->EditUser(
                org, "bob",
                {.role = UserRole::kAdmin, .disabled = true, .at = At(7)}),
            expected)
      << "disabled since it first was";
  Reopen();
  EXPECT_THAT(*store_->LoadUsers(), ElementsAre(expected));
  expected.disabled_at.reset();
  EXPECT_EQ(*store_->EditUser(org, "bob", Disabled(false, 8)), expected);
  EXPECT_EQ(CodeOf(store_->EditUser(org, "eve", Disabled(true))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->EditUser(OrgId("zeta"), "bob", Disabled(true))),
            absl::StatusCode::kNotFound);
}

TEST_P(UserStoreContract, ATokenNeedsAUserAndAnIdAndSecretOfItsOwn) {
  ASSERT_TRUE(store_->AddUser(User("bob")).ok());
  EXPECT_EQ(CodeOf(store_->AddAccessToken(Token("t1", "eve"))),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(store_->AddAccessToken(Token("t1", "bob")).ok());
  EXPECT_EQ(CodeOf(store_->AddAccessToken(Token("t1", "bob"))),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(store_->AddAccessToken(Token("u1", "bob"))),
            absl::StatusCode::kAlreadyExists)
      << "the same secret";
}

TEST_P(UserStoreContract, TheFirstRevocationCounts) {
  ASSERT_TRUE(store_->AddUser(User("bob")).ok());
  ASSERT_TRUE(store_->AddAccessToken(Token("t1", "bob")).ok());
  const OrgId org("acme");
  AccessTokenRecord expected = Token("t1", "bob");
  expected.revoked_at = At(5);
  EXPECT_EQ(*store_->RevokeAccessToken(org, "bob", TokenId("t1"), At(5)),
            expected);
  EXPECT_EQ(*store_->RevokeAccessToken(org, "bob", TokenId("t1"), At(6)),
            expected);
  EXPECT_EQ(CodeOf(store_->RevokeAccessToken(org, "eve", TokenId("t1"), At(6))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->RevokeAccessToken(OrgId("zeta"), "bob",
                                             TokenId("t1"), At(6))),
            absl::StatusCode::kNotFound);
  Reopen();
  EXPECT_THAT(*store_->LoadAccessTokens(), ElementsAre(expected));
}

INSTANTIATE_TEST_SUITE_P(AllStores, UserStoreContract,
                         testing::ValuesIn(Backends()),
                         [](const auto& about) { return about.param.name; });

}  // namespace
}  // namespace muster::gateway
