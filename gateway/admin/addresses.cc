#include "gateway/admin/addresses.h"

#include "fmt/format.h"
#include "libprotocol/base/host_port.h"

namespace muster::gateway {
namespace {

// The host that the caller used: it works for them.
std::string CallersHost(const Addresses& addresses,
                        std::string_view web_authority) {
  if (!addresses.public_address.empty()) return addresses.public_address;
  const auto authority = ParseAuthority(web_authority);
  return authority.ok() ? authority->host : "127.0.0.1";
}

}  // namespace

std::string Addresses::FleetEndpoint(std::string_view web_authority) const {
  return fmt::format("{}:{}", Bracketed(CallersHost(*this, web_authority)),
                     fleet_port);
}

std::string Addresses::WebUrlForOthers(std::string_view web_authority) const {
  std::string host = CallersHost(*this, web_authority);
  if (IsLoopback(host) && !web_loopback) host = own_name;
  return fmt::format("{}://{}:{}", web_tls ? "https" : "http", Bracketed(host),
                     web_port);
}

}  // namespace muster::gateway
