// Signs one certificate. What may be signed for whom is the caller's policy
// (gateway/identity); this file only knows how.

#ifndef MUSTER_LIBPROTOCOL_NET_CERTIFICATE_BUILDER_H_
#define MUSTER_LIBPROTOCOL_NET_CERTIFICATE_BUILDER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/net/openssl_ptr.h"

namespace muster {

enum class CertificateUse { kAuthority, kTlsServer, kTlsClient };

struct CertificateSpec {
  CertificateUse use = CertificateUse::kTlsServer;
  std::string common_name;  // At most 64 bytes.
  // Subject alternative names; taken as they are, never parsed.
  std::vector<std::string> uris;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;  // InvalidArgument if not one.
  absl::Time not_before;                  // Whole seconds.
  absl::Time not_after;
};

// A version 3 certificate for `subject_key` with a random 127-bit serial
// number, signed by `issuer_key`. Without `issuer` it is self-signed. An
// authority gets pathlen 0: it signs leaves only.
absl::StatusOr<CertificatePtr> SignCertificate(const CertificateSpec& spec,
                                               EVP_PKEY* subject_key,
                                               X509* issuer,
                                               EVP_PKEY* issuer_key);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_CERTIFICATE_BUILDER_H_
