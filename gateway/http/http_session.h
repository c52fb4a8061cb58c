// One connection: requests in, answers out, in order.
//
//              bytes                request complete
//   kReading ────────▶ kReading ───────────────────▶ kHandling
//      ▲  │ malformed, too large, too slow               │ answer
//      │  └──────────────────────────────▶ kWriting ◀────┘
//      └───────── keep-alive ────────────────┘  │ last answer
//                                               ▼
//                          kLingering ──▶ kClosed
//
// An answer in parts goes from kWriting back to kHandling until the last one.
//
// Exactly one read is under way while there is room, whatever the state: that
// is how a caller that goes away is noticed while its answer is pending.
// Requests that arrive early (pipelining) wait in the buffer, within bounds.
//
// Lingering: after the last answer we stop sending and read on for a moment.
// Closing with unread bytes would make the kernel reset the connection and the
// caller lose the answer that told it what was wrong.

#ifndef MUSTER_GATEWAY_HTTP_HTTP_SESSION_H_
#define MUSTER_GATEWAY_HTTP_HTTP_SESSION_H_

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "gateway/http/http_message.h"
#include "gateway/http/http_server.h"
#include "gateway/http/net_stream.h"

namespace muster::gateway {

// HttpSession is touched on the io thread only. Lifetime: its pending
// operations own it; `handler` and `limits` must outlive it. Timers are the io
// thread's own: they guard sockets, not machines.
class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  using OnClosed = std::function<void(HttpSession&)>;

  // `io_owner` keeps the stream's io_context alive for answers that come late.
  // `on_closed` runs exactly once, when the connection no longer counts.
  HttpSession(NetStream stream, std::string peer_address, HttpHandler& handler,
              const HttpLimits& limits, std::weak_ptr<void> io_owner,
              OnClosed on_closed);

  void Start();

  // Closes now if no request is under way, or one whose answer has no end; else
  // after the answer.
  void Drain();

  // Closes now. Pending answers are dropped. Idempotent.
  void Close();

  const std::string& peer_address() const { return peer_address_; }

 private:
  enum class State { kReading, kHandling, kWriting, kLingering, kClosed };
  using Parser =
      boost::beast::http::request_parser<boost::beast::http::string_body>;
  using ErrorCode = boost::system::error_code;

  void BeginRequest(absl::Duration first_byte_timeout);
  void Read();
  void OnRead(ErrorCode error, size_t bytes);
  void Parse();
  void OnHeader();
  void SendContinue();
  void Refuse(ErrorCode error);
  void Dispatch();
  // The obligation to answer the request, or its next part.
  Respond MakeRespond();
  void OnResponse(uint64_t exchange, HttpResponse response);
  void Write(HttpResponse response);
  void AskForMore();
  void WritePart(HttpResponse part);
  void WriteSome();
  void Linger();

  void SetDeadline(absl::Duration timeout);
  void OnDeadline();

  // Constant after construction.
  const std::string peer_address_;
  HttpHandler& handler_;
  const HttpLimits& limits_;
  const std::weak_ptr<void> io_owner_;
  const OnClosed on_closed_;

  NetStream stream_;
  State state_ = State::kReading;
  bool read_pending_ = false;
  bool draining_ = false;

  // The request being read.
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  bool begun_ = false;  // Its first byte is here.
  bool header_seen_ = false;
  bool continue_pending_ = false;  // "100 Continue" is being written.

  // The request being answered.
  uint64_t exchange_ = 0;  // Which one; a late answer to another is dropped.
  bool keep_alive_ = false;
  bool head_ = false;
  std::function<void(Respond)> more_;  // Set: an answer in parts, not its last.
  std::string out_;
  size_t written_ = 0;
  size_t discarded_ = 0;  // While lingering.

  boost::asio::steady_timer timer_;
  uint64_t deadline_ = 0;  // Which one is set; older ones are void.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_HTTP_SESSION_H_
