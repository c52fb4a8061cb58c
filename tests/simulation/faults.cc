#include "tests/simulation/faults.h"

#include <algorithm>

namespace muster::simulation {
namespace {

constexpr std::string_view kNames[kFaults] = {"gateway-pause",
                                              "gateway-hiccups",
                                              "gateway-starved",
                                              "gateway-crash",
                                              "gateway-power",
                                              "store-stall",
                                              "store-full",
                                              "slow-network",
                                              "one-way",
                                              "partition",
                                              "clog",
                                              "reset",
                                              "mute",
                                              "agent-pause",
                                              "agent-crash",
                                              "host-crash",
                                              "goodbye",
                                              "wall-steps",
                                              "drift",
                                              "members",
                                              "commands",
                                              "few-doors",
                                              "scaled-intervals",
                                              "accept-rate",
                                              "clone",
                                              "snapshot",
                                              "switch",
                                              "restored-copy",
                                              "store-broken",
                                              "shim-crash",
                                              "agent-disk",
                                              "narrow-links"};

// The causes that a goodbye can tell.
constexpr gateway::Cause kGoodbyes[] = {
    gateway::Cause::kAgentStopped, gateway::Cause::kAgentUpgrading,
    gateway::Cause::kHostRebooted, gateway::Cause::kHostShutdown};

constexpr Nanos kYear = 365 * kDay;

// Which end of kStoreFull.
constexpr uint32_t kNearlyFull = 1;

}  // namespace

std::string_view Name(Fault fault) {
  return kNames[static_cast<size_t>(fault)];
}

std::string ToText(const FaultSet& faults) {
  std::string text;
  for (size_t i = 0; i < kFaults; ++i) {
    if (!faults[i]) continue;
    if (!text.empty()) text += ',';
    text += kNames[i];
  }
  return text.empty() ? "none" : text;
}

std::optional<FaultSet> ParseFaults(std::string_view text) {
  FaultSet faults;
  if (text == "all") return faults.set();
  while (!text.empty() && text != "none") {
    const std::string_view name = text.substr(0, text.find(','));
    const auto* const it =
        std::find(std::begin(kNames), std::end(kNames), name);
    if (it == std::end(kNames)) return std::nullopt;
    faults.set(static_cast<size_t>(it - std::begin(kNames)));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
  }
  return faults;
}

FaultSet DrawFaults(Random& random) {
  const double share = random.Chance(0.5) ? 0.15 : 0.5;
  FaultSet faults;
  for (size_t i = 0; i < kFaults; ++i) {
    if (random.Chance(share)) faults.set(i);
  }
  return faults;
}

FaultSet DrawFaultsAroundCommands(Random& random) {
  FaultSet faults = DrawFaults(random);
  for (const Fault fault : {Fault::kMembers, Fault::kFewDoors,
                            Fault::kScaledIntervals, Fault::kAcceptRate}) {
    faults.reset(static_cast<size_t>(fault));
  }
  return faults.set(static_cast<size_t>(Fault::kCommands));
}

Director::Director(World world, FaultSet faults, uint32_t members)
    : world_(world), faults_(faults), members_(members) {
  for (size_t i = 0; i < kFaults; ++i) {
    classes_[i].random.emplace(world_.seed, 0x100 + i);
    classes_[i].intensity =
        static_cast<double>(classes_[i].random->Spread(20, 300)) / 100;
  }
}

void Director::Begin() {
  for (uint32_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    const bool setting = fault == Fault::kFewDoors ||
                         fault == Fault::kScaledIntervals ||
                         fault == Fault::kNarrowLinks;
    if (!faults_[i] || setting) continue;
    world_.timeline.Add(ClassOf(fault).random->Exponential(Every(fault)),
                        Due::kFault, i);
  }
}

// What strikes machines strikes each so often, whatever their number.
Nanos Director::Every(Fault fault) const {
  const auto number = static_cast<Nanos>(world_.agents.size());
  Nanos every = kHour;
  switch (fault) {
    case Fault::kGatewayHiccups:
    case Fault::kStoreStall:
      every = 5 * kMinute;
      break;
    case Fault::kGatewayPower:
    case Fault::kAcceptRate:
    case Fault::kStoreBroken:
      every = 4 * kHour;
      break;
    case Fault::kRestoredCopy:  // Every second time one is made.
      every = kHour;
      break;
    case Fault::kGatewayPause:
    case Fault::kGatewayStarved:
    case Fault::kGatewayCrash:
    case Fault::kStoreFull:
    case Fault::kPartition:
    case Fault::kClog:
    case Fault::kWallSteps:
    case Fault::kSwitch:
      break;
    case Fault::kClone:
    case Fault::kSnapshot:
      every = 2 * kDay / number;
      break;
    case Fault::kCommands:
      // A life that is about them has them every half a minute.
      every = (world_.haste > 1 ? 6 * kMinute : 2 * kHour) / number;
      break;
    case Fault::kMembers:
      every = 8 * kDay / number;
      break;
    default:
      every = 8 * kHour / number;
  }
  const double intensity = classes_[static_cast<size_t>(fault)].intensity;
  return static_cast<Nanos>(static_cast<double>(every) /
                            (intensity * world_.haste));
}

void Director::Strike(uint32_t target) {
  if (healed_) return;
  const auto fault = static_cast<Fault>(target);
  Random& random = *ClassOf(fault).random;
  Nanos next = random.Exponential(Every(fault));
  switch (fault) {
    case Fault::kGatewayStarved:
      // One slow handler seldom comes alone.
      if (random.Chance(0.8)) next = random.Spread(100 * kMillisecond, kMinute);
      [[fallthrough]];
    case Fault::kGatewayPause:
    case Fault::kGatewayHiccups:
    case Fault::kGatewayCrash:
    case Fault::kGatewayPower:
    case Fault::kWallSteps:
    case Fault::kRestoredCopy:
      StrikeGateway(fault, random);
      break;
    case Fault::kStoreStall:
    case Fault::kStoreFull:
    case Fault::kStoreBroken:
      StrikeStore(fault, random);
      break;
    case Fault::kSlowNetwork:
    case Fault::kOneWay:
    case Fault::kPartition:
    case Fault::kClog:
    case Fault::kReset:
    case Fault::kMute:
    case Fault::kAcceptRate:
      StrikeNetwork(fault, random);
      break;
    case Fault::kAgentPause:
    case Fault::kAgentCrash:
    case Fault::kHostCrash:
    case Fault::kGoodbye:
    case Fault::kDrift:
    case Fault::kShimCrash:
    case Fault::kAgentDisk:
      StrikeAgent(fault, random);
      break;
    case Fault::kSwitch:
      StrikeSubnet(random);
      break;
    case Fault::kClone:
    case Fault::kSnapshot:
      StrikeIdentity(fault, random);
      break;
    case Fault::kMembers:
      ChangeMembers(random);
      break;
    case Fault::kCommands:
      world_.callers.Want(AnyAgent(random).machine());
      break;
    case Fault::kFewDoors:
    case Fault::kScaledIntervals:
    case Fault::kNarrowLinks:
      return;  // Settings of the whole run.
  }
  world_.timeline.Add(world_.timeline.now() + next, Due::kFault, target);
}

void Director::StrikeGateway(Fault fault, Random& random) {
  GatewayNode& gateway = world_.gateway;
  switch (fault) {
    case Fault::kGatewayPause:
      gateway.Stall(random.Spread(100 * kMillisecond, 600 * kSecond), true);
      return;
    case Fault::kGatewayHiccups:
      // Below what is noticed, and below what starts every lease anew.
      gateway.Stall(random.Chance(0.6)
                        ? random.Between(50 * kMillisecond, 2 * kSecond)
                        : random.Between(2 * kSecond, 9 * kSecond),
                    random.Chance(0.5));
      return;
    case Fault::kGatewayStarved:
      gateway.Stall(random.Spread(kSecond, 60 * kSecond), false);
      return;
    case Fault::kGatewayCrash:
      gateway.SetDownTime(random.Spread(50 * kMillisecond, 300 * kSecond),
                          random.Spread(kMillisecond, 20 * kSecond));
      if (random.Chance(0.5)) {
        gateway.CrashAfter(1 + static_cast<uint32_t>(random.Below(50)));
      } else if (random.Chance(0.5)) {
        gateway.Crash(false);
      } else {
        gateway.Stop(random.Spread(kMillisecond, 5 * kMinute));
      }
      return;
    case Fault::kGatewayPower:
      gateway.SetDownTime(random.Spread(5 * kSecond, 20 * kMinute),
                          random.Spread(kMillisecond, 20 * kSecond));
      gateway.Crash(true);
      return;
    case Fault::kRestoredCopy:
      if (random.Chance(0.5)) return gateway.BackUp();
      gateway.SetDownTime(random.Spread(kSecond, 20 * kMinute),
                          random.Spread(kMillisecond, 20 * kSecond));
      gateway.RestoreCopy();
      return;
    default: {
      Nanos step = random.Spread(kSecond, kYear);
      if (random.Chance(0.5)) step = -step;
      if (random.Chance(0.5)) return AnyAgent(random).StepWall(step);
      gateway.wall().base += step;
      gateway.wall().drift_ppm = random.Between(-500, 500);
    }
  }
}

void Director::StrikeStore(Fault fault, Random& random) {
  DiskMood& disk = world_.gateway.disk();
  if (fault == Fault::kStoreBroken) {
    world_.gateway.SetDownTime(random.Spread(kSecond, kMinute), kSecond);
    disk.broken = true;
    return;
  }
  if (fault == Fault::kStoreStall) {
    disk.latency = random.Spread(kMillisecond, kSecond);
    const Nanos length = random.Spread(100 * kMillisecond, kMinute);
    disk.stalled_until = world_.timeline.now() + length;
    EndAfter(length, fault, 0);
    return;
  }
  if (random.Chance(0.3)) {
    disk.refuses = 0.7 * random.Unit();
    EndAfter(random.Spread(kMinute, 2 * kHour), fault, kNearlyFull);
    return;
  }
  if (full_++ == 0) world_.recorder.Record({.what = What::kStoreLost});
  disk.full = true;
  EndAfter(random.Spread(kSecond, 10 * kMinute), fault, 0);
}

void Director::StrikeNetwork(Fault fault, Random& random) {
  Network& network = world_.network;
  const auto number = static_cast<uint32_t>(agents().size());
  const auto first = static_cast<uint32_t>(random.Below(number));
  // One machine, a group of neighbours, or all.
  uint32_t count = 1;
  if (random.Chance(0.3))
    count = 1 + static_cast<uint32_t>(random.Below(number));
  if (random.Chance(0.1) || fault == Fault::kAcceptRate) count = number;
  const auto each = [&](auto f) {
    for (uint32_t i = 0; i < count; ++i) f((first + i) % number);
  };
  switch (fault) {
    case Fault::kSlowNetwork: {
      const Nanos length = random.Spread(kSecond, 30 * kMinute);
      const Nanos delay = random.Spread(kMillisecond, 3 * kSecond);
      const double loss = 0.3 * random.Unit();
      each([&](uint32_t agent) {
        Network::Path& path = network.path(agent);
        path.delay = delay;
        path.jitter = delay;
        path.loss = loss;
        EndAfter(length, fault, agent);
      });
      return;
    }
    case Fault::kOneWay: {
      const auto direction = random.Chance(0.5) ? Network::kUp : Network::kDown;
      network.path(first).starves = random.Chance(0.5);
      network.Block(first, direction);
      EndAfter(random.Spread(100 * kMillisecond, 10 * kMinute), fault, first);
      return;
    }
    case Fault::kPartition:
    case Fault::kClog: {
      const Nanos length =
          fault == Fault::kClog
              ? random.Spread(100 * kMillisecond, kMinute)
              : random.Spread(100 * kMillisecond, 30 * kMinute);
      each([&](uint32_t agent) {
        network.Block(agent, Network::kUp);
        network.Block(agent, Network::kDown);
        EndAfter(length, fault, agent);
      });
      return;
    }
    default: {
      std::vector<ConnectionId> struck;
      network.ForEach([&](ConnectionId id, uint32_t agent) {
        if ((agent + number - first) % number < count) struck.push_back(id);
      });
      for (const ConnectionId id : struck) {
        if (fault == Fault::kMute) {
          network.Mute(id);
        } else {
          network.Reset(id);
        }
      }
    }
  }
}

void Director::StrikeAgent(Fault fault, Random& random) {
  AgentNode& agent = AnyAgent(random);
  switch (fault) {
    case Fault::kAgentPause:
      agent.Pause(random.Spread(100 * kMillisecond, 600 * kSecond));
      return;
    case Fault::kAgentCrash: {
      const Nanos down = random.Spread(100 * kMillisecond, 10 * kMinute);
      if (random.Chance(0.5)) {
        return agent.CrashAfter(1 + static_cast<uint32_t>(random.Below(40)),
                                down);
      }
      agent.Kill();
      agent.StartAfter(down);
      return;
    }
    case Fault::kShimCrash:
      agent.host().KillShim(random);
      return;
    case Fault::kAgentDisk:
      if (random.Chance(0.5)) {
        agent.host().SetSlowUntil(world_.timeline.now() +
                                  random.Spread(100 * kMillisecond, kMinute));
        return;
      }
      agent.host().SetFull(true);
      EndAfter(random.Spread(kSecond, 10 * kMinute), fault, agent.machine());
      return;
    case Fault::kHostCrash:
      agent.PowerOff();
      agent.StartAfter(random.Spread(5 * kSecond, 20 * kMinute));
      return;
    case Fault::kGoodbye: {
      const auto code =
          static_cast<uint8_t>(kGoodbyes[random.Below(std::size(kGoodbyes))]);
      std::optional<Nanos> promise;
      if (random.Chance(0.8)) promise = random.Spread(kSecond, 2 * kHour);
      agent.Goodbye(code, promise);
      agent.StartAfter(random.Spread(2 * kSecond, 30 * kMinute));
      return;
    }
    default:
      agent.SetDrift(random.Between(-500, 500));
  }
}

void Director::StrikeSubnet(Random& random) {
  const Nanos length = random.Spread(kSecond, 20 * kMinute);
  const uint32_t neighbours = world_.neighbours;
  const auto first = static_cast<uint32_t>(random.Below(agents().size()) /
                                           neighbours * neighbours);
  const auto end = std::min<size_t>(first + neighbours, agents().size());
  for (auto i = first; i < end; ++i) {
    world_.network.Block(i, Network::kUp);
    world_.network.Block(i, Network::kDown);
    EndAfter(length, Fault::kSwitch, i);
  }
  // One beside them is lost for a reason of its own.
  if (random.Chance(0.5)) StrikeAgent(Fault::kAgentCrash, random);
}

void Director::StrikeIdentity(Fault fault, Random& random) {
  if (fault == Fault::kSnapshot) {
    AgentNode& agent = AnyAgent(random);
    agent.TakeSnapshot();
    // Which agent it was, and whether what ran comes back as well.
    const bool memory = random.Chance(0.5);
    EndAfter(random.Spread(kSecond, 2 * kHour), fault,
             agent.machine() * 2 + memory);
    return;
  }
  if (agents().size() == world_.machines) return;
  const auto copy = static_cast<uint32_t>(
      world_.machines + random.Below(agents().size() - world_.machines));
  agents()[copy]->StartAsCopyOf(*agents()[agents()[copy]->machine()]);
  EndAfter(random.Spread(kSecond, 2 * kHour), fault, copy);
}

void Director::ChangeMembers(Random& random) {
  if (!world_.gateway.open() || world_.gateway.stalled()) return;
  if (random.Chance(0.5)) {
    world_.gateway.Delete(AnyAgent(random).machine());
    // It is then that a crash can undo what somebody was told.
    if (faults_[static_cast<size_t>(Fault::kGatewayCrash)] &&
        random.Chance(0.5)) {
      world_.gateway.SetDownTime(kSecond, kSecond);
      world_.gateway.Crash(false);
    }
  } else if (members_ < world_.machines) {
    AgentNode& agent = *agents()[members_++];
    world_.gateway.Admit(agent.machine());
    if (random.Chance(0.8)) agent.Start();
  }
}

void Director::End(uint32_t target, uint32_t token) {
  switch (static_cast<Fault>(target)) {
    case Fault::kStoreStall:
      if (full_ == 0) world_.recorder.Record({.what = What::kStoreFound});
      return;
    case Fault::kStoreFull:
      if (token == kNearlyFull) {
        world_.gateway.disk().refuses = 0;
        if (full_ == 0) world_.recorder.Record({.what = What::kStoreFound});
        return;
      }
      if (full_ == 0 || --full_ > 0) return;
      world_.gateway.disk().full = false;
      world_.recorder.Record({.what = What::kStoreFound});
      return;
    case Fault::kSlowNetwork: {
      Network::Path& path = world_.network.path(token);
      path.delay = kMillisecond;
      path.jitter = 0;
      path.loss = 0;
      return;
    }
    case Fault::kOneWay:
    case Fault::kPartition:
    case Fault::kClog:
    case Fault::kSwitch:
      world_.network.Unblock(token, Network::kUp);
      world_.network.Unblock(token, Network::kDown);
      return;
    case Fault::kClone:
      agents()[token]->PowerOff();
      return;
    case Fault::kAgentDisk:
      agents()[token]->host().SetFull(false);
      return;
    case Fault::kSnapshot:
      if (!healed_) agents()[token / 2]->GoBack(token % 2 == 1);
      return;
    default:
      return;
  }
}

void Director::Heal() {
  healed_ = true;
  if (full_ > 0) {
    full_ = 1;
    End(static_cast<uint32_t>(Fault::kStoreFull), 0);
  }
  world_.gateway.Heal();
  for (uint32_t i = 0; i < agents().size(); ++i) {
    End(static_cast<uint32_t>(Fault::kSlowNetwork), i);
    End(static_cast<uint32_t>(Fault::kPartition), i);
    AgentNode& agent = *agents()[i];
    agent.host().SetFull(false);
    agent.host().CrashAfter(0);
    if (i >= world_.machines) agent.PowerOff();
    if (i >= members_ || agent.deregistered()) continue;
    agent.StartAfter(0);
    world_.recorder.Record(
        {.what = What::kHealthy, .flag = true, .machine = agent.machine()});
  }
  world_.recorder.Record({.what = What::kHealed});
}

}  // namespace muster::simulation
