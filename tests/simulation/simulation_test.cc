// Lives of fleets under drawn faults. A failure prints the line that replays
// it.

#include "tests/simulation/simulation.h"

#include <string>

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace muster::simulation {
namespace {

std::string Describe(const SimulationOptions& options,
                     const SimulationResult& result) {
  std::string text = fmt::format("muster-simulate{} --seed {}  # {}\n",
                                 options.about_commands ? " --commands" : "",
                                 options.seed, ToText(result.faults));
  for (const Violation& v : result.violations) {
    text += fmt::format("{}: {}\n  {}\n", v.invariant, v.text, ToText(v.event));
  }
  return text;
}

FaultSet AllFaults() { return FaultSet().set(); }

TEST(SimulationTest, X1TheSameSeedLivesTheSameLife) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.machines = 20;
    options.length = 6 * kHour;
    options.faults = AllFaults();
    const SimulationResult once = Simulate(options);
    EXPECT_EQ(once.hash, Simulate(options).hash);
    options.seed += 1000;
    EXPECT_NE(once.hash, Simulate(options).hash);
  }
}

TEST(SimulationTest, X1LivesOfCommandsRepeatToo) {
  SimulationOptions options;
  options.about_commands = true;
  options.machines = 2;
  options.length = kHour;
  options.faults = AllFaults();
  const SimulationResult once = Simulate(options);
  EXPECT_GT(once.commands, 0u);
  EXPECT_EQ(once.hash, Simulate(options).hash);
}

TEST(SimulationTest, P5NoWallClockDecidesAnything) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.machines = 20;
    options.length = 12 * kHour;
    // A promise that outlives the gateway is stored by the wall clock.
    options.faults = AllFaults().reset(static_cast<size_t>(Fault::kGoodbye));
    const SimulationResult with = Simulate(options);
    options.faults->reset(static_cast<size_t>(Fault::kWallSteps));
    const SimulationResult without = Simulate(options);
    EXPECT_EQ(with.transitions_hash, without.transitions_hash);
  }
}

TEST(SimulationTest, EveryFaultClassStrikes) {
  SimulationOptions options;
  options.machines = 30;
  options.length = 12 * kHour;
  options.faults = FaultSet();
  const SimulationResult without = Simulate(options);
  for (size_t i = 0; i < static_cast<size_t>(Fault::kShimCrash); ++i) {
    options.faults = FaultSet().set(i);
    const SimulationResult with = Simulate(options);
    EXPECT_TRUE(with.violations.empty()) << Describe(options, with);
    // Wall clocks are not part of any history, and without a storm nobody
    // queues.
    const auto fault = static_cast<Fault>(i);
    if (fault == Fault::kWallSteps || fault == Fault::kFewDoors) continue;
    EXPECT_NE(with.hash, without.hash) << Name(fault);
  }
}

TEST(SimulationTest, WhatCommandsMeetStrikesThem) {
  SimulationOptions options;
  options.about_commands = true;
  options.machines = 3;
  options.length = 2 * kHour;
  const auto commands = static_cast<size_t>(Fault::kCommands);
  options.faults = FaultSet().set(commands);
  const SimulationResult without = Simulate(options);
  EXPECT_GT(without.commands, 0u);
  for (auto i = static_cast<size_t>(Fault::kShimCrash); i < kFaults; ++i) {
    options.faults = FaultSet().set(commands).set(i);
    const SimulationResult with = Simulate(options);
    EXPECT_TRUE(with.violations.empty()) << Describe(options, with);
    EXPECT_NE(with.hash, without.hash) << Name(static_cast<Fault>(i));
  }
}

TEST(SimulationTest, FaultSetsAreReadAsTheyAreWritten) {
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    const FaultSet faults = DrawFaults(random);
    EXPECT_EQ(ParseFaults(ToText(faults)), faults);
  }
  EXPECT_EQ(ParseFaults("no-such-fault"), std::nullopt);
}

TEST(SimulationTest, LivesOfCommandsKeepEveryPromise) {
  const uint64_t seeds = MUSTER_SIMULATED_SEEDS;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    options.about_commands = true;
    const SimulationResult result = Simulate(options);
    EXPECT_TRUE(result.violations.empty()) << Describe(options, result);
  }
}

TEST(SimulationTest, DrawnLivesKeepEveryPromise) {
  const uint64_t seeds = MUSTER_SIMULATED_SEEDS;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    const SimulationResult result = Simulate(options);
    EXPECT_TRUE(result.violations.empty()) << Describe(options, result);
  }
}

}  // namespace
}  // namespace muster::simulation
