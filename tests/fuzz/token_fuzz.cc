// What hashes as a token has the form of one, of one kind only.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/strings/ascii.h"
#include "gateway/identity/secret_token.h"
#include "libprotocol/base/check.h"

namespace muster::gateway {
namespace {

bool Check(TokenKind kind, std::string_view prefix, std::string_view text) {
  const auto hash = HashToken(kind, text);
  if (!hash.ok()) {
    // The same words whatever was sent: it may be somebody's secret.
    MUSTER_CHECK(hash.status() == HashToken(kind, "").status());
    return false;
  }
  MUSTER_CHECK(hash->size() == 64 && *hash == Sha256Hex(text));
  MUSTER_CHECK(text.starts_with(prefix) && text.size() == prefix.size() + 43);
  MUSTER_CHECK(std::ranges::all_of(text.substr(prefix.size()), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c));
  }));
  return true;
}

}  // namespace
}  // namespace muster::gateway

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using muster::gateway::TokenKind;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool join = muster::gateway::Check(TokenKind::kJoin, "mst_join_", text);
  const bool access = muster::gateway::Check(TokenKind::kAccess, "mst_", text);
  MUSTER_CHECK(!join || !access);
  return 0;
}
