#include "libprotocol/net/socket_stream.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/dial.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/net/tls_material.h"

namespace muster {

// What the BIO below TLS remembers about the socket.
struct SocketWire {
  explicit SocketWire(int descriptor) : fd(descriptor) {}

  const int fd;
  int error = 0;  // errno of the last failed call.
  bool ended = false;
};

namespace {

SocketWire& WireOf(BIO* bio) {
  return *static_cast<SocketWire*>(BIO_get_data(bio));
}

int WriteWire(BIO* bio, const char* data, int size) {
  const ssize_t n = send(WireOf(bio).fd, data, static_cast<size_t>(size),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
  BIO_clear_retry_flags(bio);
  if (n >= 0) return static_cast<int>(n);
  WireOf(bio).error = errno;
  if (errno == EAGAIN || errno == EINTR) BIO_set_retry_write(bio);
  return -1;
}

int ReadWire(BIO* bio, char* data, int size) {
  const ssize_t n =
      recv(WireOf(bio).fd, data, static_cast<size_t>(size), MSG_DONTWAIT);
  BIO_clear_retry_flags(bio);
  if (n == 0) WireOf(bio).ended = true;
  if (n >= 0) return static_cast<int>(n);
  WireOf(bio).error = errno;
  if (errno == EAGAIN || errno == EINTR) BIO_set_retry_read(bio);
  return -1;
}

long ControlWire(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  return command == BIO_CTRL_EOF && WireOf(bio).ended ? 1 : 0;
}

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL, and a library must not
// change the process's signals; hence a BIO of ours.
const BIO_METHOD* WireMethod() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket wire");
    BIO_meth_set_write(m, WriteWire);
    BIO_meth_set_read(m, ReadWire);
    BIO_meth_set_ctrl(m, ControlWire);
    return m;
  }();
  return method;
}

absl::Status Lost(FailureClass failure, std::string_view text) {
  return FailureStatus(absl::StatusCode::kUnavailable, failure, text);
}

// Whatever the system's reason: a connection that stood has broken. The classes
// of dialing would claim that nothing was sent.
absl::Status LostByErrno(int error) {
  return Lost(FailureClass::kConnectionReset,
              fmt::format("lost the connection: {}", std::strerror(error)));
}

// True for alerts with which a server says that it does not like our
// certificate.
bool IsRefusal(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

absl::Status TlsFailure(bool established) {
  const unsigned long code = ERR_peek_error();
  const int alert = ERR_GET_LIB(code) == ERR_LIB_SSL
                        ? ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET
                        : -1;
  const std::string reason = TakeOpenSslReason();
  if (IsRefusal(alert)) {
    return FailureStatus(
        absl::StatusCode::kUnauthenticated, FailureClass::kRefusedByGateway,
        fmt::format("the server refused our certificate: {}", reason));
  }
  return Lost(
      established ? FailureClass::kConnectionReset : FailureClass::kTlsFailure,
      fmt::format("TLS failed: {}", reason));
}

absl::Status TrustOnly(SSL_CTX* context, std::string_view ca_pem) {
  if (ca_pem.size() > kCertificatePemBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("ca_pem is {} bytes long, at most {}", ca_pem.size(),
                    kCertificatePemBytesMax));
  }
  BioPtr bio(BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size())));
  int count = 0;
  while (bio) {
    CertificatePtr ca(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!ca) break;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get()) == 1) {
      ++count;
    }
  }
  ERR_clear_error();  // The end of the text is an error to OpenSSL.
  if (count > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("ca_pem holds no certificate");
}

absl::Status UseOwnCertificate(SSL_CTX* context,
                               const TlsClientOptions& options) {
  ASSIGN_OR_RETURN(
      CertificatePtr certificate,
      ReadCertificatePem(options.certificate_pem, "our certificate"));
  ASSIGN_OR_RETURN(KeyPtr key,
                   ReadKeyPem(options.key_pem.Reveal(), "our private key"));
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return absl::InvalidArgumentError(fmt::format(
        "our certificate and private key do not fit: {}", TakeOpenSslReason()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SslContextPtr> MakeClientContext(
    const TlsClientOptions& options) {
  ERR_clear_error();
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context || !SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION))
    return OpenSslError("making a TLS context");
  if (!options.pin.empty()) {
    RETURN_IF_ERROR(ValidatePin(options.pin));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    if (!options.ca_pem.empty()) {
      RETURN_IF_ERROR(TrustOnly(context.get(), options.ca_pem));
    } else if (SSL_CTX_set_default_verify_paths(context.get()) != 1) {
      return OpenSslError("loading the system's certificates");
    }
  }
  if (!options.certificate_pem.empty()) {
    RETURN_IF_ERROR(UseOwnCertificate(context.get(), options));
  }
  static constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  if (options.offer_http2 &&
      SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof kHttp2) != 0) {
    return OpenSslError("offering HTTP/2");
  }
  return context;
}

