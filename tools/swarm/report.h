// What the swarm tells about itself.

#ifndef MUSTER_TOOLS_SWARM_REPORT_H_
#define MUSTER_TOOLS_SWARM_REPORT_H_

#include <string>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"
#include "tools/swarm/swarm_stats.h"

namespace muster::swarm {

struct RunFacts {
  int loaded = 0;      // Identities that were kept from an earlier run.
  int registered = 0;  // Identities that are new.
  absl::Duration registration;
  Instant dials_began;
  Instant now;
  absl::Duration cpu;      // Of this process.
  int64_t memory_kib = 0;  // The most it ever had.
};

// One line for a person: the last second.
std::string ProgressLine(const SwarmStats& before, const SwarmStats& now,
                         absl::Duration between);

// The whole run, for a person or a program.
std::string SummaryText(const SwarmStats& stats, const RunFacts& facts);
std::string SummaryJson(const SwarmStats& stats, const RunFacts& facts);

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_REPORT_H_
