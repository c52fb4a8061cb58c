#include "gateway/server/listen_address.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

TEST(ListenAddress, OnlyThisHostReachesALoopbackAddress) {
  EXPECT_TRUE(OnlyOnLoopback("127.0.0.1:7080"));
  EXPECT_TRUE(OnlyOnLoopback("[::1]:7080"));
  EXPECT_TRUE(OnlyOnLoopback("localhost:7080"));
  for (const char* outside : {"0.0.0.0:7080", "[::]:7080", "10.0.0.1:7080",
                              "localhost.example:7080", ":7080", ""}) {
    EXPECT_FALSE(OnlyOnLoopback(outside)) << outside;
  }
}

TEST(ListenAddress, ThePortThatIsBoundIsShown) {
  EXPECT_EQ(WithPort("127.0.0.1:0", 7080), "127.0.0.1:7080");
  EXPECT_EQ(WithPort("[::1]:0", 7080), "[::1]:7080");
}

TEST(ListenAddress, AllAddressesAreShownAsTheNameOfThisHost) {
  const std::string shown = WithPort("0.0.0.0:0", 7080);
  EXPECT_NE(shown, "0.0.0.0:7080");
  EXPECT_EQ(shown, WithPort("[::]:0", 7080));
}

TEST(ListenAddress, TheCertificateNamesWhatTheSettingsName) {
  const WebNames names = WebNamesFor("10.0.0.1:7080", "gw.example");
  EXPECT_THAT(names.dns_names, Contains("localhost"));
  EXPECT_THAT(names.dns_names, Contains("gw.example"));
  EXPECT_THAT(names.ip_addresses, ElementsAre("127.0.0.1", "::1", "10.0.0.1"));
}

TEST(ListenAddress, TheCertificateNamesNoWildcard) {
  const WebNames names = WebNamesFor("[::]:7080", "");
  for (const char* all : {"0.0.0.0", "::", ""}) {
    EXPECT_THAT(names.ip_addresses, Not(Contains(all)));
    EXPECT_THAT(names.dns_names, Not(Contains(all)));
  }
}

TEST(ListenAddress, TheCertificateNamesEachAddressOnce) {
  const WebNames names = WebNamesFor("[0::1]:7080", "127.0.0.1");
  EXPECT_THAT(names.ip_addresses, ElementsAre("127.0.0.1", "::1"));
}

}  // namespace
}  // namespace muster::gateway
