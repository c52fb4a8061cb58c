// How an operation is written: a function from a caller and a request to one
// reply. Who may call it is decided before (admin_api.h), not here.

#ifndef MUSTER_GATEWAY_ADMIN_HANDLERS_H_
#define MUSTER_GATEWAY_ADMIN_HANDLERS_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "libprotocol/base/ids.h"
#include "muster/v1/options.pb.h"

namespace muster::gateway {

struct AuditTicket;  // audited.h

// Who asks, verified.
struct Caller {
  std::string principal;  // "admin"; empty for ROLE_PUBLIC methods.
  OrgId org;
  v1::Role role = v1::ROLE_PUBLIC;
  TokenId token = TokenId();  // Of a user's token.
  bool signed_in = false;     // That was made by a sign-in.
  std::vector<std::string> scopes =
      {};  // That it is bound to; none: to no one.
  std::string peer_address;
  std::string web_authority;
  // May be told of the whole gateway: the others' numbers are no secret to him.
  bool sees_gateway = false;
  // Of a call that changes state: the record it will make.
  std::shared_ptr<AuditTicket> audit = nullptr;
};

// Runs once, on the fleet loop.
template <typename Response>
using Reply = absl::AnyInvocable<void(absl::StatusOr<Response>)>;

using AnyReply = absl::AnyInvocable<void(
    absl::StatusOr<std::unique_ptr<google::protobuf::Message>>)>;

// HandlerTable maps methods of the contract to their handlers. Filled at start,
// constant afterwards.
class HandlerTable {
 public:
  using AnyHandler = std::function<void(
      const Caller&, const google::protobuf::Message&, AnyReply)>;

  // `handler(const Caller&, const Request&, Reply<Response>)` answers the
  // method with this full name, on the fleet loop.
  template <typename Request, typename Response, typename Handler>
  void Add(const std::string& method, Handler handler) {
    handlers_[method] = [handler = std::move(handler)](
                            const Caller& caller,
                            const google::protobuf::Message& request,
                            AnyReply reply) {
      handler(caller, static_cast<const Request&>(request),
              Reply<Response>([reply = std::move(reply)](
                                  absl::StatusOr<Response> response) mutable {
                if (!response.ok()) {
                  reply(response.status());
                } else {
                  reply(std::make_unique<Response>(*std::move(response)));
                }
              }));
    };
  }

  // The same for a member function of `object`, which must outlive the table.
  template <typename T, typename Request, typename Response>
  void Add(const std::string& method, T* object,
           void (T::*handler)(const Caller&, const Request&, Reply<Response>)) {
    Add<Request, Response>(
        method, [object, handler](const Caller& caller, const Request& request,
                                  Reply<Response> reply) {
          (object->*handler)(caller, request, std::move(reply));
        });
  }

  const AnyHandler* Find(const google::protobuf::MethodDescriptor& m) const {
    const auto it = handlers_.find(m.full_name());
    return it == handlers_.end() ? nullptr : &it->second;
  }

 private:
  absl::flat_hash_map<std::string, AnyHandler> handlers_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_HANDLERS_H_
