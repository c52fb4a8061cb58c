// The gateway's own certificate authority: who is an agent of this fleet, and
// by what an agent or a browser knows the gateway.
//
//   <folder>/            mode 0700; every file 0600
//     ca.key ca.pem        ten years; signs everything below
//     fleet.key fleet.pem  the fleet port: gateway.muster.internal
//     web.key web.pem      the web port: the names people use. The key outlives
//                          its certificates, so that pins stay true.
//
// Each key is durable before its certificate: a folder with a key alone is a
// start that was interrupted, and the next one finishes it.

#ifndef MUSTER_GATEWAY_IDENTITY_CERTIFICATE_AUTHORITY_H_
#define MUSTER_GATEWAY_IDENTITY_CERTIFICATE_AUTHORITY_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/identity/peer_identity.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/secret.h"

namespace muster::gateway {

// The name that agents check on the fleet port, wherever they dial.
inline constexpr std::string_view kFleetServerName = "gateway.muster.internal";

inline constexpr absl::Duration kAuthorityLife = absl::Hours(24 * 3650);
inline constexpr absl::Duration kServerLife = absl::Hours(24 * 90);
inline constexpr absl::Duration kAgentLife = absl::Hours(24 * 30);
// So long after its end an agent's certificate still proves who it was.
inline constexpr absl::Duration kRenewable = absl::Hours(24 * 180);
// Certificates begin this much earlier, for peers whose clock is behind.
inline constexpr absl::Duration kBackdating = absl::Minutes(5);

// What a listener presents.
struct ServerCredential {
  std::string certificate_pem;
  Secret key_pem;
  std::string pin;      // "sha256//…" of the key.
  absl::Time renew_at;  // Ask again then; two thirds of its life.
};

inline constexpr size_t kWebNamesMax = 32;

// Names of the web port in its certificate, at most kWebNamesMax of each.
struct WebNames {
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
};

// What a certificate of ours says of an agent.
struct AgentCertificate {
  PeerIdentity identity;
  std::string key_pin;  // "sha256//…"
  absl::Time not_after;
};

// CertificateAuthority holds the CA's key in memory.
//
// Threading: ca_pem(), ReadAgent() and IssueAgent() are thread-safe;
// FleetServer() and WebServer() write files and are called from one thread at a
// time.
class CertificateAuthority {
 public:
  // Opens the authority in `folder`, or makes one (and the folder) if none is
  // there. Errors name the file: DataLoss if it cannot be read as what it
  // should be; FailedPrecondition if it belongs to another key, is open to
  // other users, is missing beside its partner, or ended before `now`.
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> OpenOrCreate(
      const std::string& folder, absl::Time now);
  ~CertificateAuthority();

  // The CA's certificate: what agents trust.
  const std::string& ca_pem() const;

  // Whether IssueAgent() would certify this request; its key's pin
  // ("sha256//…") if so. Errors as IssueAgent(). Thread-safe.
  static absl::StatusOr<std::string> CheckCsr(std::string_view csr_pem);

  // A client certificate for the key of `csr_pem`, valid for 30 days, naming
  // nothing but `muster://<org>/agent/<agent>`; what the request says besides
  // its key is ignored. InvalidArgument, naming csr_pem, if it is longer than 8
  // KiB, no request, not signed by its own key, or the key is neither P-256 nor
  // Ed25519.
  absl::StatusOr<std::string> IssueAgent(std::string_view csr_pem,
                                         const OrgId& org, const AgentId& agent,
                                         absl::Time now) const;

  // What it says, whether its time has come or gone. InvalidArgument, naming
  // certificate_pem, if it cannot be read; Unauthenticated if another authority
  // signed it, or it is no agent's.
  absl::StatusOr<AgentCertificate> ReadAgent(
      std::string_view certificate_pem) const;

  // The credential of a port: the one on disk, or, from two thirds of its life
  // on or if it is for other names, a new certificate for the same key, written
  // before it is returned. WebServer: InvalidArgument if a name is none, or if
  // there is none at all.
  absl::StatusOr<ServerCredential> FleetServer(absl::Time now);
  absl::StatusOr<ServerCredential> WebServer(const WebNames& names,
                                             absl::Time now);

 private:
  class Impl;
  explicit CertificateAuthority(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_IDENTITY_CERTIFICATE_AUTHORITY_H_
