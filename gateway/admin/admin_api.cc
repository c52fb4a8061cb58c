#include "gateway/admin/admin_api.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gateway/admin/audited.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/log.h"
#include "libprotocol/wire/status_codes.h"
#include "libprotocol/wire/utf8.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"
#include "muster/v1/options.pb.h"

namespace muster::gateway {
namespace {

// When a full queue or disk may have recovered.
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

// Of one id or name in a record: the caller may have sent anything.
constexpr size_t kNameBytesMax = 128;

ApiError ToApiError(const absl::Status& status) {
  ApiError error{status, ErrorCode(status), absl::ZeroDuration()};
  if (const auto refused = RefusalReasonOf(status)) {
    error.reason = NameOf(*refused);
  }
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

const v1::Access& AccessOf(const google::protobuf::MethodDescriptor& method) {
  return method.options().GetExtension(v1::access);
}

// What was done, by whom, with what result. Values of the request stay out:
// they may be secret.
void LogCall(const google::protobuf::MethodDescriptor& method,
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

// The fields of `message` that stand in braces in `pattern`, "/" between them.
std::string NamesIn(std::string_view pattern,
                    const google::protobuf::Message& message) {
  std::string names;
  while (true) {
    const size_t open = pattern.find('{');
    const size_t close = pattern.find('}', open);
    if (close == std::string_view::npos) return names;
    const auto* field = message.GetDescriptor()->FindFieldByName(
        std::string(pattern.substr(open + 1, close - open - 1)));
    pattern.remove_prefix(close + 1);
    if (field == nullptr || field->is_repeated() ||
        field->cpp_type() != field->CPPTYPE_STRING) {
      continue;
    }
    if (!names.empty()) names += '/';
    names += wire::ClipUtf8(message.GetReflection()->GetString(message, field),
                            kNameBytesMax);
  }
}

std::string_view PathOf(const v1::HttpRule& rule) {
  switch (rule.pattern_case()) {
    case v1::HttpRule::kGet:
      return rule.get();
    case v1::HttpRule::kPost:
      return rule.post();
    case v1::HttpRule::kPut:
      return rule.put();
    case v1::HttpRule::kPatch:
      return rule.patch();
    case v1::HttpRule::kDelete:
      return rule.delete_();
    case v1::HttpRule::PATTERN_NOT_SET:
      break;
  }
  return "";
}

// What a call made: the Location of its answer names it.
std::string MadeBy(const google::protobuf::MethodDescriptor& method,
                   const google::protobuf::Message& response) {
  return NamesIn(method.options().GetExtension(v1::http).location(), response);
}

void AddTarget(AuditEntry& entry, const std::string& made) {
  if (made.empty()) return;
  entry.target += entry.target.empty() ? made : "/" + made;
}

AuditEntry EntryOf(const google::protobuf::MethodDescriptor& method,
                   const Caller& caller, const CallContext& context,
                   const google::protobuf::Message& request) {
  return {.org = caller.org,
          .at = absl::Time(),
          .principal = caller.principal,
          .from = context.peer_address,
          .method = method.name(),
          .target =
              NamesIn(PathOf(method.options().GetExtension(v1::http)), request),
          .result = "",
          .request_id = context.request_id};
}

// What was asked for may have been done. Whoever reads the log must not believe
// that it was not, so the caller must not believe that all is well.
absl::Status NotRecorded() {
  return WithCode(
      absl::UnavailableError("it may be done, but could not be recorded: the "
                             "gateway stores nothing at present"),
      "storage_full");
}

absl::Status MayCall(const google::protobuf::MethodDescriptor& method,
                     const Caller& caller) {
  const v1::Role needed = AccessOf(method).role();
  if (caller.role < needed) {
    return absl::PermissionDeniedError(fmt::format(
        "{} needs role {}, {} has {}", method.name(), v1::Role_Name(needed),
        caller.principal, v1::Role_Name(caller.role)));
  }
  const std::string& scope = AccessOf(method).scope();
  if (!caller.scopes.empty() && std::ranges::count(caller.scopes, scope) == 0) {
    return absl::PermissionDeniedError(
        fmt::format("{}: this token of {} may {} only", method.name(),
                    caller.principal, fmt::join(caller.scopes, ", ")));
  }
  return absl::OkStatus();
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
    EventLoop& loop, Authenticate authenticate, KeepRecord keep_record,
    HandlerTable handlers) {
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
  return std::unique_ptr<AdminApi>(new AdminApi(loop, std::move(authenticate),
                                                std::move(keep_record),
                                                std::move(handlers)));
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
  absl::StatusOr<Caller> caller = WhoIs(method, context);
  if (!caller.ok()) {
    reply(ToApiError(caller.status()), nullptr);
    return;
  }
  caller->peer_address = context.peer_address;
  caller->web_authority = context.web_authority;
  if (AccessOf(method).changes_state()) {
    caller->audit = std::make_shared<AuditTicket>();
    caller->audit->entry = EntryOf(method, *caller, context, request);
    caller->audit->entry.at = loop_.clock().Wall();
  }
  const auto open = *open_
                         .insert(std::make_shared<Open>(
                             Open{method, *caller, context, std::move(reply)}))
                         .first;
  if (absl::Status refused = MayCall(method, *caller); !refused.ok()) {
    Answer(open, std::move(refused));
    return;
  }
  (*handlers_.Find(method))(
      *caller, request,
      [this, open](
          absl::StatusOr<std::unique_ptr<google::protobuf::Message>> response) {
        Answer(open, std::move(response));
      });
}

void AdminApi::Answer(const std::shared_ptr<Open>& open, Response response) {
  if (open_.erase(open) == 0) return;  // Cut off.
  const v1::Access& access = AccessOf(open->method);
  if (!access.changes_state()) {
    Deliver(*open, std::move(response));
    return;
  }
  LogCall(open->method, open->caller, open->context, response.status());
  const bool stranger = access.role() == v1::ROLE_PUBLIC;
  const bool kept = response.ok() && open->caller.audit->kept;
  const bool part =
      access.part_of_recorded() && MayCall(open->method, open->caller).ok();
  if (stranger || kept || part) {
    Deliver(*open, std::move(response));
  } else {
    KeepThenDeliver(open, std::move(response));
  }
}

void AdminApi::KeepThenDeliver(const std::shared_ptr<Open>& open,
                               Response response) {
  AuditEntry entry = open->caller.audit->entry;
  entry.result = wire::CodeName(response.status().code());
  if (response.ok()) AddTarget(entry, MadeBy(open->method, **response));
  keep_record_(std::move(entry), [open, response = std::move(response)](
                                     const absl::Status& stored) mutable {
    if (!stored.ok()) {
      Log(kError, "not recorded",
          {{"method", open->method.name()}, {"error", stored}});
      if (response.ok()) response = NotRecorded();
    }
    Deliver(*open, std::move(response));
  });
}

void AdminApi::Deliver(Open& open, Response response) {
  if (!response.ok()) {
    open.reply(ToApiError(response.status()), nullptr);
  } else {
    open.reply(ApiError{}, *std::move(response));
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

absl::StatusOr<Caller> AdminApi::WhoIs(
    const google::protobuf::MethodDescriptor& method,
    const CallContext& context) const {
  if (AccessOf(method).role() == v1::ROLE_PUBLIC) {
    return Caller{.principal = "",
                  .org = DefaultOrg(),
                  .role = v1::ROLE_PUBLIC,
                  .peer_address = "",
                  .web_authority = ""};
  }
  if (context.bearer.empty()) {
    return absl::UnauthenticatedError(
        "a token is needed: Authorization: Bearer mst_…");
  }
  return authenticate_(context);
}

}  // namespace muster::gateway
