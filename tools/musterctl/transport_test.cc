#include "tools/musterctl/transport.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/net/failure_class.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

// A port of 127.0.0.1 that refuses, for as long as `bound` lives: taken, but
// nobody listens.
std::string RefusingServer(Fd& bound) {
  bound.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(bind(bound.get(), generic, size), 0);
  EXPECT_EQ(getsockname(bound.get(), generic, &size), 0);
  return "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

TEST(TransportTest, ARefusedConnectionProvesThatNothingWasSent) {
  Fd bound;
  const auto transport = ConnectTo({RefusingServer(bound), "", ""});
  ASSERT_TRUE(transport.ok()) << transport.status();
  const auto response = (*transport)->Fetch(HttpRequest{});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(NeverSent(response.status()));
}

TEST(TransportTest, WhatWasLostOnTheWayOrInTimeMayHaveArrived) {
  for (const FailureClass lost :
       {FailureClass::kConnectionReset, FailureClass::kEof}) {
    EXPECT_FALSE(
        NeverSent(FailureStatus(absl::StatusCode::kUnavailable, lost, "lost")));
  }
  EXPECT_FALSE(NeverSent(absl::DeadlineExceededError("no answer")));
  EXPECT_FALSE(NeverSent(absl::DataLossError("not HTTP")));
}

TEST(TransportTest, AWrongKeyIsFoundOutBeforeTheTokenIsSent) {
  EXPECT_TRUE(NeverSent(FailureStatus(absl::StatusCode::kUnauthenticated,
                                      FailureClass::kTlsFailure, "pin")));
  EXPECT_FALSE(NeverSent(FailureStatus(absl::StatusCode::kUnavailable,
                                       FailureClass::kTlsFailure, "broken")));
}

TEST(TransportTest, AStrangersKeySaysNothingAboutTheToken) {
  const absl::Status stranger =
      FailureStatus(absl::StatusCode::kUnauthenticated,
                    FailureClass::kTlsFailure, "the key is not the pinned one");
  EXPECT_FALSE(TokenRefused(stranger));
  EXPECT_EQ(ExitCodeOf(stranger), kExitGatewayUnreachable);
  EXPECT_THAT(ErrorText(stranger, false), testing::HasSubstr("hint: if it is"));
  EXPECT_THAT(ErrorText(stranger, true),
              testing::HasSubstr("\"code\":\"unavailable\""));
  EXPECT_TRUE(TokenRefused(absl::UnauthenticatedError("not valid")));
}

TEST(TransportTest, ACaFileThatCannotBeReadIsAUsageError) {
  const auto transport =
      ConnectTo({"https://gw.example", "/nonexistent/ca.pem", ""});
  EXPECT_EQ(transport.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(transport.status().message()),
              testing::HasSubstr("/nonexistent/ca.pem"));
}

}  // namespace
}  // namespace muster::ctl
