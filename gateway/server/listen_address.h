// What a listen address says: host:port, "[::]:7080", "localhost:0".

#ifndef MUSTER_GATEWAY_SERVER_LISTEN_ADDRESS_H_
#define MUSTER_GATEWAY_SERVER_LISTEN_ADDRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/identity/certificate_authority.h"

namespace muster::gateway {

// This host's name.
std::string OwnHostname();

// Whether only this host can reach a port that listens there.
bool OnlyOnLoopback(std::string_view listen);

// `listen` with the port that is really bound; an address that means "all"
// becomes this machine's own name.
std::string WithPort(std::string_view listen, uint16_t port);

// The names in the web port's certificate: this host's name, localhost and its
// addresses, what the settings name, and, if it listens on all of them, this
// host's addresses.
WebNames WebNamesFor(std::string_view listen, std::string_view public_address);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_SERVER_LISTEN_ADDRESS_H_
