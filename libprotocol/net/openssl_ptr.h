// Owning pointers for OpenSSL's objects and its error queue as a Status.
//
// For the .cc files that call OpenSSL (here, in gateway/identity and in tests);
// interfaces pass PEM text instead.

#ifndef MUSTER_LIBPROTOCOL_NET_OPENSSL_PTR_H_
#define MUSTER_LIBPROTOCOL_NET_OPENSSL_PTR_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace muster {

template <auto Free>
struct OpenSslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using CsrPtr = std::unique_ptr<X509_REQ, OpenSslFree<X509_REQ_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpenSslFree<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpenSslFree<SSL_free>>;

// OpenSSL's oldest queued reason, or "unknown reason"; empties the queue.
std::string TakeOpenSslReason();

// Internal, "`what`: reason". For calls that fail only by our fault or for lack
// of memory.
absl::Status OpenSslError(std::string_view what);

// Parsers of one PEM block. `what` names the input in errors ("the agent's
// certificate", a path). InvalidArgument if `pem` is empty, longer than its
// bound (tls_material.h) or not such a block; an encrypted key is refused
// without asking anyone for a password.
absl::StatusOr<KeyPtr> ReadKeyPem(std::string_view pem, std::string_view what);
absl::StatusOr<CertificatePtr> ReadCertificatePem(std::string_view pem,
                                                  std::string_view what);
absl::StatusOr<CsrPtr> ReadCsrPem(std::string_view pem, std::string_view what);

absl::StatusOr<std::string> WriteKeyPem(EVP_PKEY* key);
absl::StatusOr<std::string> WriteCertificatePem(X509* certificate);

absl::StatusOr<KeyPtr> NewP256Key();

// The digest to sign with: none for Ed25519, else SHA-256.
const EVP_MD* DigestFor(EVP_PKEY* key);

// "sha256//" and the base64 of the SHA-256 of the key's SubjectPublicKeyInfo.
absl::StatusOr<std::string> PinOf(EVP_PKEY* key);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_NET_OPENSSL_PTR_H_