SocketStream::SocketStream(Fd fd)
    : fd_(std::move(fd)), wire_(std::make_unique<SocketWire>(fd_.get())) {}

SocketStream::~SocketStream() = default;

absl::Status SocketStream::Wait(short events, Instant deadline) const {
  if (WaitReady(fd_.get(), events, deadline)) return absl::OkStatus();
  return absl::DeadlineExceededError("no answer before the deadline");
}

absl::Status SocketStream::ContinueTls(int result, Instant deadline) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Wait(POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return Wait(POLLOUT, deadline);
    default:
      break;
  }
  if (wire_->ended) {
    ERR_clear_error();
    return Lost(FailureClass::kEof, "the server closed the connection");
  }
  if (ERR_peek_error() == 0) return LostByErrno(wire_->error);
  return TlsFailure(SSL_is_init_finished(ssl_.get()) == 1);
}

absl::Status SocketStream::StartTls(SSL_CTX* context,
                                    const TlsClientOptions& options,
                                    Instant deadline) {
  ERR_clear_error();
  SslPtr ssl(SSL_new(context));
  BIO* bio = BIO_new(WireMethod());
  if (!ssl || bio == nullptr) {
    BIO_free(bio);
    return OpenSslError("starting TLS");
  }
  BIO_set_data(bio, wire_.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl.get(), bio, bio);
  const char* name = options.server_name.c_str();
  const bool address = IsIpAddress(options.server_name);
  if (!address && SSL_set_tlsext_host_name(ssl.get(), name) != 1) {
    return OpenSslError("setting the server's name");
  }
  const int checked =
      address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name)
              : SSL_set1_host(ssl.get(), name);
  if (checked != 1) return OpenSslError("setting the name to check");
  ssl_ = std::move(ssl);
  while (true) {
    const int result = SSL_connect(ssl_.get());
    if (result == 1) return CheckServer(options);
    const bool impostor = SSL_get_verify_result(ssl_.get()) != X509_V_OK;
    if (impostor && options.pin.empty()) return CheckServer(options);
    RETURN_IF_ERROR(ContinueTls(result, deadline));
  }
}

absl::Status SocketStream::CheckServer(const TlsClientOptions& options) {
  ERR_clear_error();
  const auto impostor = [](std::string_view text) {
    return FailureStatus(absl::StatusCode::kUnauthenticated,
                         FailureClass::kTlsFailure, text);
  };
  if (options.pin.empty()) {
    const long verdict = SSL_get_verify_result(ssl_.get());
    if (verdict == X509_V_OK) return absl::OkStatus();
    return impostor(fmt::format(
        "the server's certificate is not valid for {}: {}", options.server_name,
        X509_verify_cert_error_string(verdict)));
  }
  CertificatePtr certificate(SSL_get1_peer_certificate(ssl_.get()));
  EVP_PKEY* key = certificate ? X509_get0_pubkey(certificate.get()) : nullptr;
  if (key == nullptr) return impostor("the server has no readable key");
  ASSIGN_OR_RETURN(const std::string pin, PinOf(key));
  if (pin == options.pin) return absl::OkStatus();
  return impostor(
      fmt::format("the server's key is {}, expected {}", pin, options.pin));
}

absl::StatusOr<size_t> SocketStream::Read(char* buffer, size_t size,
                                          Instant deadline) {
  while (true) {
    if (!ssl_) {
      const ssize_t n = recv(fd_.get(), buffer, size, MSG_DONTWAIT);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EAGAIN && errno != EINTR) return LostByErrno(errno);
      RETURN_IF_ERROR(Wait(POLLIN, deadline));
      continue;
    }
    ERR_clear_error();
    size_t n = 0;
    const int result = SSL_read_ex(ssl_.get(), buffer, size, &n);
    if (result == 1) return n;
    if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN) return 0;
    RETURN_IF_ERROR(ContinueTls(result, deadline));
  }
}

absl::Status SocketStream::WriteAll(std::string_view bytes, Instant deadline) {
  while (!bytes.empty()) {
    size_t n = 0;
    if (ssl_) {
      ERR_clear_error();
      const int result =
          SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n);
      if (result != 1) RETURN_IF_ERROR(ContinueTls(result, deadline));
    } else {
      const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) return LostByErrno(errno);
        RETURN_IF_ERROR(Wait(POLLOUT, deadline));
        continue;
      }
      n = static_cast<size_t>(sent);
    }
    bytes.remove_prefix(n);
  }
  return absl::OkStatus();
}

void SocketStream::HangUp() { shutdown(fd_.get(), SHUT_RDWR); }

bool SocketStream::HasInput() const {
  pollfd entry = {fd_.get(), POLLIN, 0};
  return poll(&entry, 1, 0) != 0;
}

}  // namespace muster
