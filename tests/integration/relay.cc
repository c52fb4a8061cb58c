#include "tests/integration/relay.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "libprotocol/base/check.h"

namespace muster::integration {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void NoDelay(const Fd& fd) {
  const int one = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// The peer sees a reset, not an orderly end.
void Reset(Fd& fd) {
  const linger now{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.Reset();
}

// One direction of one connection.
struct Pipe {
  const Fd& from;
  const Fd& to;
  std::string& bytes;
  bool held;

  bool wants_read() const { return !held && bytes.empty(); }
  bool wants_write() const { return !held && !bytes.empty(); }

  // False when `from` has ended.
  bool Read() {
    bytes.resize(kBufferBytes);
    const ssize_t n = read(from.get(), bytes.data(), bytes.size());
    const bool later = n < 0 && (errno == EAGAIN || errno == EINTR);
    bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return n > 0 || later;
  }
  // False when `to` has ended.
  bool Write() {
    const ssize_t n = send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) bytes.erase(0, static_cast<size_t>(n));
    return n > 0 || errno == EAGAIN || errno == EINTR;
  }
};

// A descriptor without a wish is left out: poll() would report its hang-up
// without end.
pollfd Wishes(const Fd& fd, bool read, bool write) {
  const short events =
      static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0));
  return {events == 0 ? -1 : fd.get(), events, 0};
}

}  // namespace

Relay::Relay(uint16_t target)
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      target_(target) {
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  MUSTER_CHECK(bind(listener_.get(), raw, length) == 0);
  MUSTER_CHECK(listen(listener_.get(), SOMAXCONN) == 0);
  MUSTER_CHECK(getsockname(listener_.get(), raw, &length) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

Relay::~Relay() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
}

void Relay::Wake() const { eventfd_write(wake_.get(), 1); }

void Relay::SetTarget(uint16_t target) {
  MutexLock lock(mu_);
  target_ = target;
}

void Relay::Cut() {
  {
    MutexLock lock(mu_);
    for (Connection& connection : connections_) {
      Reset(connection.agent);
      Reset(connection.gateway);
    }
    connections_.clear();
  }
  Wake();
}

void Relay::Refuse(bool refuse) {
  MutexLock lock(mu_);
  refusing_ = refuse;
}

void Relay::Hold(Direction direction, bool hold) {
  {
    MutexLock lock(mu_);
    (direction == Direction::kToGateway ? hold_to_gateway_ : hold_to_agent_) =
        hold;
  }
  Wake();
}

int Relay::connections() const {
  MutexLock lock(mu_);
  return static_cast<int>(connections_.size());
}

void Relay::Accept() {
  Fd agent(
      accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!agent.valid()) return;
  Fd gateway(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Loopback(target_);
  const bool connected =
      !refusing_ &&
      connect(gateway.get(), reinterpret_cast<const sockaddr*>(&address),
              sizeof address) == 0;
  if (!connected) {
    Reset(agent);
    return;
  }
  fcntl(gateway.get(), F_SETFL, O_NONBLOCK);
  NoDelay(agent);
  NoDelay(gateway);
  Connection& connection = connections_.emplace_back();
  connection.agent = std::move(agent);
  connection.gateway = std::move(gateway);
}

void Relay::Run() {
  while (true) {
    std::vector<pollfd> fds{{wake_.get(), POLLIN, 0},
                            {listener_.get(), POLLIN, 0}};
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      for (Connection& c : connections_) {
        const Pipe up{c.agent, c.gateway, c.to_gateway, hold_to_gateway_};
        const Pipe down{c.gateway, c.agent, c.to_agent, hold_to_agent_};
        fds.push_back(
            Wishes(c.agent, !c.over && up.wants_read(), down.wants_write()));
        fds.push_back(
            Wishes(c.gateway, !c.over && down.wants_read(), up.wants_write()));
      }
    }
    poll(fds.data(), fds.size(), -1);
    eventfd_t ignored;
    eventfd_read(wake_.get(), &ignored);

    // Descriptors may have changed since poll(): what is not ready says so.
    MutexLock lock(mu_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      Connection& c = *it;
      Pipe up{c.agent, c.gateway, c.to_gateway, hold_to_gateway_};
      Pipe down{c.gateway, c.agent, c.to_agent, hold_to_agent_};
      bool broken = false;
      for (Pipe* pipe : {&up, &down}) {
        if (!c.over && pipe->wants_read()) c.over = !pipe->Read();
        if (pipe->wants_write()) broken = broken || !pipe->Write();
      }
      const bool written = !up.wants_write() && !down.wants_write();
      it = broken || (c.over && written) ? connections_.erase(it) : ++it;
    }
    if ((fds[1].revents & POLLIN) != 0) Accept();
  }
}

}  // namespace muster::integration
