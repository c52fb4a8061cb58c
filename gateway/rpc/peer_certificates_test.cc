#include "gateway/rpc/peer_certificates.h"

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "libprotocol/net/test_pki.h"
#include "libprotocol/net/tls_material.h"

namespace muster::gateway {
namespace {

TEST(PeerCertificatesTest, APinIsThatOfTheCertificateHoweverOftenItIsAsked) {
  TestPki pki;
  const std::string one = pki.IssueClient().certificate_pem;
  const std::string other = pki.IssueClient().certificate_pem;
  PeerCertificates certificates;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(certificates.Read(one)->key_pin, PinOfCertificate(one).value());
    EXPECT_EQ(certificates.Read(other)->key_pin,
              PinOfCertificate(other).value());
  }
  EXPECT_NE(certificates.Read(one)->key_pin, certificates.Read(other)->key_pin);
}

TEST(PeerCertificatesTest, WhatIsNoCertificateIsRefusedEveryTime) {
  PeerCertificates certificates;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(certificates.Read("no certificate").status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(PeerCertificatesTest, MoreThanItRemembersAreStillRight) {
  const std::string pem = TestPki().IssueClient().certificate_pem;
  const std::string pin = PinOfCertificate(pem).value();
  PeerCertificates certificates;
  // What follows the first certificate is not read: texts of one pin each.
  for (size_t i = 0; i <= PeerCertificates::kRememberedMax; ++i) {
    ASSERT_EQ(certificates.Read(fmt::format("{}{}", pem, i))->key_pin, pin);
  }
  EXPECT_EQ(certificates.Read(pem)->key_pin, pin);
}

}  // namespace
}  // namespace muster::gateway
