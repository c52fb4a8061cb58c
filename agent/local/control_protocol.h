// What a command on this machine says to the running agent, and back: one line
// of JSON each way on a Unix socket that only the agent's own user may open.
//
//   {"verb":"heartbeat-now"}
//   {"back_within":"1200s","verb":"stop"}
//   {"ok":true,"text":"acknowledged in 12 ms","fields":{"agent_id":"…"}}

#ifndef MUSTER_AGENT_LOCAL_CONTROL_PROTOCOL_H_
#define MUSTER_AGENT_LOCAL_CONTROL_PROTOCOL_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace muster::agent {

// One line, newline included. Status texts are far below it.
inline constexpr size_t kControlLineBytesMax = 8 * 1024;

enum class ControlVerb {
  kStatus,
  kHeartbeatNow,
  kStop,
  kStopForUpgrade,
  kLeave,
  kReplaced
};

struct ControlRequest {
  ControlVerb verb = ControlVerb::kStatus;
  // kStop: what the gateway is promised; absent: nothing.
  std::optional<absl::Duration> back_within = {};

  friend bool operator==(const ControlRequest&,
                         const ControlRequest&) = default;
};

// The gateway believes no longer promise.
inline constexpr absl::Duration kBackWithinMin = absl::Seconds(1);
inline constexpr absl::Duration kBackWithinMax = absl::Hours(1);
// InvalidArgument naming `field`, the bounds and the value.
absl::Status ValidateBackWithin(std::string_view field, absl::Duration value);

struct ControlReply {
  bool ok = false;
  std::string text = {};  // For a person.
  std::map<std::string, std::string> fields = {};
};

std::string_view VerbName(ControlVerb verb);

// With the newline.
std::string RenderRequest(const ControlRequest& request);
std::string RenderReply(const ControlReply& reply);

// Without the newline. InvalidArgument names what is wrong.
absl::StatusOr<ControlRequest> ParseRequest(std::string_view line);
absl::StatusOr<ControlReply> ParseReply(std::string_view line);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LOCAL_CONTROL_PROTOCOL_H_
