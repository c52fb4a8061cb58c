#include "libprotocol/net/failure_class.h"

#include <cerrno>
#include <ostream>
#include <string>

#include "gtest/gtest.h"

namespace muster {
namespace {

using enum FailureClass;

struct Case {
  std::string name;
  std::string text;
  std::optional<FailureClass> probe;
  FailureClass expected;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class LinkFailureTest : public testing::TestWithParam<Case> {};

TEST_P(LinkFailureTest, TextAndProbeGiveOneClass) {
  EXPECT_EQ(
      FailureClassName(ClassifyLinkFailure(GetParam().text, GetParam().probe)),
      FailureClassName(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    MeasuredTexts, LinkFailureTest,
    testing::Values(
        Case{"Reset", "Connection reset by peer", {}, kConnectionReset},
        Case{"Closed", "Socket closed", {}, kEof},
        Case{"Watchdog", "keepalive watchdog timeout", {}, kDialTimeout},
        Case{"Refused",
             "failed to connect to all addresses; last error: UNKNOWN: "
             "ipv4:127.0.0.1:1: Failed to connect to remote host: Connection "
             "refused",
             {},
             kRefused},
        Case{"DialTimeout",
             "failed to connect to all addresses; last error: UNKNOWN: "
             "ipv4:10.0.0.1:1: Failed to connect to remote host: Connection "
             "timed out",
             {},
             kDialTimeout},
        Case{"Dns", "DNS resolution failed for gw:1: UNKNOWN", {}, kDnsFailure},
        Case{"Tls",
             "Ssl handshake failed: SSL_ERROR_SSL: error:1416F086: certificate "
             "verify failed",
             {},
             kTlsFailure},
        Case{"ClosedAndProbeRefused", "Socket closed", kRefusedByGateway,
             kRefusedByGateway},
        Case{"ResetAndProbeRefused", "Connection reset by peer",
             kRefusedByGateway, kRefusedByGateway},
        Case{"ResetAndThenNobodyListens", "Connection reset by peer", kRefused,
             kConnectionReset},
        Case{"ClosedAndThenNobodyListens", "Socket closed", kRefused, kRefused},
        Case{"WatchdogAndProbeTimesOut", "keepalive watchdog timeout",
             kDialTimeout, kDialTimeout},
        Case{"WatchdogAndNameGone", "keepalive watchdog timeout", kDnsFailure,
             kDnsFailure},
        Case{"RefusedOutranksProbe", "Connection refused", kDialTimeout,
             kRefused},
        Case{"UnknownTextYieldsToProbe", "strange", kTlsFailure, kTlsFailure},
        Case{"NobodyKnows", "", {}, kEof}),
    [](const auto& c) { return c.param.name; });

TEST(FailureClassTest, ErrnoHasAClassOnlyIfItSpeaksOfThePath) {
  EXPECT_EQ(FailureClassOfErrno(ECONNREFUSED), kRefused);
  EXPECT_EQ(FailureClassOfErrno(ETIMEDOUT), kDialTimeout);
  EXPECT_EQ(FailureClassOfErrno(ENETUNREACH), kDialTimeout);
  EXPECT_EQ(FailureClassOfErrno(ECONNRESET), kConnectionReset);
  EXPECT_EQ(FailureClassOfErrno(EMFILE), std::nullopt);
}

TEST(FailureClassTest, AStatusCarriesItsClass) {
  for (const FailureClass c : {kConnectionReset, kEof, kDialTimeout, kRefused,
                               kDnsFailure, kTlsFailure, kRefusedByGateway}) {
    const absl::Status status =
        FailureStatus(absl::StatusCode::kUnavailable, c, "text");
    EXPECT_EQ(FailureClassOf(status), c);
    EXPECT_EQ(status.message(), "text");
  }
  EXPECT_EQ(FailureClassOf(absl::UnavailableError("text")), std::nullopt);
}

}  // namespace
}  // namespace muster
