#include "libprotocol/net/https_client.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/net/dial.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/net/socket_stream.h"

namespace muster {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;

constexpr size_t kReadBytes = 16 * 1024;  // One TLS record.
constexpr uint32_t kHeaderBytesMax = 64 * 1024;

struct Origin {
  bool tls = false;
  HostPort address;
  std::string authority;  // As the Host header wants it.
};

absl::StatusOr<Origin> ParseOrigin(std::string_view url) {
  const auto wrong = [url] {
    return absl::InvalidArgumentError(fmt::format(
        "base_url {:?} is not http(s)://host or http(s)://host:port", url));
  };
  Origin origin;
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    origin.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return wrong();
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  auto parsed = ParseAuthority(rest);
  if (!parsed.ok()) return wrong();
  origin.address = *std::move(parsed);
  if (origin.address.port == 0) origin.address.port = origin.tls ? 443 : 80;
  origin.authority = rest;
  return origin;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f &&
           std::string_view("()<>@,;:\\\"/[]?={}").find(c) == std::string::npos;
  });
}

bool HasControl(std::string_view text, bool space_too) {
  return std::any_of(text.begin(), text.end(), [space_too](unsigned char c) {
    return c < 0x20 || c == 0x7f || (space_too && c == ' ');
  });
}

absl::Status Validate(const HttpRequest& request) {
  if (!IsToken(request.method)) {
    return absl::InvalidArgumentError(
        fmt::format("{:?} is not an HTTP method", request.method));
  }
  if (!request.target.starts_with('/') || HasControl(request.target, true)) {
    return absl::InvalidArgumentError(fmt::format(
        "{:?} is not a request target: it starts with / and has no spaces",
        request.target));
  }
  for (const HttpHeader& header : request.headers) {
    // The value may be a secret and is not quoted.
    if (!IsToken(header.name) || HasControl(header.value, false)) {
      return absl::InvalidArgumentError(
          fmt::format("header {:?} has a name or value that HTTP cannot carry",
                      header.name));
    }
  }
  return absl::OkStatus();
}

bool IsIdempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" ||
         method == "DELETE" || method == "OPTIONS";
}

std::string Render(const HttpRequest& request, const std::string& authority) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n",
                                 request.method, request.target, authority);
  for (const HttpHeader& header : request.headers) {
    text += fmt::format("{}: {}\r\n", header.name, header.value);
  }
  const bool wants_body = request.method != "GET" && request.method != "HEAD";
  if (wants_body || !request.body.empty()) {
    text += fmt::format("Content-Length: {}\r\n", request.body.size());
  }
  return text + "\r\n" + request.body;
}

HttpResponse ToResponse(http::response<http::string_body> message) {
  HttpResponse response;
  response.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    response.headers.push_back(
        {std::string(field.name_string()), std::string(field.value())});
  }
  response.body = std::move(message.body());
  return response;
}

absl::Status ParseFailure(const boost::beast::error_code& error,
                          size_t bytes_max) {
  if (error == http::error::body_limit) {
    return absl::ResourceExhaustedError(
        fmt::format("the answer is longer than {} bytes", bytes_max));
  }
  if (error == http::error::partial_message ||
      error == http::error::end_of_stream) {
    return FailureStatus(absl::StatusCode::kUnavailable, FailureClass::kEof,
                         "the server closed the connection before the end of "
                         "its answer");
  }
  return absl::DataLossError(
      fmt::format("the answer is not HTTP: {}", error.message()));
}

}  // namespace

std::string_view HttpResponse::Header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (absl::EqualsIgnoreCase(header.name, ToAbsl(name))) return header.value;
  }
  return "";
}

class HttpsClient::Impl {
 public:
  Impl(Options options, Origin origin, TlsClientOptions tls,
       SslContextPtr context)
      : options_(std::move(options)),
        origin_(std::move(origin)),
        tls_(std::move(tls)),
        context_(std::move(context)) {}

  absl::StatusOr<HttpResponse> Fetch(const HttpRequest& request) {
    RETURN_IF_ERROR(Validate(request));
    const Instant deadline =
        clock_.Now() + request.timeout.value_or(options_.request_timeout);
    // Input before any request is a farewell.
    if (stream_ && stream_->HasInput()) Close();
    const bool kept = stream_ != nullptr;
    auto response = Exchange(request, deadline);
    const bool lost = absl::IsUnavailable(response.status());
    if (kept && lost && !answered_ && IsIdempotent(request.method)) {
      response = Exchange(request, deadline);
    }
    return response;
  }

  void Abort() {
    MutexLock lock(mu_);
    aborted_ = true;
    if (in_use_ != nullptr) in_use_->HangUp();
  }

 private:
  absl::StatusOr<HttpResponse> Exchange(const HttpRequest& request,
                                        Instant deadline) {
    answered_ = false;
    if (!stream_) RETURN_IF_ERROR(Open(deadline));
    absl::Status sent =
        stream_->WriteAll(Render(request, origin_.authority), deadline);
    // A server may refuse a long body with an answer and close: read it.
    if (!sent.ok() && !absl::IsUnavailable(sent)) return Fail(sent);
    bool keep = false;
    auto response = ReadResponse(request.method == "HEAD", deadline, keep);
    if (!response.ok()) return Fail(sent.ok() ? response.status() : sent);
    if (!keep || !sent.ok()) Close();
    return response;
  }

