// The command line of muster-swarm.

#ifndef MUSTER_TOOLS_SWARM_SWARM_OPTIONS_H_
#define MUSTER_TOOLS_SWARM_SWARM_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/swarm/swarm.h"

namespace muster::swarm {

inline constexpr int kAgentsMax = 100'000;
inline constexpr absl::Duration kDurationMax = absl::Hours(7 * 24);

struct SwarmOptions {
  std::string server;
  std::string endpoint;  // Empty: the one that the gateway hands out.
  std::string pin;
  std::string ca_file;
  int agents = 0;
  absl::Duration duration = absl::Minutes(1);
  std::string state_dir;  // Empty: identities are made for this run only.
  bool own_gateway = false;
  bool json = false;
  SwarmPlan plan;
};

struct EarlyExit {
  int code;
  std::string out;
  std::string err;
};

// Bounds are checked; an EarlyExit says what is wrong, or is the help.
std::variant<SwarmOptions, EarlyExit> ParseSwarmOptions(
    int argc, const char* const* argv);

// Raises this process's own limit as far as it goes. ResourceExhausted, with
// what would fit, if `agents` links need more descriptors than there are.
absl::Status ReserveDescriptors(int agents);

// The words of that error, for a limit of `limit` descriptors.
absl::Status CheckDescriptors(int agents, uint64_t limit);

}  // namespace muster::swarm

#endif  // MUSTER_TOOLS_SWARM_SWARM_OPTIONS_H_
