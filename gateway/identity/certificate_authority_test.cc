#include "gateway/identity/certificate_authority.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/stat.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/net/openssl_ptr.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
const OrgId kOrg = DefaultOrg();
const AgentId kAgent("0190163d-8694-739b-aea5-966c26f8ad91");
constexpr absl::Duration kDay = absl::Hours(24);

std::string NewCsr() { return *MakeCsr(*GenerateKey(), "whoever"); }

std::string CsrPem(EVP_PKEY* key, EVP_PKEY* signer) {
  CsrPtr csr(X509_REQ_new());
  X509_REQ_set_pubkey(csr.get(), key);
  X509_REQ_sign(csr.get(), signer, DigestFor(signer));
  BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), csr.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// What `openssl verify -purpose …` says at `now`.
bool Verifies(const std::string& leaf_pem, const std::string& ca_pem,
              int purpose, absl::Time now = kNow) {
  CertificatePtr leaf = *ReadCertificatePem(leaf_pem, "leaf");
  CertificatePtr ca = *ReadCertificatePem(ca_pem, "ca");
  std::unique_ptr<X509_STORE, OpenSslFree<X509_STORE_free>> store(
      X509_STORE_new());
  X509_STORE_add_cert(store.get(), ca.get());
  std::unique_ptr<X509_STORE_CTX, OpenSslFree<X509_STORE_CTX_free>> context(
      X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_STORE_CTX_set_time(context.get(), 0, absl::ToTimeT(now));
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_X509_STRICT);
  return X509_verify_cert(context.get()) == 1;
}

mode_t ModeOf(const std::string& path) {
  struct stat st = {};
  stat(path.c_str(), &st);
  return st.st_mode & 07777u;
}

class CertificateAuthorityTest : public testing::Test {
 protected:
  std::unique_ptr<CertificateAuthority> Open(absl::Time now = kNow) {
    auto authority = CertificateAuthority::OpenOrCreate(folder_, now);
    EXPECT_TRUE(authority.ok()) << authority.status();
    return *std::move(authority);
  }
  absl::Status OpenFails(absl::Time now = kNow) {
    return CertificateAuthority::OpenOrCreate(folder_, now).status();
  }
  std::string Path(std::string_view name) {
    return folder_ + "/" + std::string(name);
  }

  TempDir dir_;
  const std::string folder_ = dir_.File("ca");
};

TEST_F(CertificateAuthorityTest, AFolderIsPrivateAndKeepsItsAuthority) {
  const std::string first = Open()->ca_pem();
  EXPECT_EQ(ModeOf(folder_), 0700u);
  EXPECT_EQ(ModeOf(Path("ca.key")), 0600u);
  EXPECT_EQ(ModeOf(Path("ca.pem")), 0600u);
  EXPECT_EQ(Open(kNow + kDay)->ca_pem(), first);
  const CertificateInfo info = *ParseCertificate(first);
  EXPECT_EQ(info.not_before, kNow - absl::Minutes(5));
  EXPECT_EQ(info.not_after, kNow + 3650 * kDay);
}

TEST_F(CertificateAuthorityTest, AnAgentCertificateSaysWhoItIsAndNothingElse) {
  auto authority = Open();
  const std::string csr = NewCsr();
  const std::string pem = *authority->IssueAgent(csr, kOrg, kAgent, kNow);
  const CertificateInfo info = *ParseCertificate(pem);
  EXPECT_THAT(info.uris, ElementsAre("muster://default/agent/" + kAgent.str()));
  EXPECT_THAT(info.dns_names, IsEmpty());
  EXPECT_EQ(info.subject, "CN=" + kAgent.str());
  EXPECT_EQ(info.not_before, kNow - absl::Minutes(5));
  EXPECT_EQ(info.not_after, kNow + 30 * kDay);
  EXPECT_EQ(info.pin, *CertificateAuthority::CheckCsr(csr));
  EXPECT_NE(ParseCertificate(*authority->IssueAgent(csr, kOrg, kAgent, kNow))
                ->serial_hex,
            info.serial_hex);
}

