// Many lives, and what is left of a broken one when all that is not needed to
// break it is taken away.

#ifndef MUSTER_TESTS_SIMULATION_CAMPAIGN_H_
#define MUSTER_TESTS_SIMULATION_CAMPAIGN_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "tests/simulation/simulation.h"

namespace muster::simulation {

struct CampaignOptions {
  SimulationOptions each;    // The seed is that of the first.
  double machine_days = 50;  // At least so many, if no seed breaks anything.
  uint32_t seeds = 0;        // Instead: exactly so many.
  uint32_t jobs = 1;         // Threads.
  bool stop_at_violation = false;
  // Every so many seeds a life is lived again: it must be the same (X1), and
  // decide the same though other clocks are set (P5). 0: never.
  uint32_t replay_every = 0;
};

struct CampaignResult {
  uint64_t first_seed = 0;
  uint64_t seeds = 0;
  double machine_days = 0;
  uint64_t heartbeats = 0;
  uint64_t commands = 0;
  uint64_t events = 0;
  uint64_t hash = 0;             // Of all lives, in whatever order they ended.
  std::vector<uint64_t> broken;  // Seeds.
};

// `heard` is called after every life, one call at a time.
CampaignResult RunCampaign(
    const CampaignOptions& options,
    const std::function<void(const SimulationOptions&, const SimulationResult&,
                             const CampaignResult& so_far)>& heard);

// The smallest set of fault classes, found by leaving out one after the other,
// with which the seed still breaks the same invariant.
FaultSet Shrink(SimulationOptions options, const SimulationResult& broken);

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_CAMPAIGN_H_
