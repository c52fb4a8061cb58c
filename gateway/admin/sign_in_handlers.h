// Passwords: signing in and out, and setting them.

#ifndef MUSTER_GATEWAY_ADMIN_SIGN_IN_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_SIGN_IN_HANDLERS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "gateway/admin/handlers.h"
#include "gateway/admin/sign_in_guard.h"
#include "gateway/admin/user_book.h"
#include "gateway/admin/user_handlers.h"
#include "gateway/store/store_client.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/base/thread_event_loop.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

// Lives on the fleet loop; everything given must outlive it. Passwords are
// checked and hashed one after the other on a thread of its own, for which its
// end waits: each takes 32 MiB and 100 ms.
class SignInHandlers {
 public:
  static constexpr absl::Duration kSignedInFor = absl::Hours(12);
  // Passwords that are being checked, or wait for it: of all, and of one
  // source.
  static constexpr int kCheckingMax = 16;
  static constexpr int kCheckingOfSourceMax = 2;
  // That one user can have at a time; with more the oldest ends.
  static constexpr size_t kSignedInMax = 20;

  SignInHandlers(EventLoop& loop, UserBook& book, StoreClient& store,
                 UserHandlers::CutOff cut_off)
      : loop_(loop),
        book_(book),
        store_(store),
        cut_off_(std::move(cut_off)),
        thread_(loop.clock()) {}
  void AddTo(HandlerTable& table);

 private:
  using UserKey = std::pair<OrgId, std::string>;

  void SignIn(const Caller&, const v1::SignInRequest&,
              Reply<v1::SignInResponse>);
  void SignOut(const Caller&, const v1::SignOutRequest&,
               Reply<v1::SignOutResponse>);
  void SetPassword(const Caller&, const v1::SetPasswordRequest&,
                   Reply<v1::User>);
  void ChangePassword(const Caller&, const v1::ChangePasswordRequest&,
                      Reply<v1::User>);

  // Whether this is the password of that user at the end of the check, who may
  // do something; if an attempt may be made at all. `guarded` is the name under
  // which failures count. Errors: ResourceExhausted that says when, Unavailable
  // if too many are being checked.
  using Checked = absl::AnyInvocable<void(absl::StatusOr<bool>)>;
  void Check(const UserKey& user, const std::string& guarded, Secret password,
             const std::string& source, Checked done);
  bool StillHas(const UserKey& user, const std::string& hash) const;
  // Runs `work` on the thread, `done` with its result on the loop.
  template <typename Work, typename Done>
  void Offload(Work work, Done done);
  // Empty: none any more. `instead_of`: the hash that the user must still have
  // when the new one is there.
  void Keep(const Caller& caller, const std::string& name, Secret password,
            std::optional<std::string> instead_of, Reply<v1::User> reply);
  void KeepHash(const Caller& caller, const std::string& name, std::string hash,
                Reply<v1::User> reply);
  void GiveToken(const Caller& caller, const UserRecord& user,
                 Reply<v1::SignInResponse> reply);

  EventLoop& loop_;
  UserBook& book_;
  StoreClient& store_;
  const UserHandlers::CutOff cut_off_;
  SignInGuard guard_;
  int checking_ = 0;
  std::map<std::string, int> checking_of_;  // By source.
  // Whose password is being written: until it is, nobody signs in with either.
  std::map<UserKey, int> changing_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  ThreadEventLoop thread_;  // Last.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_SIGN_IN_HANDLERS_H_
