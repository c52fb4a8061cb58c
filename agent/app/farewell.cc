#include "agent/app/farewell.h"

#include <csignal>

#include "agent/host/host_facts.h"
#include "libprotocol/base/files.h"

namespace muster::agent {
namespace {

// DESIGN §4.
constexpr absl::Duration kBackAfterTermination = absl::Seconds(30);
constexpr absl::Duration kBackAfterUpgrade = absl::Seconds(30);
constexpr absl::Duration kBackAfterReboot = absl::Minutes(5);

}  // namespace

Farewell FarewellForUpgrade() {
  return {v1::GOODBYE_REASON_UPGRADE, kBackAfterUpgrade};
}

Farewell FarewellOnSignal(int signal, const std::string& host_root,
                          absl::Time wall) {
  switch (ReadShutdown(host_root, wall)) {
    case Shutdown::kReboot:
      return {v1::GOODBYE_REASON_REBOOT, kBackAfterReboot};
    case Shutdown::kPowerOff:
      return {v1::GOODBYE_REASON_SHUTDOWN};
    case Shutdown::kNone:
      break;
  }
  // An operator at a terminal.
  if (signal == SIGINT) return {v1::GOODBYE_REASON_STOP};
  if (FileExists(host_root + kUpgradeMark)) return FarewellForUpgrade();
  return {v1::GOODBYE_REASON_TERMINATED, kBackAfterTermination};
}

}  // namespace muster::agent
