// What a command on this machine says to the running agent, and back: one line
// of JSON each way on a Unix socket that only the agent's own user may open.
//
//   {"verb":"heartbeat-now"}
//   {"ok":true,"text":"acknowledged in 12 ms","fields":{"agent_id":"…"}}

#ifndef MUSTER_AGENT_LOCAL_CONTROL_PROTOCOL_H_
#define MUSTER_AGENT_LOCAL_CONTROL_PROTOCOL_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace muster::agent {

// One line, newline included. Status texts are far below it.
inline constexpr size_t kControlLineBytesMax = 8 * 1024;

enum class ControlVerb { kStatus, kHeartbeatNow, kStop, kLeave, kReplaced };

struct ControlReply {
  bool ok = false;
  std::string text = {};  // For a person.
  std::map<std::string, std::string> fields = {};
};

std::string_view VerbName(ControlVerb verb);

// With the newline.
std::string RenderRequest(ControlVerb verb);
std::string RenderReply(const ControlReply& reply);

// Without the newline. InvalidArgument names what is wrong.
absl::StatusOr<ControlVerb> ParseRequest(std::string_view line);
absl::StatusOr<ControlReply> ParseReply(std::string_view line);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LOCAL_CONTROL_PROTOCOL_H_
