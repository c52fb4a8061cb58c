#include "gateway/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/http/api_handler.h"
#include "gateway/http/fake_api.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/net/https_client.h"
#include "libprotocol/net/test_pki.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Far beyond what anything here takes; a test that waits this long has failed.
constexpr absl::Duration kPatience = absl::Seconds(20);

bool Eventually(const std::function<bool()>& condition) {
  const SystemClock clock;
  const Instant deadline = clock.Now() + kPatience;
  while (!condition()) {
    if (clock.Now() > deadline) return false;
    poll(nullptr, 0, 1);
  }
  return true;
}

// Answers with what the test says, at once or when told.
class TestHandler final : public HttpHandler {
 public:
  void Handle(HttpRequest request, Respond respond) override {
    MutexLock lock(mu_);
    requests_.push_back(request);
    if (hold_) {
      held_.push_back(std::move(respond));
      return;
    }
    if (drop_) return;
    respond({.status = 200,
             .headers = headers_,
             .body = body_.empty() ? request.method + " " + request.target +
                                         " " + request.body
                                   : body_});
  }
  void Hold(bool hold) {
    MutexLock lock(mu_);
    hold_ = hold;
  }
  void Drop() {
    MutexLock lock(mu_);
    drop_ = true;
  }
  void AnswerWith(HttpHeaders headers, std::string body) {
    MutexLock lock(mu_);
    headers_ = std::move(headers);
    body_ = std::move(body);
  }
  size_t held() {
    MutexLock lock(mu_);
    return held_.size();
  }
  // Waits for a request that is being held.
  Respond TakeHeld() {
    EXPECT_TRUE(Eventually([this] { return held() > 0; }));
    MutexLock lock(mu_);
    Respond respond = std::move(held_.back());
    held_.pop_back();
    return respond;
  }
  HttpRequest LastRequest() {
    MutexLock lock(mu_);
    return requests_.back();
  }

 private:
  Mutex mu_;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  bool drop_ ABSL_GUARDED_BY(mu_) = false;
  HttpHeaders headers_ ABSL_GUARDED_BY(mu_);
  std::string body_ ABSL_GUARDED_BY(mu_);
  std::vector<HttpRequest> requests_ ABSL_GUARDED_BY(mu_);
  std::vector<Respond> held_ ABSL_GUARDED_BY(mu_);
};

struct Answer {
  int status = 0;  // 0: the connection ended instead.
  std::string head;
  std::string body;
};

