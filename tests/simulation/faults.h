// What goes wrong, how often, and for how long.

#ifndef MUSTER_TESTS_SIMULATION_FAULTS_H_
#define MUSTER_TESTS_SIMULATION_FAULTS_H_

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/agent_node.h"
#include "tests/simulation/callers.h"
#include "tests/simulation/gateway_node.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"
#include "tests/simulation/recorder.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

enum class Fault : uint8_t {
  kGatewayPause,     // SIGSTOP, 0.1 … 600 s.
  kGatewayHiccups,   // Many pauses about as long as those that are noticed.
  kGatewayStarved,   // Handlers take 1 … 60 s, many in a row.
  kGatewayCrash,     // kill -9, at any effect.
  kGatewayPower,     // The host is gone, and boots again.
  kStoreStall,       // A commit takes up to 60 s.
  kStoreFull,        // Nothing can be written, or not always.
  kSlowNetwork,      // Delay, jitter, up to 30 % of packets lost.
  kOneWay,           // One direction of one machine passes nothing.
  kPartition,        // One machine, a group, or all are cut off.
  kClog,             // Nothing passes for a moment, then everything.
  kReset,            // Connections break.
  kMute,             // A middlebox forgets connections.
  kAgentPause,       // SIGSTOP.
  kAgentCrash,       // kill -9.
  kHostCrash,        // Without a word; a new boot.
  kGoodbye,          // With and without a promise, kept and broken.
  kWallSteps,        // Somebody sets a clock: the gateway's, an agent's.
  kDrift,            // Clocks run ± 500 ppm.
  kMembers,          // Machines are deleted and admitted.
  kCommands,         // Not a fault, but more to go wrong.
  kFewDoors,         // So few links are accepted at once that storms queue.
  kScaledIntervals,  // So few heartbeats are wanted that intervals grow.
  kAcceptRate,       // Connections wait in the host's queue; all break at once.
  kClone,            // A copy of an agent's disk runs somewhere else.
  kSnapshot,         // A virtual machine goes back to what it was.
  kSwitch,           // What a subnet of machines hangs on dies.
  kRestoredCopy,     // The gateway is put back to an older database.
  kStoreBroken,      // A write fails, and nobody knows how much of it.
  kShimCrash,        // kill -9 of what holds a command.
  kAgentDisk,        // An agent's disk is full, or slow.
  kNarrowLinks,      // So little fits through that output could crowd it.
};
inline constexpr size_t kFaults = 32;
using FaultSet = std::bitset<kFaults>;

std::string_view Name(Fault fault);
// "gateway-pause,reset"; "none".
std::string ToText(const FaultSet& faults);
// InvalidArgument naming what is no fault class.
std::optional<FaultSet> ParseFaults(std::string_view text);
// Which classes a run has: few and strong, or many.
FaultSet DrawFaults(Random& random);
// Likewise, for a life that is about commands: what takes machines away, or has
// them queue at the door, is left out.
FaultSet DrawFaultsAroundCommands(Random& random);

// Director lets them strike. Every class draws from its own stream, so that
// leaving one out does not change the others.
class Director {
 public:
  struct World {
    Timeline& timeline;
    Recorder& recorder;
    Network& network;
    GatewayNode& gateway;
    std::vector<std::unique_ptr<AgentNode>>& agents;
    Callers& callers;
    uint64_t seed;
    uint32_t machines;    // Agents after these are copies of some.
    uint32_t neighbours;  // Nodes of one subnet.
    double haste;         // So much more often than usual.
  };

  // Agents from `members` on are not yet admitted.
  Director(World world, FaultSet faults, uint32_t members);

  // Each class strikes for the first time.
  void Begin();
  void Strike(uint32_t fault);
  void End(uint32_t target, uint32_t token);
  // Nothing fails any more, and what failed is mended.
  void Heal();

 private:
  struct Class {
    std::optional<Random> random;
    double intensity = 1;
  };
  Class& ClassOf(Fault fault) { return classes_[static_cast<size_t>(fault)]; }
  void StrikeGateway(Fault fault, Random& random);
  void StrikeStore(Fault fault, Random& random);
  void StrikeNetwork(Fault fault, Random& random);
  void StrikeAgent(Fault fault, Random& random);
  void StrikeSubnet(Random& random);
  void StrikeIdentity(Fault fault, Random& random);
  void ChangeMembers(Random& random);
  // Mean time between two strikes.
  Nanos Every(Fault fault) const;
  AgentNode& AnyAgent(Random& random) {
    return *agents()[random.Below(members_)];
  }
  std::vector<std::unique_ptr<AgentNode>>& agents() { return world_.agents; }
  void EndAfter(Nanos length, Fault fault, uint32_t token) {
    world_.timeline.Add(world_.timeline.now() + length, Due::kFaultEnd,
                        static_cast<uint32_t>(fault), token);
  }

  World world_;
  const FaultSet faults_;
  uint32_t members_;
  std::array<Class, kFaults> classes_;
  uint32_t full_ = 0;  // Outages of the store that overlap.
  bool healed_ = false;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_FAULTS_H_
