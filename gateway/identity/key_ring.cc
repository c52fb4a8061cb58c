#include "gateway/identity/key_ring.h"

#include <openssl/sha.h>

#include <algorithm>

namespace muster::gateway {

KeyRing::Digest KeyRing::DigestOf(std::string_view text) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> whole;
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(),
         whole.data());
  Digest half;
  std::copy_n(whole.begin(), half.size(), half.begin());
  return half;
}

void KeyRing::Put(const AgentId& agent, std::string_view key_pin) {
  const Digest machine = DigestOf(agent.str());
  const Digest key = DigestOf(key_pin);
  MutexLock lock(mu_);
  if (key_pin.empty()) {
    key_of_.erase(machine);
  } else {
    key_of_[machine] = key;
  }
}

bool KeyRing::Holds(const AgentId& agent, std::string_view key_pin) const {
  const Digest machine = DigestOf(agent.str());
  const Digest key = DigestOf(key_pin);
  MutexLock lock(mu_);
  const auto it = key_of_.find(machine);
  return it != key_of_.end() && it->second == key;
}

}  // namespace muster::gateway
