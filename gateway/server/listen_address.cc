#include "gateway/server/listen_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

// The text of an address that a URL can hold; empty for another: one that is
// only good on its own wire (fe80::…) needs an interface beside it.
std::string AddressText(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address == nullptr) return "";
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
  } else if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) return "";
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
  }
  return text;
}

// This host's addresses; none if they cannot be had.
std::vector<std::string> OwnAddresses() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  std::vector<std::string> addresses;
  for (const ifaddrs* i = first; i != nullptr; i = i->ifa_next) {
    addresses.push_back(AddressText(i->ifa_addr));
  }
  freeifaddrs(first);
  return addresses;
}

// Once, and no more than a certificate takes.
void AddName(std::vector<std::string>& names, const std::string& name) {
  if (name.empty() || names.size() == kWebNamesMax) return;
  if (std::ranges::count(names, name) == 0) names.push_back(name);
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
  WebNames names{.dns_names = {"localhost"},
                 .ip_addresses = {"127.0.0.1", "::1"}};
  const std::string host = HostOf(listen);
  for (const std::string& name :
       {OwnHostname(), host, std::string(public_address)}) {
    if (MeansAll(name)) continue;
    if (IsIpAddress(name)) {
      AddName(names.ip_addresses, CanonicalIp(name));
    } else {
      AddName(names.dns_names, name);
    }
  }
  if (MeansAll(host)) {
    for (const std::string& own : OwnAddresses()) {
      AddName(names.ip_addresses, own);
    }
  }
  return names;
}

}  // namespace muster::gateway
