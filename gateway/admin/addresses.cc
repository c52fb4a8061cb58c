#include "gateway/admin/addresses.h"

#include "fmt/format.h"

namespace muster::gateway {
namespace {

// "web-1:7080" → "web-1", "[::1]:7080" → "[::1]".
std::string HostOf(std::string_view authority) {
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != std::string_view::npos &&
                        (bracket == std::string_view::npos || colon > bracket);
  return std::string(has_port ? authority.substr(0, colon) : authority);
}

std::string Bracketed(const std::string& host) {
  const bool literal_v6 =
      host.find(':') != std::string::npos && host.front() != '[';
  return literal_v6 ? "[" + host + "]" : host;
}

std::string HostFor(const Addresses& addresses, std::string_view authority) {
  if (!addresses.public_address.empty()) {
    return Bracketed(addresses.public_address);
  }
  const std::string host = HostOf(authority);
  return host.empty() ? "127.0.0.1" : host;
}

}  // namespace

std::string Addresses::FleetEndpoint(std::string_view web_authority) const {
  return fmt::format("{}:{}", HostFor(*this, web_authority), fleet_port);
}

std::string Addresses::WebUrl(std::string_view web_authority) const {
  return fmt::format("{}://{}:{}", web_tls ? "https" : "http",
                     HostFor(*this, web_authority), web_port);
}

}  // namespace muster::gateway
