#include "gateway/http/api_handler.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "fmt/format.h"
#include "gateway/http/cookie.h"
#include "gateway/http/download.h"
#include "gateway/http/problem.h"
#include "gateway/http/url.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/host_port.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/http_rule.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/status_codes.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

namespace pb = google::protobuf;

constexpr std::string_view kIdempotencyField = "idempotency_key";
constexpr size_t kRequestIdBytesMax = 128;

constexpr std::string_view kFrontPage =
    "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    "<title>Muster</title>\n<h1>Muster</h1>\n"
    "<p>This gateway tells, for every machine you own, whether it can be "
    "reached, and runs commands there.\n"
    "<p>Sign in from a terminal, with the admin token that the gateway put "
    "into a file when it first started:\n"
    "<pre>musterctl -s URL-OF-THIS-PAGE login --token-file "
    "ADMIN-TOKEN-FILE\n"
    "musterctl agents ls</pre>\n"
    "<p>Programs find the same at <code>/api</code>.\n</html>\n";

bool IsOneOf(char c, std::string_view others) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         others.find(c) != others.npos;
}

// The caller's id if it is fit for logs, else a new one.
std::string RequestId(const HttpRequest& request) {
  const std::string_view given = request.Header("x-request-id");
  const bool sane =
      !given.empty() && given.size() <= kRequestIdBytesMax &&
      std::ranges::all_of(given, [](char c) { return IsOneOf(c, "._-"); });
  return sane ? std::string(given) : NewRequestId();
}

// Headers that two parties could read differently, if sent twice or oddly. The
// Host goes into links and install lines that people paste.
absl::Status CheckHeaders(const HttpRequest& request) {
  for (std::string_view name :
       {"authorization", "content-type", "cookie", "host", "idempotency-key",
        "last-event-id", "muster-org", "origin", "x-csrf-token",
        "x-request-id"}) {
    if (request.HeaderCount(name) > 1) {
      return absl::InvalidArgumentError(
          fmt::format("header {}: given more than once", name));
    }
  }
  const std::string_view host = request.Header("host");
  if (host.empty()) return absl::OkStatus();
  const auto authority = ParseAuthority(host);
  return authority.ok()
             ? absl::OkStatus()
             : absl::InvalidArgumentError(fmt::format(
                   "header host: {}", ToStd(authority.status().message())));
}

// "application/json", perhaps with charset=utf-8.
bool IsJson(std::string_view content_type) {
  const size_t end = std::min(content_type.find(';'), content_type.size());
  const std::string_view type =
      ToStd(absl::StripAsciiWhitespace(ToAbsl(content_type.substr(0, end))));
  if (!absl::EqualsIgnoreCase(ToAbsl(type), "application/json")) return false;
  const std::string_view parameters = content_type.substr(end);
  const size_t charset =
      absl::AsciiStrToLower(ToAbsl(parameters)).find("charset=");
  if (charset == std::string::npos) return true;
  std::string_view value = parameters.substr(charset + 8);
  if (value.starts_with('"')) value.remove_prefix(1);
  return absl::StartsWithIgnoreCase(ToAbsl(value), "utf-8");
}

// Nothing unless the header says "Bearer <token>".
Secret Bearer(const HttpRequest& request) {
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view value = request.Header("authorization");
  if (!absl::StartsWithIgnoreCase(ToAbsl(value), ToAbsl(kScheme))) return {};
  return Secret(std::string(value.substr(kScheme.size())));
}

absl::Status FillFromBody(const HttpRequest& request,
                          const wire::ReadOptions& options, pb::Message& out) {
  if (!request.query.empty()) {
    return absl::InvalidArgumentError(
        "query: this operation takes its fields from the body only");
  }
  if (request.body.empty()) return absl::OkStatus();  // As "{}".
  return wire::JsonToProto(request.body, out, options);
}

absl::Status FillFromQuery(const HttpRequest& request,
                           const wire::ReadOptions& options, pb::Message& out) {
  if (!request.body.empty()) {
    return absl::InvalidArgumentError("body: this operation takes none");
  }
  const std::optional<wire::QueryPairs> query = ParseQuery(request.query);
  if (!query) {
    return absl::InvalidArgumentError("query: broken percent-encoding");
  }
  return wire::QueryToProto(*query, out, options);
}

