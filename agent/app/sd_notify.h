// Tells systemd how the service is, without its library.

#ifndef MUSTER_AGENT_APP_SD_NOTIFY_H_
#define MUSTER_AGENT_APP_SD_NOTIFY_H_

#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace muster::agent {

// Sends `state` ("READY=1\nSTATUS=…") to $NOTIFY_SOCKET; nothing happens
// without one. Never blocks.
void SdNotify(std::string_view state);

// How often WATCHDOG=1 is due: half of what the unit asks for, if it does.
std::optional<absl::Duration> SdWatchdogInterval();

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_SD_NOTIFY_H_
