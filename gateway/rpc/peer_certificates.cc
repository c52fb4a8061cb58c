#include "gateway/rpc/peer_certificates.h"

#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/tls_material.h"

namespace muster::gateway {

absl::StatusOr<PeerCertificate> PeerCertificates::Read(
    std::string_view certificate_pem) {
  {
    const MutexLock lock(mu_);
    const auto known = known_.find(ToAbsl(certificate_pem));
    if (known != known_.end()) return known->second;
  }
  ASSIGN_OR_RETURN(const CertificateInfo info,
                   ParseCertificate(certificate_pem));
  PeerCertificate read{info.pin, RenewAt(info)};
  const MutexLock lock(mu_);
  if (known_.size() >= kRememberedMax) known_.clear();
  known_.try_emplace(std::string(certificate_pem), read);
  return read;
}

}  // namespace muster::gateway
