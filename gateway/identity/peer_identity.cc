#include "gateway/identity/peer_identity.h"

#include <algorithm>

#include "fmt/format.h"

namespace muster::gateway {
namespace {

constexpr std::string_view kScheme = "muster://";
constexpr std::string_view kKind = "/agent/";
constexpr size_t kOrgMax = 63;
constexpr size_t kQuotedMax = 200;  // Of foreign text in an error.

bool IsOrg(std::string_view text) {
  if (text.empty() || text.size() > kOrgMax) return false;
  if (text.front() == '-' || text.back() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

}  // namespace

absl::StatusOr<std::string> AgentUri(const OrgId& org, const AgentId& agent) {
  if (!IsOrg(org.str())) {
    return absl::InvalidArgumentError(fmt::format(
        "org {:?} is not 1 to 63 of a-z, 0-9 and inner hyphens", org.str()));
  }
  if (!IsUuid(agent.str())) {
    return absl::InvalidArgumentError(
        fmt::format("agent id {:?} is not a UUID", agent.str()));
  }
  return fmt::format("{}{}{}{}", kScheme, org.str(), kKind, agent.str());
}

absl::StatusOr<PeerIdentity> ParseAgentUri(std::string_view uri) {
  const size_t kind = uri.find(kKind, std::min(kScheme.size(), uri.size()));
  if (uri.starts_with(kScheme) && kind != uri.npos) {
    const std::string_view org =
        uri.substr(kScheme.size(), kind - kScheme.size());
    const std::string_view agent = uri.substr(kind + kKind.size());
    if (IsOrg(org) && IsUuid(agent)) {
      return PeerIdentity{OrgId(std::string(org)), AgentId(std::string(agent))};
    }
  }
  return absl::UnauthenticatedError(fmt::format(
      "{:?} in the certificate names no agent", uri.substr(0, kQuotedMax)));
}

absl::StatusOr<PeerIdentity> IdentifyPeer(
    const std::vector<std::string>& uris) {
  if (uris.size() != 1) {
    return absl::UnauthenticatedError(fmt::format(
        "the certificate holds {} URIs, expected exactly one", uris.size()));
  }
  return ParseAgentUri(uris.front());
}

}  // namespace muster::gateway
