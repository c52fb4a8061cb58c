// The gateway's certificate for the web port.

#ifndef MUSTER_GATEWAY_HTTP_TLS_CONTEXT_H_
#define MUSTER_GATEWAY_HTTP_TLS_CONTEXT_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "libprotocol/base/secret.h"

extern "C" {
typedef struct ssl_ctx_st SSL_CTX;
}

namespace muster::gateway {

// Immutable once made; connections share it.
using TlsContext = std::shared_ptr<SSL_CTX>;

// TLS 1.2 and later, no client certificate. `chain_pem`: the leaf first, then
// what leads to its root. InvalidArgument if either is no PEM, or the key does
// not belong to the leaf.
absl::StatusOr<TlsContext> MakeTlsContext(std::string_view chain_pem,
                                          const Secret& key_pem);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_TLS_CONTEXT_H_
