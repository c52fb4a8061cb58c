#include "gateway/server/listen_address.h"

#include <arpa/inet.h>
#include <unistd.h>

#include "fmt/format.h"

namespace muster::gateway {
namespace {

bool IsIpAddress(const std::string& host) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

bool MeansAll(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}

std::string OwnHostname() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

std::string HostOf(std::string_view listen) {
  std::string_view host = listen.substr(0, listen.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return std::string(host);
}

bool IsLoopback(std::string_view listen) {
  const std::string host = HostOf(listen);
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  return host == "::1" || host == "localhost";
}

std::string WithPort(std::string_view listen, uint16_t port) {
  std::string host = HostOf(listen);
  if (MeansAll(host)) host = OwnHostname();
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port)
            : fmt::format("{}:{}", host, port);
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
