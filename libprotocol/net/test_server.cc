#include "libprotocol/net/test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "libprotocol/net/openssl_ptr.h"

namespace muster {
namespace {

int ChooseHttp2(SSL*, const unsigned char** out, unsigned char* size,
                const unsigned char* in, unsigned int, void*) {
  *out = in + 1;
  *size = in[0];
  return SSL_TLSEXT_ERR_OK;
}

SslContextPtr ServerContext(const TestServer::Options& options) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  CertificatePtr leaf =
      *ReadCertificatePem(options.leaf.certificate_pem, "leaf");
  KeyPtr key = *ReadKeyPem(options.leaf.key_pem.Reveal(), "key");
  MUSTER_CHECK(SSL_CTX_use_certificate(context.get(), leaf.get()) == 1);
  MUSTER_CHECK(SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1);
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseHttp2, nullptr);
  if (!options.client_ca.empty()) {
    CertificatePtr ca = *ReadCertificatePem(options.client_ca, "ca");
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), ca.get());
    SSL_CTX_set_verify(context.get(),
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       nullptr);
  }
  return context;
}

bool Whole(const std::string& request) {
  const size_t end = request.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  const size_t length = request.find("Content-Length: ");
  const size_t body =
      length == std::string::npos ? 0 : std::stoul(request.substr(length + 16));
  return request.size() >= end + 4 + body;
}

}  // namespace

TestServer::TestServer(Options options, Script script)
    : options_(std::move(options)), script_(std::move(script)) {
  const int family = options_.ipv6 ? AF_INET6 : AF_INET;
  listener_.Reset(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  auto* address = options_.ipv6 ? reinterpret_cast<sockaddr*>(&v6)
                                : reinterpret_cast<sockaddr*>(&v4);
  socklen_t size = options_.ipv6 ? sizeof v6 : sizeof v4;
  MUSTER_CHECK(bind(listener_.get(), address, size) == 0);
  MUSTER_CHECK(listen(listener_.get(), 16) == 0);
  MUSTER_CHECK(getsockname(listener_.get(), address, &size) == 0);
  port_ = ntohs(options_.ipv6 ? v6.sin6_port : v4.sin_port);
  thread_ = std::thread([this] { Run(); });
}

TestServer::~TestServer() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    shutdown(listener_.get(), SHUT_RDWR);
    if (current_ >= 0) shutdown(current_, SHUT_RDWR);
  }
  thread_.join();
}

int TestServer::connections() {
  MutexLock lock(mu_);
  return connections_;
}

void TestServer::Run() {
  sigset_t pipe;  // Only here: the client under test must not need it.
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (true) {
    Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    {
      MutexLock lock(mu_);
      if (stopping_ || !fd.valid()) return;
      ++connections_;
      current_ = fd.get();
    }
    Serve(fd.get());
    MutexLock lock(mu_);
    current_ = -1;
  }
}

void TestServer::Serve(int fd) {
  SslPtr ssl;
  SslContextPtr context;
  if (options_.tls) {
    context = ServerContext(options_);
    ssl.reset(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), fd);
    if (SSL_accept(ssl.get()) != 1) return;
  }
  const auto send_all = [&](const std::string& text) {
    if (text.empty()) return;
    if (ssl) {
      SSL_write(ssl.get(), text.data(), static_cast<int>(text.size()));
    } else {
      (void)!write(fd, text.data(), text.size());
    }
  };
  if (options_.hang_up) return;
  send_all(options_.greeting);
  std::string request;
  char buffer[65536];
  while (true) {
    const auto n = ssl ? SSL_read(ssl.get(), buffer, sizeof buffer)
                       : read(fd, buffer, sizeof buffer);
    if (n <= 0) return;
    request.append(buffer, static_cast<size_t>(n));
    if (!Whole(request)) continue;
    const std::string answer = script_(request);
    request.clear();
    send_all(answer);
    if (answer.find("Connection: close") != std::string::npos) {
      if (ssl) SSL_shutdown(ssl.get());
      return;
    }
  }
}

}  // namespace muster
