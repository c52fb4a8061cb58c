// One HTTP exchange with the gateway, as the seam that tests replace.

#ifndef MUSTER_TOOLS_MUSTERCTL_TRANSPORT_H_
#define MUSTER_TOOLS_MUSTERCTL_TRANSPORT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "libprotocol/net/https_client.h"

namespace muster::ctl {

// Transport talks to one gateway. Not thread-safe, but for Abort(); blocks.
class Transport {
 public:
  virtual ~Transport() = default;

  // Success and errors are those of HttpsClient::Fetch.
  virtual absl::StatusOr<HttpResponse> Fetch(const HttpRequest& request) = 0;
  // That of HttpsClient: nothing is waited for any more. Any thread.
  virtual void Abort() = 0;
};

// True if `error`, of Fetch, proves that the gateway never saw the request.
bool NeverSent(const absl::Status& error);

// Which gateway, and how it proves that it is the one.
struct Endpoint {
  std::string server;   // "https://gw.example:7080"
  std::string ca_file;  // PEM; empty: the system's authorities.
  std::string pin;      // "sha256//…" of the gateway's key; empty: none.
};

using TransportFactory =
    std::function<absl::StatusOr<std::unique_ptr<Transport>>(const Endpoint&)>;

// The real one. InvalidArgument if the URL, the pin or the file cannot be used.
absl::StatusOr<std::unique_ptr<Transport>> ConnectTo(const Endpoint& endpoint);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_TRANSPORT_H_
