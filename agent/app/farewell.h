// What does the agent say when it goes, and what does it promise?
//
//   SIGTERM                          back within 30 s
//   SIGTERM, the package is new      upgrading, back within 30 s
//   the host reboots                 back within 5 min
//   the host is switched off         no promise
//   an operator stops it             no promise, or the one that was asked for

#ifndef MUSTER_AGENT_APP_FAREWELL_H_
#define MUSTER_AGENT_APP_FAREWELL_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "muster/v1/agent_link.pb.h"

namespace muster::agent {

struct Farewell {
  v1::GoodbyeReason reason = v1::GOODBYE_REASON_STOP;
  std::optional<absl::Duration> back_within = {};  // Absent: no promise.
};

// The package's maintainer script puts it there for the time of the restart
// that starts the new version; below `host_root`.
inline constexpr char kUpgradeMark[] = "/run/muster-agent/upgrading";

Farewell FarewellForUpgrade();

// `signal` ends this process at `wall`. What the machine itself is about to do
// is read below `host_root` ("" on a real machine).
Farewell FarewellOnSignal(int signal, const std::string& host_root,
                          absl::Time wall);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_FAREWELL_H_
