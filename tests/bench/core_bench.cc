// What the rules cost by themselves: a million machines, no network, no disk.

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/fleet.h"
#include "libprotocol/base/check.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_loop.h"
#include "tests/bench/prompt_journal.h"

namespace muster::bench {
namespace {

using gateway::CommandRecord;
using gateway::Fleet;
using gateway::Machine;
using gateway::MachineRecord;

constexpr int64_t kMachines = 1'000'000;
// Shorter than blind_gap: this gateway hears all the time.
constexpr absl::Duration kStep = absl::Milliseconds(500);
// After this time last_heard is written.
constexpr absl::Duration kFlushed = absl::Seconds(6);

// The gateway's end of every link.
class NoLink final : public gateway::LinkPort {
 public:
  void SendWelcome(const gateway::WelcomeNotice& welcome) override {
    epoch = welcome.epoch;
    acknowledgement = welcome.acknowledgement;
  }
  void SendOrder(const CommandRecord&) override {}
  void SendCancel(const CommandId&) override {}
  void SendInput(const gateway::InputPart&) override {}
  void SendUpdateAck(const CommandId&, gateway::CommandState) override {}
  void Close(const gateway::Disconnect&) override {}

  uint64_t epoch = 0;  // Of the last welcome.
  uint64_t acknowledgement = 0;
};

MachineRecord RecordOf(int64_t i) {
  MachineRecord record;
  record.id = AgentId(
      fmt::format("01890000-0000-7{:03x}-8000-{:012x}", i % 4096, i * 7919));
  record.org = DefaultOrg();
  record.facts.hostname = fmt::format("machine-{:07}", i);
  record.facts.machine_id = fmt::format("{:032x}", i);
  record.facts.os = "Debian GNU/Linux 12 (bookworm)";
  record.facts.kernel = "6.1.0-18-amd64";
  record.facts.architecture = "x86_64";
  record.facts.agent_version = "0.1.0";
  record.key_pin = "sha256//0123456789abcdefghijklmnopqrstuvwxyzABCDEFG=";
  record.status = gateway::Status::kOffline;
  record.epoch = 1;
  // 254 in a subnet: those that fall silent together are incidents.
  record.address =
      fmt::format("10.{}.{}.{}", i / 254 / 256, i / 254 % 256, i % 254 + 1);
  return record;
}

class BigFleet {
 public:
  // What it remembers itself of a machine: not the gateway's.
  static const int64_t kOwnBytes;

  BigFleet() {
    gateway::FleetOptions options;
    options.admission = {.links_per_second_max = 1e9, .burst = 1e9};
    fleet_ = std::make_unique<Fleet>(loop_, journal_, options);
    links_.reserve(kMachines);
  }

  // As at start-up: what the store remembers, then the door is open. How long
  // that took.
  absl::Duration Restore() {
    std::vector<MachineRecord> records;
    records.reserve(kMachines);
    for (int64_t i = 0; i < kMachines; ++i) {
      records.push_back(RecordOf(i));
      links_.push_back({.agent = records.back().id});
    }
    const absl::Duration begin = CpuTime();
    fleet_->Restore(2, {.machines = std::move(records)});
    fleet_->Open();
    const absl::Duration took = CpuTime() - begin;
    loop_.RunReady();
    return took;
  }

  void OpenLinks() {
    for (size_t i = 0; i < links_.size(); ++i) {
      const MachineRecord& known =
          fleet_->machines().Find(links_[i].agent)->record;
      gateway::HelloNotice hello;
      hello.facts = known.facts;
      hello.key_pin = known.key_pin;
      hello.boot_id = "6b4ee2b7-0f3c-4c57-a2a4-ae4d9bbf5a7d";
      hello.process_start_id = "0123456789abcdef";
      hello.address = known.address;
      (void)fleet_->LinkOpened(links_[i].agent, std::move(hello), port_);
      links_[i].epoch = port_.epoch;
      links_[i].acknowledgement = port_.acknowledgement;
      loop_.RunReady();
    }
  }

  // One heartbeat that brings back the last acknowledgement.
  void Beat(size_t i) {
    Link& link = links_[i];
    const auto answer =
        fleet_->Heartbeat(link.agent, link.epoch,
                          {.sequence = link.acknowledgement,
                           .acknowledged = link.acknowledgement,
                           .sent_at = loop_.Wall(),
                           .round_trip = absl::Milliseconds(1)});
    link.acknowledgement = answer->acknowledgement;
  }
  // Of all but the first `silent` machines.
  void BeatAll(int64_t silent = 0) {
    for (int64_t i = silent; i < kMachines; ++i) Beat(static_cast<size_t>(i));
  }

