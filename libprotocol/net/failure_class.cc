#include "libprotocol/net/failure_class.h"

#include <cerrno>

#include "absl/strings/cord.h"
#include "libprotocol/base/absl_compat.h"

namespace muster {
namespace {

constexpr char kPayload[] = "muster.FailureClass";

constexpr FailureClass kAll[] = {
    FailureClass::kConnectionReset, FailureClass::kEof,
    FailureClass::kDialTimeout,     FailureClass::kRefused,
    FailureClass::kDnsFailure,      FailureClass::kTlsFailure,
    FailureClass::kRefusedByGateway};

struct Phrase {
  std::string_view text;
  FailureClass failure;
};

// gRPC 1.51.1's words. The first that occurs decides: a TLS failure, for one,
// quotes the reason of the socket behind it.
constexpr Phrase kPhrases[] = {
    {"DNS resolution failed", FailureClass::kDnsFailure},
    {"Domain name not found", FailureClass::kDnsFailure},
    {"handshake failed", FailureClass::kTlsFailure},
    {"certificate verify failed", FailureClass::kTlsFailure},
    {"is not in peer certificate", FailureClass::kTlsFailure},
    {"SSL_ERROR_SSL", FailureClass::kTlsFailure},
    {"Connection refused", FailureClass::kRefused},
    {"Connection timed out", FailureClass::kDialTimeout},
    {"No route to host", FailureClass::kDialTimeout},
    {"Network is unreachable", FailureClass::kDialTimeout},
    {"Network unreachable", FailureClass::kDialTimeout},
    {"connect timeout", FailureClass::kDialTimeout},
    {"keepalive watchdog timeout", FailureClass::kDialTimeout},
    {"Connection reset by peer", FailureClass::kConnectionReset},
    {"Broken pipe", FailureClass::kConnectionReset},
    {"Socket closed", FailureClass::kEof},
    {"GOAWAY", FailureClass::kEof},
};

bool LinkDied(FailureClass failure) {
  return failure == FailureClass::kEof ||
         failure == FailureClass::kConnectionReset;
}

}  // namespace

std::string_view FailureClassName(FailureClass failure) {
  switch (failure) {
    case FailureClass::kConnectionReset:
      return "connection_reset";
    case FailureClass::kEof:
      return "eof";
    case FailureClass::kDialTimeout:
      return "dial_timeout";
    case FailureClass::kRefused:
      return "refused";
    case FailureClass::kDnsFailure:
      return "dns_failure";
    case FailureClass::kTlsFailure:
      return "tls_failure";
    case FailureClass::kRefusedByGateway:
      return "refused_by_gateway";
  }
  return "";
}

std::optional<FailureClass> FailureClassOfErrno(int error) {
  switch (error) {
    case ECONNREFUSED:
      return FailureClass::kRefused;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
      return FailureClass::kDialTimeout;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      return FailureClass::kConnectionReset;
    default:
      return std::nullopt;
  }
}

std::optional<FailureClass> FailureClassOfGrpcText(std::string_view text) {
  for (const Phrase& phrase : kPhrases) {
    if (text.find(phrase.text) != text.npos) return phrase.failure;
  }
  return std::nullopt;
}

FailureClass ClassifyLinkFailure(std::string_view grpc_text,
                                 std::optional<FailureClass> probe) {
  const std::optional<FailureClass> said = FailureClassOfGrpcText(grpc_text);
  if (!said) return probe.value_or(FailureClass::kEof);
  if (!probe) return *said;
  const bool silent = grpc_text.find("keepalive") != grpc_text.npos;
  if (*said == FailureClass::kEof || silent) return *probe;
  if (LinkDied(*said) && *probe == FailureClass::kRefusedByGateway) {
    return *probe;
  }
  return *said;
}

absl::Status FailureStatus(absl::StatusCode code, FailureClass failure,
                           std::string_view text) {
  absl::Status status(code, ToAbsl(text));
  status.SetPayload(kPayload, absl::Cord(ToAbsl(FailureClassName(failure))));
  return status;
}

std::optional<FailureClass> FailureClassOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload) return std::nullopt;
  for (const FailureClass failure : kAll) {
    if (*payload == ToAbsl(FailureClassName(failure))) return failure;
  }
  return std::nullopt;
}

}  // namespace muster