// A caller that sends whatever the test says.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    timeval patience{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Connect();
  }
  void Connect() {
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address_),
                      sizeof address_),
              0);
  }
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n =
          send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // The server may refuse early.
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  Answer Read() {
    Answer answer;
    while (in_.find("\r\n\r\n") == std::string::npos) {
      if (!Fill()) return answer;
    }
    const size_t end = in_.find("\r\n\r\n") + 4;
    answer.head = in_.substr(0, end);
    in_.erase(0, end);
    answer.status = std::stoi(answer.head.substr(9, 3));
    const size_t length_at = answer.head.find("Content-Length: ");
    if (length_at == std::string::npos || head_only) return answer;
    const size_t length = std::stoul(answer.head.substr(length_at + 16));
    while (in_.size() < length && Fill()) {
    }
    answer.body = in_.substr(0, length);
    in_.erase(0, length);
    return answer;
  }
  Answer Ask(std::string_view bytes) {
    Send(bytes);
    return Read();
  }
  // The next bytes of an answer without a length, as many as `wanted` has.
  std::string ReadPart(std::string_view wanted) {
    while (in_.size() < wanted.size() && Fill()) {
    }
    const std::string part = in_.substr(0, wanted.size());
    in_.erase(0, wanted.size());
    return part;
  }
  // True if the server ended the connection and nothing was left unread.
  bool AtEnd() { return in_.empty() && !Fill(); }
  void Hangup() { fd_.Reset(); }

  bool head_only = false;  // Answers come without body.

 private:
  bool Fill() {
    char bytes[65536];
    const ssize_t n = recv(fd_.get(), bytes, sizeof bytes, 0);
    if (n > 0) in_.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }

  Fd fd_;
  sockaddr_in address_{};
  std::string in_;
};

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpLimits limits = {}, HttpHandler* handler = nullptr,
             TlsContext tls = nullptr) {
    auto server = HttpServer::Start(
        {.listen = "127.0.0.1:0", .tls = std::move(tls), .limits = limits},
        handler != nullptr ? *handler : handler_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  RawClient Client() { return RawClient(server_->port()); }

  TestHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

TEST_F(HttpServerTest, AConnectionServesManyRequests) {
  Start();
  RawClient client = Client();
  EXPECT_EQ(client.Ask(kGet).body, "GET /x ");
  const Answer answer = client.Ask(
      "POST /y?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(answer.body, "POST /y?q=1 abc");
  EXPECT_THAT(answer.head, HasSubstr("Connection: keep-alive"));
  const HttpRequest request = handler_.LastRequest();
  EXPECT_EQ(request.path, "/y");
  EXPECT_EQ(request.query, "q=1");
  EXPECT_EQ(request.peer_address, "127.0.0.1");
  EXPECT_EQ(request.Header("host"), "h");
  EXPECT_EQ(client.Ask("GET /z HTTP/1.1\r\nConnection: close\r\n\r\n").status,
            200);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  RawClient client = Client();
  std::string burst;
  for (int i = 0; i < 500; ++i) {
    burst += fmt::format("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", i);
  }
  client.Send(burst);
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(client.Read().body, fmt::format("GET /{} ", i));
  }
}

TEST_F(HttpServerTest, AChunkedBodyIsOneBody) {
  Start();
  EXPECT_EQ(Client()
                .Ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
                .body,
            "POST / abcde");
}

TEST_F(HttpServerTest, HeadGetsTheLengthAndNoBody) {
  Start();
  RawClient client = Client();
  client.head_only = true;
  EXPECT_THAT(client.Ask("HEAD /x HTTP/1.1\r\n\r\n").head,
              HasSubstr("Content-Length: 8\r\n"));
  client.head_only = false;
  EXPECT_EQ(client.Ask(kGet).body, "GET /x ");
}

TEST_F(HttpServerTest, ACallerThatAsksBeforeItsBodyIsToldToContinue) {
  Start();
  RawClient client = Client();
  EXPECT_EQ(client
                .Ask("POST / HTTP/1.1\r\nContent-Length: 2\r\n"
                     "Expect: 100-continue\r\n\r\n")
                .status,
            100);
  EXPECT_EQ(client.Ask("ok").body, "POST / ok");
}

TEST_F(HttpServerTest, ABodyAtTheLimitIsReadAndOneBeyondIsRefused) {
  Start();
  const auto post = [](size_t length) {
    return fmt::format("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{}",
                       length, std::string(length, 'x'));
  };
  EXPECT_EQ(Client().Ask(post(1 << 20)).status, 200);
  RawClient client = Client();
  const Answer answer = client.Ask(post((1 << 20) + 1));
  EXPECT_EQ(answer.status, 413);
  EXPECT_THAT(answer.head, HasSubstr("application/problem+json"));
  EXPECT_THAT(answer.body, HasSubstr("body: must be at most 1048576 bytes"));
  EXPECT_TRUE(client.AtEnd());
  std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) {
    chunked += "10000\r\n" + std::string(65536, 'x') + "\r\n";
  }
  EXPECT_EQ(Client().Ask(chunked).status, 413);
}

TEST_F(HttpServerTest, HeadersBeyondTheLimitAreRefused) {
  Start();
  EXPECT_EQ(
      Client()
          .Ask("GET / HTTP/1.1\r\nX: " + std::string(15'000, 'x') + "\r\n\r\n")
          .status,
      200);
  EXPECT_EQ(
      Client()
          .Ask("GET / HTTP/1.1\r\nX: " + std::string(17'000, 'x') + "\r\n\r\n")
          .status,
      431);
}

TEST_F(HttpServerTest, WhatIsNotHttpIsRefused) {
  Start();
  for (std::string_view bytes :
       {"hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}) {
    RawClient client = Client();
    const Answer answer = client.Ask(bytes);
    EXPECT_EQ(answer.status, 400) << bytes;
    EXPECT_THAT(answer.body, HasSubstr("malformed_request"));
    EXPECT_TRUE(client.AtEnd());
  }
}

TEST_F(HttpServerTest, ASlowCallerIsCutOff) {
  HttpLimits limits;
  limits.header_timeout = absl::Milliseconds(100);
  limits.body_timeout = absl::Milliseconds(100);
  limits.idle_timeout = absl::Milliseconds(100);
  limits.linger_timeout = absl::Milliseconds(100);
  Start(limits);
  RawClient silent = Client();
  EXPECT_TRUE(silent.AtEnd());
  RawClient header = Client();
  EXPECT_EQ(header.Ask("GET / HT").status, 408);
  EXPECT_TRUE(header.AtEnd());
  RawClient body = Client();
  EXPECT_EQ(body.Ask("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").status,
            408);
  RawClient idle = Client();
  EXPECT_EQ(idle.Ask(kGet).status, 200);
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, ACallerThatDoesNotReadIsCutOff) {
  HttpLimits limits;
  limits.write_timeout = absl::Milliseconds(100);
  Start(limits);
  handler_.AnswerWith({}, std::string(64 << 20, 'x'));
  RawClient client = Client();
  client.Send(kGet);
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 1; }));
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, AnAnswerMayComeLaterFromAnyThread) {
  Start();
  handler_.Hold(true);
  RawClient client = Client();
  client.Send(kGet);
  Respond respond = handler_.TakeHeld();
  respond({.status = 202, .headers = {}, .body = "later"});
  EXPECT_EQ(client.Read().body, "later");
}

TEST_F(HttpServerTest, TheAnswerToACallerThatLeftIsDropped) {
  Start();
  handler_.Hold(true);
  RawClient client = Client();
  client.Send(kGet);
  Respond respond = handler_.TakeHeld();
  client.Hangup();
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
  respond({.status = 200, .headers = {}, .body = "nobody hears"});
  handler_.Hold(false);
  EXPECT_EQ(Client().Ask(kGet).status, 200);
}

TEST_F(HttpServerTest, AnAnswerAfterTheServersEndIsDropped) {
  Start();
  handler_.Hold(true);
  RawClient client = Client();
  client.Send(kGet);
  Respond respond = handler_.TakeHeld();
  server_.reset();
  respond({.status = 200, .headers = {}, .body = "too late"});
  EXPECT_EQ(client.Read().status, 0);
}

// Answers in parts, each when it is asked for.
class PartsHandler final : public HttpHandler {
 public:
  std::optional<uint64_t> length;  // Of all parts.

  void Handle(HttpRequest, Respond respond) override {
    respond({.status = 200,
             .headers = {{"Content-Type", "text/event-stream"}},
             .body = "0;",
             .more = [this](Respond next) { Hold(std::move(next)); },
             .length = length});
  }
  // Gives the next part, once it is asked for.
  void Give(int status, std::string body, bool last = false) {
    EXPECT_TRUE(Eventually([this] {
      MutexLock lock(mu_);
      return next_.has_value();
    }));
    std::optional<Respond> respond;
    {
      MutexLock lock(mu_);
      respond.emplace(*std::move(next_));
      next_.reset();
    }
    std::function<void(Respond)> more;
    if (!last) more = [this](Respond next) { Hold(std::move(next)); };
    (*respond)({.status = status,
                .headers = {},
                .body = std::move(body),
                .more = std::move(more)});
  }

 private:
  void Hold(Respond next) {
    MutexLock lock(mu_);
    next_.emplace(std::move(next));
  }

  Mutex mu_;
  std::optional<Respond> next_ ABSL_GUARDED_BY(mu_);
};

TEST_F(HttpServerTest, AnAnswerInPartsIsWrittenAsItComesUntilItsLastPart) {
  PartsHandler parts;
  Start({}, &parts);
  RawClient client = Client();
  const Answer head = client.Ask(kGet);
  EXPECT_EQ(head.status, 200);
  EXPECT_THAT(head.head, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(head.head, HasSubstr("Connection: close"));
  EXPECT_EQ(client.ReadPart("0;"), "0;");
  for (const std::string part : {"1;", "22;", "333;"}) {
    parts.Give(200, part);
    EXPECT_EQ(client.ReadPart(part), part);
  }
  parts.Give(200, "last", /*last=*/true);
  EXPECT_EQ(client.ReadPart("last"), "last");
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, AnAnswerInPartsSaysItsLengthIfThatIsKnown) {
  PartsHandler parts;
  parts.length = 4;
  Start({}, &parts);
  RawClient client = Client();
  client.head_only = true;  // The body comes in parts.
  const Answer head = client.Ask(kGet);
  EXPECT_THAT(head.head, HasSubstr("Content-Length: 4\r\n"));
  EXPECT_THAT(head.head, HasSubstr("Connection: close"));
  EXPECT_EQ(client.ReadPart("0;"), "0;");
  parts.Give(200, "1;", /*last=*/true);
  EXPECT_EQ(client.ReadPart("1;"), "1;");
  EXPECT_TRUE(client.AtEnd());
  RawClient other = Client();
  other.head_only = true;
  EXPECT_THAT(other.Ask("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").head,
              HasSubstr("Content-Length: 4\r\n"));
}

TEST_F(HttpServerTest, AnAnswerInPartsEndsWithAnError) {
  PartsHandler parts;
  Start({}, &parts);
  RawClient client = Client();
  client.Ask(kGet);
  EXPECT_EQ(client.ReadPart("0;"), "0;");
  parts.Give(503, "not to be seen");
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, AReaderOfPartsThatLeavesIsNoticed) {
  PartsHandler parts;
  Start({}, &parts);
  RawClient client = Client();
  client.Ask(kGet);
  parts.Give(200, "1;");
  client.Hangup();
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, AReaderOfPartsThatTakesNothingIsCutOff) {
  PartsHandler parts;
  HttpLimits limits;
  limits.write_timeout = absl::Milliseconds(100);
  Start(limits, &parts);
  RawClient client = Client();
  client.Ask(kGet);
  parts.Give(200, std::string(64 << 20, 'x'));
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, AnAnswerInPartsDoesNotKeepTheServerFromStopping) {
  PartsHandler parts;
  Start({}, &parts);
  RawClient client = Client();
  client.Ask(kGet);
  EXPECT_EQ(client.ReadPart("0;"), "0;");
  server_->Stop(absl::Hours(1));
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, HeadOfAnAnswerInPartsEnds) {
  PartsHandler parts;
  Start({}, &parts);
  RawClient client = Client();
  client.head_only = true;
  EXPECT_EQ(client.Ask("HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n").status,
            200);
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(HttpServerTest, AHandlerThatForgetsToAnswerCosts500) {
  Start();
  handler_.Drop();
  EXPECT_EQ(Client().Ask(kGet).status, 500);
}

TEST_F(HttpServerTest, AHeaderValueCannotBecomeTwo) {
  Start();
  handler_.AnswerWith({{"X-Test", "a\r\nSet-Cookie: b"}}, "x");
  EXPECT_THAT(Client().Ask(kGet).head,
              HasSubstr("X-Test: a  Set-Cookie: b\r\n"));
}

TEST_F(HttpServerTest, ConnectionsAreCountedPerSource) {
  HttpLimits limits;
  limits.connections_per_source_max = 2;
  Start(limits);
  RawClient first = Client(), second = Client();
  EXPECT_EQ(first.Ask(kGet).status, 200);
  EXPECT_EQ(second.Ask(kGet).status, 200);
  RawClient third = Client();
  EXPECT_TRUE(third.AtEnd());
  second.Hangup();
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 1; }));
  EXPECT_EQ(Client().Ask(kGet).status, 200);
}

TEST_F(HttpServerTest, ConnectionsAreCountedInAll) {
  HttpLimits limits;
  limits.connections_max = 1;
  Start(limits);
  RawClient first = Client();
  EXPECT_EQ(first.Ask(kGet).status, 200);
  EXPECT_TRUE(Client().AtEnd());
}

TEST_F(HttpServerTest, AnAddressThatCannotBeUsedIsExplained) {
  Start();
  const auto refusal = [&](std::string listen) {
    return HttpServer::Start(
               {.listen = std::move(listen), .tls = nullptr, .limits = {}},
               handler_)
        .status();
  };
  const absl::Status taken =
      refusal(fmt::format("127.0.0.1:{}", server_->port()));
  EXPECT_EQ(taken.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ToStd(taken.message()),
            fmt::format("cannot listen on 127.0.0.1:{}: Address already in use",
                        server_->port()));
  for (std::string listen : {"", "127.0.0.1", "127.0.0.1:", ":80", "::1:80",
                             "127.0.0.1:70000", "127.0.0.1:x", "a b:80"}) {
    const absl::Status status = refusal(listen);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << listen;
    EXPECT_THAT(std::string(ToStd(status.message())),
                StartsWith(fmt::format("\"{}\"", listen)));
  }
}

TEST_F(HttpServerTest, AnIPv6ListenerServesIPv4AndNamesItAsSuch) {
  auto server = HttpServer::Start(
      {.listen = "[::]:0", .tls = nullptr, .limits = {}}, handler_);
  if (!server.ok()) GTEST_SKIP() << "no IPv6 here: " << server.status();
  EXPECT_EQ(RawClient((*server)->port()).Ask(kGet).status, 200);
  EXPECT_EQ(handler_.LastRequest().peer_address, "127.0.0.1");
}

TEST_F(HttpServerTest, StoppingLetsARequestUnderWayFinish) {
  Start();
  handler_.Hold(true);
  RawClient busy = Client(), idle = Client();
  busy.Send(kGet);
  Respond respond = handler_.TakeHeld();
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 2; }));
  std::thread stopper([&] { server_->Stop(kPatience); });
  EXPECT_TRUE(idle.AtEnd());
  respond({.status = 200, .headers = {}, .body = "done"});
  const Answer answer = busy.Read();
  EXPECT_EQ(answer.body, "done");
  EXPECT_THAT(answer.head, HasSubstr("Connection: close"));
  busy.Hangup();
  stopper.join();
}

