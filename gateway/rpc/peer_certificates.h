// What a peer's certificate says, without reading the same one again for every
// stream.

#ifndef MUSTER_GATEWAY_RPC_PEER_CERTIFICATES_H_
#define MUSTER_GATEWAY_RPC_PEER_CERTIFICATES_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/mutex.h"

namespace muster::gateway {

struct PeerCertificate {
  std::string key_pin;  // "sha256//…"
  absl::Time renew_at;  // Two thirds of its life.

  friend bool operator==(const PeerCertificate&,
                         const PeerCertificate&) = default;
};

// PeerCertificates remembers them by their text. Reading one costs OpenSSL most
// of a millisecond, on the threads that all links share; a machine that opens
// thousands of streams would take those from everybody. Thread-safe.
class PeerCertificates {
 public:
  // InvalidArgument if it is none.
  absl::StatusOr<PeerCertificate> Read(std::string_view certificate_pem)
      ABSL_LOCKS_EXCLUDED(mu_);

  // About 1 KiB each; with more all are forgotten.
  static constexpr size_t kRememberedMax = 4096;

 private:
  Mutex mu_;
  absl::flat_hash_map<std::string, PeerCertificate> known_ ABSL_GUARDED_BY(mu_);
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_RPC_PEER_CERTIFICATES_H_