  absl::Status Open(Instant request_deadline) {
    const Instant deadline =
        std::min(request_deadline, clock_.Now() + options_.connect_timeout);
    auto addresses = Resolve(origin_.address, deadline);
    if (!addresses.ok()) return Fail(addresses.status());
    auto connection = Connect(*addresses, deadline);
    if (!connection.ok()) return Fail(connection.status());
    stream_ = std::make_unique<SocketStream>(std::move(connection->fd));
    {
      MutexLock lock(mu_);
      in_use_ = stream_.get();
      if (aborted_) in_use_->HangUp();
    }
    if (!origin_.tls) return absl::OkStatus();
    absl::Status done = stream_->StartTls(context_.get(), tls_, deadline);
    return done.ok() ? done : Fail(done);
  }

  void Close() {
    {
      MutexLock lock(mu_);
      in_use_ = nullptr;
    }
    stream_.reset();
  }

  // Forgets the connection and says whom the error is about.
  absl::Status Fail(const absl::Status& cause) {
    Close();
    {
      MutexLock lock(mu_);
      if (aborted_) return absl::CancelledError("given up");
    }
    absl::Status status(cause.code(),
                        ToAbsl(fmt::format("{}: {}", options_.base_url,
                                           ToStd(cause.message()))));
    cause.ForEachPayload([&status](auto url, const absl::Cord& payload) {
      status.SetPayload(url, payload);
    });
    return status;
  }

  absl::StatusOr<HttpResponse> ReadResponse(bool head, Instant deadline,
                                            bool& keep) {
    std::string pending;
    while (true) {
      Parser parser;
      parser.eager(true);
      parser.skip(head);
      parser.header_limit(kHeaderBytesMax);
      parser.body_limit(options_.response_bytes_max);
      RETURN_IF_ERROR(ReadMessage(parser, pending, deadline));
      // 100 Continue and its kind announce the answer, they are not it.
      if (parser.get().result_int() < 200) continue;
      keep = parser.keep_alive() && pending.empty();
      return ToResponse(parser.release());
    }
  }

  absl::Status ReadMessage(Parser& parser, std::string& pending,
                           Instant deadline) {
    char buffer[kReadBytes];
    boost::beast::error_code error;
    while (!parser.is_done()) {
      while (!pending.empty() && !parser.is_done()) {
        const size_t used = parser.put(boost::asio::buffer(pending), error);
        pending.erase(0, used);
        if (error && error != http::error::need_more) {
          return ParseFailure(error, options_.response_bytes_max);
        }
        if (error || used == 0) break;
      }
      if (parser.is_done()) return absl::OkStatus();
      ASSIGN_OR_RETURN(const size_t n,
                       stream_->Read(buffer, sizeof buffer, deadline));
      if (n == 0) {
        // Beast aborts when it is told of an end before any beginning.
        if (parser.got_some()) parser.put_eof(error);
        if (error || !parser.is_done()) {
          return ParseFailure(error ? error : http::error::end_of_stream,
                              options_.response_bytes_max);
        }
        return absl::OkStatus();
      }
      answered_ = true;
      pending.append(buffer, n);
    }
    return absl::OkStatus();
  }

  // Constant after construction.
  const Options options_;
  const Origin origin_;
  const TlsClientOptions tls_;
  const SslContextPtr context_;  // Null for http://.
  const SystemClock clock_;

  std::unique_ptr<SocketStream> stream_;  // Null: connect first.
  bool answered_ = false;  // The current exchange has seen a byte.

  Mutex mu_;
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
  SocketStream* in_use_ ABSL_GUARDED_BY(mu_) =
      nullptr;  // stream_, for Abort().
};

HttpsClient::HttpsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpsClient::~HttpsClient() = default;

absl::StatusOr<std::unique_ptr<HttpsClient>> HttpsClient::Create(
    Options options) {
  ASSIGN_OR_RETURN(Origin origin, ParseOrigin(options.base_url));
  if (!origin.tls && !(options.pin.empty() && options.ca_pem.empty())) {
    return absl::InvalidArgumentError(
        fmt::format("base_url {:?} has no TLS: a pin or CA cannot be checked",
                    options.base_url));
  }
  TlsClientOptions tls;
  tls.pin = options.pin;
  tls.ca_pem = options.ca_pem;
  tls.server_name =
      options.server_name.empty() ? origin.address.host : options.server_name;
  SslContextPtr context;
  if (origin.tls) {
    ASSIGN_OR_RETURN(context, MakeClientContext(tls));
  }
  return std::unique_ptr<HttpsClient>(new HttpsClient(
      std::make_unique<Impl>(std::move(options), std::move(origin),
                             std::move(tls), std::move(context))));
}

absl::StatusOr<HttpResponse> HttpsClient::Fetch(const HttpRequest& request) {
  return impl_->Fetch(request);
}

void HttpsClient::Abort() { impl_->Abort(); }

}  // namespace muster
