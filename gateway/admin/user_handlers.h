// Operations on orgs, on users and on what speaks for them.

#ifndef MUSTER_GATEWAY_ADMIN_USER_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_USER_HANDLERS_H_

#include <functional>
#include <utility>

#include "gateway/admin/handlers.h"
#include "gateway/admin/user_book.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/clock.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it.
class UserHandlers {
 public:
  // Ends the calls of all callers that it holds for.
  using CutOff = std::function<void(std::function<bool(const Caller&)> whom)>;

  UserHandlers(const Clock& clock, UserBook& book, StoreClient& store,
               CutOff cut_off)
      : clock_(clock),
        book_(book),
        store_(store),
        cut_off_(std::move(cut_off)) {}
  void AddTo(HandlerTable& table);

  static constexpr size_t kOrgsMax = 10'000;
  static constexpr size_t kUsersMax = 10'000;         // Of an org.
  static constexpr size_t kTokensPerUserMax = 1'000;  // That are good.

 private:
  void CreateOrg(const Caller&, const v1::CreateOrgRequest&, Reply<v1::Org>);
  void ListOrgs(const Caller&, const v1::ListOrgsRequest&,
                Reply<v1::ListOrgsResponse>);
  void CreateUser(const Caller&, const v1::CreateUserRequest&, Reply<v1::User>);
  void ListUsers(const Caller&, const v1::ListUsersRequest&,
                 Reply<v1::ListUsersResponse>);
  void UpdateUser(const Caller&, const v1::UpdateUserRequest&, Reply<v1::User>);
  void CreateToken(const Caller&, const v1::CreateAccessTokenRequest&,
                   Reply<v1::CreateAccessTokenResponse>);
  void ListTokens(const Caller&, const v1::ListAccessTokensRequest&,
                  Reply<v1::ListAccessTokensResponse>);
  void RevokeToken(const Caller&, const v1::RevokeAccessTokenRequest&,
                   Reply<v1::AccessToken>);

  const Clock& clock_;
  UserBook& book_;
  StoreClient& store_;
  const CutOff cut_off_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_USER_HANDLERS_H_
