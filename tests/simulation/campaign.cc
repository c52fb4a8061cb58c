#include "tests/simulation/campaign.h"

#include <algorithm>
#include <thread>

#include "libprotocol/base/mutex.h"

namespace muster::simulation {
namespace {

bool Has(const FaultSet& faults, Fault fault) {
  return faults[static_cast<size_t>(fault)];
}

// Lives it again, and adds what should not differ to its violations.
void Replay(SimulationOptions options, SimulationResult& life) {
  if (Simulate(options).hash != life.hash) {
    life.violations.push_back({"X1", {}, "the same seed lived another life"});
  }
  // A promise that outlives the gateway is stored by the wall clock.
  if (Has(life.faults, Fault::kGoodbye)) return;
  options.machines = life.machines;
  options.length = life.length;
  options.faults = life.faults;
  options.faults->flip(static_cast<size_t>(Fault::kWallSteps));
  if (Simulate(options).transitions_hash != life.transitions_hash) {
    life.violations.push_back({"P5", {}, "a wall clock decided something"});
  }
}

}  // namespace

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
      SimulationResult result = Simulate(mine);
      if (options.replay_every > 0 && mine.seed % options.replay_every == 0 &&
          result.violations.empty()) {
        Replay(mine, result);
      }
      MutexLock lock(mu);
      ++sum.seeds;
      sum.machine_days += result.machine_days;
      sum.heartbeats += result.heartbeats;
      sum.commands += result.commands;
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
