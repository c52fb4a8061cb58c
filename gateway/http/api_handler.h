// REST as a skin: an HTTP request becomes a message of the contract, the Api
// runs it, its answer becomes JSON.
//
//   path captures   fields of the request
//   body            JSON with the other fields, if the operation takes a body;
//   query           else those fields are query parameters
//   errors          RFC 9457 problems with `code` and `request_id`
//   events, output  also as they come; see event_stream.h, event_source.h
//   stored bytes    as they are, or a Range of them; see download.h
//   browsers        a cookie in place of the bearer token; see cookie.h
//
// Besides the operations there are /health, /ready and a page that says what
// this is.

#ifndef MUSTER_GATEWAY_HTTP_API_HANDLER_H_
#define MUSTER_GATEWAY_HTTP_API_HANDLER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/admin/api.h"
#include "gateway/http/byte_range.h"
#include "gateway/http/event_stream.h"
#include "gateway/http/forwarded.h"
#include "gateway/http/http_message.h"
#include "gateway/http/router.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {

struct Readiness {
  bool ready = false;
  std::string json;  // The body of /ready, a JSON object.
};

// ApiHandler. Threading: Handle() on the server's io thread; answers come back
// on whatever thread the Api replies on. Lifetime: `api` must outlive it, and
// every reply must have run before it dies.
class ApiHandler final : public HttpHandler {
 public:
  // Asked on the io thread for every GET /ready; must not block.
  using ReadyCheck = std::function<Readiness()>;

  struct Options {
    bool secure = false;  // This port speaks TLS.
    TrustedProxies proxies;
  };

  // The errors of Router::Build.
  static absl::StatusOr<std::unique_ptr<ApiHandler>> Create(
      Api& api,
      const std::vector<const google::protobuf::ServiceDescriptor*>& services,
      ReadyCheck ready, Options options);

  void Handle(HttpRequest request, Respond respond) override;

  const Router& router() const { return router_; }
  // Answers without an end that are being given. Thread-safe.
  size_t event_streams() const { return streams_->open(); }

 private:
  ApiHandler(Api& api, Router router, ReadyCheck ready, Options options)
      : api_(api),
        router_(std::move(router)),
        ready_(std::move(ready)),
        options_(std::move(options)) {}

  // The answer of a place that is no operation; false if `path` is one.
  bool AnswerPlain(const HttpRequest& request, const std::string& request_id,
                   Respond& respond) const;
  // Renders the answer to a question that failed.
  using Refuse = std::function<HttpResponse(const ApiError&)>;

  // `secure`: the client speaks TLS.
  void Call(const Router::Match& match, HttpRequest request, bool secure,
            std::string request_id, Respond respond);
  void Stream(const google::protobuf::MethodDescriptor& method,
              CallContext context, std::unique_ptr<EventSource> source,
              Refuse refuse, Respond respond);
  void Give(const google::protobuf::MethodDescriptor& read_output,
            CallContext context, const v1::ReadOutputRequest& first,
            std::optional<ByteRange> range, Refuse refuse, Respond respond);

  // Constant after construction.
  Api& api_;
  const Router router_;
  const ReadyCheck ready_;
  const Options options_;
  const std::shared_ptr<EventStreams> streams_ =
      std::make_shared<EventStreams>();
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_API_HANDLER_H_