TEST_F(HttpServerTest, StoppingIsBounded) {
  Start();
  handler_.Hold(true);
  RawClient client = Client();
  client.Send(kGet);
  Respond respond = handler_.TakeHeld();
  server_->Stop(absl::Milliseconds(50));
  EXPECT_EQ(client.Read().status, 0);
  server_->Stop(absl::Milliseconds(50));
}

// Takes every descriptor below the present limit until it dies.
class DescriptorFamine {
 public:
  DescriptorFamine() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit low = {.rlim_cur = 200, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    for (int fd; (fd = dup(0)) >= 0;) taken_.emplace_back(fd);
  }
  ~DescriptorFamine() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
  std::vector<Fd> taken_;
};

TEST_F(HttpServerTest, RunningOutOfDescriptorsIsSurvived) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the vptr check itself opens a pipe, and dies without one";
#endif
  Start();
  std::atomic<int> warnings = 0;
  TapLog([&](std::string_view line) {
    if (line.find("cannot accept") != line.npos) ++warnings;
  });
  RawClient before = Client();
  EXPECT_EQ(before.Ask(kGet).status, 200);
  before.Hangup();
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
  const Fd spare(socket(AF_INET, SOCK_STREAM, 0));
  {
    DescriptorFamine famine;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(spare.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof address),
              0);
    EXPECT_TRUE(Eventually([&] { return warnings > 0; }));
  }
  EXPECT_EQ(Client().Ask(kGet).status, 200);
  TapLog(nullptr);
}