  void Pass(absl::Duration time) {
    for (; time > kStep; time -= kStep) loop_.Advance(kStep);
    loop_.Advance(time);
  }

  absl::Duration StaleLease() const {
    return fleet_->options().presence.StaleLease(fleet_->HeartbeatInterval());
  }
  gateway::StatusCounts Counts() const {
    return fleet_->machines().Counts(DefaultOrg());
  }
  BenchLoop& loop() { return loop_; }

 private:
  struct Link {
    AgentId agent;
    uint64_t epoch = 0;
    uint64_t acknowledgement = 0;
  };

  BenchLoop loop_;
  PromptJournal journal_{loop_};
  NoLink port_;
  std::vector<Link> links_;
  std::unique_ptr<Fleet> fleet_;
};

// The id is on the heap.
const int64_t BigFleet::kOwnBytes = sizeof(Link) + 48;

double ResidentBytes() {
  malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

using Figures = nlohmann::ordered_json;

void MeasureMemory(BigFleet& fleet, Figures& figures) {
  const double empty = ResidentBytes();
  const auto bytes_each = [&] {
    return (ResidentBytes() - empty) / kMachines - BigFleet::kOwnBytes;
  };
  figures["restore_ms"] = absl::ToDoubleMilliseconds(fleet.Restore());
  figures["bytes_known"] = bytes_each();
  const absl::Duration begin = CpuTime();
  fleet.OpenLinks();
  figures["links_per_s"] = kMachines / absl::ToDoubleSeconds(CpuTime() - begin);
  fleet.BeatAll();
  fleet.Pass(kFlushed);
  figures["bytes_linked"] = bytes_each();
  figures["sizeof_machine"] = sizeof(Machine);
  figures["sizeof_presence"] = sizeof(gateway::Presence);
}

// In no order that a cache would like.
void MeasureHeartbeats(BigFleet& fleet, Figures& figures) {
  std::vector<uint32_t> order(kMachines);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  const absl::Duration begin = CpuTime();
  for (const uint32_t i : order) fleet.Beat(i);
  figures["heartbeats_per_s"] =
      kMachines / absl::ToDoubleSeconds(CpuTime() - begin);
  fleet.Pass(kFlushed);
}

void MeasureIdleTurn(BigFleet& fleet, Figures& figures) {
  constexpr int kTurns = 20;  // Less than any lease.
  const absl::Duration begin = CpuTime();
  fleet.Pass(kTurns * kStep);
  figures["idle_turn_us"] =
      absl::ToDoubleMicroseconds(CpuTime() - begin) / kTurns;
}

// A million deadlines fall due at one instant, `silent` of them rightly.
void MeasureSweep(BigFleet& fleet, int64_t silent, Figures& figures) {
  const absl::Duration lease = fleet.StaleLease();
  fleet.BeatAll();
  // Twice: whoever was told a shorter interval has forgotten it.
  fleet.Pass(kFlushed);
  fleet.BeatAll();
  // Whatever deadline it had, each is now looked at when this lease ends.
  fleet.Pass(lease - 3 * kFlushed);
  fleet.BeatAll(silent);
  fleet.Pass(3 * kFlushed - kStep);
  malloc_trim(0);  // What a million heartbeats at once left behind is not ours.
  fleet.loop().Forget();
  fleet.Pass(2 * kStep);
  MUSTER_CHECK(fleet.Counts().stale == silent);
  figures[fmt::format("sweep_{}_silent", silent)] = {
      {"total_ms", absl::ToDoubleMilliseconds(fleet.loop().total())},
      {"longest_turn_ms", absl::ToDoubleMilliseconds(fleet.loop().longest())}};
}

}  // namespace
}  // namespace muster::bench

int main() {
  // One line of log for each link and each machine that worsens: its cost
  // belongs to the figures, its text to nobody.
  if (std::freopen("/dev/null", "w", stderr) == nullptr) return 1;
  using namespace muster::bench;
  Figures figures;
  BigFleet fleet;
  MeasureMemory(fleet, figures);
  MeasureHeartbeats(fleet, figures);
  MeasureIdleTurn(fleet, figures);
  for (const int64_t silent : {int64_t{0}, kMachines / 100, kMachines}) {
    MeasureSweep(fleet, silent, figures);
  }
  fmt::print("{}\n", figures.dump(2));
  return 0;
}
