#include "gateway/identity/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstdint>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

constexpr int kLogN = 15;
constexpr uint64_t kR = 8;
constexpr uint64_t kP = 1;
constexpr uint64_t kMemoryMax = 64 << 20;
constexpr size_t kSaltBytes = 16;
constexpr size_t kHashBytes = 32;

absl::StatusOr<std::string> Scrypt(const Secret& password,
                                   std::string_view salt) {
  std::string hash(kHashBytes, '\0');
  const std::string& text = password.Reveal();
  if (EVP_PBE_scrypt(text.data(), text.size(),
                     reinterpret_cast<const unsigned char*>(salt.data()),
                     salt.size(), uint64_t{1} << kLogN, kR, kP, kMemoryMax,
                     reinterpret_cast<unsigned char*>(hash.data()),
                     hash.size()) != 1) {
    return absl::InternalError("scrypt failed");
  }
  return hash;
}

}  // namespace

absl::StatusOr<std::string> HashPassword(const Secret& password) {
  const std::string salt = RandomBytes(kSaltBytes);
  ASSIGN_OR_RETURN(const std::string hash, Scrypt(password, salt));
  return fmt::format("scrypt${}${}${}${}${}", kLogN, kR, kP,
                     absl::BytesToHexString(salt),
                     absl::BytesToHexString(hash));
}

bool CheckPassword(const Secret& password, std::string_view hash) {
  const std::vector<std::string> parts = absl::StrSplit(ToAbsl(hash), '$');
  const bool ours = parts.size() == 6 && parts[0] == "scrypt" &&
                    parts[1] == std::to_string(kLogN) &&
                    parts[2] == std::to_string(kR) &&
                    parts[3] == std::to_string(kP);
  // Somebody without a password takes as long.
  const std::string salt =
      ours ? absl::HexStringToBytes(parts[4]) : std::string(kSaltBytes, 's');
  const auto got = Scrypt(password, salt);
  if (!ours || !got.ok()) return false;
  const std::string wanted = absl::HexStringToBytes(parts[5]);
  return wanted.size() == got->size() &&
         CRYPTO_memcmp(wanted.data(), got->data(), got->size()) == 0;
}

}  // namespace muster::gateway
