#include "gateway/admin/user_book.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::Field;

const absl::Time kNow = absl::FromUnixSeconds(1'750'000'000);
const OrgId kOrg("acme");

class UserBookTest : public testing::Test {
 protected:
  UserBookTest() {
    user_ = {.org = kOrg,
             .name = "bob",
             .role = UserRole::kOperator,
             .created_by = "admin-token",
             .created_at = kNow,
             .disabled_at = std::nullopt};
    token_ = {.id = TokenId("t1"),
              .org = kOrg,
              .user = "bob",
              .secret_sha256 = "hash",
              .description = "",
              .scopes = {"metrics:read"},
              .created_by = "admin-token",
              .created_at = kNow,
              .expires_at = kNow + absl::Hours(1),
              .revoked_at = std::nullopt};
    book_.Put(user_);
    book_.Put(token_);
  }
  bool Admitted(absl::Time now = kNow) const {
    return book_.Authenticate("hash", now).ok();
  }

  UserRecord user_;
  AccessTokenRecord token_;
  UserBook book_;
};

TEST_F(UserBookTest, ATokenSpeaksForItsUserWithHisRole) {
  const auto caller = book_.Authenticate("hash", kNow);
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->principal, "bob");
  EXPECT_EQ(caller->org, kOrg);
  EXPECT_EQ(caller->role, v1::ROLE_OPERATOR);
  EXPECT_EQ(caller->token, TokenId("t1"));
  EXPECT_THAT(caller->scopes, ElementsAre("metrics:read"));
}

TEST_F(UserBookTest, EveryRefusalReadsAlike) {
  const absl::Status unknown = book_.Authenticate("other", kNow).status();
  EXPECT_EQ(unknown, book_.Authenticate("hash", token_.expires_at).status());
  token_.revoked_at = kNow;
  book_.Put(token_);
  EXPECT_EQ(unknown, book_.Authenticate("hash", kNow).status());
  token_.revoked_at.reset();
  book_.Put(token_);
  ASSERT_TRUE(Admitted());
  user_.disabled_at = kNow;
  book_.Put(user_);
  EXPECT_EQ(unknown, book_.Authenticate("hash", kNow).status());
  EXPECT_TRUE(absl::IsUnauthenticated(unknown));
}

TEST_F(UserBookTest, ATokenEndsAtItsVeryInstant) {
  EXPECT_TRUE(Admitted(token_.expires_at - absl::Nanoseconds(1)));
  EXPECT_FALSE(Admitted(token_.expires_at));
}

TEST_F(UserBookTest, MayIsAskedOfTheRoleAsItIsNow) {
  EXPECT_TRUE(book_.May(kOrg, "bob", v1::ROLE_OPERATOR));
  EXPECT_FALSE(book_.May(kOrg, "bob", v1::ROLE_ADMIN));
  EXPECT_FALSE(book_.May(OrgId("zeta"), "bob", v1::ROLE_VIEWER));
  EXPECT_FALSE(book_.May(kOrg, "eve", v1::ROLE_VIEWER));
  user_.role = UserRole::kViewer;
  book_.Put(user_);
  EXPECT_FALSE(book_.May(kOrg, "bob", v1::ROLE_OPERATOR));
  user_.disabled_at = kNow;
  book_.Put(user_);
  EXPECT_FALSE(book_.May(kOrg, "bob", v1::ROLE_VIEWER));
}

TEST_F(UserBookTest, ListsAreOfOneOrgAndOneUser) {
  UserRecord other = user_;
  other.org = OrgId("zeta");
  book_.Put(other);
  user_.name = "alice";
  book_.Put(user_);
  EXPECT_THAT(book_.UsersOf(kOrg),
              ElementsAre(Field(&UserRecord::name, "alice"),
                          Field(&UserRecord::name, "bob")));
  token_.id = TokenId("t2");
  token_.secret_sha256 = "hash2";
  token_.created_at += absl::Seconds(1);
  book_.Put(token_);
  token_.org = OrgId("zeta");
  token_.secret_sha256 = "hash3";
  book_.Put(token_);
  EXPECT_THAT(book_.TokensOf(kOrg, "bob"),
              ElementsAre(Field(&AccessTokenRecord::id, TokenId("t2")),
                          Field(&AccessTokenRecord::id, TokenId("t1"))));
}

}  // namespace
}  // namespace muster::gateway
