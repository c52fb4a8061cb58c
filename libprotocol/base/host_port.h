// Host and port as people write them: in settings, in Host headers, in the
// lines that they paste. The one place that reads them.

#ifndef MUSTER_LIBPROTOCOL_BASE_HOST_PORT_H_
#define MUSTER_LIBPROTOCOL_BASE_HOST_PORT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace muster {

// HostPort is plain data.
struct HostPort {
  std::string host;  // A name or an address; IPv6 without brackets.
  uint16_t port = 0;

  // "host:port", "[::1]:port".
  std::string ToString() const;
};

// Where to dial: "name:7443", "192.0.2.1:7443", "[::1]:7443". InvalidArgument,
// quoting the text, otherwise: the port is required and 1 to 65535, the host is
// as ValidateHost() says.
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

// Where to listen: the same, and port 0 picks a free one.
absl::StatusOr<HostPort> ParseListenAddress(std::string_view text);

// What a Host header says: the same, and the port may be missing, which gives
// 0.
absl::StatusOr<HostPort> ParseAuthority(std::string_view text);

// A host alone, IPv6 without brackets: an address, or at most 253 letters,
// digits, dots, hyphens and underscores (RFC 1035 §2.3.4 for the length).
absl::Status ValidateHost(std::string_view host);

// "::1" → "[::1]"; everything else as it is.
std::string Bracketed(std::string_view host);

bool IsIpAddress(std::string_view host);

// True for 127.0.0.0/8, ::1 and localhost: only this host can get there.
bool IsLoopback(std::string_view host);

// The one spelling of an address ("0:0::1" → "::1"); empty if it is none.
std::string CanonicalIp(std::string_view address);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_HOST_PORT_H_
