#include "libprotocol/net/tls_material.h"

#include <openssl/pem.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/net/test_pki.h"

namespace muster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TlsMaterialTest, AKeyItsRequestAndItsCertificateHaveOnePin) {
  TestPki pki;
  const TestPki::Leaf leaf = pki.IssueServer("a.example");
  const std::string pin = *PinOfKey(leaf.key_pem);
  EXPECT_TRUE(ValidatePin(pin).ok()) << pin;
  EXPECT_EQ(*PinOfCertificate(leaf.certificate_pem), pin);
  EXPECT_EQ(*PinOfCsr(*MakeCsr(leaf.key_pem, "a")), pin);
  EXPECT_NE(*PinOfKey(*GenerateKey()), pin);
}

TEST(TlsMaterialTest, ThePinIsTheOneThatCurlComputes) {
  // openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64
  constexpr char kKey[] =
      "-----BEGIN PRIVATE KEY-----\n"
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg491033i32cQAFvpb\n"
      "sKv4b8QS1iJ3D4QWMo7YaVp450KhRANCAASdtnV9gfoJkjgWb8KHlxKR6C1n/su7\n"
      "PqpwanvefEoXsQtNjKeX6gFk/5A/2JzY2X8MCwxjTr51p5PndQ+Y0jD2\n"
      "-----END PRIVATE KEY-----\n";
  EXPECT_EQ(*PinOfKey(Secret(kKey)),
            "sha256//JPIjkb3QUzZwct+yRjlRT2MTa2sMGWCoVCt3iFbGdwI=");
}

TEST(TlsMaterialTest, ACertificateIsReadFieldByField) {
  TestPki pki;
  CertificateSpec spec = TestPki::Spec(CertificateUse::kTlsServer, "gateway");
  spec.uris = {"muster://default/agent/1"};
  spec.dns_names = {"a.example", "b.example"};
  spec.ip_addresses = {"127.0.0.1", "::1"};
  spec.not_before = absl::FromUnixSeconds(1'700'000'000);
  spec.not_after = absl::FromUnixSeconds(1'700'000'000) + absl::Hours(24 * 30);
  const CertificateInfo info =
      *ParseCertificate(pki.Issue(spec).certificate_pem);
  EXPECT_EQ(info.subject, "CN=gateway");
  EXPECT_EQ(info.issuer, "CN=Test CA");
  EXPECT_THAT(info.uris, ElementsAre("muster://default/agent/1"));
  EXPECT_THAT(info.dns_names, ElementsAre("a.example", "b.example"));
  EXPECT_THAT(info.ip_addresses, ElementsAre("127.0.0.1", "::1"));
  EXPECT_EQ(info.serial_hex.size(), 32u);
  EXPECT_EQ(info.fingerprint_hex.size(), 64u);
  EXPECT_EQ(info.not_before, spec.not_before);
  EXPECT_EQ(info.not_after, spec.not_after);
  EXPECT_EQ(RenewAt(info), spec.not_before + absl::Hours(24 * 20));
}

TEST(TlsMaterialTest, BadInputIsNamed) {
  const std::string csr = *MakeCsr(*GenerateKey(), "a");
  EXPECT_THAT(ParseCertificate("").status().message(),
              HasSubstr("the certificate is empty"));
  EXPECT_THAT(ParseCertificate(csr).status().message(),
              HasSubstr("the certificate is not a certificate in PEM"));
  EXPECT_THAT(PinOfCsr("hello").status().message(),
              HasSubstr("csr_pem is not a certificate request"));
  EXPECT_THAT(
      PinOfCsr(std::string(kCsrPemBytesMax + 1, 'a')).status().message(),
      HasSubstr("csr_pem is 8193 bytes long, at most 8192"));
  EXPECT_THAT(PinOfKey(Secret(csr)).status().message(),
              HasSubstr("the private key is not a private key"));
  EXPECT_THAT(MakeCsr(*GenerateKey(), std::string(65, 'a')).status().message(),
              HasSubstr("common name is 65 bytes long, at most 64"));
  EXPECT_FALSE(ValidatePin("sha256//AAAA").ok());
  EXPECT_FALSE(ValidatePin("sha1//AAAA").ok());
}

TEST(TlsMaterialTest, AnEncryptedKeyIsRefusedWithoutAskingForItsPassword) {
  KeyPtr key = *NewP256Key();
  BioPtr bio(BIO_new(BIO_s_mem()));
  unsigned char password[] = "secret";
  ASSERT_EQ(PEM_write_bio_PrivateKey(bio.get(), key.get(), EVP_aes_128_cbc(),
                                     password, 6, nullptr, nullptr),
            1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  const Secret pem(std::string(data, static_cast<size_t>(size)));
  EXPECT_EQ(PinOfKey(pem).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TlsMaterialTest, AKeyOfAnotherCertificateIsTold) {
  TestPki pki;
  const TestPki::Leaf one = pki.IssueServer("a.example");
  const TestPki::Leaf two = pki.IssueServer("a.example");
  EXPECT_TRUE(
      CheckKeyMatchesCertificate(one.key_pem, one.certificate_pem).ok());
  const absl::Status status =
      CheckKeyMatchesCertificate(one.key_pem, two.certificate_pem);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr(*PinOfKey(one.key_pem)));
}

}  // namespace
}  // namespace muster
