// Whoever a certificate names is named in the one form that names an agent. A
// request that would be certified has a key with a pin.
//
// The input is the inside of a PEM: DER, as a peer's certificate and a
// machine's request come; and PEM itself.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "gateway/identity/certificate_authority.h"
#include "gateway/identity/peer_identity.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/check.h"
#include "libprotocol/net/tls_material.h"

namespace muster::gateway {
namespace {

std::string Pem(std::string_view label, std::string_view der) {
  return fmt::format("-----BEGIN {}-----\n{}\n-----END {}-----\n", label,
                     absl::Base64Escape(ToAbsl(der)), label);
}

void CheckUri(const std::string& uri) {
  const auto peer = ParseAgentUri(uri);
  if (!peer.ok()) return;
  MUSTER_CHECK(AgentUri(peer->org, peer->agent).value() == uri);
}

void CheckCertificate(const std::string& pem) {
  const auto info = ParseCertificate(pem);
  if (!info.ok()) return;
  MUSTER_CHECK(ValidatePin(info->pin).ok());
  MUSTER_CHECK(PinOfCertificate(pem).value() == info->pin);
  const auto peer = IdentifyPeer(info->uris);
  MUSTER_CHECK(!peer.ok() || info->uris.size() == 1);
  for (const std::string& uri : info->uris) CheckUri(uri);
}

void CheckRequest(const std::string& pem) {
  const auto pin = CertificateAuthority::CheckCsr(pem);
  if (!pin.ok()) return;
  MUSTER_CHECK(pem.size() <= kCsrPemBytesMax && ValidatePin(*pin).ok());
  MUSTER_CHECK(PinOfCsr(pem).value() == *pin);
}

}  // namespace
}  // namespace muster::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace muster::gateway;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  CheckUri(bytes);
  CheckCertificate(bytes);
  CheckCertificate(Pem("CERTIFICATE", bytes));
  CheckRequest(bytes);
  CheckRequest(Pem("CERTIFICATE REQUEST", bytes));
  return 0;
}
