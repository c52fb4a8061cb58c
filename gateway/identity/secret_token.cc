#include "gateway/identity/secret_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {
namespace {

constexpr std::string_view kAlphabet =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr size_t kRandomCharacters = 43;  // 43 × log2(62) = 256.03 bits.

std::string_view PrefixOf(TokenKind kind) {
  return kind == TokenKind::kJoin ? "mst_join_" : "mst_";
}

}  // namespace

Secret NewToken(TokenKind kind) {
  std::string text(PrefixOf(kind));
  const size_t size = text.size() + kRandomCharacters;
  text.reserve(size);
  while (text.size() < size) {
    const Secret bytes(RandomBytes(64));
    for (const unsigned char byte : bytes.Reveal()) {
      // 248 is the largest multiple of 62: above it the first letters would be
      // likelier than the others.
      if (byte < 248 && text.size() < size) text += kAlphabet[byte % 62];
    }
  }
  return Secret(std::move(text));
}

absl::StatusOr<std::string> HashToken(TokenKind kind, std::string_view text) {
  const std::string_view prefix = PrefixOf(kind);
  const std::string_view random =
      text.starts_with(prefix) ? text.substr(prefix.size()) : "";
  const bool good =
      random.size() == kRandomCharacters &&
      random.find_first_not_of(kAlphabet) == std::string_view::npos;
  if (!good) {
    return absl::UnauthenticatedError(
        fmt::format("not a token: it reads {} and {} letters and digits",
                    prefix, kRandomCharacters));
  }
  return Sha256Hex(text);
}

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  MUSTER_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size,
                          EVP_sha256(), nullptr) == 1);
  return absl::BytesToHexString(
      ToAbsl({reinterpret_cast<const char*>(digest), size}));
}

bool SameHash(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace muster::gateway
