// One run: a fleet lives for a while under faults drawn from a seed.

#ifndef MUSTER_TESTS_SIMULATION_SIMULATION_H_
#define MUSTER_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/simulation/faults.h"
#include "tests/simulation/history.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/recorder.h"

namespace muster::simulation {

struct SimulationOptions {
  uint64_t seed = 1;
  // What is not given is drawn from the seed.
  std::optional<uint32_t> machines;
  std::optional<Nanos> length;
  std::optional<FaultSet> faults;
  // Roughly how many machine-days a run that draws both is worth.
  double machine_days = 50;
  // A short life of a few machines that is about commands: there are many, and
  // everything strikes more often.
  bool about_commands = false;
  bool stop_at_violation = true;
  Recorder::Reader reader;  // Hears every event.
};

struct SimulationResult {
  uint32_t machines = 0;
  Nanos length = 0;
  FaultSet faults;
  std::vector<Violation> violations;
  uint64_t hash = 0;
  uint64_t transitions_hash = 0;
  uint64_t events = 0;
  uint64_t heartbeats = 0;  // That the gateway dealt with.
  uint64_t commands = 0;    // That were accepted.
  double machine_days = 0;
};

SimulationResult Simulate(const SimulationOptions& options);

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_SIMULATION_H_
