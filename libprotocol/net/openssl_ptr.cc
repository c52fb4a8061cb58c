#include "libprotocol/net/openssl_ptr.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/net/tls_material.h"

namespace muster {
namespace {

// PEM readers ask the terminal for a password unless told not to.
int NoPassword(char*, int, int, void*) { return -1; }

absl::StatusOr<BioPtr> BoundedInput(std::string_view pem, size_t bytes_max,
                                    std::string_view what) {
  if (pem.empty()) {
    return absl::InvalidArgumentError(fmt::format("{} is empty", what));
  }
  if (pem.size() > bytes_max) {
    return absl::InvalidArgumentError(fmt::format(
        "{} is {} bytes long, at most {}", what, pem.size(), bytes_max));
  }
  BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return OpenSslError("reading PEM");
  return bio;
}

absl::Status NotPem(std::string_view what, std::string_view kind) {
  return absl::InvalidArgumentError(fmt::format(
      "{} is not a {} in PEM: {}", what, kind, TakeOpenSslReason()));
}

template <typename Write>
absl::StatusOr<std::string> WritePem(Write write) {
  BioPtr bio(BIO_new(BIO_s_secmem()));  // Wipes itself: it may hold a key.
  if (!bio || write(bio.get()) != 1) return OpenSslError("writing PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

std::string TakeOpenSslReason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

absl::Status OpenSslError(std::string_view what) {
  return absl::InternalError(fmt::format("{}: {}", what, TakeOpenSslReason()));
}

absl::StatusOr<KeyPtr> ReadKeyPem(std::string_view pem, std::string_view what) {
  ERR_clear_error();
  auto bio = BoundedInput(pem, kKeyPemBytesMax, what);
  if (!bio.ok()) return bio.status();
  KeyPtr key(PEM_read_bio_PrivateKey(bio->get(), nullptr, NoPassword, nullptr));
  if (!key) return NotPem(what, "private key");
  return key;
}

absl::StatusOr<CertificatePtr> ReadCertificatePem(std::string_view pem,
                                                  std::string_view what) {
  ERR_clear_error();
  auto bio = BoundedInput(pem, kCertificatePemBytesMax, what);
  if (!bio.ok()) return bio.status();
  CertificatePtr certificate(
      PEM_read_bio_X509(bio->get(), nullptr, NoPassword, nullptr));
  if (!certificate) return NotPem(what, "certificate");
  return certificate;
}

absl::StatusOr<CsrPtr> ReadCsrPem(std::string_view pem, std::string_view what) {
  ERR_clear_error();
  auto bio = BoundedInput(pem, kCsrPemBytesMax, what);
  if (!bio.ok()) return bio.status();
  CsrPtr csr(PEM_read_bio_X509_REQ(bio->get(), nullptr, NoPassword, nullptr));
  if (!csr) return NotPem(what, "certificate request");
  return csr;
}

absl::StatusOr<std::string> WriteKeyPem(EVP_PKEY* key) {
  return WritePem([key](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr,
                                         nullptr);
  });
}

absl::StatusOr<std::string> WriteCertificatePem(X509* certificate) {
  return WritePem(
      [certificate](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

absl::StatusOr<KeyPtr> NewP256Key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return OpenSslError("generating a P-256 key");
  return key;
}

const EVP_MD* DigestFor(EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

absl::StatusOr<std::string> PinOf(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return OpenSslError("encoding a public key");
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int digest_size = 0;
  const int done = EVP_Digest(der, static_cast<size_t>(size), digest,
                              &digest_size, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  if (done != 1) return OpenSslError("hashing a public key");
  return "sha256//" + absl::Base64Escape(ToAbsl(std::string_view(
                          reinterpret_cast<const char*>(digest), digest_size)));
}

}  // namespace muster
