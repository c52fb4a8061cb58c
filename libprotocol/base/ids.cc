#include "libprotocol/base/ids.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdint>

#include "fmt/format.h"
#include "libprotocol/base/check.h"

namespace muster {

std::string RandomBytes(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t have = 0; have < bytes;) {
    const ssize_t n = getrandom(out.data() + have, bytes - have, 0);
    MUSTER_CHECK(n > 0 || errno == EINTR);
    if (n > 0) have += static_cast<size_t>(n);
  }
  return out;
}

std::string NewUuid(absl::Time now) {
  const uint64_t ms = static_cast<uint64_t>(absl::ToUnixMillis(now));
  const std::string r = RandomBytes(10);
  const auto byte = [&r](size_t i) { return static_cast<uint8_t>(r[i]); };
  const unsigned a = 0x7000u | ((byte(0) << 8 | byte(1)) & 0x0fffu);
  const unsigned b = 0x8000u | ((byte(2) << 8 | byte(3)) & 0x3fffu);
  return fmt::format(
      "{:08x}-{:04x}-{:04x}-{:04x}-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}",
      (ms >> 16) & 0xffffffffu, ms & 0xffffu, a, b, byte(4), byte(5), byte(6),
      byte(7), byte(8), byte(9));
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < 36; ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (dash ? c != '-' : !hex) return false;
  }
  return true;
}

}  // namespace muster
