#include "agent/local/local_socket.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/local/control_protocol.h"
#include "fmt/format.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

absl::StatusOr<LocalAddress> MakeLocalAddress(const std::string& path) {
  LocalAddress address;
  address.un.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.un.sun_path) {
    return absl::InvalidArgumentError(
        fmt::format("{}: a socket's path is at most {} bytes, got {}", path,
                    sizeof address.un.sun_path - 1, path.size()));
  }
  std::memcpy(address.un.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<std::string> ReadLine(int fd, absl::Duration timeout,
                                     const Clock& clock) {
  const Instant deadline = clock.Now() + timeout;
  std::string line;
  while (line.size() <= kControlLineBytesMax) {
    const absl::Duration left = deadline - clock.Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("no whole line in time");
    }
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0)
      continue;
    char buffer[1024];
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return absl::UnavailableError("the other side closed the connection");
    line.append(buffer, static_cast<size_t>(n));
    if (const size_t end = line.find('\n'); end != std::string::npos) {
      line.resize(end);
      return line;
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("a line is at most {} bytes", kControlLineBytesMax));
}

}  // namespace muster::agent
