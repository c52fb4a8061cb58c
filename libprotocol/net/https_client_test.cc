#include "libprotocol/net/https_client.h"

#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/net/test_pki.h"
#include "libprotocol/net/test_server.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/testing/sanitizers.h"

namespace muster {
namespace {

using testing::HasSubstr;

constexpr char kHello[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kind: greeting\r\n\r\nhello";

std::string Hello(const std::string&) { return kHello; }

HttpsClient::Options At(const TestServer& server, std::string_view scheme) {
  HttpsClient::Options options;
  options.base_url = fmt::format("{}://127.0.0.1:{}", scheme, server.port());
  return options;
}

absl::StatusOr<HttpResponse> FetchOnce(HttpsClient::Options options,
                                       HttpRequest request = {}) {
  auto client = HttpsClient::Create(std::move(options));
  if (!client.ok()) return client.status();
  return (*client)->Fetch(request);
}

TestServer::Options WithTls(const TestPki::Leaf& leaf) {
  TestServer::Options options;
  options.tls = true;
  options.leaf = leaf;
  return options;
}

TEST(HttpsClientTest, AnAnswerHasStatusHeadersAndBody) {
  TestServer server({}, Hello);
  const auto response = FetchOnce(At(server, "http"));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->Header("x-kind"), "greeting");
  EXPECT_EQ(response->Header("absent"), "");
  EXPECT_EQ(response->body, "hello");
}

TEST(HttpsClientTest, TheRequestArrivesAsGiven) {
  TestServer server({}, [](const std::string& request) {
    return fmt::format("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{}",
                       request.size(), request);
  });
  HttpRequest request{"POST",
                      "/api/x?wait=1s",
                      {{"Authorization", "Bearer t"}},
                      "{\"a\":1}",
                      std::nullopt};
  const auto response = FetchOnce(At(server, "http"), request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 201);
  EXPECT_EQ(response->body,
            fmt::format("POST /api/x?wait=1s HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n"
                        "Authorization: Bearer t\r\nContent-Length: 7\r\n\r\n"
                        "{{\"a\":1}}",
                        server.port()));
}

TEST(HttpsClientTest, RequestsShareOneConnection) {
  TestServer server({}, Hello);
  auto client = *HttpsClient::Create(At(server, "http"));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client->Fetch({}).ok());
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpsClientTest, AConnectionThatTheServerClosedIsReplaced) {
  TestServer server({}, [](const std::string&) {
    return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  });
  auto client = *HttpsClient::Create(At(server, "http"));
  ASSERT_TRUE(client->Fetch({}).ok());
  ASSERT_TRUE(client->Fetch({"POST", "/", {}, "x", std::nullopt}).ok());
  EXPECT_EQ(server.connections(), 2);
}

TEST(HttpsClientTest, IPv6LiteralsAreUnderstood) {
  TestServer::Options v6;
  v6.ipv6 = true;
  TestServer server(v6, Hello);
  HttpsClient::Options options;
  options.base_url = fmt::format("http://[::1]:{}/", server.port());
  const auto response = FetchOnce(options);
  EXPECT_TRUE(response.ok()) << response.status();
}

TEST(HttpsClientTest, ChunkedAndInformationalAnswersAreUnderstood) {
  TestServer server({}, [](const std::string&) {
    return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
           "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  });
  auto client = *HttpsClient::Create(At(server, "http"));
  for (int i = 0; i < 2; ++i) {
    const auto response = client->Fetch({});
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "abcde");
  }
}

TEST(HttpsClientTest, AHeadAnswerHasNoBody) {
  TestServer server({}, [](const std::string&) {
    return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  });
  const auto response =
      FetchOnce(At(server, "http"), {"HEAD", "/", {}, "", std::nullopt});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "");
}

TEST(HttpsClientTest, TheBodyHasABound) {
  TestServer server({}, Hello);
  HttpsClient::Options options = At(server, "http");
  options.response_bytes_max = 5;
  EXPECT_TRUE(FetchOnce(options).ok());
  options.response_bytes_max = 4;
  EXPECT_EQ(FetchOnce(options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(HttpsClientTest, NobodyListeningIsRefusedAndSaysWhere) {
  uint16_t port = 0;
  {
    TestServer gone({}, Hello);
    port = gone.port();
  }
  HttpsClient::Options options;
  options.base_url = fmt::format("http://127.0.0.1:{}", port);
  const absl::Status status = FetchOnce(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kRefused);
  EXPECT_THAT(status.message(), HasSubstr(options.base_url));
  EXPECT_THAT(status.message(), HasSubstr("Connection refused"));
}

TEST(HttpsClientTest, ANameWithoutAddressIsADnsFailure) {
  if (kThreadSanitizer) GTEST_SKIP() << "the resolver has threads of its own";
  HttpsClient::Options options;
  options.base_url = "http://no-such-host.invalid:80";
  options.request_timeout = absl::Seconds(5);
  const absl::Status status = FetchOnce(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kDnsFailure);
}

TEST(HttpsClientTest, ASilentServerMeetsTheDeadline) {
  TestServer server({}, [](const std::string&) { return ""; });
  HttpRequest request;
  request.timeout = absl::Milliseconds(50);
  EXPECT_EQ(FetchOnce(At(server, "http"), request).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(HttpsClientTest, AnAbortedRequestFailsAndSoDoesEveryLaterOne) {
  std::unique_ptr<HttpsClient> client;
  TestServer server({}, [&client](const std::string&) {
    client->Abort();
    return "";
  });
  client = *HttpsClient::Create(At(server, "http"));
  EXPECT_TRUE(absl::IsCancelled(client->Fetch({}).status()));
  EXPECT_TRUE(absl::IsCancelled(client->Fetch({}).status()));
}

TEST(HttpsClientTest, AnAnswerCutShortIsNotAnAnswer) {
  TestServer server({}, [](const std::string&) {
    return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
           "9\r\n\r\nhi";
  });
  const absl::Status status = FetchOnce(At(server, "http")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kEof);
}

TEST(HttpsClientTest, WhatIsNotHttpIsDataLoss) {
  TestServer server(
      {}, [](const std::string&) { return "SSH-2.0-OpenSSH\r\n\r\n"; });
  EXPECT_EQ(FetchOnce(At(server, "http")).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(HttpsClientTest, ThePinAloneDecides) {
  TestPki pki;
  const TestPki::Leaf leaf = pki.IssueServer("other.example");
  TestServer server(WithTls(leaf), Hello);
  HttpsClient::Options options = At(server, "https");
  options.pin = *PinOfKey(leaf.key_pem);
  auto client = *HttpsClient::Create(options);
  for (int i = 0; i < 2; ++i) {
    const auto response = client->Fetch({});
    ASSERT_TRUE(response.ok()) << response.status();
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST(HttpsClientTest, AnotherKeyIsUnauthenticatedAndBothPinsAreNamed) {
  TestPki pki;
  const TestPki::Leaf leaf = pki.IssueServer("127.0.0.1");
  TestServer server(WithTls(leaf), Hello);
  HttpsClient::Options options = At(server, "https");
  options.pin = *PinOfKey(*GenerateKey());
  options.ca_pem = pki.ca_pem;  // A good chain does not make up for it.
  const absl::Status status = FetchOnce(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(status.message(), HasSubstr(options.pin));
  EXPECT_THAT(status.message(), HasSubstr(*PinOfKey(leaf.key_pem)));
}

TEST(HttpsClientTest, WithACaChainAndNameAreChecked) {
  TestPki pki;
  TestServer server(WithTls(pki.IssueServer("gateway.example")), Hello);
  HttpsClient::Options options = At(server, "https");
  options.ca_pem = pki.ca_pem;
  EXPECT_TRUE(FetchOnce(options).ok()) << "its address is in the certificate";
  options.server_name = "gateway.example";
  EXPECT_TRUE(FetchOnce(options).ok());
  options.server_name = "other.example";
  EXPECT_EQ(FetchOnce(options).status().code(),
            absl::StatusCode::kUnauthenticated);
  options.server_name = "";
  options.ca_pem = TestPki().ca_pem;
  const absl::Status status = FetchOnce(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kTlsFailure);
}

TEST(HttpsClientTest, TheSystemDoesNotTrustOurCa) {
  TestPki pki;
  TestServer server(WithTls(pki.IssueServer("127.0.0.1")), Hello);
  EXPECT_EQ(FetchOnce(At(server, "https")).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(HttpsClientTest, AClientCertificateIsNotACertificateForAServer) {
  TestPki pki;
  CertificateSpec spec = TestPki::Spec(CertificateUse::kTlsClient, "client");
  spec.ip_addresses = {"127.0.0.1"};
  TestServer server(WithTls(pki.Issue(spec)), Hello);
  HttpsClient::Options options = At(server, "https");
  options.ca_pem = pki.ca_pem;
  EXPECT_EQ(FetchOnce(options).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(HttpsClientTest, APlainServerBehindHttpsIsATlsFailure) {
  TestServer::Options plain;
  plain.greeting = "HTTP/1.1 400 Bad Request\r\n\r\n";
  TestServer server(plain, Hello);
  const absl::Status status = FetchOnce(At(server, "https")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kTlsFailure);
}

TEST(HttpsClientTest, WritingToAServerThatHungUpRaisesNoSignal) {
  TestPki pki;
  const TestPki::Leaf leaf = pki.IssueServer("127.0.0.1");
  TestServer::Options options = WithTls(leaf);
  options.hang_up = true;
  TestServer server(options, Hello);
  HttpsClient::Options client = At(server, "https");
  client.pin = *PinOfKey(leaf.key_pem);
  const HttpRequest request{
      "POST", "/", {}, std::string(8 * 1024 * 1024, 'x'), std::nullopt};
  EXPECT_EQ(FetchOnce(client, request).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(HttpsClientTest, AServerThatHangsUpWithoutAWordIsUnavailable) {
  TestServer::Options options;
  options.hang_up = true;
  TestServer server(options, Hello);
  // Whether the end or a reset arrives first is the kernel's choice.
  for (int i = 0; i < 20; ++i) {
    const HttpRequest request{"GET", "/", {}, "", std::nullopt};
    EXPECT_EQ(FetchOnce(At(server, "http"), request).status().code(),
              absl::StatusCode::kUnavailable);
  }
}

TEST(HttpsClientTest, OptionsThatCannotWorkAreRefusedAtOnce) {
  for (const char* url :
       {"", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://a/b",
        "http://u@a", "http://::1", "https://a b", "http://[::1"}) {
    HttpsClient::Options options;
    options.base_url = url;
    EXPECT_EQ(HttpsClient::Create(options).status().code(),
              absl::StatusCode::kInvalidArgument)
        << url;
  }
  HttpsClient::Options options;
  options.base_url = "https://a";
  options.pin = "sha256//short";
  EXPECT_FALSE(HttpsClient::Create(options).ok());
  options.pin = "";
  options.ca_pem = "none";
  EXPECT_FALSE(HttpsClient::Create(options).ok());
  options.ca_pem = TestPki().ca_pem;
  EXPECT_TRUE(HttpsClient::Create(options).ok());
  options.base_url = "http://a";
  EXPECT_FALSE(HttpsClient::Create(options).ok());
}

TEST(HttpsClientTest, ARequestCannotSmuggleAnother) {
  HttpsClient::Options options;
  options.base_url = "http://127.0.0.1:1";
  for (const HttpRequest& request : std::initializer_list<HttpRequest>{
           {"GET /x", "/", {}, "", {}},
           {"GET", "/a b", {}, "", {}},
           {"GET", "/a\r\nX: y", {}, "", {}},
           {"GET", "a", {}, "", {}},
           {"GET", "/", {{"X", "a\r\nY: b"}}, "", {}},
           {"GET", "/", {{"X:", "a"}}, "", {}}}) {
    EXPECT_EQ(FetchOnce(options, request).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  const absl::Status status =
      FetchOnce(options, {"GET", "/", {{"Authorization", "secret\n"}}, "", {}})
          .status();
  EXPECT_THAT(std::string(ToStd(status.message())),
              testing::Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace muster
