#include "gateway/http/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <string>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/net/openssl_ptr.h"

namespace muster::gateway {
namespace {

// The library's reason; it never quotes key material.
absl::Status Refused(std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", what, TakeOpenSslReason()));
}

// A password prompt would block a service for ever.
int NoPassword(char*, int, int, void*) { return -1; }

}  // namespace

absl::StatusOr<TlsContext> MakeTlsContext(std::string_view chain_pem,
                                          const Secret& key_pem) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return Refused("TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(),
                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS |
                                      SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const BioPtr chain(
      BIO_new_mem_buf(chain_pem.data(), static_cast<int>(chain_pem.size())));
  const CertificatePtr leaf(
      PEM_read_bio_X509(chain.get(), nullptr, NoPassword, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context.get(), leaf.get()) != 1) {
    return Refused("certificate");
  }
  while (CertificatePtr next{
      PEM_read_bio_X509(chain.get(), nullptr, NoPassword, nullptr)}) {
    if (SSL_CTX_add1_chain_cert(context.get(), next.get()) != 1) {
      return Refused("certificate chain");
    }
  }
  ERR_clear_error();  // The end of the chain is an error to the reader.
  ASSIGN_OR_RETURN(const KeyPtr key,
                   ReadKeyPem(key_pem.Reveal(), "private key"));
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return Refused("private key");
  }
  return context;
}

}  // namespace muster::gateway