class HttpTlsTest : public HttpServerTest {
 protected:
  TlsContext ContextFor(TestPki& pki) {
    const TestPki::Leaf leaf = pki.IssueServer("gateway.muster.internal");
    return *MakeTlsContext(leaf.certificate_pem + pki.ca_pem, leaf.key_pem);
  }
  std::unique_ptr<HttpsClient> TlsClient(const TestPki& pki) {
    return *HttpsClient::Create(
        {.base_url = fmt::format("https://127.0.0.1:{}", server_->port()),
         .pin = "",
         .ca_pem = pki.ca_pem,
         .server_name = "gateway.muster.internal"});
  }
  static muster::HttpRequest To(std::string method) {
    muster::HttpRequest request;
    request.method = std::move(method);
    request.target = "/x";
    return request;
  }
  static muster::HttpRequest Get() { return To("GET"); }

  TestPki pki_;
};

TEST_F(HttpTlsTest, RequestsOverTlsAreServedAndKeepTheConnection) {
  Start({}, nullptr, ContextFor(pki_));
  const std::unique_ptr<HttpsClient> client = TlsClient(pki_);
  for (int i = 0; i < 3; ++i) {
    const auto response = client->Fetch(Get());
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "GET /x ");
  }
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(HttpTlsTest, LargeBodiesPassInBothDirections) {
  Start({}, nullptr, ContextFor(pki_));
  muster::HttpRequest request = To("POST");
  request.body = std::string(1 << 20, 'b');
  const auto response = TlsClient(pki_)->Fetch(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "POST /x " + request.body);
}

