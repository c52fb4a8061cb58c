#include "tests/integration/raw_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cstdlib>
#include <string_view>

#include "absl/strings/ascii.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::integration {
namespace {

constexpr time_t kPatienceSeconds = 20;

// The value of one header in lower-case lines; "" if there is none.
std::string HeaderOf(const std::string& head, std::string_view name) {
  const std::string lower = absl::AsciiStrToLower(head);
  const std::string line = fmt::format("\r\n{}: ", name);
  const size_t at = lower.find(line);
  if (at == std::string::npos) return "";
  const size_t begin = at + line.size();
  return lower.substr(begin, lower.find("\r\n", begin) - begin);
}

// "not_found" from {"…","code":"not_found",…}.
std::string CodeOf(const std::string& body) {
  constexpr std::string_view kField = "\"code\":\"";
  const size_t at = body.find(kField);
  if (at == std::string::npos) return "";
  const size_t begin = at + kField.size();
  return body.substr(begin, body.find('"', begin) - begin);
}

}  // namespace

bool RawHttp::Dial() {
  received_.clear();
  fd_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const timeval patience = {.tv_sec = kPatienceSeconds, .tv_usec = 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(port_);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to),
                 sizeof to) == 0;
}

bool RawHttp::SendAll(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n =
        send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool RawHttp::ReceiveUpTo(size_t bytes) {
  std::array<char, 16384> part;
  while (received_.size() < bytes) {
    const ssize_t n = recv(fd_.get(), part.data(), part.size(), 0);
    if (n <= 0) return false;
    received_.append(part.data(), static_cast<size_t>(n));
  }
  return true;
}

RawAnswer RawHttp::ReadAnswer(bool has_body) {
  RawAnswer answer;
  size_t end;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!ReceiveUpTo(received_.size() + 1)) return answer;
  }
  answer.head = received_.substr(0, end + 2);
  received_.erase(0, end + 4);
  answer.status = std::atoi(answer.head.c_str() + 9);  // "HTTP/1.1 200 OK"
  const std::string length = HeaderOf(answer.head, "content-length");
  if (has_body && !length.empty()) {
    const size_t bytes = static_cast<size_t>(std::atoll(length.c_str()));
    if (!ReceiveUpTo(bytes)) return {};
    answer.body = received_.substr(0, bytes);
    received_.erase(0, bytes);
    answer.code = CodeOf(answer.body);
  }
  const bool without_end = has_body && length.empty() && answer.status != 204;
  if (without_end || HeaderOf(answer.head, "connection") == "close") {
    fd_ = Fd();
  }
  return answer;
}

RawAnswer RawHttp::Ask(const RawRequest& request) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
                                 request.verb, request.target, port_);
  for (const std::string& line : request.headers) text += line + "\r\n";
  if (!request.body.empty()) {
    text +=
        fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n",
                    request.body.size());
  }
  text += "\r\n" + request.body;
  if (!fd_.valid() && !Dial()) return {};
  if (!SendAll(text)) {
    fd_ = Fd();
    return {};
  }
  RawAnswer answer = ReadAnswer(request.verb != "HEAD");
  if (answer.status == 0) fd_ = Fd();
  return answer;
}

}  // namespace muster::integration
