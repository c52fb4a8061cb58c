#include "gateway/http/forwarded.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

HttpRequest From(const std::string& peer, HttpHeaders headers) {
  HttpRequest request;
  request.peer_address = peer;
  request.headers = std::move(headers);
  return request;
}

std::string Client(const std::string& peer, const std::string& forwarded) {
  return TrustedProxies::Parse("10.0.0.5, 10.1.0.0/16,fd00::/8")
      ->ClientOf(From(peer, {{"x-forwarded-for", forwarded}}));
}

TEST(TrustedProxiesTest, OnlyAProxyThatIsTrustedIsBelieved) {
  EXPECT_EQ(Client("10.0.0.5", "192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(Client("fd00::1", "192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(Client("192.0.2.66", "192.0.2.7"), "192.0.2.66");
  EXPECT_EQ(TrustedProxies().ClientOf(
                From("10.0.0.5", {{"x-forwarded-for", "192.0.2.7"}})),
            "10.0.0.5");
}

TEST(TrustedProxiesTest, WhatAClientInventedStandsBeforeItsOwnAddress) {
  EXPECT_EQ(Client("10.0.0.5", "127.0.0.1, 192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(Client("10.0.0.5", "127.0.0.1, 192.0.2.7, 10.1.2.3"), "192.0.2.7");
  EXPECT_EQ(Client("10.0.0.5", "10.1.2.3"), "10.1.2.3") << "nobody before it";
  EXPECT_EQ(Client("10.0.0.5", "nonsense"), "10.0.0.5");
  EXPECT_EQ(Client("10.0.0.5", ""), "10.0.0.5");
  const auto proxies = *TrustedProxies::Parse("10.0.0.5");
  EXPECT_EQ(
      proxies.ClientOf(From("10.0.0.5", {{"x-forwarded-for", "1.1.1.1"},
                                         {"x-forwarded-for", "2.2.2.2"}})),
      "2.2.2.2")
      << "the header may come twice";
}

TEST(TrustedProxiesTest, WhetherTheClientSpeaksTlsIsTheProxysWord) {
  const auto proxies = *TrustedProxies::Parse("10.0.0.5");
  const HttpHeaders https = {{"x-forwarded-proto", "https"}};
  EXPECT_TRUE(proxies.Secure(From("10.0.0.5", https), false));
  EXPECT_FALSE(proxies.Secure(From("192.0.2.7", https), false));
  EXPECT_TRUE(proxies.Secure(From("192.0.2.7", {}), true));
  EXPECT_FALSE(
      proxies.Secure(From("10.0.0.5", {{"x-forwarded-proto", "http"}}), true));
  EXPECT_FALSE(proxies.Secure(
      From("10.0.0.5", {{"x-forwarded-proto", "https, http"}}), false))
      << "the first may be the client's own invention";
  EXPECT_TRUE(proxies.Secure(From("10.0.0.5", {{"x-forwarded-proto", "http"},
                                               {"x-forwarded-proto", "https"}}),
                             false));
}

TEST(TrustedProxiesTest, WhatIsNoAddressIsNamed) {
  EXPECT_THAT(
      std::string(
          TrustedProxies::Parse("10.0.0.5, proxy.example").status().message()),
      testing::HasSubstr("proxy.example"));
}

}  // namespace
}  // namespace muster::gateway
