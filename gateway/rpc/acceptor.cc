#include "gateway/rpc/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/dial.h"

namespace muster::gateway {
namespace {

constexpr int kBacklog = 4096;
// What one customer of a network is given (RFC 6177): their addresses are one
// source.
constexpr size_t kV6SourceBytes = 8;
// How long to leave the queue alone when not even the spare descriptor helps.
constexpr absl::Duration kExhaustedPause = absl::Milliseconds(100);
// How often to look whether a handshake has come through, while all places are
// taken.
constexpr absl::Duration kPlaceLook = absl::Milliseconds(2);

uint16_t PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// Bucket of the rate of connections: a tenth of a second's worth may come at
// once.
TokenBucket RateOf(const AcceptorOptions& options) {
  return TokenBucket(options.connections_per_second_max,
                     std::max(1.0, options.connections_per_second_max / 10));
}

int PollTimeout(absl::Duration wait) {
  return static_cast<int>(
      absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1))));
}

uint64_t InodeOf(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

// How long it waited to be accepted: since its last word. Absent if it hung up
// meanwhile: after a pause the kernel's queue is full of those, and a handshake
// with nobody would cost as much as one with somebody.
std::optional<absl::Duration> WaitOf(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return absl::ZeroDuration();
  }
  if (info.tcpi_state != TCP_ESTABLISHED) return std::nullopt;
  return absl::Milliseconds(info.tcpi_last_data_recv);
}

Fd OpenSpare() { return Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

std::string SourceOf(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    return inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  }
  in6_addr v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    return inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof text);
  }
  std::fill(std::begin(v6.s6_addr) + kV6SourceBytes, std::end(v6.s6_addr), 0);
  return fmt::format("{}/64", inet_ntop(AF_INET6, &v6, text, sizeof text));
}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(
    AcceptorOptions options) {
  ASSIGN_OR_RETURN(const SocketAddress address,
                   ResolveListenAddress(options.listen));
  const int family = address.storage.ss_family;
  Fd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid())
    return ErrnoStatus(errno, "opening a socket for", options.listen);
  const int on = 1;
  // Not SO_REUSEPORT: a second gateway must fail to bind, not share.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6) {  // "[::]" serves IPv4 as well.
    const int off = 0;
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage),
           address.size) != 0 ||
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
      rate_(RateOf(options_)),
      turnstile_(options_.handshakes_max, options_.handshake_counts),
      spare_(OpenSpare()) {}

Acceptor::~Acceptor() { Stop(); }

void Acceptor::Run(Handler handler, Hindered hindered) {
  hindered_ = std::move(hindered);
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

bool Acceptor::Pause(absl::Duration length) {
  pollfd wake{wake_.get(), POLLIN, 0};
  return poll(&wake, 1, PollTimeout(length)) == 0;
}

bool Acceptor::SomebodyWaits() {
  pollfd door{listener_.get(), POLLIN, 0};
  if (poll(&door, 1, 0) > 0) return true;
  tell_at_ = Instant::Never();
  return false;
}

bool Acceptor::WaitForPlace() {
  while (true) {
    turnstile_.Leave(came_through_.exchange(0));
    const Instant now = clock_.Now();
    const absl::Duration wait =
        std::max(rate_.Wait(now), std::min(turnstile_.Wait(now), kPlaceLook));
    if (wait <= absl::ZeroDuration()) return true;
    tell_at_ = std::min(tell_at_, now + options_.wait_unnoticed);
    if (now >= tell_at_) {
      tell_at_ = now + options_.wait_unnoticed;
      hindered_(BlindReason::kAdmission);
    }
    if (!Pause(std::min(wait, options_.wait_unnoticed))) return false;
  }
}

bool Acceptor::StillWorthIt(int fd) {
  const std::optional<absl::Duration> waited = WaitOf(fd);
  return waited && *waited <= options_.wait_max;
}

void Acceptor::AcceptAll() {
  while (SomebodyWaits() && WaitForPlace()) {
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
    if (!StillWorthIt(fd)) {
      close(fd);
      if (!Pause(absl::ZeroDuration())) return;  // There may be no end of them.
      continue;
    }
    rate_.Take(clock_.Now());
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const bool low = static_cast<rlim_t>(fd) + options_.descriptors_reserved >=
                     limit.rlim_cur;
    if (low || !Admit(fd, SourceOf(address))) {
      hindered_(low ? BlindReason::kDescriptors : BlindReason::kOneSource);
      close(fd);
      continue;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const unsigned timeout_ms = static_cast<unsigned>(
        absl::ToInt64Milliseconds(options_.tcp_user_timeout));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
               sizeof timeout_ms);
    turnstile_.Enter(clock_.Now());
    handler_(fd);
  }
}

void Acceptor::ShedOne() {
  spare_.Reset();
  Fd shed(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const bool helped = shed.valid();
  shed.Reset();
  spare_ = OpenSpare();
  hindered_(BlindReason::kDescriptors);
  if (!helped) Pause(kExhaustedPause);
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
