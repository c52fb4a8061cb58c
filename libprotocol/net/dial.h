// From "host:port" to a connected socket, before a deadline.

#ifndef MUSTER_LIBPROTOCOL_NET_DIAL_H_
#define MUSTER_LIBPROTOCOL_NET_DIAL_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/clock.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/host_port.h"

namespace muster {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  std::string ToString() const;  // "192.0.2.1:7443", "[::1]:7443"
};

// The addresses of `target`, at most 16, in the system's order of preference.
// Unavailable with class kDnsFailure if there is none or the resolver has not
// answered by `deadline`. Blocks until then at most; thread-safe.
absl::StatusOr<std::vector<SocketAddress>> Resolve(const HostPort& target,
                                                   Instant deadline);

// The address to bind for "host:port", as ParseListenAddress() reads it; a name
// is looked up. InvalidArgument, quoting the text. May block as long as the
// resolver does; thread-safe.
absl::StatusOr<SocketAddress> ResolveListenAddress(std::string_view text);

// A connected, non-blocking socket with TCP_NODELAY: the first address that
// accepts. Each gets an equal share of the time left. Unavailable, with the
// FailureClass of the last address tried (failure_class.h). Blocks until
// `deadline` at most; thread-safe.
struct Connection {
  Fd fd;
  std::string address;  // The one that accepted.
};
absl::StatusOr<Connection> Connect(const std::vector<SocketAddress>& addresses,
                                   Instant deadline);

// Waits until `fd` is ready for `events` (poll(2)). False at the deadline.
bool WaitReady(int fd, short events, Instant deadline);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_DIAL_H_
