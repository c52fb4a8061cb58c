#include "agent/local/control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "agent/local/local_socket.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

// A request is one short line from this machine.
constexpr absl::Duration kReadTimeout = absl::Seconds(2);
constexpr int kBacklog = 16;

}  // namespace

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(
    const std::string& path, EventLoop& loop, Handler handler) {
  ASSIGN_OR_RETURN(const LocalAddress address, MakeLocalAddress(path));
  unlink(path.c_str());
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return ErrnoStatus(errno, "making a socket for", path);
  // On Linux the socket file takes the mode of the descriptor.
  if (fchmod(listener.get(), 0600) != 0 ||
      bind(listener.get(), address.get(), address.size()) != 0 ||
      listen(listener.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, "listening on", path);
  }
  Fd stop(eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return ErrnoStatus(errno, "making an eventfd for", path);
  return std::unique_ptr<ControlServer>(new ControlServer(
      path, std::move(listener), std::move(stop), loop, std::move(handler)));
}

ControlServer::ControlServer(std::string path, Fd listener, Fd stop,
                             EventLoop& loop, Handler handler)
    : path_(std::move(path)),
      listener_(std::move(listener)),
      stop_(std::move(stop)),
      loop_(loop),
      handler_(std::make_shared<const Handler>(std::move(handler))),
      thread_([this] { Run(); }) {}

ControlServer::~ControlServer() {
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one,
               sizeof one);  // Cannot fail: the counter is 0.
  thread_.join();
  unlink(path_.c_str());
}

void ControlServer::Run() {
  while (true) {
    pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;  // A signal.
    if (fds[1].revents != 0) return;
    Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) Serve(std::make_shared<Fd>(std::move(connection)));
  }
}

void ControlServer::Serve(std::shared_ptr<Fd> connection) {
  const Reply reply = [connection](const ControlReply& answer) {
    // One line fits the socket's buffer; whoever does not read it loses it.
    const std::string line = RenderReply(answer);
    (void)!send(connection->get(), line.data(), line.size(),
                MSG_DONTWAIT | MSG_NOSIGNAL);
    connection->Reset();
  };
  const absl::StatusOr<std::string> line =
      ReadLine(connection->get(), kReadTimeout, loop_.clock());
  if (!line.ok())
    return reply({.text = std::string(ToStd(line.status().message()))});
  const absl::StatusOr<ControlRequest> request = ParseRequest(*line);
  if (!request.ok())
    return reply({.text = std::string(ToStd(request.status().message()))});
  loop_.Post([handler = handler_, reply, request = *request] {
    (*handler)(request, reply);
  });
}

}  // namespace muster::agent
