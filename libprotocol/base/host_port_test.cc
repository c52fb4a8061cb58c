#include "libprotocol/base/host_port.h"

#include <string>

#include "gtest/gtest.h"

namespace muster {
namespace {

TEST(HostPort, IsReadAsWritten) {
  EXPECT_EQ(ParseHostPort("gw.example:7443")->host, "gw.example");
  EXPECT_EQ(ParseHostPort("[::1]:7443")->host, "::1");
  EXPECT_EQ(ParseHostPort("[::1]:7443")->ToString(), "[::1]:7443");
  EXPECT_EQ(ParseHostPort("a:1")->port, 1);
  EXPECT_EQ(ParseHostPort("a:65535")->port, 65535);
}

TEST(HostPort, AnythingElseIsRefusedAndQuoted) {
  for (const std::string bad :
       {"",          ":",        "a",        "a:",
        ":7443",     "a:0",      "a:65536",  "a:-1",
        "a:7x",      "a: 7",     "::1:7443", "[::1]",
        "[::1",      "[a]:7443", "[]:7443",  "[::1]x:7443",
        "[::1]7443", "a b:7443", "a:7:8",    "host/:7443"}) {
    const absl::Status status = ParseHostPort(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_EQ(ParseHostPort("a:70000").status().message(),
            "\"a:70000\" is not host:port with a port from 1 to 65535");
}

TEST(HostPort, AHostIsAtMostAsLongAsADnsName) {
  EXPECT_TRUE(ParseHostPort(std::string(253, 'a') + ":1").ok());
  EXPECT_FALSE(ParseHostPort(std::string(254, 'a') + ":1").ok());
}

TEST(HostPort, APortToListenOnMayBeAnyFreeOne) {
  EXPECT_EQ(ParseListenAddress("127.0.0.1:0")->port, 0);
  EXPECT_EQ(ParseListenAddress("[::]:7080")->host, "::");
  EXPECT_FALSE(ParseListenAddress("127.0.0.1").ok());
  EXPECT_FALSE(ParseListenAddress(":7080").ok());
}

TEST(HostPort, AnAuthorityMayLackItsPort) {
  EXPECT_EQ(ParseAuthority("web-1")->host, "web-1");
  EXPECT_EQ(ParseAuthority("web-1")->port, 0);
  EXPECT_EQ(ParseAuthority("[::1]")->host, "::1");
  EXPECT_EQ(ParseAuthority("[::1]:7080")->port, 7080);
  for (const char* bad : {"", "[::1", "::1", "web-1:", "web-1:x", "a:0"}) {
    EXPECT_FALSE(ParseAuthority(bad).ok()) << bad;
  }
}

TEST(HostPort, OnlyThisHostReachesALoopbackAddress) {
  for (const char* inside : {"127.0.0.1", "127.255.0.9", "::1", "localhost"}) {
    EXPECT_TRUE(IsLoopback(inside)) << inside;
  }
  for (const char* outside : {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1",
                              "127.0.0.1.example", "localhost.example", ""}) {
    EXPECT_FALSE(IsLoopback(outside)) << outside;
  }
}

TEST(HostPort, AnAddressHasOneSpelling) {
  EXPECT_EQ(CanonicalIp("0:0:0::1"), "::1");
  EXPECT_EQ(CanonicalIp("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(CanonicalIp("192.0.2"), "");
  EXPECT_EQ(CanonicalIp("localhost"), "");
}

}  // namespace
}  // namespace muster
