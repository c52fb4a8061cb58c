// The fleet port: gRPC with mutual TLS, for agents only.

#ifndef MUSTER_GATEWAY_RPC_FLEET_SERVER_H_
#define MUSTER_GATEWAY_RPC_FLEET_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/fleet/fleet.h"
#include "gateway/identity/key_ring.h"
#include "gateway/rpc/acceptor.h"
#include "gateway/rpc/agent_link.h"
#include "libprotocol/base/thread_event_loop.h"

namespace muster::gateway {

// The files that gRPC watches. Whoever replaces them first makes sure that they
// fit: a broken one refuses every new connection.
struct TlsFiles {
  std::string ca_pem;
  std::string certificate_pem;
  std::string key_pem;
};

struct FleetServerOptions {
  AcceptorOptions acceptor;
  AgentLinkOptions link;
  TlsFiles tls;
  // Who it does not hold is refused in the handshake. Outlives the server.
  const KeyRing* keys = nullptr;
};

// FleetServer owns listener, gRPC server and service. A client certificate of
// the CA is required before HTTP/2 begins, which stops the unauthenticated
// attacks on gRPC 1.51 (SECURITY.md).
//
// Created, started and stopped on the main thread.
class FleetServer {
 public:
  // Binds the port; nobody is accepted before Start(). `loop` and `fleet` must
  // outlive the server. Errors as Acceptor::Listen(); FailedPrecondition if the
  // TLS files cannot be used.
  static absl::StatusOr<std::unique_ptr<FleetServer>> Create(
      ThreadEventLoop& loop, Fleet& fleet, FleetServerOptions options);
  virtual ~FleetServer() = default;

  virtual uint16_t port() const = 0;
  virtual void Start() = 0;

  // Accepts no more, tells every agent to come back, waits until all links are
  // gone or `grace` is over, then cuts the rest. Not on the loop. Idempotent.
  virtual void Stop(absl::Duration grace) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_FLEET_SERVER_H_