// The message that the request means.
absl::Status Fill(const Router::Match& match, const HttpRequest& request,
                  pb::Message& out) {
  const Route& route = *match.route;
  std::vector<std::string> taken = route.path_fields;
  for (size_t i = 0; i < match.values.size(); ++i) {
    RETURN_IF_ERROR(
        wire::SetFieldFromText(route.path_fields[i], match.values[i], out));
  }
  const std::string_view key = request.Header("idempotency-key");
  const bool takes_key = out.GetDescriptor()->FindFieldByName(
                             std::string(kIdempotencyField)) != nullptr;
  if (takes_key && !key.empty()) {
    RETURN_IF_ERROR(wire::SetFieldFromText(kIdempotencyField, key, out));
    taken.emplace_back(kIdempotencyField);
  }
  const wire::ReadOptions options{.taken_fields = taken};
  return route.rule.body() ? FillFromBody(request, options, out)
                           : FillFromQuery(request, options, out);
}

// Only GET has ranges. One that holds for a certain state of the bytes is not
// met: what is stored has no name by which to compare it.
std::optional<ByteRange> RangeOf(const HttpRequest& request) {
  if (request.method != "GET" || request.HeaderCount("range") != 1 ||
      request.HeaderCount("if-range") > 0) {
    return std::nullopt;
  }
  return ByteRange::Parse(request.Header("range"));
}

HttpResponse RenderError(const ApiError& error, const std::string& request_id) {
  const absl::StatusCode code = error.status.code();
  const int status = wire::ToHttp(code);
  std::string detail(ToStd(error.status.message()));
  if (status == 500) {  // Ours to read, not the caller's.
    Log(kError, "operation failed",
        {{"request_id", request_id}, {"error", error.status}});
    detail = fmt::format(
        "an internal error; the gateway's log has it as request_id={}",
        request_id);
  }
  HttpResponse response = MakeProblem(
      {.status = status,
       .code = error.code.empty() ? wire::CodeName(code) : error.code,
       .detail = detail,
       .request_id = request_id,
       .reason = error.reason});
  if (status == 429 || status == 503) {
    const absl::Duration wait = absl::Ceil(
        std::max(error.retry_after, absl::Seconds(1)), absl::Seconds(1));
    response.headers.emplace_back("Retry-After",
                                  std::to_string(absl::ToInt64Seconds(wait)));
  }
  return response;
}

// "/api/commands/{command_id}" with the response's own value.
std::string Location(std::string_view pattern, const pb::Message& message) {
  const size_t open = pattern.find('{'), close = pattern.find('}');
  if (open == pattern.npos || close == pattern.npos) return "";
  const pb::FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(
      std::string(pattern.substr(open + 1, close - open - 1)));
  if (field == nullptr || field->is_repeated() ||
      field->type() != pb::FieldDescriptor::TYPE_STRING) {
    return "";
  }
  return fmt::format(
      "{}{}{}", pattern.substr(0, open),
      PercentEncode(message.GetReflection()->GetString(message, field)),
      pattern.substr(close + 1));
}

HttpResponse Render(const v1::HttpRule& rule, const pb::Message& message,
                    bool as_protobuf, const std::string& request_id) {
  HttpResponse response;
  response.status =
      rule.success() == 0 ? 200 : static_cast<int>(rule.success());
  if (message.GetDescriptor() == v1::RawBody::descriptor()) {
    const auto& raw = static_cast<const v1::RawBody&>(message);
    response.headers = {{"Content-Type", raw.content_type().empty()
                                             ? "application/octet-stream"
                                             : raw.content_type()}};
    response.body = raw.data();
  } else if (as_protobuf) {
    response.headers = {{"Content-Type", std::string(wire::kProtobufType)}};
    response.body = message.SerializeAsString();
  } else {
    response.headers = {{"Content-Type", "application/json"}};
    response.body = wire::ProtoToJson(message) + "\n";
  }
  response.headers.emplace_back("X-Request-Id", request_id);
  if (const std::string location = Location(rule.location(), message);
      !location.empty()) {
    response.headers.emplace_back("Location", location);
  }
  AddSafetyHeaders(response);
  return response;
}

HttpResponse Plain(int status, std::string_view content_type, std::string body,
                   const std::string& request_id) {
  HttpResponse response{.status = status,
                        .headers = {{"X-Request-Id", request_id}},
                        .body = std::move(body)};
  if (!content_type.empty()) {
    response.headers.emplace_back("Content-Type", content_type);
  }
  AddSafetyHeaders(response);
  return response;
}

bool WantsCookie(const pb::Message& request) {
  return request.GetDescriptor() == v1::SignInRequest::descriptor() &&
         static_cast<const v1::SignInRequest&>(request).cookie();
}

// What a browser that signs in, is signed in or signs out hears besides.
class BrowserCare {
 public:
  // `token`: of the cookie by which it asks; empty: it does not.
  BrowserCare(bool wants_cookie, Secret token, bool secure)
      : token_(std::move(token)),
        secure_(secure),
        wants_cookie_(wants_cookie) {}

