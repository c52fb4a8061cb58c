// Where a machine or a person can reach this gateway from outside.

#ifndef MUSTER_GATEWAY_ADMIN_ADDRESSES_H_
#define MUSTER_GATEWAY_ADMIN_ADDRESSES_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::gateway {

// Addresses is plain data, constant once the listeners are open.
struct Addresses {
  // Host to hand out. Empty: the one that the caller used.
  std::string public_address;
  uint16_t fleet_port = 0;
  uint16_t web_port = 0;
  bool web_tls = false;
  std::string web_pin;        // "sha256//…"; empty for plain HTTP.
  bool web_loopback = false;  // Only this host can reach the web port.
  std::string own_name;       // This host's name.

  // host:port of the fleet port, for a caller that used `web_authority` (a Host
  // header) to get here.
  std::string FleetEndpoint(std::string_view web_authority) const;
  // The web port as another machine sees it, if it can: a caller on this very
  // host may have said "localhost".
  std::string WebUrlForOthers(std::string_view web_authority) const;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_ADDRESSES_H_
