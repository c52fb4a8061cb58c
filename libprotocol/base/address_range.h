// Is this address one of those?

#ifndef MUSTER_LIBPROTOCOL_BASE_ADDRESS_RANGE_H_
#define MUSTER_LIBPROTOCOL_BASE_ADDRESS_RANGE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace muster {

// AddressRange is one address, or a network of them, of IPv4 or IPv6. An IPv4
// address that is mapped into IPv6 ("::ffff:10.0.0.1", as a socket for both
// shows it) is that IPv4 address, and no network of IPv6 holds it.
class AddressRange {
 public:
  // "192.0.2.7", "10.0.0.0/8", "2001:db8::/32". InvalidArgument that says what
  // is wrong with `text`, and does not name the field: something else, a prefix
  // that is too long, or an address with bits behind its prefix ("10.1.2.3/8"),
  // of which nobody knows what it was to mean.
  static absl::StatusOr<AddressRange> Parse(std::string_view text);

  // False for what is no address. A zone ("fe80::1%eth0") is left out.
  bool Contains(std::string_view address) const;

 private:
  // IPv4 in its mapped form.
  using Bytes = std::array<uint8_t, 16>;
  AddressRange(const Bytes& network, int prefix, bool v4)
      : network_(network), prefix_(prefix), v4_(v4) {}

  Bytes network_;
  int prefix_;  // Bits of `network_` that must agree.
  bool v4_;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_ADDRESS_RANGE_H_