  // A cookie that speaks for nobody goes: no script could take it away.
  HttpHeaders OnError(const ApiError& error) const {
    if (token_.empty() || !absl::IsUnauthenticated(error.status)) return {};
    return {{"Set-Cookie", SetCookie(Secret(), secure_)}};
  }

  // Takes out of the answer what no script may see.
  HttpHeaders Apply(pb::Message& response) const {
    if (wants_cookie_) {
      auto& signed_in = static_cast<v1::SignInResponse&>(response);
      const Secret secret(signed_in.secret());
      signed_in.clear_secret();
      signed_in.set_csrf_token(CsrfToken(secret));
      return {{"Set-Cookie", SetCookie(secret, secure_)}};
    }
    if (token_.empty()) return {};
    if (response.GetDescriptor() == v1::SignOutResponse::descriptor()) {
      return {{"Set-Cookie", SetCookie(Secret(), secure_)}};
    }
    if (response.GetDescriptor() == v1::WhoAmIResponse::descriptor()) {
      return {{"X-Csrf-Token", CsrfToken(token_)}};
    }
    return {};
  }

 private:
  Secret token_;
  bool secure_;
  bool wants_cookie_;
};

HttpResponse WithAllow(HttpResponse response, std::string allow) {
  response.headers.emplace_back("Allow", std::move(allow));
  return response;
}

