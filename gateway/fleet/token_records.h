// How a machine comes into the fleet: registration tokens, and who was refused.

#ifndef MUSTER_GATEWAY_FLEET_TOKEN_RECORDS_H_
#define MUSTER_GATEWAY_FLEET_TOKEN_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"
#include "libprotocol/base/ids.h"

namespace muster::gateway {

// A registration token. The secret itself is never stored.
struct TokenRecord {
  TokenId id;
  OrgId org;
  std::string secret_sha256;  // 32 raw bytes.
  std::string description;
  Labels labels;
  std::string created_by;
  absl::Time created_at;
  absl::Time expires_at;
  uint32_t uses = 0;
  uint32_t uses_max = 1;
  // The machine that comes back with it; absent: a new one.
  std::optional<AgentId> agent;
  std::optional<absl::Time> revoked_at;
  // Who may use it: from one of these addresses and networks (none: from
  // anywhere), and with a hostname that matches (empty: any).
  std::vector<std::string> allowed_from = {};
  std::string hostname_glob = {};
  // What becomes of a new machine; see MachineRecord.
  bool approval = false;
  std::optional<absl::Duration> ephemeral_for = {};

  friend bool operator==(const TokenRecord&, const TokenRecord&) = default;
};

// Why a registration was refused. Its name in answers: NameOf() in errors.h.
enum class RefusalReason : uint8_t {
  kUnknown = 1,  // No such token.
  kRevoked = 2,
  kExpired = 3,
  kUsedUp = 4,
  kAddress = 5,
  kHostname = 6,
};

// A registration that was refused although its token exists.
struct RefusalRecord {
  OrgId org;  // Of the token.
  TokenId token;
  absl::Time at;
  RefusalReason reason = RefusalReason::kUnknown;
  std::string address;
  std::string hostname;

  friend bool operator==(const RefusalRecord&, const RefusalRecord&) = default;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_TOKEN_RECORDS_H_
