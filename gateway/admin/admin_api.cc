#include "gateway/admin/admin_api.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/log.h"
#include "libprotocol/wire/status_codes.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"
#include "muster/v1/options.pb.h"

namespace muster::gateway {
namespace {

// When a full queue or disk may have recovered.
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

ApiError ToApiError(const absl::Status& status) {
  ApiError error{status, ErrorCode(status), absl::ZeroDuration()};
  // Limits for callers have a code; without one it is the store's disk, of
  // which the caller is neither the cause nor to know the path.
  if (absl::IsResourceExhausted(status) && error.code.empty()) {
    Log(kError, "nothing can be stored", {{"error", status}});
    return {absl::UnavailableError(
                "the gateway's disk is full: nothing was stored or done"),
            "storage_full", kRetryAfter};
  }
  if (status.code() == absl::StatusCode::kUnavailable ||
      status.code() == absl::StatusCode::kResourceExhausted) {
    error.retry_after = kRetryAfter;
  }
  return error;
}

// What was done, by whom, with what result. Values of the request stay out:
// they may be secret.
void Record(const google::protobuf::MethodDescriptor& method,
            const Caller& caller, const CallContext& context,
            const absl::Status& result) {
  Log(kInfo, "audit",
      {{"principal", caller.principal},
       {"org", caller.org.str()},
       {"from", context.peer_address},
       {"method", method.name()},
       {"result", wire::CodeName(result.code())},
       {"request_id", context.request_id}});
}

}  // namespace

std::vector<const google::protobuf::ServiceDescriptor*> OperatorServices() {
  return {v1::ListAgentsRequest::descriptor()->file()->service(0),
          v1::RegisterRequest::descriptor()->file()->FindServiceByName(
              "Enrollment")};
}

v1::Role RoleFor(std::string_view method) {
  const auto* found =
      OperatorServices().front()->FindMethodByName(std::string(method));
  MUSTER_CHECK(found != nullptr);
  return found->options().GetExtension(v1::access).role();
}

std::set<std::string> Scopes() {
  std::set<std::string> scopes;
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& access =
          service->method(i)->options().GetExtension(v1::access);
      if (!access.scope().empty()) scopes.insert(access.scope());
    }
  }
  return scopes;
}

absl::StatusOr<std::unique_ptr<AdminApi>> AdminApi::Create(
    EventLoop& loop, Authenticate authenticate, HandlerTable handlers) {
  for (const auto* service : OperatorServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      const auto& options = method.options();
      const char* missing =
          !options.HasExtension(v1::http) ? "the http option"
          : options.GetExtension(v1::access).role() == v1::ROLE_UNSPECIFIED
              ? "the access option"
          : handlers.Find(method) == nullptr ? "a handler"
                                             : nullptr;
      if (missing != nullptr) {
        return absl::FailedPreconditionError(
            fmt::format("{} lacks {}", method.full_name(), missing));
      }
    }
  }
  return std::unique_ptr<AdminApi>(
      new AdminApi(loop, std::move(authenticate), std::move(handlers)));
}

void AdminApi::Call(const google::protobuf::MethodDescriptor& method,
                    CallContext context,
                    std::unique_ptr<google::protobuf::Message> request,
                    Reply reply) {
  // Shared, because a loop that is shutting down drops the task: the caller
  // must still hear something.
  auto shared = std::make_shared<Reply>(std::move(reply));
  const bool posted = loop_.Post([this, &method, context = std::move(context),
                                  request = std::move(request), shared] {
    Run(method, context, *request, std::move(*shared));
  });
  if (!posted) {
    (*shared)(ToApiError(absl::UnavailableError("the gateway is stopping")),
              nullptr);
  }
}

void AdminApi::Run(const google::protobuf::MethodDescriptor& method,
                   const CallContext& context,
                   const google::protobuf::Message& request, Reply reply) {
  absl::StatusOr<Caller> caller = Admit(method, context);
  if (!caller.ok()) {
    reply(ToApiError(caller.status()), nullptr);
    return;
  }
  caller->peer_address = context.peer_address;
  caller->web_authority = context.web_authority;
  const auto open = *open_
                         .insert(std::make_shared<Open>(
                             Open{method, *caller, context, std::move(reply)}))
                         .first;
  (*handlers_.Find(method))(
      *caller, request,
      [this, open](
          absl::StatusOr<std::unique_ptr<google::protobuf::Message>> response) {
        Answer(open, std::move(response));
      });
}

void AdminApi::Answer(
    const std::shared_ptr<Open>& open,
    absl::StatusOr<std::unique_ptr<google::protobuf::Message>> response) {
  if (open_.erase(open) == 0) return;  // Cut off.
  if (open->method.options().GetExtension(v1::access).changes_state()) {
    Record(open->method, open->caller, open->context, response.status());
  }
  if (!response.ok()) {
    open->reply(ToApiError(response.status()), nullptr);
  } else {
    open->reply(ApiError{}, *std::move(response));
  }
}

void AdminApi::CutOff(const std::function<bool(const Caller&)>& whom) {
  std::vector<std::shared_ptr<Open>> ended;
  for (const auto& open : open_) {
    const auto& access = open->method.options().GetExtension(v1::access);
    if (!access.changes_state() && whom(open->caller)) ended.push_back(open);
  }
  for (const auto& open : ended) {
    Answer(open, absl::UnauthenticatedError("the right was withdrawn"));
  }
}

absl::StatusOr<Caller> AdminApi::Admit(
    const google::protobuf::MethodDescriptor& method,
    const CallContext& context) const {
  const v1::Role needed = method.options().GetExtension(v1::access).role();
  if (needed == v1::ROLE_PUBLIC)
    return Caller{.principal = "",
                  .org = DefaultOrg(),
                  .role = v1::ROLE_PUBLIC,
                  .peer_address = "",
                  .web_authority = ""};
  if (context.bearer.empty()) {
    return absl::UnauthenticatedError(
        "a token is needed: Authorization: Bearer mst_…");
  }
  absl::StatusOr<Caller> caller = authenticate_(context.bearer);
  if (!caller.ok()) return caller.status();
  if (caller->role < needed) {
    return absl::PermissionDeniedError(fmt::format(
        "{} needs role {}, {} has {}", method.name(), v1::Role_Name(needed),
        caller->principal, v1::Role_Name(caller->role)));
  }
  const std::string& scope = method.options().GetExtension(v1::access).scope();
  if (!caller->scopes.empty() &&
      std::ranges::count(caller->scopes, scope) == 0) {
    return absl::PermissionDeniedError(
        fmt::format("{}: this token of {} may {} only", method.name(),
                    caller->principal, fmt::join(caller->scopes, ", ")));
  }
  return caller;
}

}  // namespace muster::gateway
