#include "gateway/rpc/acceptor.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "fmt/format.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

constexpr int kBacklog = 4096;
// How long to leave the queue alone when not even the spare descriptor helps.
constexpr int kExhaustedPauseMs = 100;

absl::Status SplitHostPort(const std::string& listen, std::string& host,
                           std::string& port) {
  const size_t colon = listen.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\": expected host:port", listen));
  }
  host = listen.substr(0, colon);
  port = listen.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return absl::OkStatus();
}

uint16_t PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

std::string SourceOf(const sockaddr_storage& address, socklen_t length) {
  char host[NI_MAXHOST];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host,
                  sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) {
    return "";
  }
  return host;
}

uint64_t InodeOf(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

Fd OpenSpare() { return Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(
    AcceptorOptions options) {
  std::string host;
  std::string port;
  if (absl::Status s = SplitHostPort(options.listen, host, port); !s.ok()) {
    return s;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                    port.c_str(), &hints, &found);
      error != 0) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\": {}", options.listen, gai_strerror(error)));
  }
  const absl::Cleanup free = [found] { freeaddrinfo(found); };
  Fd fd(
      socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid())
    return ErrnoStatus(errno, "opening a socket for", options.listen);
  const int on = 1;
  // Not SO_REUSEPORT: a second gateway must fail to bind, not share.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (found->ai_family == AF_INET6) {  // "[::]" serves IPv4 as well.
    const int off = 0;
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, "listening on", options.listen);
  }
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoStatus(errno, "making an", "eventfd");
  const uint16_t bound = PortOf(fd.get());
  return std::unique_ptr<Acceptor>(
      new Acceptor(std::move(options), std::move(fd), bound, std::move(wake)));
}

Acceptor::Acceptor(AcceptorOptions options, Fd listener, uint16_t port, Fd wake)
    : options_(std::move(options)),
      port_(port),
      listener_(std::move(listener)),
      wake_(std::move(wake)),
      spare_(OpenSpare()) {}

Acceptor::~Acceptor() { Stop(); }

void Acceptor::Run(Handler handler) {
  handler_ = std::move(handler);
  thread_ = std::thread([this] { Loop(); });
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
  thread_.join();
  listener_.Reset();
}

void Acceptor::Loop() {
  pollfd fds[] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  while (true) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) {
      Log(kError, "accept loop: poll failed", {{"errno", errno}});
      return;
    }
    if (fds[1].revents != 0) return;
    if (fds[0].revents != 0) AcceptAll();
  }
}

void Acceptor::AcceptAll() {
  while (true) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int fd =
        accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length,
                SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
          errno == ENOMEM) {
        ShedOne();
      }
      return;  // EAGAIN, or one connection that went away: poll again.
    }
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const bool low = static_cast<rlim_t>(fd) + options_.descriptors_reserved >=
                     limit.rlim_cur;
    if (low || !Admit(fd, SourceOf(address, length))) {
      close(fd);
      continue;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const unsigned timeout_ms = static_cast<unsigned>(
        absl::ToInt64Milliseconds(options_.tcp_user_timeout));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
               sizeof timeout_ms);
    handler_(fd);
  }
}

void Acceptor::ShedOne() {
  spare_.Reset();
  Fd shed(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const bool helped = shed.valid();
  shed.Reset();
  spare_ = OpenSpare();
  if (helped) return;
  pollfd wake{wake_.get(), POLLIN, 0};
  poll(&wake, 1, kExhaustedPauseMs);
}

bool Acceptor::Connection::Ended() const { return InodeOf(fd) != inode; }

void Acceptor::ForgetEnded() {
  absl::erase_if(by_source_, [](auto& entry) {
    std::erase_if(entry.second, [](const Connection& c) { return c.Ended(); });
    return entry.second.empty();
  });
  sweep_at_ = std::max<size_t>(1024, 2 * by_source_.size());
}

bool Acceptor::Admit(int fd, const std::string& source) {
  if (by_source_.size() >= sweep_at_) ForgetEnded();
  std::vector<Connection>& mine = by_source_[source];
  if (mine.size() >= options_.connections_per_source_max) {
    std::erase_if(mine, [](const Connection& c) { return c.Ended(); });
    if (mine.size() >= options_.connections_per_source_max) {
      Log(kWarning, "connection refused: too many from one source",
          {{"source", source}, {"limit", options_.connections_per_source_max}});
      return false;
    }
  }
  mine.push_back({fd, InodeOf(fd)});
  return true;
}

}  // namespace muster::gateway
