#include "gateway/http/http_server.h"

#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "gateway/http/http_session.h"
#include "gateway/http/net_stream.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/dial.h"

namespace muster::gateway {
namespace {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

// Accepting fails for want of descriptors or memory: trying again at once would
// only burn the core that must give some back.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

absl::StatusOr<Tcp::endpoint> Resolve(const std::string& listen) {
  ASSIGN_OR_RETURN(const SocketAddress address, ResolveListenAddress(listen));
  Tcp::endpoint endpoint;
  endpoint.resize(address.size);
  std::memcpy(endpoint.data(), &address.storage, address.size);
  return endpoint;
}

// Without port; an IPv4 caller of an IPv6 listener as what it is.
std::string AddressText(asio::ip::address address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return address.to_string();
}

}  // namespace

// Core is what outlives the server if an answer comes late: whoever holds a
// Respond holds it. Everything but the atomics is touched on the io thread.
class HttpServer::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, HttpHandler& handler)
      : options_(std::move(options)),
        handler_(handler),
        acceptor_(io_),
        pause_(io_),
        stop_timer_(io_) {}

  absl::Status Listen();
  void Run() {
    Accept();
    const auto work = asio::make_work_guard(io_);
    io_.run();
  }
  void ReplaceTls(TlsContext tls) {
    asio::post(io_, [this, tls = std::move(tls)]() mutable {
      options_.tls = std::move(tls);
    });
  }
  void Stop(absl::Duration deadline) {
    asio::post(io_, [this, deadline] { BeginStop(deadline); });
  }

  uint16_t port() const { return port_; }
  size_t connections() const { return connections_; }

 private:
  void Accept();
  void OnAccept(ErrorCode error, Tcp::socket socket);
  void Serve(Tcp::socket socket);
  void OnClosed(HttpSession& session);
  void BeginStop(absl::Duration deadline);
  void CloseAll();

  Options options_;
  HttpHandler& handler_;
  uint16_t port_ = 0;
  std::atomic<size_t> connections_ = 0;
  bool stopping_ = false;
  absl::flat_hash_map<std::string, size_t> per_source_;
  // Each is owned by its own pending operations.
  absl::flat_hash_set<HttpSession*> sessions_;

  // Before what is registered with it, after what its handlers touch.
  asio::io_context io_{1};
  Tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  asio::steady_timer stop_timer_;
};

absl::Status HttpServer::Core::Listen() {
  ASSIGN_OR_RETURN(const Tcp::endpoint endpoint, Resolve(options_.listen));
  ErrorCode error;
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.address().is_v6()) {
    acceptor_.set_option(asio::ip::v6_only(false), error);
  }
  if (!error) acceptor_.bind(endpoint, error);
  if (!error)
    acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return absl::FailedPreconditionError(fmt::format(
        "cannot listen on {}: {}", options_.listen, error.message()));
  }
  port_ = acceptor_.local_endpoint(error).port();
  return absl::OkStatus();
}

void HttpServer::Core::Accept() {
  acceptor_.async_accept([this](ErrorCode error, Tcp::socket socket) {
    OnAccept(error, std::move(socket));
  });
}

void HttpServer::Core::OnAccept(ErrorCode error, Tcp::socket socket) {
  if (stopping_) return;
  if (!error) {
    Serve(std::move(socket));
    return Accept();
  }
  Log(kWarning, "cannot accept HTTP connections, will go on trying",
      {{"error", error.message()}});
  pause_.expires_after(absl::ToChronoNanoseconds(kAcceptPause));
  pause_.async_wait([this](ErrorCode cancelled) {
    if (!cancelled && !stopping_) Accept();
  });
}

void HttpServer::Core::Serve(Tcp::socket socket) {
  ErrorCode error;
  const Tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;  // Gone already.
  const std::string source = AddressText(peer.address());
  if (sessions_.size() >= options_.limits.connections_max) return;
  const auto count = per_source_.find(source);
  if (count != per_source_.end() &&
      count->second >= options_.limits.connections_per_source_max) {
    return;
  }
  ++per_source_[source];
  socket.set_option(Tcp::no_delay(true), error);
  const auto session = std::make_shared<HttpSession>(
      NetStream(std::move(socket), options_.tls.get()), source, handler_,
      options_.limits, weak_from_this(),
      [this](HttpSession& closed) { OnClosed(closed); });
  sessions_.insert(session.get());
  connections_ = sessions_.size();
  session->Start();
}

void HttpServer::Core::OnClosed(HttpSession& session) {
  sessions_.erase(&session);
  connections_ = sessions_.size();
  const auto count = per_source_.find(session.peer_address());
  if (--count->second == 0) per_source_.erase(count);
  if (stopping_ && sessions_.empty()) io_.stop();
}

void HttpServer::Core::BeginStop(absl::Duration deadline) {
  if (stopping_) return;
  stopping_ = true;
  ErrorCode ignored;
  acceptor_.close(ignored);
  pause_.cancel();
  if (sessions_.empty()) return io_.stop();
  stop_timer_.expires_after(absl::ToChronoNanoseconds(deadline));
  stop_timer_.async_wait([this](ErrorCode) { CloseAll(); });
  const auto sessions = sessions_;  // Closing changes the set.
  for (HttpSession* session : sessions) session->Drain();
}

void HttpServer::Core::CloseAll() {
  const auto sessions = sessions_;
  for (HttpSession* session : sessions) session->Close();
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    Options options, HttpHandler& handler) {
  signal(SIGPIPE, SIG_IGN);
  auto core = std::make_shared<Core>(std::move(options), handler);
  RETURN_IF_ERROR(core->Listen());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(core)));
}

HttpServer::HttpServer(std::shared_ptr<Core> core)
    : core_(std::move(core)), thread_([c = core_] { c->Run(); }) {}

HttpServer::~HttpServer() { Stop(absl::ZeroDuration()); }

uint16_t HttpServer::port() const { return core_->port(); }

void HttpServer::ReplaceTls(TlsContext tls) {
  core_->ReplaceTls(std::move(tls));
}

size_t HttpServer::connections() const { return core_->connections(); }

void HttpServer::Stop(absl::Duration deadline) {
  core_->Stop(deadline);
  if (thread_.joinable()) thread_.join();
}

}  // namespace muster::gateway
