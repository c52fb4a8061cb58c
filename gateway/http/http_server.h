// HTTP/1.1 over plain TCP or TLS, for a handler that knows nothing of sockets.

#ifndef MUSTER_GATEWAY_HTTP_HTTP_SERVER_H_
#define MUSTER_GATEWAY_HTTP_HTTP_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/http/http_message.h"
#include "gateway/http/tls_context.h"
#include "libprotocol/wire/limits.h"

namespace muster::gateway {

// What one caller, or all of them, may take. Memory: at most
// connections_max * (header + body + answer); in practice the few KiB of idle
// ones.
struct HttpLimits {
  size_t body_bytes_max = wire::kHttpBodyBytesMax;      // Else 413.
  size_t header_bytes_max = wire::kHttpHeaderBytesMax;  // Else 431.

  absl::Duration header_timeout = absl::Seconds(10);  // With TLS handshake.
  absl::Duration body_timeout = absl::Seconds(10);    // After the header.
  absl::Duration idle_timeout = absl::Seconds(60);    // Between requests.
  absl::Duration write_timeout = absl::Seconds(10);   // Without progress.
  absl::Duration linger_timeout = absl::Seconds(2);   // After the last answer.

  // Beyond these a connection is accepted and closed at once.
  size_t connections_max = 4096;
  size_t connections_per_source_max = 1024;
};

// HttpServer owns a listener and one io thread, on which the handler runs.
// Thread-safe, but only one thread may call Stop().
class HttpServer {
 public:
  struct Options {
    // "127.0.0.1:7080", "[::]:7080" (serves IPv4 too), "localhost:0". Port 0
    // picks a free one.
    std::string listen;
    TlsContext tls;  // Null: plain HTTP.
    HttpLimits limits;
  };

  // Listens and serves until Stop(). `handler` must outlive the server.
  // InvalidArgument for an address that is none or cannot be resolved,
  // FailedPrecondition if it is in use or not allowed; the text names it.
  // Makes the process ignore SIGPIPE.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      Options options, HttpHandler& handler);

  // Stops as with a deadline of zero.
  ~HttpServer();

  // The port that is bound.
  uint16_t port() const;

  // For new connections; those that exist keep theirs. Only for a server that
  // was started with TLS.
  void ReplaceTls(TlsContext tls);

  // Connections being served. For tests and metrics.
  size_t connections() const;

  // Accepts no more, closes idle connections, lets requests under way finish
  // for at most `deadline`, then closes all. Returns when the io thread has
  // ended. Idempotent; not from the io thread.
  void Stop(absl::Duration deadline);

 private:
  class Core;

  explicit HttpServer(std::shared_ptr<Core> core);

  const std::shared_ptr<Core> core_;
  std::thread thread_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_HTTP_SERVER_H_
