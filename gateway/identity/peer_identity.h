// Who a peer of the fleet port is: the one URI in its verified certificate,
// `muster://<org>/agent/<agent id>`. No message of an agent says who it is.

#ifndef MUSTER_GATEWAY_IDENTITY_PEER_IDENTITY_H_
#define MUSTER_GATEWAY_IDENTITY_PEER_IDENTITY_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {

struct PeerIdentity {
  OrgId org;
  AgentId agent;

  friend bool operator==(const PeerIdentity&, const PeerIdentity&) = default;
};

// The URI for an agent's certificate. InvalidArgument unless `org` is 1 to 63
// of a-z, 0-9 and inner hyphens, and `agent` is a UUID.
absl::StatusOr<std::string> AgentUri(const OrgId& org, const AgentId& agent);

// Reads back exactly what AgentUri() writes. Unauthenticated otherwise.
absl::StatusOr<PeerIdentity> ParseAgentUri(std::string_view uri);

// From all the URIs of a certificate that the caller has verified.
// Unauthenticated unless there is exactly one and it is an agent's.
absl::StatusOr<PeerIdentity> IdentifyPeer(const std::vector<std::string>& uris);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_IDENTITY_PEER_IDENTITY_H_
