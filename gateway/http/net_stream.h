// One stream type for plain TCP and TLS.
//
// OpenSSL reads and writes the socket itself; we only wait for readiness. That
// costs 21 KiB for an idle TLS connection where asio::ssl::stream needs 70.
// OpenSSL writes with write(2), so SIGPIPE must be ignored (HttpServer does).

#ifndef MUSTER_GATEWAY_HTTP_NET_STREAM_H_
#define MUSTER_GATEWAY_HTTP_NET_STREAM_H_

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <utility>

#include "libprotocol/net/openssl_ptr.h"

namespace muster::gateway {

// NetStream is an Asio stream (names as Asio wants them). At most one read and
// one write at a time. Not thread-safe. It must outlive its operations.
class NetStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using ErrorCode = boost::system::error_code;
  using executor_type = Socket::executor_type;

  // `tls` null: plain. Otherwise the handshake happens with the first read.
  NetStream(Socket socket, SSL_CTX* tls) : socket_(std::move(socket)) {
    if (tls == nullptr) return;
    ErrorCode ignored;  // A socket that cannot do this fails at the first read.
    socket_.native_non_blocking(true, ignored);
    ssl_.reset(SSL_new(tls));
    SSL_set_fd(ssl_.get(), socket_.native_handle());
    SSL_set_accept_state(ssl_.get());
  }

  executor_type get_executor() { return socket_.get_executor(); }
  Socket& socket() { return socket_; }

  // Completes with (error, bytes) once at least one byte was read; eof when the
  // peer has closed its side.
  template <typename Token>
  auto async_read_some(boost::asio::mutable_buffer buffer, Token&& token) {
    if (!ssl_) {
      return socket_.async_read_some(buffer, std::forward<Token>(token));
    }
    const auto read = [buffer](SSL* ssl, size_t* done) {
      return SSL_read_ex(ssl, buffer.data(), buffer.size(), done);
    };
    return Run(read, std::forward<Token>(token));
  }

  // Completes with (error, bytes) once at least one byte was written.
  template <typename Token>
  auto async_write_some(boost::asio::const_buffer buffer, Token&& token) {
    if (!ssl_) {
      return socket_.async_write_some(buffer, std::forward<Token>(token));
    }
    const auto write = [buffer](SSL* ssl, size_t* done) {
      return SSL_write_ex(ssl, buffer.data(), buffer.size(), done);
    };
    return Run(write, std::forward<Token>(token));
  }

  // Says that nothing more will be written. The peer may still send.
  void FinishWriting() {
    if (ssl_) {
      ERR_clear_error();
      SSL_shutdown(ssl_.get());
    }
    ErrorCode ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }

  // Operations under way complete with operation_aborted.
  void Close() {
    ErrorCode ignored;
    socket_.close(ignored);
  }

 private:
  // Repeats one SSL call until the socket lets it finish.
  template <typename Attempt>
  struct TlsOperation {
    NetStream& stream;
    Attempt attempt;
    bool waited = false;
    bool finished = false;
    size_t done = 0;

    template <typename Self>
    void operator()(Self& self, ErrorCode error = {}) {
      if (finished) return self.complete({}, done);
      if (error) return self.complete(error, 0);
      ERR_clear_error();
      const int result = attempt(stream.ssl_.get(), &done);
      if (result == 1) {
        if (waited) return self.complete({}, done);
        finished = true;  // Never complete inside the call that started it.
        return boost::asio::post(stream.get_executor(), std::move(self));
      }
      waited = true;
      switch (SSL_get_error(stream.ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
          return stream.socket_.async_wait(Socket::wait_read, std::move(self));
        case SSL_ERROR_WANT_WRITE:
          return stream.socket_.async_wait(Socket::wait_write, std::move(self));
        case SSL_ERROR_ZERO_RETURN:
          return Fail(boost::asio::error::eof, self);
        default:
          return Fail(boost::asio::error::connection_reset, self);
      }
    }

    // Errors, too, must not complete inside the call that started it.
    template <typename Self>
    void Fail(ErrorCode error, Self& self) {
      boost::asio::post(stream.get_executor(),
                        [self = std::move(self), error]() mutable {
                          self.complete(error, 0);
                        });
    }
  };

  template <typename Attempt, typename Token>
  auto Run(Attempt attempt, Token&& token) {
    return boost::asio::async_compose<Token, void(ErrorCode, size_t)>(
        TlsOperation<Attempt>{.stream = *this, .attempt = attempt}, token,
        socket_);
  }

  Socket socket_;
  SslPtr ssl_;  // Null: plain.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_NET_STREAM_H_
