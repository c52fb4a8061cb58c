// Tokens: how they are made, read and compared.
//
//   mst_join_<43 base62 characters>   lets one or more machines register
//   mst_<43 base62 characters>        speaks for a person or a program
//
// 43 base62 characters are 256 random bits, so one round of SHA-256 protects
// them at rest, and the hash is the key to look a token up by: no part of a
// token is public, and a lookup by hash tells nothing by its timing.

#ifndef MUSTER_GATEWAY_IDENTITY_SECRET_TOKEN_H_
#define MUSTER_GATEWAY_IDENTITY_SECRET_TOKEN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "libprotocol/base/secret.h"

namespace muster::gateway {

enum class TokenKind { kJoin, kAccess };

// A new token from the kernel's randomness. Thread-safe.
Secret NewToken(TokenKind kind);

// The SHA-256 of a token's text in lower-case hex: what is stored, and the key
// to look it up by. Unauthenticated if `text` is not a token of this kind; the
// error never quotes it.
absl::StatusOr<std::string> HashToken(TokenKind kind, std::string_view text);

// The SHA-256 of any bytes, in the same form.
std::string Sha256Hex(std::string_view bytes);

// Compares two hashes in a time that depends on their lengths only.
bool SameHash(std::string_view a, std::string_view b);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_IDENTITY_SECRET_TOKEN_H_
