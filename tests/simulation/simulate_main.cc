// muster-simulate: lives a fleet's life under faults, and says what broke.

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "fmt/format.h"
#include "tests/simulation/campaign.h"

namespace muster::simulation {
namespace {

constexpr absl::Duration kProgressEvery = absl::Seconds(10);

struct CommandLine {
  CampaignOptions campaign;
  double days = 0;
  uint32_t machines = 0;
  int64_t machine = -1;
  bool verbose = false;
  std::string faults;
};

void AddOptions(CLI::App& app, CommandLine& line) {
  SimulationOptions& each = line.campaign.each;
  app.add_option("--seed", each.seed, "The first seed; replays it if alone");
  app.add_option("--seeds", line.campaign.seeds, "So many, one after another");
  app.add_option("--machine-days", line.campaign.machine_days,
                 "Seeds until so many machine-days have passed");
  app.add_option("--per-seed", each.machine_days,
                 "Roughly how many machine-days one seed is worth");
  app.add_option("--jobs", line.campaign.jobs, "Threads");
  app.add_option("--machines", line.machines, "Instead of what the seed draws");
  app.add_option("--days", line.days, "Likewise");
  app.add_option("--faults", line.faults,
                 "Likewise: classes, comma-separated; all; none");
  app.add_option("--replay-every", line.campaign.replay_every,
                 "Seeds that are lived again, with other wall clocks too: 20 "
                 "means every 20th");
  app.add_flag("--commands", each.about_commands,
               "Short lives of few machines and many commands");
  app.add_flag("--until-violation", line.campaign.stop_at_violation,
               "Stop at the first seed that breaks something");
  app.add_flag("--verbose", line.verbose, "Print what happens");
  app.add_option("--machine", line.machine,
                 "With --verbose: only what happens to this one");
}

// False, and says why, if the words make no sense.
bool Understand(CommandLine& line) {
  SimulationOptions& each = line.campaign.each;
  if (line.machines > 0) each.machines = line.machines;
  if (line.days > 0) {
    each.length = static_cast<Nanos>(line.days * static_cast<double>(kDay));
  }
  if (!line.faults.empty()) {
    each.faults = ParseFaults(line.faults);
    if (!each.faults) {
      fmt::print(stderr, "--faults: one of \"{}\" is no class of {}\n",
                 line.faults, ToText(FaultSet().set()));
      return false;
    }
  }
  if (line.verbose) {
    each.reader = [machine = line.machine](const Event& event) {
      if (event.what == What::kTick) return;
      if (machine >= 0 && event.machine != machine) return;
      fmt::print("{}\n", ToText(event));
    };
  }
  return true;
}

void Describe(const SimulationOptions& options,
              const SimulationResult& result) {
  fmt::print(
      "seed {}: {} machines, {:.2f} days, {} heartbeats, {} commands, hash "
      "{:016x}\n"
      "  faults: {}\n",
      options.seed, result.machines, static_cast<double>(result.length) / kDay,
      result.heartbeats, result.commands, result.hash, ToText(result.faults));
}

void DescribeBroken(const SimulationOptions& options,
                    const SimulationResult& result) {
  for (const Violation& v : result.violations) {
    fmt::print("VIOLATED {}: {}\n  {}\n", v.invariant, v.text, ToText(v.event));
  }
  Describe(options, result);
  fmt::print(
      "  enough to break it: muster-simulate{} --seed {} --machines {} "
      "--days {:.6f} --faults {}\n",
      options.about_commands ? " --commands" : "", options.seed,
      result.machines, static_cast<double>(result.length) / kDay,
      ToText(Shrink(options, result)));
}

int Main(CommandLine& line) {
  if (!Understand(line)) return 2;
  const bool alone = line.campaign.seeds == 1;
  const absl::Time begin = absl::Now();
  absl::Time told = begin;
  const CampaignResult sum =
      RunCampaign(line.campaign, [&](const SimulationOptions& options,
                                     const SimulationResult& result,
                                     const CampaignResult& so_far) {
        if (!result.violations.empty()) {
          DescribeBroken(options, result);
        } else if (alone) {
          Describe(options, result);
        }
        const absl::Time now = absl::Now();
        if (alone || now - told < kProgressEvery) return;
        told = now;
        fmt::print(stderr,
                   "{:.0f} machine-days, {} seeds, {} broken, {:.0f} s\n",
                   so_far.machine_days, so_far.seeds, so_far.broken.size(),
                   absl::ToDoubleSeconds(now - begin));
      });
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  fmt::print(
      "{:.0f} machine-days, {} heartbeats, {} commands, {} events in {:.1f} s: "
      "seeds {} to {}, {} broken, hash {:016x}\n",
      sum.machine_days, sum.heartbeats, sum.commands, sum.events, seconds,
      sum.first_seed, sum.first_seed + sum.seeds - 1, sum.broken.size(),
      sum.hash);
  return sum.broken.empty() ? 0 : 1;
}

}  // namespace
}  // namespace muster::simulation

int main(int argc, char** argv) {
  CLI::App app("Simulates a fleet under faults, and judges its history.");
  muster::simulation::CommandLine line;
  line.campaign.seeds = 1;
  AddOptions(app, line);
  CLI11_PARSE(app, argc, argv);
  if (app.count("--machine-days") > 0) line.campaign.seeds = 0;
  return muster::simulation::Main(line);
}
