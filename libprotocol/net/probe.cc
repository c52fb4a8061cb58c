#include "libprotocol/net/probe.h"

#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/net/dial.h"
#include "libprotocol/net/socket_stream.h"

namespace muster {
namespace {

// The HTTP/2 preface and an empty SETTINGS frame: what a client of gRPC says
// first. Without it some servers keep their own first word back.
constexpr std::string_view kPreface{
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 24 + 9};

absl::Status AwaitFirstWord(SocketStream& stream, Instant deadline) {
  char byte = 0;
  absl::Status sent = stream.WriteAll(kPreface, deadline);
  if (!sent.ok() && !absl::IsUnavailable(sent)) return sent;
  const auto n = stream.Read(&byte, 1, deadline);
  if (n.ok() && *n > 0) return absl::OkStatus();
  if (!n.ok() && !absl::IsUnavailable(n.status())) return n.status();
  return FailureStatus(absl::StatusCode::kUnauthenticated,
                       FailureClass::kRefusedByGateway,
                       "the gateway hung up on us after the TLS handshake");
}

absl::Status AskHealth(HttpsClient::Options options, absl::Duration left) {
  options.connect_timeout = left;
  options.request_timeout = left;
  ASSIGN_OR_RETURN(auto client, HttpsClient::Create(std::move(options)));
  HttpRequest request;
  request.target = "/health";
  ASSIGN_OR_RETURN(const HttpResponse response, client->Fetch(request));
  if (response.status == 200) return absl::OkStatus();
  return FailureStatus(absl::StatusCode::kUnavailable,
                       FailureClass::kRefusedByGateway,
                       fmt::format("/health answered {}", response.status));
}

// Walks on; `result.step` is where it stands when an error comes back.
absl::Status Walk(const ProbeTarget& target, Instant deadline,
                  const Clock& clock, ProbeResult& result) {
  ASSIGN_OR_RETURN(const HostPort endpoint, ParseHostPort(target.endpoint));
  TlsClientOptions tls;
  tls.ca_pem = target.ca_pem;
  tls.server_name = target.server_name;
  tls.certificate_pem = target.certificate_pem;
  tls.key_pem = target.key_pem;
  tls.offer_http2 = true;
  ASSIGN_OR_RETURN(const SslContextPtr context, MakeClientContext(tls));
  ASSIGN_OR_RETURN(const auto addresses, Resolve(endpoint, deadline));

  result.step = ProbeStep::kConnect;
  ASSIGN_OR_RETURN(Connection connection, Connect(addresses, deadline));
  result.address = connection.address;

  result.step = ProbeStep::kTls;
  SocketStream stream(std::move(connection.fd));
  RETURN_IF_ERROR(stream.StartTls(context.get(), tls, deadline));

  result.step = ProbeStep::kGateway;
  RETURN_IF_ERROR(AwaitFirstWord(stream, deadline));

  if (target.web) {
    result.step = ProbeStep::kHealth;
    RETURN_IF_ERROR(AskHealth(*target.web, deadline - clock.Now()));
  }
  result.step = ProbeStep::kDone;
  return absl::OkStatus();
}

}  // namespace

std::string_view ProbeStepName(ProbeStep step) {
  switch (step) {
    case ProbeStep::kResolve:
      return "resolve";
    case ProbeStep::kConnect:
      return "connect";
    case ProbeStep::kTls:
      return "tls";
    case ProbeStep::kGateway:
      return "gateway";
    case ProbeStep::kHealth:
      return "health";
    case ProbeStep::kDone:
      return "done";
  }
  return "";
}

ProbeResult ProbeGateway(const ProbeTarget& target, absl::Duration timeout) {
  const SystemClock clock;
  const Instant start = clock.Now();
  ProbeResult result;
  const absl::Status status = Walk(target, start + timeout, clock, result);
  result.took = clock.Now() - start;
  if (status.ok()) return result;
  result.error = ToStd(status.message());
  result.failure = FailureClassOf(status);
  // Whatever answers too late is, to the agent, a way on which nothing answers.
  if (absl::IsDeadlineExceeded(status)) {
    result.failure = FailureClass::kDialTimeout;
  }
  return result;
}

}  // namespace muster
