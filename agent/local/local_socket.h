// The few socket calls that both ends of the control socket share.

#ifndef MUSTER_AGENT_LOCAL_LOCAL_SOCKET_H_
#define MUSTER_AGENT_LOCAL_LOCAL_SOCKET_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster::agent {

struct LocalAddress {
  sockaddr_un un{};
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&un); }
  socklen_t size() const { return sizeof un; }
};

// InvalidArgument if `path` is longer than a socket's address can hold.
absl::StatusOr<LocalAddress> MakeLocalAddress(const std::string& path);

// Blocks until a whole line is there; returned without the newline.
// DeadlineExceeded after `timeout`, InvalidArgument beyond
// kControlLineBytesMax, Unavailable if the peer goes before.
absl::StatusOr<std::string> ReadLine(int fd, absl::Duration timeout,
                                     const Clock& clock);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LOCAL_LOCAL_SOCKET_H_
