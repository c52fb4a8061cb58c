// The gateway of a simulation: the real rules, in a process and on a host that
// can stand still, die and come back.

#ifndef MUSTER_TESTS_SIMULATION_GATEWAY_NODE_H_
#define MUSTER_TESTS_SIMULATION_GATEWAY_NODE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/fleet/fleet.h"
#include "tests/simulation/accept_queue.h"
#include "tests/simulation/follower.h"
#include "tests/simulation/model_disk.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"
#include "tests/simulation/recorder.h"
#include "tests/simulation/sim_loop.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

// A clock that people set and that runs a little too fast or too slow.
struct WallClock {
  int64_t base = 1'700'000'000 * kSecond;
  int64_t drift_ppm = 0;
  int64_t At(Nanos now) const {
    return base + now + now / 1'000'000 * drift_ppm;
  }
};

class GatewayNode {
 public:
  struct World {
    Timeline& timeline;
    Recorder& recorder;
    Network& network;
    uint64_t seed;
    uint32_t machines;
    double accepts_per_second;  // Connections; 0: as many as come.
    uint32_t neighbours;        // Nodes of one subnet.
  };

  GatewayNode(World world, gateway::FleetOptions options);
  ~GatewayNode();

  // --- What the director does ---------------------------------------------
  // The process starts; links are accepted `opens_after` later.
  void Start(Nanos opens_after);
  // kill -9; with `power` the host goes too and tells nobody. Both come back.
  void Crash(bool power);
  // SIGTERM: links are closed, and the process ends `drain` later.
  void Stop(Nanos drain);
  // The process dies at the `effects`th thing that anybody could notice.
  void CrashAfter(uint32_t effects) { effects_left_ = effects; }
  // How long the next crash lasts, and how long the start after it takes.
  void SetDownTime(Nanos down, Nanos start) {
    down_time_ = down;
    start_time_ = start;
  }
  // The process gets no time; with `store` its disk thread neither.
  void Stall(Nanos length, bool store);
  bool alive() const { return fleet_ != nullptr; }
  bool open() const { return open_; }
  bool stalled() const { return stalled_; }
  WallClock& wall() { return wall_; }
  DiskMood& disk() { return mood_; }
  DiskImage& image() { return image_; }

  // Copies the disk; puts it back to that copy, if there is one.
  void BackUp();
  void RestoreCopy();

  // A registration is durable: the machine is one of the fleet.
  void Admit(uint32_t machine);
  void Delete(uint32_t machine);

  // --- What callers ask ---------------------------------------------------
  // False: nobody is there to hear it. `queue`: it waits for a machine that is
  // not online. `answer` is not called if the process dies first.
  using Answer =
      absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)>;
  bool Submit(gateway::CommandRecord command, bool queue, Answer answer);
  bool Cancel(const CommandId& command);
  // From now on `person` may run nothing; the store of rights outlives it all.
  void Withdraw(uint64_t person) {
    withdrawn_.insert("person-" + std::to_string(person));
  }
  // What is stored of a stream from `offset` on.
  std::vector<gateway::OutputRecord> ReadOutput(const CommandId& command,
                                                gateway::Stream stream,
                                                uint64_t offset) const;
  bool reachable() const { return fleet_ != nullptr && open_ && !stalled_; }

  // Everything that was held up goes on.
  void Heal();

  // --- What is due --------------------------------------------------------
  void StartDue(uint32_t life);
  void Open(uint32_t life);
  void EndDue(uint32_t life);
  void Resume(uint32_t pause);
  void TimerDue();
  void CommitDue(uint32_t life);
  void AcceptDue(uint32_t life);
  void Arrive(uint32_t agent, ConnectionId id, const Message& message);
  // Compares what is shown of the fleet with its machines.
  void Audit();

  uint64_t heartbeats() const { return heartbeats_; }

 private:
  class Port;
  struct Known {
    gateway::Machine* machine = nullptr;
    gateway::Status status = gateway::Status::kStale;
    uint64_t sequence = 0;
    bool held = false;
  };

  // False once the process has died in the middle of a task.
  bool Effect();
  void Ordered(const gateway::CommandRecord& command);
  void SetNow();
  void NoteArrival(uint32_t agent, ConnectionId id, const Message& message);
  // Whoever has been accepted says hello.
  void LetIn();
  void Handle(const Arrival& arrival);
  void TakeHello(const Arrival& arrival);
  void TakeHeartbeat(Port& port, const Message& message);
  // A reaction of a link that is superseded reaches the rules late.
  void SpeakLate(uint32_t agent, uint64_t epoch);
  void AfterTask();
  void DrainSockets();
  void RunTimers();
  // Notices what was decided.
  void Look(uint32_t machine);
  void LookIfChanged();
  void LookWhetherHeld(uint32_t machine);
  void LookAtAll();
  void LookWhetherBlind();
  bool VouchesForSilent(const gateway::Machine& machine) const;
  Known& KnownOf(uint32_t machine);
  Port* PortOf(ConnectionId id);

  World world_;
  const gateway::FleetOptions options_;
  Random random_;
  WallClock wall_;
  DiskImage image_;
  std::optional<DiskImage> copy_;
  DiskMood mood_;

  // Of this life of the process, in the order in which they must go.
  uint32_t life_ = 0;
  std::unique_ptr<SimLoop> loop_;
  std::unique_ptr<ModelJournal> journal_;
  std::vector<std::unique_ptr<Port>> ports_;  // By index of the connection.
  std::unique_ptr<gateway::Fleet> fleet_;
  std::vector<Known> known_;
  uint64_t published_ = 0;  // Events, when it was looked for changes last.
  absl::Duration blind_;    // What its rows said then.
  bool open_ = false;
  bool stopping_ = false;
  bool power_ = true;
  Nanos down_since_ = 0;
  Nanos down_time_ = kSecond;
  Nanos start_time_ = kSecond;
  Nanos host_booted_ = 0;
  uint32_t effects_left_ = 0;  // 0: for ever.
  bool dying_ = false;
  Nanos timer_armed_ = kNever;

  bool stalled_ = false;
  bool store_stalled_ = false;
  bool commit_missed_ = false;
  uint32_t pause_ = 0;
  Nanos stalled_since_ = 0;
  Nanos stalled_until_ = 0;
  std::optional<AcceptQueue> door_;
  Nanos door_armed_ = kNever;
  std::deque<Arrival> socket_;

  Follower follower_{DefaultOrg()};  // Outlives the process.
  std::set<std::string> withdrawn_;  // Likewise.
  uint64_t heartbeats_ = 0;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_GATEWAY_NODE_H_
