// Passwords as they are kept: scrypt (RFC 7914) with a salt of their own.

#ifndef MUSTER_GATEWAY_IDENTITY_PASSWORD_H_
#define MUSTER_GATEWAY_IDENTITY_PASSWORD_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "libprotocol/base/secret.h"

namespace muster::gateway {

// "scrypt$15$8$1$SALT$HASH", N = 2^15, r = 8, p = 1, as OWASP advises for 32
// MiB. About 100 ms: off the loop. Thread-safe. Internal if OpenSSL cannot.
absl::StatusOr<std::string> HashPassword(const Secret& password);

// Whether `hash` is of this password; false for a text that is none. As long
// for a wrong password as for a right one, and for an empty `hash`, which no
// password has. Thread-safe.
bool CheckPassword(const Secret& password, std::string_view hash);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_IDENTITY_PASSWORD_H_
