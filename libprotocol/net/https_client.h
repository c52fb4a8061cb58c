// A small blocking HTTP/1.1 client for programs that speak to one gateway.

#ifndef MUSTER_LIBPROTOCOL_NET_HTTPS_CLIENT_H_
#define MUSTER_LIBPROTOCOL_NET_HTTPS_CLIENT_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace muster {

struct HttpHeader {
  std::string name;
  std::string value;
};

struct HttpRequest {
  std::string method = "GET";
  std::string target = "/";         // Path and query, already escaped.
  std::vector<HttpHeader> headers;  // Beside Host and Content-Length.
  std::string body;
  std::optional<absl::Duration> timeout;  // Else Options::request_timeout.
};

struct HttpResponse {
  int status = 0;
  std::vector<HttpHeader> headers;
  std::string body;

  // The first value of a header, in whatever case its name came; empty if none.
  std::string_view Header(std::string_view name) const;
};

// HttpsClient speaks to one server and keeps the connection between requests.
// Proxies are ignored, redirects are answers like any other.
//
// Threading: not thread-safe, but for Abort(); Fetch() blocks. Never raises
// SIGPIPE.
class HttpsClient {
 public:
  struct Options {
    std::string base_url;  // "https://host[:port]", "http://[::1]:7080"
    // Whom to believe: exactly this key ("sha256//…") and nothing else; or the
    // certificates of these authorities; or, with neither, the system's.
    std::string pin;
    std::string ca_pem;
    std::string server_name;  // The name to check instead of the URL's host.
    absl::Duration connect_timeout = absl::Seconds(10);  // Up to end of TLS.
    absl::Duration request_timeout = absl::Seconds(60);  // Connecting included.
    size_t response_bytes_max = 32 * 1024 * 1024;        // Of the body.
  };

  // Connects to nobody yet. InvalidArgument, naming the option, if the URL, pin
  // or certificates cannot be used; a pin or CA with http:// is refused too.
  static absl::StatusOr<std::unique_ptr<HttpsClient>> Create(Options options);
  ~HttpsClient();

  // Any answer of the server, whatever its status, is success. Otherwise:
  //   InvalidArgument     the request itself (a line break in a header, …)
  //   Unavailable         no connection, or it was lost: the text says how
  //   DeadlineExceeded    nothing, or not everything, came in time
  //   Unauthenticated     not the server we want: names both pins
  //   ResourceExhausted   the body is longer than response_bytes_max
  //   DataLoss            the answer is not HTTP
  // Unavailable and Unauthenticated carry a FailureClass (failure_class.h).
  // kDnsFailure, kDialTimeout, kRefused and kTlsFailure promise that nothing of
  // the request was sent; after any other error it may have been carried out.
  // A kept connection that the server has closed meanwhile is replaced; a
  // request is sent twice only if its method is idempotent.
  //   Cancelled           after Abort()
  absl::StatusOr<HttpResponse> Fetch(const HttpRequest& request);

  // The request under way fails at once, or, while it is still connecting, at
  // the end of that; every later one fails. Any thread.
  void Abort();

 private:
  class Impl;
  explicit HttpsClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_HTTPS_CLIENT_H_
