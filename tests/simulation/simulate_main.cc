// muster-simulate: lives a fleet's life under faults, and says what broke.

#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "fmt/format.h"
#include "tests/simulation/simulation.h"

namespace {

using muster::simulation::Event;
using muster::simulation::Nanos;
using muster::simulation::SimulationOptions;
using muster::simulation::SimulationResult;
using muster::simulation::ToText;
using muster::simulation::What;

int Report(const SimulationOptions& options, const SimulationResult& result) {
  for (const auto& violation : result.violations) {
    fmt::print("VIOLATED {}: {}\n  {}\n", violation.invariant, violation.text,
               ToText(violation.event));
  }
  fmt::print(
      "seed {}: {} machines, {:.2f} days, {:.1f} machine-days, {} heartbeats, "
      "hash {:016x}, {} violations\n  faults: {}\n",
      options.seed, result.machines,
      static_cast<double>(result.length) / muster::simulation::kDay,
      result.machine_days, result.heartbeats, result.hash,
      result.violations.size(), ToText(result.faults));
  return result.violations.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Simulates a fleet under faults, and judges its history.");
  SimulationOptions options;
  double days = 0;
  uint32_t machines = 0;
  uint32_t seeds = 1;
  int64_t machine = -1;
  bool verbose = false;
  std::string faults;
  app.add_option("--seed", options.seed, "What to draw everything from");
  app.add_option("--seeds", seeds, "How many seeds to run, from --seed on");
  app.add_option("--machines", machines, "Size of the fleet");
  app.add_option("--days", days, "Virtual time");
  app.add_option("--faults", faults, "Classes, comma-separated; all; none");
  app.add_option("--machine-days", options.machine_days, "Per seed");
  app.add_flag("--verbose", verbose, "Print what happens");
  app.add_option("--machine", machine, "With --verbose: only of this machine");
  CLI11_PARSE(app, argc, argv);
  if (machines > 0) options.machines = machines;
  if (days > 0) {
    options.length = static_cast<Nanos>(
        days * static_cast<double>(muster::simulation::kDay));
  }
  if (!faults.empty()) {
    options.faults = muster::simulation::ParseFaults(faults);
    if (!options.faults) {
      fmt::print(stderr, "--faults: no such class in \"{}\"\n", faults);
      return 2;
    }
  }
  if (verbose) {
    options.reader = [machine](const Event& event) {
      if (event.what == What::kTick) return;
      if (machine >= 0 && event.machine != machine) return;
      fmt::print("{}\n", ToText(event));
    };
  }
  int failures = 0;
  for (uint32_t i = 0; i < seeds; ++i, ++options.seed) {
    failures += Report(options, Simulate(options));
  }
  return failures == 0 ? 0 : 1;
}
