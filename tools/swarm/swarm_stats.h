// What the swarm has seen so far.

#ifndef MUSTER_TOOLS_SWARM_SWARM_STATS_H_
#define MUSTER_TOOLS_SWARM_SWARM_STATS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "libprotocol/base/clock.h"
#include "tools/swarm/latency_histogram.h"

namespace muster::swarm {

// Counters of all agents together. Touched only on the swarm's loop; copied out
// as a whole.
struct SwarmStats {
  int machines = 0;
  int online = 0;
  // When all were online for the first time, and the fewest since.
  std::optional<Instant> all_online_at;
  int online_min = 0;
  // Since then: while not all are, since when; and the longest that they were
  // not.
  std::optional<Instant> not_all_since;
  absl::Duration not_all_longest;
  int settled = 0;  // Agents whose first dial has ended, either way.
  uint64_t links_opened = 0;
  std::map<std::string, uint64_t> links_lost;     // By failure class; online.
  std::map<std::string, uint64_t> dials_failed;   // By failure class.
  std::map<std::string, std::string> last_words;  // Per class, one example.
  uint64_t heartbeats = 0;
  uint64_t commands_run = 0;
  uint64_t commands_repeated = 0;  // Orders that were seen before; never run.
  uint64_t deregistered = 0;
  // From the moment a heartbeat was due until its acknowledgement arrived.
  LatencyHistogram acknowledged;
};

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_SWARM_STATS_H_
