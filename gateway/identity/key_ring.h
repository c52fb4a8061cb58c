// Which key speaks for which machine: asked in every handshake of the fleet
// port, before HTTP/2 begins.

#ifndef MUSTER_GATEWAY_IDENTITY_KEY_RING_H_
#define MUSTER_GATEWAY_IDENTITY_KEY_RING_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/mutex.h"

namespace muster::gateway {

// KeyRing keeps 32 bytes a machine. Thread-safe.
class KeyRing {
 public:
  // From now on this key ("sha256//…") speaks for the machine, and no other;
  // none, if it is empty.
  void Put(const AgentId& agent, std::string_view key_pin);

  bool Holds(const AgentId& agent, std::string_view key_pin) const;

 private:
  // The first half of a SHA-256: nobody finds another text for one.
  using Digest = std::array<uint8_t, 16>;
  static Digest DigestOf(std::string_view text);

  mutable Mutex mu_;
  absl::flat_hash_map<Digest, Digest> key_of_ ABSL_GUARDED_BY(mu_);
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_IDENTITY_KEY_RING_H_