TEST_F(HttpTlsTest, NewConnectionsSeeAReplacedCertificate) {
  Start({}, nullptr, ContextFor(pki_));
  const std::unique_ptr<HttpsClient> old = TlsClient(pki_);
  EXPECT_TRUE(old->Fetch(Get()).ok());
  TestPki next;
  server_->ReplaceTls(ContextFor(next));
  EXPECT_TRUE(old->Fetch(Get()).ok());
  EXPECT_TRUE(TlsClient(next)->Fetch(Get()).ok());
  EXPECT_FALSE(TlsClient(pki_)->Fetch(Get()).ok());
}

TEST_F(HttpTlsTest, PlainTextAndSilenceOnATlsPortAreCutOff) {
  HttpLimits limits;
  limits.header_timeout = absl::Milliseconds(100);
  Start(limits, nullptr, ContextFor(pki_));
  RawClient plain = Client();
  plain.Send(kGet);
  EXPECT_EQ(plain.Read().status, 0);
  EXPECT_TRUE(Client().AtEnd());
  EXPECT_TRUE(Eventually([&] { return server_->connections() == 0; }));
  EXPECT_TRUE(TlsClient(pki_)->Fetch(Get()).ok());
}

TEST_F(HttpTlsTest, ACertificateWithoutItsKeyIsRefused) {
  const TestPki::Leaf a = pki_.IssueServer("a"), b = pki_.IssueServer("b");
  EXPECT_EQ(MakeTlsContext(a.certificate_pem, b.key_pem).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeTlsContext("nonsense", a.key_pem).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeTlsContext(a.certificate_pem, Secret("x")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(HttpServerTest, TheWholeApiAnswersBadInputOverARealSocket) {
  FakeApi api;
  const auto handler = *ApiHandler::Create(
      api,
      {v1::Agent::descriptor()->file()->pool()->FindServiceByName(
          "muster.v1.FleetAdmin")},
      [] { return Readiness{.ready = true, .json = "{}"}; },
      ApiHandler::Options());
  Start({}, handler.get());
  RawClient client = Client();
  const auto status = [&](std::string_view line, std::string_view body = "") {
    return client
        .Ask(fmt::format("{} HTTP/1.1\r\nHost: h\r\nContent-Length: "
                         "{}\r\nContent-Type: application/json\r\n\r\n{}",
                         line, body.size(), body))
        .status;
  };
  EXPECT_EQ(status("GET /health"), 200);
  EXPECT_EQ(status("GET /api/agents"), 200);
  EXPECT_EQ(status("GET //api/agents"), 404);
  EXPECT_EQ(status("GET /api/agents/"), 404);
  EXPECT_EQ(status("GET /api/agents/%2e%2e/status"), 400);
  EXPECT_EQ(status("GET /api/agents/../status"), 400);
  EXPECT_EQ(status("GET /api/agents/a%2fb"), 400);
  EXPECT_EQ(status("GET http://h/api/agents"), 400);
  EXPECT_EQ(status("PUT /api/agents"), 405);
  EXPECT_EQ(status("BREW /api/agents"), 405);
  EXPECT_EQ(status("POST /api/agents/a/commands", "{\"command\":"), 400);
  EXPECT_EQ(status("POST /api/agents/a/commands", "{\"command\":\"ls\"}"), 202);
  server_.reset();
  EXPECT_EQ(api.calls.size(), 2u);
}

}  // namespace
}  // namespace muster::gateway
