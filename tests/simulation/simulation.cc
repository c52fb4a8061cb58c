#include "tests/simulation/simulation.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "tests/simulation/agent_node.h"
#include "tests/simulation/callers.h"
#include "tests/simulation/gateway_node.h"
#include "tests/simulation/network.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {
namespace {

constexpr Nanos kTickEvery = 15 * kSecond;

// At the end nothing fails for so long: long enough to settle, and to be seen.
constexpr Nanos kHealedFor = 45 * kMinute;

// A small fleet lives no longer: another one is worth more.
constexpr Nanos kLengthMax = 2 * kDay;

// How much more often everything strikes in a life that is about commands.
constexpr double kHaste = 12;

// The least that a narrow link carries a second, half of the 1 Mbit/s that is
// promised: a stream for output that is refused again and again leaves a window
// a second in the network.
constexpr int64_t kNarrowest = 60'000;

// What the gateway of a run is set to. Both members say the same.
struct Settings {
  gateway::FleetOptions options;
  Promises promises;
  double accepts_per_second = 0;
  uint32_t neighbours = 1;
  uint32_t spare = 0;   // Machines that are not yet admitted.
  uint32_t copies = 0;  // Nodes that show another one's identity.
};

Settings Draw(const SimulationOptions& options, const SimulationResult& drawn) {
  Random random(options.seed, 'S');
  Settings settings;
  settings.promises.tells_ended_links = true;
  const auto machines = static_cast<double>(drawn.machines);
  settings.neighbours = static_cast<uint32_t>(
      random.Spread(4, std::max<uint32_t>(5, drawn.machines)));
  settings.spare = drawn.machines / 4 + 1;
  // So few that a reader can come too late for them.
  if (random.Chance(0.5)) settings.options.events.kept_max = drawn.machines;
  if (drawn.faults[static_cast<size_t>(Fault::kClone)]) {
    settings.copies = drawn.machines / 8 + 1;
  }
  if (drawn.faults[static_cast<size_t>(Fault::kFewDoors)]) {
    auto& limits = settings.options.admission;
    limits.links_per_second_max = 0.2 + 10 * random.Unit() * random.Unit();
    limits.burst = 1 + std::floor(machines / 2 * random.Unit());
    settings.promises.links_per_second = limits.links_per_second_max;
    settings.promises.links_burst = limits.burst;
    settings.promises.settle +=
        static_cast<Nanos>(machines / limits.links_per_second_max) * kSecond;
  }
  if (drawn.faults[static_cast<size_t>(Fault::kScaledIntervals)]) {
    settings.options.heartbeats_per_second_max =
        machines / (30 + 170 * random.Unit());
  }
  // A link that was replaced counts until it is closed.
  settings.promises.interval_max = std::max(
      settings.promises.heartbeat_interval,
      static_cast<Nanos>(3 * (machines + settings.spare) /
                         settings.options.heartbeats_per_second_max * kSecond));
  if (drawn.faults[static_cast<size_t>(Fault::kAcceptRate)]) {
    settings.accepts_per_second = 1 + 50 * std::pow(random.Unit(), 3);
    settings.promises.settle +=
        static_cast<Nanos>(3 * machines / settings.accepts_per_second) *
        kSecond;
  }
  return settings;
}

class Run final : private NetworkEnds {
 public:
  Run(const SimulationOptions& options, const SimulationResult& drawn)
      : settings_(Draw(options, drawn)),
        length_(drawn.length),
        stop_at_violation_(options.stop_at_violation),
        timeline_(options.seed),
        invariants_(settings_.promises),
        recorder_(timeline_, invariants_, options.reader),
        machines_(drawn.machines + settings_.spare),
        network_(timeline_, *this, machines_ + settings_.copies, options.seed),
        gateway_({timeline_, recorder_, network_, options.seed, machines_,
                  settings_.accepts_per_second, settings_.neighbours},
                 settings_.options),
        callers_({timeline_, recorder_, gateway_, options.seed}),
        director_({timeline_, recorder_, network_, gateway_, agents_, callers_,
                   options.seed, machines_, settings_.neighbours,
                   options.about_commands ? kHaste : 1},
                  drawn.faults, drawn.machines) {
    for (uint32_t i = 0; i < machines_ + settings_.copies; ++i) {
      // Of one identity there are two at most.
      const auto original = static_cast<uint32_t>(
          i < machines_ ? i : (i - machines_) * 8 % drawn.machines);
      agents_.push_back(std::make_unique<AgentNode>(
          AgentNode::World{timeline_, recorder_, network_, options.seed}, i,
          original));
    }
    Random random(options.seed, 'R');
    for (uint32_t i = 0; i < drawn.machines; ++i) {
      gateway_.Admit(i);
      network_.path(i).delay =
          random.Spread(kMillisecond / 10, 150 * kMillisecond);
      agents_[i]->StartAfter(random.Between(0, 10 * kSecond));
    }
    if (drawn.faults[static_cast<size_t>(Fault::kNarrowLinks)]) {
      for (uint32_t i = 0; i < machines_ + settings_.copies; ++i) {
        network_.path(i).bytes_per_second =
            static_cast<uint64_t>(random.Spread(kNarrowest, 2'000'000));
      }
    }
    gateway_.Start(kSecond);
    director_.Begin();
  }

