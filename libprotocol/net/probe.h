// Where does the way to the gateway end? One walk along it, by our own hand:
// resolve, connect, TLS with the client certificate, the gateway's first word,
// and, if asked, the web port's /health.

#ifndef MUSTER_LIBPROTOCOL_NET_PROBE_H_
#define MUSTER_LIBPROTOCOL_NET_PROBE_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/net/https_client.h"

namespace muster {

// In order; each is taken only if the one before succeeded.
enum class ProbeStep { kResolve, kConnect, kTls, kGateway, kHealth, kDone };

// "resolve", "connect", …
std::string_view ProbeStepName(ProbeStep step);

struct ProbeTarget {
  std::string endpoint;     // host:port of the fleet port.
  std::string server_name;  // "gateway.muster.internal"
  std::string ca_pem;
  std::string certificate_pem;
  Secret key_pem;
  // The web port, if its /health is to be asked; the timeouts in it are not
  // used.
  std::optional<HttpsClient::Options> web;
};

struct ProbeResult {
  ProbeStep step = ProbeStep::kResolve;  // That failed; kDone if none did.
  std::optional<FailureClass> failure;   // Nothing: done, or our own fault.
  std::string address;  // That answered the connection; empty if none did.
  std::string error;    // For a person; empty if done.
  absl::Duration took;
};

// Takes at most `timeout`, which the steps share, and blocks: call it on a
// helper thread. Thread-safe. The step kGateway tells a gateway that takes us
// from one that refuses us: with TLS 1.3 a server judges the client only after
// the client's handshake is complete, so we wait for its first byte (gRPC's
// SETTINGS). Hanging up instead is a refusal.
ProbeResult ProbeGateway(const ProbeTarget& target, absl::Duration timeout);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_PROBE_H_
