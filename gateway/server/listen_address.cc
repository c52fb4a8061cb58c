#include "gateway/server/listen_address.h"

#include <unistd.h>

#include <utility>

#include "libprotocol/base/host_port.h"

namespace muster::gateway {
namespace {

bool MeansAll(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}

std::string HostOf(std::string_view listen) {
  const auto parsed = ParseListenAddress(listen);
  return parsed.ok() ? parsed->host : "";
}

}  // namespace

std::string OwnHostname() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

bool OnlyOnLoopback(std::string_view listen) {
  return IsLoopback(HostOf(listen));
}

std::string WithPort(std::string_view listen, uint16_t port) {
  std::string host = HostOf(listen);
  if (MeansAll(host)) host = OwnHostname();
  return HostPort{.host = std::move(host), .port = port}.ToString();
}

WebNames WebNamesFor(std::string_view listen, std::string_view public_address) {
  WebNames names{.dns_names = {"localhost"}, .ip_addresses = {}};
  for (const std::string& name :
       {OwnHostname(), HostOf(listen), std::string(public_address)}) {
    if (MeansAll(name) || name == "localhost") continue;
    (IsIpAddress(name) ? names.ip_addresses : names.dns_names).push_back(name);
  }
  return names;
}

}  // namespace muster::gateway