  void Live() {
    timeline_.Add(kTickEvery, Due::kTick);
    while (true) {
      const Timeline::Entry entry = timeline_.Pop();
      if (entry.at > length_) return;
      if (!healed_ && entry.at > length_ - kHealedFor) {
        healed_ = true;
        director_.Heal();
      }
      Happen(entry);
      if (stop_at_violation_ && invariants_.failed()) return;
    }
  }

  void Report(SimulationResult& result) const {
    result.violations = invariants_.violations();
    result.hash = recorder_.hash();
    result.transitions_hash = recorder_.transitions_hash();
    result.events = recorder_.events();
    result.heartbeats = gateway_.heartbeats();
    result.commands = callers_.accepted();
    // Only a day at the default interval counts as one.
    const double scale =
        settings_.options.heartbeats_per_second_max / result.machines * 30;
    result.machine_days = static_cast<double>(result.machines) *
                          static_cast<double>(timeline_.now()) / kDay *
                          std::min(1.0, scale);
  }

 private:
  void Happen(const Timeline::Entry& entry) {
    switch (entry.due) {
      case Due::kDelivery:
        network_.Deliver(entry.target, entry.generation);
        return;
      case Due::kAgentTimer:
        agents_[entry.target]->TimerDue();
        return;
      case Due::kAgentResume:
        agents_[entry.target]->Resume(entry.generation);
        return;
      case Due::kAgentStart:
        agents_[entry.target]->StartDue(entry.generation);
        return;
      case Due::kAgentDisk:
        agents_[entry.target]->DiskDue(entry.generation);
        return;
      case Due::kAgentWake:
        agents_[entry.target]->WakeDue();
        return;
      case Due::kShim:
        agents_[entry.target]->host().ShimDue(entry.generation);
        return;
      case Due::kProcess:
        agents_[entry.target]->host().ProcessDue(entry.generation);
        return;
      case Due::kCaller:
        callers_.GoOn(entry.target);
        return;
      case Due::kGatewayTimer:
        gateway_.TimerDue();
        return;
      case Due::kGatewayResume:
        gateway_.Resume(entry.generation);
        return;
      case Due::kGatewayStart:
        gateway_.StartDue(entry.generation);
        return;
      case Due::kGatewayOpen:
        gateway_.Open(entry.generation);
        return;
      case Due::kGatewayEnd:
        gateway_.EndDue(entry.generation);
        return;
      case Due::kAccept:
        gateway_.AcceptDue(entry.generation);
        return;
      case Due::kCommit:
        gateway_.CommitDue(entry.generation);
        return;
      case Due::kFault:
        director_.Strike(entry.target);
        return;
      case Due::kFaultEnd:
        director_.End(entry.target, entry.generation);
        return;
      case Due::kTick:
        timeline_.Add(entry.at + kTickEvery, Due::kTick);
        if (!gateway_.open() || gateway_.stalled()) return;
        gateway_.Audit();
        recorder_.Record({.what = What::kTick});
        return;
    }
  }

  void AtGateway(uint32_t agent, ConnectionId id,
                 const Message& message) override {
    gateway_.Arrive(agents_[agent]->machine(), id, message);
  }
  void AtAgent(uint32_t agent, ConnectionId id,
               const Message& message) override {
    agents_[agent]->Hear(id, message);
  }

  const Settings settings_;
  const Nanos length_;
  const bool stop_at_violation_;
  Timeline timeline_;
  Invariants invariants_;
  Recorder recorder_;
  const uint32_t machines_;
  Network network_;
  GatewayNode gateway_;
  Callers callers_;
  std::vector<std::unique_ptr<AgentNode>> agents_;
  Director director_;
  bool healed_ = false;
};

}  // namespace

SimulationResult Simulate(const SimulationOptions& options) {
  Random random(options.seed, 'D');
  SimulationResult result;
  const bool few = options.about_commands;
  const auto machines =
      static_cast<uint32_t>(random.Spread(few ? 1 : 3, few ? 5 : 300));
  const FaultSet faults =
      few ? DrawFaultsAroundCommands(random) : DrawFaults(random);
  result.machines = options.machines.value_or(machines);
  result.faults = options.faults.value_or(faults);
  const Nanos length =
      few ? kHealedFor + random.Spread(20 * kMinute, 2 * kHour)
          : std::min(kLengthMax, static_cast<Nanos>(options.machine_days *
                                                    static_cast<double>(kDay) /
                                                    result.machines));
  result.length = options.length.value_or(length);
  Run run(options, result);
  run.Live();
  run.Report(result);
  return result;
}

}  // namespace muster::simulation
