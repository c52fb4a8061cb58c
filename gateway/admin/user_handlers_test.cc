#include "gateway/admin/user_handlers.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gateway/admin/audited.h"
#include "gateway/identity/secret_token.h"
#include "gateway/store/memory_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class UserHandlersTest : public testing::Test {
 protected:
  UserHandlersTest() {
    auto store = std::make_unique<MemoryFleetStore>();
    memory_ = store.get();
    client_ = std::make_unique<StoreClient>(
        loop_, std::move(store),
        []() -> absl::StatusOr<std::unique_ptr<FleetStore>> {
          return absl::UnimplementedError("nothing is read");
        },
        StoreClient::Options());
    handlers_ = std::make_unique<UserHandlers>(
        loop_.clock(), book_, *client_,
        [this](const std::function<bool(const Caller&)>& whom) {
          for (const Caller& caller : live_) {
            if (whom(caller)) cut_.push_back(caller.principal);
          }
        });
    handlers_->AddTo(table_);
  }
  ~UserHandlersTest() override { Settle(); }

  void Settle() {
    client_->Flush();
    loop_.RunReady();
  }
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(const std::string& name, const Request& request,
                                const std::string& org = "acme") {
    const auto& method = *v1::ListAgentsRequest::descriptor()
                              ->file()
                              ->service(0)
                              ->FindMethodByName(name);
    Caller caller;
    caller.principal = "root";
    caller.org = OrgId(org);
    caller.audit = std::make_shared<AuditTicket>();
    caller.audit->entry.org = caller.org;
    caller.audit->entry.method = name;
    absl::StatusOr<Response> seen = absl::InternalError("no reply");
    (*table_.Find(method))(
        caller, request,
        [&seen](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> r) {
          if (!r.ok()) {
            seen = r.status();
          } else {
            seen = static_cast<Response&>(**r);
          }
        });
    Settle();
    return seen;
  }

  absl::StatusOr<v1::User> Create(const std::string& name,
                                  v1::Role role = v1::ROLE_OPERATOR) {
    v1::CreateUserRequest request;
    request.set_name(name);
    request.set_role(role);
    return Call<v1::User>("CreateUser", request);
  }
  absl::StatusOr<v1::CreateAccessTokenResponse> Token(
      const std::string& user, std::vector<std::string> scopes = {}) {
    v1::CreateAccessTokenRequest request;
    request.set_name(user);
    request.mutable_scopes()->Assign(scopes.begin(), scopes.end());
    return Call<v1::CreateAccessTokenResponse>("CreateAccessToken", request);
  }
  // Who comes in with that secret.
  absl::StatusOr<Caller> Enter(const std::string& secret) {
    const auto hash = HashToken(TokenKind::kAccess, secret);
    return book_.Authenticate(absl::HexStringToBytes(*hash),
                              loop_.clock().Wall());
  }
  void GoesOn(const std::string& principal, v1::Role role,
              const std::string& token = "") {
    Caller caller;
    caller.principal = principal;
    caller.org = OrgId("acme");
    caller.role = role;
    caller.token = TokenId(token);
    live_.push_back(caller);
  }

  FakeEventLoop loop_;
  UserBook book_;
  MemoryFleetStore* memory_ = nullptr;
  std::unique_ptr<StoreClient> client_;
  std::vector<Caller> live_;
  std::vector<std::string> cut_;
  std::unique_ptr<UserHandlers> handlers_;
  HandlerTable table_;
};

TEST_F(UserHandlersTest, AUserIsStoredThenKnown) {
  const auto user = Create("bob");
  ASSERT_TRUE(user.ok()) << user.status();
  EXPECT_EQ(user->created_by(), "root");
  EXPECT_EQ(memory_->LoadUsers()->size(), 1u);
  const auto listed =
      Call<v1::ListUsersResponse>("ListUsers", v1::ListUsersRequest());
  ASSERT_EQ(listed->users_size(), 1);
  EXPECT_EQ(listed->users(0).role(), v1::ROLE_OPERATOR);
  EXPECT_EQ(
      Call<v1::ListUsersResponse>("ListUsers", v1::ListUsersRequest(), "zeta")
          ->users_size(),
      0);
}

TEST_F(UserHandlersTest, ANameIsTakenOnceAndIsWellFormed) {
  ASSERT_TRUE(Create("bob").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Create("bob").status()));
  for (const char* name : {"", "-bob", "Bob", "b ob", "admin-token"}) {
    EXPECT_THAT(Create(name).status().ToString(), HasSubstr("name: "));
  }
  EXPECT_THAT(Create("eve", v1::ROLE_PUBLIC).status().ToString(),
              HasSubstr("role: must be viewer, operator or admin"));
}

