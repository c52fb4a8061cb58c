#include "gateway/http/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <string>

#include "fmt/format.h"

namespace muster::gateway {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;

Bio ReadOnly(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// The library's reason; it never quotes key material.
absl::Status Refused(std::string_view what) {
  const char* reason = ERR_reason_error_string(ERR_get_error());
  ERR_clear_error();
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", what, reason != nullptr ? reason : "not usable"));
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
  const Bio chain = ReadOnly(chain_pem);
  const Certificate leaf(
      PEM_read_bio_X509(chain.get(), nullptr, NoPassword, nullptr));
  if (!leaf || SSL_CTX_use_certificate(context.get(), leaf.get()) != 1) {
    return Refused("certificate");
  }
  while (Certificate next{
      PEM_read_bio_X509(chain.get(), nullptr, NoPassword, nullptr)}) {
    if (SSL_CTX_add1_chain_cert(context.get(), next.get()) != 1) {
      return Refused("certificate chain");
    }
  }
  ERR_clear_error();  // The end of the chain is an error to the reader.
  const Bio key_text = ReadOnly(key_pem.Reveal());
  const Key key(
      PEM_read_bio_PrivateKey(key_text.get(), nullptr, NoPassword, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return Refused("private key");
  }
  return context;
}

}  // namespace muster::gateway
