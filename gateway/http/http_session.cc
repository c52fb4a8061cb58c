#include "gateway/http/http_session.h"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "fmt/format.h"
#include "gateway/http/problem.h"

namespace muster::gateway {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr size_t kReadBytes = 8 << 10;

// What may wait behind a request that is being answered.
constexpr size_t kReadAheadBytesMax = 16 << 10;

// A caller that ignores the last answer and goes on sending.
constexpr size_t kDiscardBytesMax = 4 << 20;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string ToStdString(boost::beast::string_view s) {
  return std::string(s.data(), s.size());
}

HttpRequest ToPlain(http::request<http::string_body> message,
                    const std::string& peer_address) {
  HttpRequest request;
  request.method = ToStdString(message.method_string());
  request.target = ToStdString(message.target());
  const size_t question =
      std::min(request.target.find('?'), request.target.size());
  request.path = request.target.substr(0, question);
  if (question < request.target.size()) {
    request.query = request.target.substr(question + 1);
  }
  for (const auto& field : message) {
    request.headers.emplace_back(
        absl::AsciiStrToLower(
            {field.name_string().data(), field.name_string().size()}),
        ToStdString(field.value()));
  }
  request.body = std::move(message.body());
  request.peer_address = peer_address;
  return request;
}

// A line break in a value would start a header of its own.
std::string OneLine(std::string_view value) {
  std::string line(value);
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

HttpResponse ProblemFor(boost::system::error_code error,
                        const HttpLimits& limits) {
  if (error == http::error::body_limit) {
    return MakeProblem({.status = 413,
                        .code = "body_too_large",
                        .detail = fmt::format("body: must be at most {} bytes",
                                              limits.body_bytes_max)});
  }
  if (error == http::error::header_limit) {
    return MakeProblem(
        {.status = 431,
         .code = "headers_too_large",
         .detail = fmt::format("request line and headers: must be at most {} "
                               "bytes",
                               limits.header_bytes_max)});
  }
  return MakeProblem(
      {.status = 400,
       .code = "malformed_request",
       .detail = fmt::format("not an HTTP/1.1 request: {}", error.message())});
}

}  // namespace

HttpSession::HttpSession(NetStream stream, std::string peer_address,
                         HttpHandler& handler, const HttpLimits& limits,
                         std::weak_ptr<void> io_owner, OnClosed on_closed)
    : peer_address_(std::move(peer_address)),
      handler_(handler),
      limits_(limits),
      io_owner_(std::move(io_owner)),
      on_closed_(std::move(on_closed)),
      stream_(std::move(stream)),
      timer_(stream_.get_executor()) {}

void HttpSession::Start() { BeginRequest(limits_.header_timeout); }

void HttpSession::Drain() {
  draining_ = true;
  if ((state_ == State::kReading && !begun_) || more_) Close();
}

void HttpSession::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  timer_.cancel();
  stream_.Close();
  on_closed_(*this);
}

void HttpSession::BeginRequest(absl::Duration first_byte_timeout) {
  state_ = State::kReading;
  parser_.emplace();
  parser_->eager(true);
  parser_->header_limit(static_cast<uint32_t>(limits_.header_bytes_max));
  parser_->body_limit(limits_.body_bytes_max);
  begun_ = false;
  header_seen_ = false;
  SetDeadline(first_byte_timeout);
  Parse();
}

void HttpSession::Read() {
  if (read_pending_ || state_ == State::kClosed) return;
  const bool waiting = state_ == State::kHandling || state_ == State::kWriting;
  if (waiting && buffer_.size() >= kReadAheadBytesMax) return;
  read_pending_ = true;
  stream_.async_read_some(
      buffer_.prepare(kReadBytes),
      [self = shared_from_this()](ErrorCode error, size_t bytes) {
        self->read_pending_ = false;
        self->OnRead(error, bytes);
      });
}

void HttpSession::OnRead(ErrorCode error, size_t bytes) {
  if (state_ == State::kClosed) return;
  if (error) {
    // A caller may close its side as soon as it has asked for the last time;
    // what is being written may still reach it. Nobody waits for what is not
    // yet.
    if (state_ != State::kWriting) return Close();
    keep_alive_ = false;
    return;
  }
  buffer_.commit(bytes);
  switch (state_) {
    case State::kReading:
      return Parse();
    case State::kHandling:
    case State::kWriting:
      return Read();
    case State::kLingering:
      discarded_ += buffer_.size();
      buffer_.consume(buffer_.size());
      return discarded_ > kDiscardBytesMax ? Close() : Read();
    case State::kClosed:
      return;
  }
}

void HttpSession::Parse() {
  if (continue_pending_) return;  // It comes back here.
  if (!begun_ && buffer_.size() > 0) {
    begun_ = true;
    SetDeadline(limits_.header_timeout);
  }
  while (buffer_.size() > 0 && !parser_->is_done()) {
    ErrorCode error;
    const size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (error == http::error::need_more) break;
    if (error) return Refuse(error);
  }
  if (parser_->is_done()) return Dispatch();
  if (parser_->is_header_done() && !header_seen_) return OnHeader();
  Read();
}