TEST_F(UserHandlersTest, ATokenLetsItsUserInAndIsStoredAsAHash) {
  ASSERT_TRUE(Create("bob").ok());
  const auto token = Token("bob", {"metrics:read", "metrics:read"});
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_THAT(token->token().scopes(), ElementsAre("metrics:read"));
  EXPECT_EQ(Enter(token->secret())->principal, "bob");
  const AccessTokenRecord stored = memory_->LoadAccessTokens()->at(0);
  EXPECT_EQ(stored.secret_sha256.size(), 32u);
  EXPECT_EQ(stored.secret_sha256.find(token->secret()), std::string::npos);
  EXPECT_THAT(Token("bob", {"all"}).status().ToString(),
              HasSubstr("scopes: must be of metrics:read, got \"all\""));
  EXPECT_TRUE(absl::IsNotFound(Token("eve").status()));
}

TEST_F(UserHandlersTest, WhoIsDisabledIsOutAndWhatHeWaitsForEnds) {
  ASSERT_TRUE(Create("bob").ok());
  const std::string secret = Token("bob")->secret();
  GoesOn("bob", v1::ROLE_OPERATOR);
  GoesOn("alice", v1::ROLE_OPERATOR);
  v1::UpdateUserRequest request;
  request.set_name("bob");
  request.set_disabled(true);
  ASSERT_TRUE(Call<v1::User>("UpdateUser", request).ok());
  EXPECT_THAT(cut_, ElementsAre("bob"));
  EXPECT_FALSE(Enter(secret).ok());
  request.set_disabled(false);
  ASSERT_TRUE(Call<v1::User>("UpdateUser", request).ok());
  EXPECT_TRUE(Enter(secret).ok());
  request.set_name("eve");
  EXPECT_TRUE(absl::IsNotFound(Call<v1::User>("UpdateUser", request).status()));
}

TEST_F(UserHandlersTest, ALowerRoleEndsWhatNeededTheHigher) {
  ASSERT_TRUE(Create("bob", v1::ROLE_ADMIN).ok());
  GoesOn("bob", v1::ROLE_ADMIN);
  v1::UpdateUserRequest request;
  request.set_name("bob");
  request.set_role(v1::ROLE_ADMIN);
  ASSERT_TRUE(Call<v1::User>("UpdateUser", request).ok());
  EXPECT_THAT(cut_, IsEmpty());
  request.set_role(v1::ROLE_VIEWER);
  ASSERT_TRUE(Call<v1::User>("UpdateUser", request).ok());
  EXPECT_THAT(cut_, ElementsAre("bob"));
}

TEST_F(UserHandlersTest, ATokenThatIsRevokedSpeaksForNobody) {
  ASSERT_TRUE(Create("bob").ok());
  const auto token = Token("bob");
  const auto other = Token("bob");
  GoesOn("bob", v1::ROLE_OPERATOR, token->token().token_id());
  GoesOn("bob's other", v1::ROLE_OPERATOR, other->token().token_id());
  v1::RevokeAccessTokenRequest request;
  request.set_name("bob");
  request.set_token_id(token->token().token_id());
  const auto revoked = Call<v1::AccessToken>("RevokeAccessToken", request);
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_EQ(revoked->state(), v1::ACCESS_TOKEN_STATE_REVOKED);
  EXPECT_FALSE(Enter(token->secret()).ok());
  EXPECT_TRUE(Enter(other->secret()).ok());
  EXPECT_THAT(cut_, ElementsAre("bob"));
  EXPECT_TRUE(absl::IsNotFound(
      Call<v1::AccessToken>("RevokeAccessToken", request, "zeta").status()));
}

TEST_F(UserHandlersTest, EveryChangeIsStoredWithItsRecordAndARefusalIsNot) {
  ASSERT_TRUE(Create("bob").ok());
  EXPECT_FALSE(Create("bob").ok());
  const auto made = Token("bob");
  ASSERT_TRUE(made.ok());
  v1::UpdateUserRequest update;
  update.set_name("bob");
  update.set_disabled(true);
  ASSERT_TRUE(Call<v1::User>("UpdateUser", update).ok());
  v1::RevokeAccessTokenRequest revoke;
  revoke.set_name("bob");
  revoke.set_token_id(made->token().token_id());
  ASSERT_TRUE(Call<v1::AccessToken>("RevokeAccessToken", revoke).ok());
  std::vector<std::string> recorded;
  const auto records =
      memory_->ListAudit({.org = OrgId("acme"), .after = 0}, 9);
  for (const AuditRecord& r : *records) {
    recorded.push_back(r.method + " " + r.target + " " + r.result);
  }
  // Paths are told by whoever calls the handlers.
  EXPECT_THAT(recorded, ElementsAre("CreateUser bob ok",
                                    "CreateAccessToken bob/" +
                                        made->token().token_id() + " ok",
                                    "UpdateUser  ok", "RevokeAccessToken  ok"));
}

}  // namespace
}  // namespace muster::gateway
