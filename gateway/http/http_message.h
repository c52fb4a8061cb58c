// A request and its answer, without sockets: all that a handler sees.

#ifndef MUSTER_GATEWAY_HTTP_HTTP_MESSAGE_H_
#define MUSTER_GATEWAY_HTTP_HTTP_MESSAGE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"

namespace muster::gateway {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;        // "GET", as sent.
  std::string target;        // As sent: path, "?", query.
  std::string path;          // Still percent-encoded.
  std::string query;         // Still percent-encoded, without "?".
  HttpHeaders headers;       // Names in lower case, in order of arrival.
  std::string body;          // Bounded by the server.
  std::string peer_address;  // Without port; mapped IPv4 as IPv4.

  // The first value of `name` (lower case), or empty.
  std::string_view Header(std::string_view name) const;
  size_t HeaderCount(std::string_view name) const;
};

class Respond;

// The server adds Content-Length and Connection. For HEAD it sends the length
// of the body and not the body; nothing is asked of `more`.
struct HttpResponse {
  int status = 200;
  HttpHeaders headers;
  std::string body;
  // Of an answer that has no end yet: called on the io thread when all so far
  // is written, to be answered with the next part. Only body and `more` of a
  // part count; the answer ends with a part without `more` or of a status that
  // is not 200. A reader that takes nothing for HttpLimits::write_timeout is
  // cut. Its end is that of the connection.
  std::function<void(Respond)> more = nullptr;
  // Bytes of all parts together, if that is known; else an answer in parts has
  // no length.
  std::optional<uint64_t> length = {};
};

// Respond is the obligation to answer one request: call it once, on any thread.
// If the caller has gone meanwhile the answer is dropped. Destroyed uncalled,
// it answers 500, so that nobody waits for ever.
class Respond {
 public:
  using Sink = absl::AnyInvocable<void(HttpResponse)>;

  explicit Respond(Sink sink)
      : sink_(std::make_unique<Sink>(std::move(sink))) {}
  Respond(Respond&&) = default;
  Respond& operator=(Respond&&) = delete;
  ~Respond();

  void operator()(HttpResponse response);

 private:
  std::unique_ptr<Sink> sink_;  // Null: answered.
};

// HttpHandler answers requests. Handle() runs on the server's io thread and
// must not block; it must be callable until HttpServer::Stop() returns.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual void Handle(HttpRequest request, Respond respond) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_HTTP_MESSAGE_H_
