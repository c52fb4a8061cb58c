// What does this machine say of itself?
//
// Everything is read from files below `host_root` ("" on a real machine), so
// that a test can be any machine. What cannot be read is left empty: facts are
// data, and a machine without them is still a machine.

#ifndef MUSTER_AGENT_HOST_HOST_FACTS_H_
#define MUSTER_AGENT_HOST_HOST_FACTS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/agent.pb.h"

namespace muster::agent {

// What a process cannot read from a file of the machine.
struct HostView {
  std::string host_root;
  // INVOCATION_ID of our environment: systemd gives one to every service.
  std::string invocation_id;
};

// Strings keep the bounds of AgentFacts; bytes outside printable ASCII become
// '?'.
v1::AgentFacts ReadAgentFacts(const HostView& view,
                              std::string_view agent_version);

// The id of this boot of the kernel. Errors are those of ReadFile().
absl::StatusOr<std::string> ReadBootId(const std::string& host_root);

// Whether the machine itself says that it goes down: a shutdown is due within a
// minute of `wall`, or logins have ended for one. One that does not say how it
// ends counts as a reboot.
enum class Shutdown { kNone, kReboot, kPowerOff };
Shutdown ReadShutdown(const std::string& host_root, absl::Time wall);

// The machine id that leaves the machine: HMAC-SHA256 of a constant of ours
// under `machine_id`, cut to a UUID, as `systemd-id128 --app-specific` does it.
// Different programs thus know a machine by different ids, and none reveals the
// original. Empty unless `machine_id` is 32 hexadecimal digits.
std::string AppSpecificMachineId(std::string_view machine_id);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_HOST_HOST_FACTS_H_
