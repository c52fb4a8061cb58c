// Which version of the link protocol two sides speak.

#ifndef MUSTER_LIBPROTOCOL_WIRE_PROTOCOL_VERSION_H_
#define MUSTER_LIBPROTOCOL_WIRE_PROTOCOL_VERSION_H_

#include <algorithm>
#include <cstdint>

#include "absl/status/statusor.h"
#include "fmt/format.h"

namespace muster::wire {

// Both ends inclusive.
struct ProtocolRange {
  uint32_t min = 0;
  uint32_t max = 0;
};

// What this build speaks, on either side.
inline constexpr ProtocolRange kOurProtocol = {.min = 1, .max = 1};

// The highest version in both ranges. InvalidArgument if the agent's range is
// none; FailedPrecondition naming both ranges if they do not meet.
inline absl::StatusOr<uint32_t> NegotiateProtocol(ProtocolRange agent,
                                                  ProtocolRange gateway) {
  if (agent.min == 0 || agent.min > agent.max) {
    return absl::InvalidArgumentError(
        fmt::format("protocol_min, protocol_max: expected 1 <= min <= max, got "
                    "{} and {}",
                    agent.min, agent.max));
  }
  const uint32_t highest = std::min(agent.max, gateway.max);
  if (highest < std::max(agent.min, gateway.min)) {
    return absl::FailedPreconditionError(
        fmt::format("protocol versions do not meet: the agent speaks {} to {}, "
                    "the gateway {} to {}; upgrade the {}",
                    agent.min, agent.max, gateway.min, gateway.max,
                    agent.max < gateway.min ? "agent" : "gateway"));
  }
  return highest;
}

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_PROTOCOL_VERSION_H_
