// Bytes over a connected socket, plain or TLS, with a deadline on each call.
//
// Internal to this folder: https_client.cc and probe.cc are its users.

#ifndef MUSTER_LIBPROTOCOL_NET_SOCKET_STREAM_H_
#define MUSTER_LIBPROTOCOL_NET_SOCKET_STREAM_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/net/openssl_ptr.h"

namespace muster {

// Whom to believe, and who we are. TLS 1.2 at least.
struct TlsClientOptions {
  std::string pin;          // If set, exactly this key; nothing else counts.
  std::string ca_pem;       // Else, if set, only these; else the system's.
  std::string server_name;  // Sent as SNI and, without a pin, checked.
  std::string certificate_pem;  // Ours, if the server wants one.
  Secret key_pem;
  bool offer_http2 = false;  // gRPC servers hang up without it.
};

// InvalidArgument, naming the input, if the material cannot be used.
absl::StatusOr<SslContextPtr> MakeClientContext(
    const TlsClientOptions& options);

struct SocketWire;

// SocketStream owns a connected, non-blocking socket. It never raises SIGPIPE.
//
// Every call blocks until its deadline at most. Errors: DeadlineExceeded;
// Unavailable for a lost connection or failed handshake; Unauthenticated if the
// server is not the one we want, or refused our certificate. All but the first
// carry a FailureClass (failure_class.h). Not thread-safe, but for HangUp().
class SocketStream {
 public:
  explicit SocketStream(Fd fd);
  ~SocketStream();
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  // Makes the stream TLS and checks the server as `options` say. `context` was
  // made from the same options.
  absl::Status StartTls(SSL_CTX* context, const TlsClientOptions& options,
                        Instant deadline);

  // At least one byte, or 0 at the end of the stream. A TLS stream cut off
  // without a farewell is an error: somebody may have shortened it.
  absl::StatusOr<size_t> Read(char* buffer, size_t size, Instant deadline);

  absl::Status WriteAll(std::string_view bytes, Instant deadline);

  // The server has said something, or hung up, since the last Read().
  bool HasInput() const;

  // Whatever is called now or later finds the connection lost. Any thread.
  void HangUp();

 private:
  // Waits for what TLS asked for after a call returned `result`, or explains
  // why it failed.
  absl::Status ContinueTls(int result, Instant deadline);
  absl::Status Wait(short events, Instant deadline) const;
  absl::Status CheckServer(const TlsClientOptions& options);

  Fd fd_;
  std::unique_ptr<SocketWire> wire_;  // OpenSSL holds its address.
  SslPtr ssl_;                        // Null: plain.
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_SOCKET_STREAM_H_