TEST_F(CertificateAuthorityTest, AnAgentIsNoServerAndAServerNoAgent) {
  auto authority = Open();
  const std::string ca = authority->ca_pem();
  const std::string agent =
      *authority->IssueAgent(NewCsr(), kOrg, kAgent, kNow);
  const std::string server = authority->FleetServer(kNow)->certificate_pem;
  EXPECT_TRUE(Verifies(agent, ca, X509_PURPOSE_SSL_CLIENT));
  EXPECT_FALSE(Verifies(agent, ca, X509_PURPOSE_SSL_SERVER));
  EXPECT_TRUE(Verifies(server, ca, X509_PURPOSE_SSL_SERVER));
  EXPECT_FALSE(Verifies(server, ca, X509_PURPOSE_SSL_CLIENT));
  EXPECT_TRUE(Verifies(agent, ca, X509_PURPOSE_SSL_CLIENT,
                       kNow + 30 * kDay - absl::Seconds(1)));
  EXPECT_FALSE(Verifies(agent, ca, X509_PURPOSE_SSL_CLIENT,
                        kNow + 30 * kDay + absl::Seconds(1)));
}

TEST_F(CertificateAuthorityTest, AnAgentsCertificateIsReadWhenItHasEndedToo) {
  auto authority = Open();
  const std::string csr = NewCsr();
  for (const absl::Time made : {kNow, kNow - 200 * kDay, kNow + kDay}) {
    const auto read = authority->ReadAgent(
        *authority->IssueAgent(csr, kOrg, kAgent, made));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->identity.agent, kAgent);
    EXPECT_EQ(read->identity.org, kOrg);
    EXPECT_EQ(read->key_pin, *CertificateAuthority::CheckCsr(csr));
    EXPECT_EQ(read->not_after, made + 30 * kDay);
  }
}

