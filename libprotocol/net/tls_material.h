// Keys, certificate requests and certificates as PEM text: making them, reading
// them, and telling whether they belong together.
//
// No time is read and nothing is stored here. All functions are thread-safe.

#ifndef MUSTER_LIBPROTOCOL_NET_TLS_MATERIAL_H_
#define MUSTER_LIBPROTOCOL_NET_TLS_MATERIAL_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/secret.h"

namespace muster {

// Longest accepted texts. A P-256 key takes 241 bytes, its request about 400,
// our certificates about 1000; a chain given by an operator may be longer.
inline constexpr size_t kKeyPemBytesMax = 16 * 1024;
inline constexpr size_t kCertificatePemBytesMax = 64 * 1024;
inline constexpr size_t kCsrPemBytesMax = 8 * 1024;

struct CertificateInfo {
  std::string subject;  // RFC 2253: "CN=gateway.muster.internal".
  std::string issuer;
  std::vector<std::string> uris;          // Subject alternative names. These
  std::vector<std::string> dns_names;     // texts come from the certificate:
  std::vector<std::string> ip_addresses;  // any byte may occur in them.
  std::string serial_hex;                 // Lower case, even length.
  absl::Time not_before;
  absl::Time not_after;
  std::string fingerprint_hex;  // SHA-256 of the DER form, lower case.
  std::string pin;              // As PinOfCertificate().
};

// Two thirds of the certificate's life: when it is renewed.
absl::Time RenewAt(const CertificateInfo& info);

// A fresh P-256 private key, PKCS #8.
absl::StatusOr<Secret> GenerateKey();

// A certificate request (PKCS #10) for `key_pem`, signed by it. The common name
// only helps a person who reads the request; the CA ignores it. InvalidArgument
// if the key cannot be read or the name is longer than 64 characters.
absl::StatusOr<std::string> MakeCsr(const Secret& key_pem,
                                    std::string_view common_name);

// Reads the first certificate of `pem`. InvalidArgument if there is none.
absl::StatusOr<CertificateInfo> ParseCertificate(std::string_view pem);

// The public key as curl's --pinnedpubkey writes it: "sha256//" and base64. The
// same for a key, its requests and its certificates. InvalidArgument if the
// input cannot be read.
absl::StatusOr<std::string> PinOfCertificate(std::string_view pem);
absl::StatusOr<std::string> PinOfKey(const Secret& pem);
absl::StatusOr<std::string> PinOfCsr(std::string_view pem);

// InvalidArgument unless `text` has the form of a pin (not whether one exists).
absl::Status ValidatePin(std::string_view text);

// Ok if the certificate was made for this key; FailedPrecondition, with both
// pins, if for another; InvalidArgument if either cannot be read.
absl::Status CheckKeyMatchesCertificate(const Secret& key_pem,
                                        std::string_view certificate_pem);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_TLS_MATERIAL_H_
