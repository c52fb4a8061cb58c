// Certificates for the tests of this folder.

#ifndef MUSTER_LIBPROTOCOL_NET_TEST_PKI_H_
#define MUSTER_LIBPROTOCOL_NET_TEST_PKI_H_

#include <string>

#include "absl/time/clock.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/net/certificate_builder.h"

namespace muster {

// TestPki is one authority and what it signs. Valid for an hour around now.
class TestPki {
 public:
  struct Leaf {
    std::string certificate_pem;
    Secret key_pem;
  };

  TestPki() : key_(*NewP256Key()) {
    CertificateSpec spec = Spec(CertificateUse::kAuthority, "Test CA");
    ca_ = *SignCertificate(spec, key_.get(), nullptr, key_.get());
    ca_pem = *WriteCertificatePem(ca_.get());
  }

  Leaf Issue(const CertificateSpec& spec) {
    KeyPtr key = *NewP256Key();
    CertificatePtr leaf =
        *SignCertificate(spec, key.get(), ca_.get(), key_.get());
    return {*WriteCertificatePem(leaf.get()), Secret(*WriteKeyPem(key.get()))};
  }
  Leaf IssueServer(const std::string& dns) {
    CertificateSpec spec = Spec(CertificateUse::kTlsServer, "server");
    spec.dns_names = {dns};
    spec.ip_addresses = {"127.0.0.1"};
    return Issue(spec);
  }
  Leaf IssueClient() {
    CertificateSpec spec = Spec(CertificateUse::kTlsClient, "client");
    spec.uris = {"muster://default/agent/x"};
    return Issue(spec);
  }
  static CertificateSpec Spec(CertificateUse use, const std::string& name) {
    CertificateSpec spec;
    spec.use = use;
    spec.common_name = name;
    spec.not_before = absl::Now() - absl::Hours(1);
    spec.not_after = absl::Now() + absl::Hours(1);
    return spec;
  }

  std::string ca_pem;

 private:
  KeyPtr key_;
  CertificatePtr ca_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_TEST_PKI_H_
