// Talks to the service manager that started us (systemd's sd_notify protocol).

#ifndef MUSTER_LIBPROTOCOL_BASE_SERVICE_NOTIFY_H_
#define MUSTER_LIBPROTOCOL_BASE_SERVICE_NOTIFY_H_

#include <string_view>

#include "absl/time/time.h"

namespace muster {

// Sends "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…". Does nothing without
// a service manager. Never blocks. Thread-safe.
void NotifyService(std::string_view state);

// How often WATCHDOG=1 must be sent: half of what the manager allows. Infinite
// if it does not watch this process.
absl::Duration WatchdogInterval();

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_SERVICE_NOTIFY_H_