void HttpSession::OnHeader() {
  header_seen_ = true;
  SetDeadline(limits_.body_timeout);
  const boost::beast::string_view expect = parser_->get()[http::field::expect];
  if (boost::beast::iequals(expect, "100-continue")) return SendContinue();
  Read();
}

void HttpSession::SendContinue() {
  continue_pending_ = true;
  // 25 bytes into an empty socket buffer: never a part of them.
  stream_.async_write_some(
      asio::buffer(kContinue),
      [self = shared_from_this()](ErrorCode error, size_t) {
        self->continue_pending_ = false;
        if (self->state_ == State::kClosed) return;
        if (error) return self->Close();
        self->Parse();
      });
}

void HttpSession::Refuse(ErrorCode error) {
  keep_alive_ = false;
  head_ = false;
  Write(ProblemFor(error, limits_));
}

void HttpSession::Dispatch() {
  keep_alive_ = parser_->keep_alive() && !draining_;
  head_ = parser_->get().method() == http::verb::head;
  state_ = State::kHandling;
  timer_.cancel();
  ++deadline_;
  Read();
  handler_.Handle(ToPlain(parser_->release(), peer_address_), MakeRespond());
}

Respond HttpSession::MakeRespond() {
  return Respond([weak = weak_from_this(), io = io_owner_.lock(),
                  executor = stream_.get_executor(),
                  exchange = ++exchange_](HttpResponse response) {
    asio::post(executor,
               [weak, exchange, response = std::move(response)]() mutable {
                 if (const auto self = weak.lock()) {
                   self->OnResponse(exchange, std::move(response));
                 }
               });
  });
}

void HttpSession::OnResponse(uint64_t exchange, HttpResponse response) {
  if (state_ != State::kHandling || exchange != exchange_) return;
  if (more_) return WritePart(std::move(response));
  Write(std::move(response));
}

void HttpSession::Write(HttpResponse response) {
  state_ = State::kWriting;
  if (!response.more) response.length = response.body.size();
  if (!head_) more_ = std::move(response.more);
  if (draining_ || more_) keep_alive_ = false;
  out_ = fmt::format("HTTP/1.1 {} {}\r\n", response.status,
                     ReasonPhrase(response.status));
  for (const auto& [name, value] : response.headers) {
    fmt::format_to(std::back_inserter(out_), "{}: {}\r\n", name,
                   OneLine(value));
  }
  if (response.status != 204 && response.length) {
    fmt::format_to(std::back_inserter(out_), "Content-Length: {}\r\n",
                   *response.length);
  }
  out_ += keep_alive_ ? "Connection: keep-alive\r\n\r\n"
                      : "Connection: close\r\n\r\n";
  if (!head_ && response.status != 204) out_ += response.body;
  written_ = 0;
  WriteSome();
}

void HttpSession::AskForMore() {
  if (draining_) return Close();
  state_ = State::kHandling;
  timer_.cancel();
  ++deadline_;
  Read();
  more_(MakeRespond());
}

void HttpSession::WritePart(HttpResponse part) {
  more_ = part.status == 200 ? std::move(part.more) : nullptr;
  if (part.status != 200 || part.body.empty()) {
    return more_ ? AskForMore() : Linger();
  }
  state_ = State::kWriting;
  out_ = std::move(part.body);
  written_ = 0;
  WriteSome();
}

void HttpSession::WriteSome() {
  SetDeadline(limits_.write_timeout);
  stream_.async_write_some(
      asio::buffer(out_.data() + written_, out_.size() - written_),
      [self = shared_from_this()](ErrorCode error, size_t bytes) {
        if (self->state_ == State::kClosed) return;
        if (error) return self->Close();
        self->written_ += bytes;
        if (self->written_ < self->out_.size()) return self->WriteSome();
        self->out_ = {};
        if (self->more_) return self->AskForMore();
        if (!self->keep_alive_) return self->Linger();
        self->BeginRequest(self->limits_.idle_timeout);
      });
}

void HttpSession::Linger() {
  state_ = State::kLingering;
  SetDeadline(limits_.linger_timeout);
  stream_.FinishWriting();
  buffer_.consume(buffer_.size());
  Read();
}

void HttpSession::SetDeadline(absl::Duration timeout) {
  timer_.expires_after(absl::ToChronoNanoseconds(timeout));
  timer_.async_wait(
      [self = shared_from_this(), deadline = ++deadline_](ErrorCode error) {
        if (!error && deadline == self->deadline_) self->OnDeadline();
      });
}

void HttpSession::OnDeadline() {
  if (state_ != State::kReading || !begun_ || continue_pending_) {
    return Close();
  }
  keep_alive_ = false;
  head_ = false;
  Write(MakeProblem({.status = 408,
                     .code = "request_timeout",
                     .detail = "the request did not arrive in time"}));
}

}  // namespace muster::gateway
