#include "tests/simulation/campaign.h"

#include <algorithm>
#include <thread>

#include "libprotocol/base/mutex.h"

namespace muster::simulation {
CampaignResult RunCampaign(
    const CampaignOptions& options,
    const std::function<void(const SimulationOptions&, const SimulationResult&,
                             const CampaignResult&)>& heard) {
  Mutex mu;
  CampaignResult sum;  // Guarded by mu, as is `started`.
  uint64_t started = 0;
  sum.first_seed = options.each.seed;
  const auto enough = [&] {
    if (options.stop_at_violation && !sum.broken.empty()) return true;
    return options.seeds > 0 ? started >= options.seeds
                             : sum.machine_days >= options.machine_days;
  };
  const auto work = [&] {
    while (true) {
      SimulationOptions mine = options.each;
      {
        MutexLock lock(mu);
        if (enough()) return;
        mine.seed += started++;
      }
      const SimulationResult result = Simulate(mine);
      MutexLock lock(mu);
      ++sum.seeds;
      sum.machine_days += result.machine_days;
      sum.heartbeats += result.heartbeats;
      sum.events += result.events;
      sum.hash += result.hash;
      if (!result.violations.empty()) sum.broken.push_back(mine.seed);
      heard(mine, result, sum);
    }
  };
  std::vector<std::thread> others;
  for (uint32_t i = 1; i < options.jobs; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  std::sort(sum.broken.begin(), sum.broken.end());
  return sum;
}

FaultSet Shrink(SimulationOptions options, const SimulationResult& broken) {
  const std::string& invariant = broken.violations.front().invariant;
  options.machines = broken.machines;
  options.length = broken.length;
  options.faults = broken.faults;
  options.reader = nullptr;
  for (size_t i = 0; i < kFaults; ++i) {
    if (!(*options.faults)[i]) continue;
    options.faults->reset(i);
    const SimulationResult less = Simulate(options);
    const bool still = std::any_of(
        less.violations.begin(), less.violations.end(),
        [&](const Violation& v) { return v.invariant == invariant; });
    if (!still) options.faults->set(i);
  }
  return *options.faults;
}

}  // namespace muster::simulation