TEST_F(CertificateAuthorityTest, WhatIsNoAgentsCertificateOfOursIsNotRead) {
  auto authority = Open();
  TempDir other;
  auto foreign = *CertificateAuthority::OpenOrCreate(other.File("ca"), kNow);
  for (const std::string& pem :
       {*foreign->IssueAgent(NewCsr(), kOrg, kAgent, kNow), foreign->ca_pem(),
        authority->ca_pem(), authority->FleetServer(kNow)->certificate_pem}) {
    EXPECT_EQ(authority->ReadAgent(pem).status().code(),
              absl::StatusCode::kUnauthenticated);
  }
  EXPECT_EQ(authority->ReadAgent("nonsense").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CertificateAuthorityTest, AnotherAuthoritysCertificateDoesNotVerify) {
  TempDir other;
  auto foreign = *CertificateAuthority::OpenOrCreate(other.File("ca"), kNow);
  const std::string agent = *foreign->IssueAgent(NewCsr(), kOrg, kAgent, kNow);
  EXPECT_FALSE(Verifies(agent, Open()->ca_pem(), X509_PURPOSE_SSL_CLIENT));
}

TEST_F(CertificateAuthorityTest, AnEd25519KeyIsAccepted) {
  KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  auto authority = Open();
  const auto pem =
      authority->IssueAgent(CsrPem(key.get(), key.get()), kOrg, kAgent, kNow);
  ASSERT_TRUE(pem.ok()) << pem.status();
  EXPECT_TRUE(Verifies(*pem, authority->ca_pem(), X509_PURPOSE_SSL_CLIENT));
}

TEST_F(CertificateAuthorityTest, RequestsThatAreNoneAreRefusedByName) {
  auto authority = Open();
  const auto issue = [&](const std::string& csr) {
    return authority->IssueAgent(csr, kOrg, kAgent, kNow).status();
  };
  KeyPtr rsa(EVP_RSA_gen(1024));
  KeyPtr p384(EVP_EC_gen("P-384"));
  KeyPtr mine = *NewP256Key();
  KeyPtr theirs = *NewP256Key();
  const std::string stolen = CsrPem(theirs.get(), mine.get());
  for (const auto& [csr, text] :
       std::initializer_list<std::pair<std::string, std::string>>{
           {"", "csr_pem is empty"},
           {"hello", "csr_pem is not a certificate request"},
           {authority->ca_pem(), "csr_pem is not a certificate request"},
           {std::string(8193, '-'), "csr_pem is 8193 bytes long, at most 8192"},
           {CsrPem(rsa.get(), rsa.get()), "RSA"},
           {CsrPem(p384.get(), p384.get()), "secp384r1"},
           {stolen, "csr_pem is not signed by its own key"}}) {
    const absl::Status status = issue(csr);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(status.message(), HasSubstr(text));
  }
}

TEST_F(CertificateAuthorityTest, ATamperedRequestIsRefused) {
  auto authority = Open();
  const std::string good = NewCsr();
  ASSERT_TRUE(authority->IssueAgent(good, kOrg, kAgent, kNow).ok());
  for (size_t i = 40; i + 40 < good.size(); i += 7) {
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    if (bad == good) continue;
    EXPECT_FALSE(authority->IssueAgent(bad, kOrg, kAgent, kNow).ok()) << i;
  }
}

TEST_F(CertificateAuthorityTest, AnOrgCannotSmuggleNamesIntoACertificate) {
  EXPECT_EQ(Open()
                ->IssueAgent(NewCsr(), OrgId("x,DNS:gateway.muster.internal"),
                             kAgent, kNow)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CertificateAuthorityTest, TheFleetPortHasItsFixedName) {
  const ServerCredential fleet = *Open()->FleetServer(kNow);
  const CertificateInfo info = *ParseCertificate(fleet.certificate_pem);
  EXPECT_THAT(info.dns_names, ElementsAre("gateway.muster.internal"));
  EXPECT_EQ(info.not_after, kNow + 90 * kDay);
  EXPECT_TRUE(
      CheckKeyMatchesCertificate(fleet.key_pem, fleet.certificate_pem).ok());
  EXPECT_EQ(ModeOf(Path("fleet.key")), 0600u);
}

TEST_F(CertificateAuthorityTest, AServerCertificateIsRenewedAtTwoThirds) {
  const WebNames names{{"muster.example"}, {"127.0.0.1", "0:0:0:0:0:0:0:1"}};
  const ServerCredential first = *Open()->WebServer(names, kNow);
  const absl::Time due = first.renew_at;
  EXPECT_GT(due, kNow + 59 * kDay);
  EXPECT_LT(due, kNow + 60 * kDay);
  EXPECT_EQ(Open()->WebServer(names, due - absl::Seconds(1))->certificate_pem,
            first.certificate_pem);
  const ServerCredential second = *Open()->WebServer(names, due);
  EXPECT_NE(second.certificate_pem, first.certificate_pem);
  EXPECT_EQ(second.pin, first.pin) << "a pin outlives the certificate";
  EXPECT_EQ(Open()->WebServer(names, due)->certificate_pem,
            second.certificate_pem);
}

TEST_F(CertificateAuthorityTest,
       OtherNamesMakeAnotherCertificateForTheSameKey) {
  auto authority = Open();
  const ServerCredential first =
      *authority->WebServer({{"a.example"}, {}}, kNow);
  const ServerCredential second =
      *authority->WebServer({{"b.example"}, {"::1"}}, kNow);
  const CertificateInfo info = *ParseCertificate(second.certificate_pem);
  EXPECT_THAT(info.dns_names, ElementsAre("b.example"));
  EXPECT_THAT(info.ip_addresses, ElementsAre("::1"));
  EXPECT_EQ(second.pin, first.pin);
}

TEST_F(CertificateAuthorityTest, WebNamesMustBeNames) {
  auto authority = Open();
  for (const WebNames& names : std::initializer_list<WebNames>{
           {{}, {}},
           {{"a b"}, {}},
           {{""}, {}},
           {{}, {"localhost"}},
           {{std::string(254, 'a')}, {}},
           {std::vector<std::string>(33, "a"), {}}}) {
    EXPECT_EQ(authority->WebServer(names, kNow).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(authority->WebServer({{std::string(253, 'a')}, {}}, kNow).ok())
      << "longer than a common name may be";
}

TEST_F(CertificateAuthorityTest, NothingOutlivesTheAuthority) {
  Open();
  const absl::Time late = kNow + 3650 * kDay - kDay;
  auto authority = Open(late);
  const auto pem = authority->IssueAgent(NewCsr(), kOrg, kAgent, late);
  ASSERT_TRUE(pem.ok());
  EXPECT_EQ(ParseCertificate(*pem)->not_after, kNow + 3650 * kDay);
  const absl::Status ended = OpenFails(late + 2 * kDay);
  EXPECT_EQ(ended.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ended.message(), HasSubstr(Path("ca.pem") + " ended at"));
}

TEST_F(CertificateAuthorityTest, AKeyAloneIsAStartThatWasInterrupted) {
  const std::string pin = *PinOfCertificate(Open()->ca_pem());
  ASSERT_TRUE(RemoveTree(Path("ca.pem")).ok());
  EXPECT_EQ(*PinOfCertificate(Open()->ca_pem()), pin);
}

TEST_F(CertificateAuthorityTest, DamageAndForeignFilesAreNamed) {
  Open();
  const std::string key = *ReadFile(Path("ca.key"), kKeyPemBytesMax);
  const auto expect = [&](absl::StatusCode code, const std::string& text) {
    const absl::Status status = OpenFails();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(status.message(), HasSubstr(text));
  };
  const auto write = [&](std::string_view name, std::string_view content) {
    ASSERT_TRUE(WriteFileDurably(Path(name), content, 0600).ok());
  };

  write("ca.key", key.substr(0, key.size() / 2));
  expect(absl::StatusCode::kDataLoss, Path("ca.key") + " is damaged");
  write("ca.key", GenerateKey()->Reveal());
  expect(absl::StatusCode::kFailedPrecondition, "belongs to another key");
  ASSERT_TRUE(RemoveTree(Path("ca.key")).ok());
  expect(absl::StatusCode::kFailedPrecondition,
         Path("ca.key") + " is missing beside ca.pem");

  write("ca.key", key);
  auto authority = Open();
  const std::string leaf = authority->FleetServer(kNow)->certificate_pem;
  ASSERT_EQ(chmod(Path("ca.key").c_str(), 0640), 0);
  expect(absl::StatusCode::kFailedPrecondition,
         Path("ca.key") + " is open to other users (mode 0640)");
  write("ca.key", key);
  const std::string ca = authority->ca_pem();
  write("ca.pem", "nothing");
  expect(absl::StatusCode::kDataLoss, Path("ca.pem") + " is damaged");
  write("ca.pem", leaf);
  write("ca.key", *ReadFile(Path("fleet.key"), kKeyPemBytesMax));
  expect(absl::StatusCode::kFailedPrecondition,
         Path("ca.pem") + " is no certificate authority");
}

TEST_F(CertificateAuthorityTest,
       AServerCertificateOfAnotherAuthorityIsReplaced) {
  TempDir other;
  auto foreign = *CertificateAuthority::OpenOrCreate(other.File("ca"), kNow);
  const ServerCredential theirs = *foreign->FleetServer(kNow);
  auto authority = Open();
  ASSERT_TRUE(
      WriteFileDurably(Path("fleet.key"), theirs.key_pem.Reveal(), 0600).ok());
  ASSERT_TRUE(
      WriteFileDurably(Path("fleet.pem"), theirs.certificate_pem, 0600).ok());
  const ServerCredential mine = *authority->FleetServer(kNow);
  EXPECT_TRUE(Verifies(mine.certificate_pem, authority->ca_pem(),
                       X509_PURPOSE_SSL_SERVER));
}

}  // namespace
}  // namespace muster::gateway
