#include "agent/app/sd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "libprotocol/base/files.h"

namespace muster::agent {

void SdNotify(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (*path != '/' && *path != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (*path == '@') address.sun_path[0] = '\0';  // The abstract name space.
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return;
  (void)!sendto(
      fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
      reinterpret_cast<sockaddr*>(&address),
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

std::optional<absl::Duration> SdWatchdogInterval() {
  const char* interval_us = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (interval_us == nullptr) return std::nullopt;
  if (pid != nullptr && std::atol(pid) != getpid()) return std::nullopt;
  const long long us = std::atoll(interval_us);
  if (us <= 0) return std::nullopt;
  return absl::Microseconds(us) / 2;
}

}  // namespace muster::agent
