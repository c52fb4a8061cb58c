#include "libprotocol/net/dial.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/net/failure_class.h"

namespace muster {
namespace {

constexpr size_t kAddressesMax = 16;

// One lookup. The C library writes into it from a thread of its own, so it may
// be freed only when the library is done with it.
struct Lookup {
  std::string host;
  std::string service;
  addrinfo hints = {};
  gaicb request = {};

  Lookup() = default;
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;
  ~Lookup() {
    if (request.ar_result != nullptr) freeaddrinfo(request.ar_result);
  }
  bool done() { return gai_error(&request) != EAI_INPROGRESS; }
};

// Lookups whose callers ran out of time. The resolver ends each within its own
// limits (resolv.conf); the next one to be abandoned sweeps those.
void Abandon(std::unique_ptr<Lookup> lookup) {
  static Mutex mu;
  static auto* const abandoned = new std::vector<std::unique_ptr<Lookup>>;
  MutexLock lock(mu);
  std::erase_if(*abandoned, [](const auto& old) { return old->done(); });
  abandoned->push_back(std::move(lookup));
}

absl::Status DnsFailure(const HostPort& target, std::string_view why) {
  return FailureStatus(absl::StatusCode::kUnavailable,
                       FailureClass::kDnsFailure,
                       fmt::format("cannot resolve {}: {}", target.host, why));
}

std::vector<SocketAddress> CopyAddresses(const addrinfo* list) {
  std::vector<SocketAddress> addresses;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    if (addresses.size() == kAddressesMax) break;
    SocketAddress address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.size = a->ai_addrlen;
    addresses.push_back(address);
  }
  return addresses;
}

// An address needs no resolver, hence neither a thread nor patience.
absl::StatusOr<std::vector<SocketAddress>> ReadAddress(const HostPort& target) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_NUMERICHOST;
  addrinfo* list = nullptr;
  if (const int error =
          getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(),
                      &hints, &list)) {
    return DnsFailure(target, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(list,
                                                                 freeaddrinfo);
  return CopyAddresses(list);
}

absl::Status ConnectFailure(const SocketAddress& address, int error) {
  return FailureStatus(
      absl::StatusCode::kUnavailable,
      FailureClassOfErrno(error).value_or(FailureClass::kDialTimeout),
      fmt::format("cannot connect to {}: {}", address.ToString(),
                  std::strerror(error)));
}

absl::StatusOr<Fd> ConnectOne(const SocketAddress& address, Instant deadline) {
  Fd fd(socket(address.storage.ss_family,
               SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket for", "TCP");
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
  if (connect(fd.get(), to, address.size) == 0) return fd;
  if (errno != EINPROGRESS) return ConnectFailure(address, errno);
  if (!WaitReady(fd.get(), POLLOUT, deadline)) {
    return ConnectFailure(address, ETIMEDOUT);
  }
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return ConnectFailure(address, error);
  return fd;
}

}  // namespace

std::string SocketAddress::ToString() const {
  char host[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    return fmt::format("[{}]:{}", host, ntohs(v6->sin6_port));
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
  inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
  return fmt::format("{}:{}", host, ntohs(v4->sin_port));
}

absl::StatusOr<SocketAddress> ResolveListenAddress(std::string_view text) {
  ASSIGN_OR_RETURN(const HostPort parsed, ParseListenAddress(text));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error =
          getaddrinfo(parsed.host.c_str(), std::to_string(parsed.port).c_str(),
                      &hints, &found)) {
    return absl::InvalidArgumentError(
        fmt::format("{:?}: {}", text, gai_strerror(error)));
  }
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const HostPort& target,
                                                   Instant deadline) {
  if (IsIpAddress(target.host)) return ReadAddress(target);
  auto lookup = std::make_unique<Lookup>();
  lookup->host = target.host;
  lookup->service = std::to_string(target.port);
  lookup->hints.ai_socktype = SOCK_STREAM;
  lookup->hints.ai_flags = AI_NUMERICSERV;
  lookup->request.ar_name = lookup->host.c_str();
  lookup->request.ar_service = lookup->service.c_str();
  lookup->request.ar_request = &lookup->hints;
  gaicb* list[] = {&lookup->request};
  if (const int error = getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr)) {
    return DnsFailure(target, gai_strerror(error));
  }
  SystemClock clock;
  while (!lookup->done()) {
    const absl::Duration left = deadline - clock.Now();
    if (left <= absl::ZeroDuration()) {
      if (gai_cancel(&lookup->request) == EAI_NOTCANCELED) {
        Abandon(std::move(lookup));
      }
      return DnsFailure(target, "the resolver did not answer in time");
    }
    const timespec wait = absl::ToTimespec(left);
    gai_suspend(list, 1, &wait);  // Whatever it says, done() decides.
  }
  if (const int error = gai_error(&lookup->request)) {
    return DnsFailure(target, gai_strerror(error));
  }
  return CopyAddresses(lookup->request.ar_result);
}

absl::StatusOr<Connection> Connect(const std::vector<SocketAddress>& addresses,
                                   Instant deadline) {
  SystemClock clock;
  absl::Status last = absl::InvalidArgumentError("no address to connect to");
  for (size_t i = 0; i < addresses.size(); ++i) {
    const Instant now = clock.Now();
    const auto remaining = static_cast<int64_t>(addresses.size() - i);
    auto fd = ConnectOne(addresses[i], now + (deadline - now) / remaining);
    if (fd.ok()) return Connection{*std::move(fd), addresses[i].ToString()};
    last = fd.status();
  }
  return last;
}

bool WaitReady(int fd, short events, Instant deadline) {
  SystemClock clock;
  while (true) {
    const absl::Duration left = deadline - clock.Now();
    if (left <= absl::ZeroDuration()) return false;
    const absl::Duration step = std::min(left, absl::Hours(1));
    // Rounded up: a wait of zero would spin.
    const auto millis = absl::ToInt64Milliseconds(step) + 1;
    pollfd entry = {fd, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(millis));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // The next call reports it.
  }
}

}  // namespace muster
