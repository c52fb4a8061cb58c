// Authentication, authorization and the record of what was done: once, here,
// for every operation and every skin.

#ifndef MUSTER_GATEWAY_ADMIN_ADMIN_API_H_
#define MUSTER_GATEWAY_ADMIN_ADMIN_API_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/admin/api.h"
#include "gateway/admin/handlers.h"
#include "libprotocol/base/audit_record.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// Answers who calls, and for which org: Unauthenticated if nobody holds the
// token, PermissionDenied or NotFound for an org that is not his. Called on the
// fleet loop; must not block.
using Authenticate =
    std::function<absl::StatusOr<Caller>(const CallContext& context)>;

// Stores this record; `done` runs on the fleet loop when it is durable, or with
// why it is not. Called on that loop; must not block.
using KeepRecord = std::function<void(
    AuditEntry entry, absl::AnyInvocable<void(absl::Status)> done)>;

// AdminApi runs on the fleet loop; Call() may come from any thread and posts.
class AdminApi final : public Api {
 public:
  // `loop` must outlive it. Every call that changes state leaves one record
  // (part_of_recorded in options.proto says which does not), before the caller
  // is answered: its handler stores it with the change (audited.h), or
  // `keep_record` does. Who is not known leaves none. FailedPrecondition naming
  // the first method of the contract that lacks `http`, `access` or a handler.
  static absl::StatusOr<std::unique_ptr<AdminApi>> Create(
      EventLoop& loop, Authenticate authenticate, KeepRecord keep_record,
      HandlerTable handlers);

  void Call(const google::protobuf::MethodDescriptor& method,
            CallContext context,
            std::unique_ptr<google::protobuf::Message> request,
            Reply reply) override;

  // Whoever waits for something and is one of those is answered now, that he
  // may not any more. What changes state is done, and told. On the fleet loop.
  void CutOff(const std::function<bool(const Caller&)>& whom);

 private:
  AdminApi(EventLoop& loop, Authenticate authenticate, KeepRecord keep_record,
           HandlerTable handlers)
      : loop_(loop),
        authenticate_(std::move(authenticate)),
        keep_record_(std::move(keep_record)),
        handlers_(std::move(handlers)) {}

  // A call that has no answer yet.
  struct Open {
    const google::protobuf::MethodDescriptor& method;
    Caller caller;
    CallContext context;
    Reply reply;  // Empty: it has been answered.
  };
  using Response = absl::StatusOr<std::unique_ptr<google::protobuf::Message>>;

  void Answer(const std::shared_ptr<Open>& open, Response response);
  static void Deliver(Open& open, Response response);
  // The rest of Answer(): once this is stored.
  void KeepThenDeliver(const std::shared_ptr<Open>& open, Response response);

  void Run(const google::protobuf::MethodDescriptor& method,
           const CallContext& context, const google::protobuf::Message& request,
           Reply reply);
  absl::StatusOr<Caller> WhoIs(const google::protobuf::MethodDescriptor& method,
                               const CallContext& context) const;

  // Constant after construction.
  EventLoop& loop_;
  const Authenticate authenticate_;
  const KeepRecord keep_record_;
  const HandlerTable handlers_;

  std::set<std::shared_ptr<Open>> open_;
};

// The least role that may call this operation of FleetAdmin.
v1::Role RoleFor(std::string_view method);

// What a token can be bound to, as the contract's methods name it.
std::set<std::string> Scopes();

// The services whose methods are operations: FleetAdmin, Enrollment.
std::vector<const google::protobuf::ServiceDescriptor*> OperatorServices();

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_ADMIN_API_H_