HttpResponse RenderMiss(const Router::Miss& miss,
                        const std::string& request_id) {
  HttpResponse response = MakeProblem({.status = miss.status,
                                       .code = miss.code,
                                       .detail = miss.detail,
                                       .request_id = request_id});
  if (miss.allow.empty()) return response;
  return WithAllow(std::move(response), miss.allow);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ApiHandler>> ApiHandler::Create(
    Api& api, const std::vector<const pb::ServiceDescriptor*>& services,
    ReadyCheck ready, Options options) {
  ASSIGN_OR_RETURN(Router router, Router::Build(services));
  return std::unique_ptr<ApiHandler>(new ApiHandler(
      api, std::move(router), std::move(ready), std::move(options)));
}

void ApiHandler::Handle(HttpRequest request, Respond respond) {
  const std::string request_id = RequestId(request);
  const bool secure = options_.proxies.Secure(request, options_.secure);
  request.peer_address = options_.proxies.ClientOf(request);
  if (absl::Status s = CheckHeaders(request); !s.ok()) {
    respond(RenderError(
        {.status = s, .code = "malformed_request", .retry_after = {}},
        request_id));
    return;
  }
  if (AnswerPlain(request, request_id, respond)) return;
  Router::Result result = router_.Find(request.method, request.path);
  if (const auto* miss = std::get_if<Router::Miss>(&result)) {
    respond(RenderMiss(*miss, request_id));
  } else if (const auto* options = std::get_if<Router::Options>(&result)) {
    respond(WithAllow(Plain(204, "", "", request_id), options->allow));
  } else {
    Call(std::get<Router::Match>(result), std::move(request), secure,
         request_id, std::move(respond));
  }
}

bool ApiHandler::AnswerPlain(const HttpRequest& request,
                             const std::string& request_id,
                             Respond& respond) const {
  constexpr std::array<std::string_view, 3> kPlaces = {"/", "/health",
                                                       "/ready"};
  constexpr std::string_view kAllow = "GET, HEAD, OPTIONS";
  if (std::ranges::count(kPlaces, request.path) == 0) return false;
  if (request.method == "OPTIONS") {
    respond(WithAllow(Plain(204, "", "", request_id), std::string(kAllow)));
  } else if (request.method != "GET" && request.method != "HEAD") {
    respond(RenderMiss({.status = 405,
                        .code = "method_not_allowed",
                        .detail = fmt::format("allowed here: {}", kAllow),
                        .allow = std::string(kAllow)},
                       request_id));
  } else if (request.path == "/health") {
    respond(
        Plain(200, "application/json", "{\"status\":\"ok\"}\n", request_id));
  } else if (request.path == "/ready") {
    Readiness readiness = ready_();
    respond(Plain(readiness.ready ? 200 : 503, "application/json",
                  readiness.json + "\n", request_id));
  } else {
    respond(Plain(200, "text/html; charset=utf-8", std::string(kFrontPage),
                  request_id));
  }
  return true;
}

void ApiHandler::Call(const Router::Match& match, HttpRequest request,
                      bool secure, std::string request_id, Respond respond) {
  const Route& route = *match.route;
  const std::string_view content_type = request.Header("content-type");
  if (!request.body.empty() && !content_type.empty() && !IsJson(content_type)) {
    respond(MakeProblem(
        {.status = 415,
         .code = "unsupported_media_type",
         .detail = fmt::format("content-type: expected application/json in "
                               "UTF-8, got {}",
                               content_type.substr(0, 64)),
         .request_id = request_id}));
    return;
  }
  std::unique_ptr<pb::Message> message(
      pb::MessageFactory::generated_factory()
          ->GetPrototype(route.method->input_type())
          ->New());
  if (absl::Status s = Fill(match, request, *message); !s.ok()) {
    respond(
        RenderError({.status = s, .code = "", .retry_after = {}}, request_id));
    return;
  }
  Secret bearer = Bearer(request);
  // Where the proof lies in the request, a cookie is of no use, nor in the way.
  const bool is_public =
      route.method->options().GetExtension(v1::access).role() ==
      v1::ROLE_PUBLIC;
  absl::StatusOr<Secret> cookie =
      is_public ? Secret() : CookieToken(request, secure);
  const bool wants_cookie = WantsCookie(*message);
  if (cookie.ok() && wants_cookie) {
    if (auto s = CheckOrigin(request, secure); !s.ok()) cookie = s;
  }
  if (!cookie.ok()) {
    respond(RenderError({.status = cookie.status(),
                         .code = "foreign_request",
                         .retry_after = {}},
                        request_id));
    return;
  }
  if (bearer.empty()) bearer = *cookie;
  const BrowserCare care(wants_cookie, *std::move(cookie), secure);
  Refuse refuse = [care, request_id](const ApiError& error) {
    HttpResponse refusal = RenderError(error, request_id);
    std::ranges::move(care.OnError(error), std::back_inserter(refusal.headers));
    return refusal;
  };
  CallContext context{.bearer = std::move(bearer),
                      .peer_address = std::move(request.peer_address),
                      .request_id = request_id,
                      .web_authority = std::string(request.Header("host")),
                      .org = std::string(request.Header("muster-org"))};
  if (EventStream::Wanted(request)) {
    auto source = EventSource::For(*message, request.Header("last-event-id"));
    if (!source.ok()) {
      respond(RenderError(
          {.status = source.status(), .code = "", .retry_after = {}},
          request_id));
      return;
    }
    if (*source != nullptr) {
      Stream(*route.method, std::move(context), *std::move(source),
             std::move(refuse), std::move(respond));
      return;
    }
  }
  if (message->GetDescriptor() == v1::ReadOutputRequest::descriptor()) {
    Give(*route.method, std::move(context),
         static_cast<const v1::ReadOutputRequest&>(*message), RangeOf(request),
         std::move(refuse), std::move(respond));
    return;
  }
  const bool as_protobuf = request.Header("accept") == wire::kProtobufType;
  api_.Call(*route.method, std::move(context), std::move(message),
            [&route, as_protobuf, care, request_id = std::move(request_id),
             refuse = std::move(refuse), respond = std::move(respond)](
                ApiError error, std::unique_ptr<pb::Message> response) mutable {
              if (!error.status.ok()) {
                respond(refuse(error));
                return;
              }
              HttpHeaders headers = care.Apply(*response);
              HttpResponse answer =
                  Render(route.rule, *response, as_protobuf, request_id);
              std::ranges::move(headers, std::back_inserter(answer.headers));
              respond(std::move(answer));
            });
}

void ApiHandler::Stream(const pb::MethodDescriptor& method, CallContext context,
                        std::unique_ptr<EventSource> source, Refuse refuse,
                        Respond respond) {
  const std::string request_id = context.request_id;
  HttpResponse head = Plain(200, "text/event-stream", "", request_id);
  head.headers.emplace_back("X-Accel-Buffering", "no");
  EventStream::Begin(
      streams_, std::move(source),
      [&api = api_, &method, context = std::move(context)](
          std::unique_ptr<pb::Message> question, Api::Reply reply) {
        api.Call(method, context, std::move(question), std::move(reply));
      },
      std::move(refuse), std::move(head.headers), std::move(respond));
}

void ApiHandler::Give(const pb::MethodDescriptor& read_output,
                      CallContext context, const v1::ReadOutputRequest& first,
                      std::optional<ByteRange> range, Refuse refuse,
                      Respond respond) {
  const std::string request_id = context.request_id;
  Download::Begin(
      range, first.offset(),
      [&api = api_, &read_output, context = std::move(context), first](
          uint64_t offset, uint64_t bytes, Api::Reply reply) {
        auto question = std::make_unique<v1::ReadOutputRequest>(first);
        question->set_offset(offset);
        question->set_bytes_max(static_cast<uint32_t>(
            std::min<uint64_t>(bytes, wire::kOutputBytesMax)));
        api.Call(read_output, context, std::move(question), std::move(reply));
      },
      std::move(refuse), request_id, std::move(respond));
}

}  // namespace muster::gateway
