#include "libprotocol/base/host_port.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"

namespace muster {
namespace {

constexpr size_t kHostMax = 253;  // The longest DNS name.

struct Parts {
  std::string_view host;
  std::optional<std::string_view> port;
};

// "[host]", "[host]:port", "host", "host:port"; nothing for an IPv6 address
// without brackets, and for brackets that do not match or hold something else.
std::optional<Parts> Split(std::string_view text) {
  Parts parts;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    parts.host = text.substr(1, end - 1);
    if (parts.host.find(':') == std::string_view::npos) return std::nullopt;
    text.remove_prefix(end + 1);
    if (text.empty()) return parts;
    if (text.front() != ':') return std::nullopt;
    parts.port = text.substr(1);
    return parts;
  }
  const size_t colon = text.find(':');
  parts.host = text.substr(0, colon);
  if (colon != std::string_view::npos) parts.port = text.substr(colon + 1);
  return parts;
}

struct PortRule {
  bool required;
  uint16_t min;
  std::string_view form;  // For the error.
};

absl::StatusOr<HostPort> Parse(std::string_view text, const PortRule& rule) {
  const auto wrong = [&] {
    return absl::InvalidArgumentError(
        fmt::format("{:?} is not {}", text, rule.form));
  };
  const std::optional<Parts> parts = Split(text);
  if (!parts || (rule.required && !parts->port)) return wrong();
  HostPort result{.host = std::string(parts->host)};
  if (parts->port) {
    const char* const end = parts->port->data() + parts->port->size();
    const auto [stopped, error] =
        std::from_chars(parts->port->data(), end, result.port);
    if (error != std::errc() || stopped != end || result.port < rule.min) {
      return wrong();
    }
  }
  if (const absl::Status host = ValidateHost(result.host); !host.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("{:?}: {}", text, ToStd(host.message())));
  }
  return result;
}

}  // namespace

std::string HostPort::ToString() const {
  return fmt::format("{}:{}", Bracketed(host), port);
}

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  return Parse(text, {.required = true,
                      .min = 1,
                      .form = "host:port with a port from 1 to 65535"});
}

absl::StatusOr<HostPort> ParseListenAddress(std::string_view text) {
  return Parse(text, {.required = true,
                      .min = 0,
                      .form = "host:port with a port from 0 to 65535"});
}

absl::StatusOr<HostPort> ParseAuthority(std::string_view text) {
  return Parse(text, {.required = false,
                      .min = 1,
                      .form = "a host, or host:port with a port from 1 to "
                              "65535"});
}

absl::Status ValidateHost(std::string_view host) {
  const bool name = std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
  if (host.empty() || host.size() > kHostMax || (!name && !IsIpAddress(host))) {
    return absl::InvalidArgumentError(
        fmt::format("{:?} is neither a host name nor an address", host));
  }
  return absl::OkStatus();
}

std::string Bracketed(std::string_view host) {
  return host.find(':') == std::string_view::npos ? std::string(host)
                                                  : fmt::format("[{}]", host);
}

bool IsIpAddress(std::string_view host) { return !CanonicalIp(host).empty(); }

bool IsLoopback(std::string_view host) {
  in_addr v4{};
  if (inet_pton(AF_INET, std::string(host).c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == 127;
  }
  return host == "localhost" || CanonicalIp(host) == "::1";
}

std::string CanonicalIp(std::string_view address) {
  in6_addr bytes;  // Holds an IPv4 address too.
  char text[INET6_ADDRSTRLEN] = "";
  const std::string copy(address);
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, copy.c_str(), &bytes) == 1) {
      inet_ntop(family, &bytes, text, sizeof text);
    }
  }
  return text;
}

}  // namespace muster
