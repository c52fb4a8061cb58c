// What does this process take from its host?

#ifndef MUSTER_GATEWAY_ADMIN_PROCESS_STATS_H_
#define MUSTER_GATEWAY_ADMIN_PROCESS_STATS_H_

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace muster::gateway {

// Absent: the kernel did not say.
struct ProcessStats {
  absl::Duration cpu;  // Of all threads, since the start.
  std::optional<uint64_t> resident_bytes;
  std::optional<uint64_t> virtual_bytes;
  std::optional<uint64_t> open_descriptors;
  std::optional<uint64_t> descriptors_max;
};

// Reads /proc; takes milliseconds while thousands of descriptors are open.
ProcessStats ReadProcessStats();

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_PROCESS_STATS_H_
