#include "libprotocol/base/address_range.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster {
namespace {

using Bytes = std::array<uint8_t, 16>;

constexpr int kBits = 128;
constexpr int kMappedBits = 96;  // "::ffff:0:0/96" holds all of IPv4.
constexpr Bytes kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

uint8_t MaskOf(int byte, int prefix) {
  const int bits = std::clamp(prefix - 8 * byte, 0, 8);
  return static_cast<uint8_t>(0xff00 >> bits);
}

bool Agree(const Bytes& a, const Bytes& b, int prefix) {
  for (int i = 0; i < 16; ++i) {
    if (((a[i] ^ b[i]) & MaskOf(i, prefix)) != 0) return false;
  }
  return true;
}

bool IsV4(const Bytes& address) { return Agree(address, kMapped, kMappedBits); }

std::optional<Bytes> ParseAddress(std::string_view text) {
  const std::string copy(text);  // inet_pton() wants a NUL.
  if (copy.find('\0') != copy.npos) return std::nullopt;
  Bytes bytes = kMapped;
  if (inet_pton(AF_INET, copy.c_str(), &bytes[12]) == 1) return bytes;
  if (inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1) return bytes;
  return std::nullopt;
}

// Digits only: no sign, no space, no leading zero.
std::optional<int> ParsePrefix(std::string_view text) {
  if (text.empty() || text.size() > 3) return std::nullopt;
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  int prefix = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    prefix = prefix * 10 + (c - '0');
  }
  return prefix;
}

std::string NetworkText(Bytes address, int prefix, bool v4) {
  for (int i = 0; i < 16; ++i) address[i] &= MaskOf(i, prefix);
  char text[INET6_ADDRSTRLEN] = {};
  if (v4) {
    inet_ntop(AF_INET, &address[12], text, sizeof text);
    return fmt::format("{}/{}", text, prefix - kMappedBits);
  }
  inet_ntop(AF_INET6, address.data(), text, sizeof text);
  return fmt::format("{}/{}", text, prefix);
}

}  // namespace

absl::StatusOr<AddressRange> AddressRange::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = ParseAddress(text.substr(0, slash));
  if (!address) {
    return absl::InvalidArgumentError(
        "must be an address or a network such as 10.0.0.0/8");
  }
  // As it is written: "::ffff:10.0.0.0/104" is a network of IPv4 too.
  const bool dotted = text.find(':') == text.npos;
  const int bits_max = dotted ? kBits - kMappedBits : kBits;
  int prefix = bits_max;
  if (slash != text.npos) {
    const auto given = ParsePrefix(text.substr(slash + 1));
    if (!given || *given > bits_max) {
      return absl::InvalidArgumentError(fmt::format(
          "must have a prefix of 0 to {} after the slash", bits_max));
    }
    prefix = *given;
  }
  if (dotted) prefix += kMappedBits;
  const bool v4 = IsV4(*address) && prefix >= kMappedBits;
  AddressRange range(*address, prefix, v4);
  for (int i = 0; i < 16; ++i) range.network_[i] &= MaskOf(i, prefix);
  if (range.network_ != *address) {
    return absl::InvalidArgumentError(
        fmt::format("must have no bits behind its prefix; its network is {}",
                    NetworkText(*address, prefix, v4)));
  }
  return range;
}

bool AddressRange::Contains(std::string_view address) const {
  const auto bytes = ParseAddress(address.substr(0, address.find('%')));
  return bytes && IsV4(*bytes) == v4_ && Agree(*bytes, network_, prefix_);
}

}  // namespace muster
