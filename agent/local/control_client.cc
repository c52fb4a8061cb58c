#include "agent/local/control_client.h"

#include <cerrno>

#include "agent/local/local_socket.h"
#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {

absl::StatusOr<ControlReply> AskAgent(const std::string& path,
                                      const ControlRequest& request,
                                      absl::Duration timeout,
                                      const Clock& clock) {
  ASSIGN_OR_RETURN(const LocalAddress address, MakeLocalAddress(path));
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket for", path);
  if (connect(fd.get(), address.get(), address.size()) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) {
      return absl::UnavailableError(
          fmt::format("no agent is running here, or it has not joined (nobody "
                      "listens on {})",
                      path));
    }
    return ErrnoStatus(errno, "connecting to", path);
  }
  const std::string asked = RenderRequest(request);
  if (send(fd.get(), asked.data(), asked.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(asked.size())) {
    return ErrnoStatus(errno, "asking the agent at", path);
  }
  ASSIGN_OR_RETURN(const std::string line, ReadLine(fd.get(), timeout, clock));
  return ParseReply(line);
}

}  // namespace muster::agent
