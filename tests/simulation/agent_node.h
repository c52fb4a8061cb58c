// One agent of a simulation: the real link machine, in a process and on a host
// that can stand still, die and come back.

#ifndef MUSTER_TESTS_SIMULATION_AGENT_NODE_H_
#define MUSTER_TESTS_SIMULATION_AGENT_NODE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "agent/link/link_machine.h"
#include "tests/simulation/agent_commands.h"
#include "tests/simulation/model_host.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"
#include "tests/simulation/recorder.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

class AgentNode {
 public:
  struct World {
    Timeline& timeline;
    Recorder& recorder;
    Network& network;
    uint64_t seed;
  };

  // `self` is the node's own number, `machine` the identity it shows: two nodes
  // with one identity are a clone.
  AgentNode(World world, uint32_t self, uint32_t machine);

  // --- What the director does ---------------------------------------------
  // The process starts, on the same boot or, after PowerOff(), on a new one.
  void Start();
  // kill -9: the kernel closes the connection.
  void Kill();
  // Likewise, at the `effects`th thing that the outside could notice; it starts
  // again after `down`.
  void CrashAfter(uint32_t effects, Nanos down);
  // The host stops at once and tells nobody.
  void PowerOff();
  void Pause(Nanos length);
  // Says goodbye; `code` is the cause that it tells.
  void Goodbye(uint8_t code, std::optional<Nanos> back_within);
  // Due::kAgentStart, unless another is asked for first.
  void StartAfter(Nanos pause);
  void SetDrift(int64_t ppm);
  void StepWall(Nanos step) { wall_step_ += step; }
  // It is a copy of that one's disk, and starts somewhere else.
  void StartAsCopyOf(const AgentNode& original);
  // A snapshot of its virtual machine is taken, and gone back to: to the disk
  // alone, or to what ran on it as well.
  void TakeSnapshot();
  void GoBack(bool memory);

  ModelHost& host() { return host_; }

  bool running() const { return link_ != nullptr; }
  bool paused() const { return paused_; }
  // The gateway has told it that its identity is gone.
  bool deregistered() const { return deregistered_; }
  bool online() const { return link_ != nullptr && link_->online(); }
  uint32_t machine() const { return machine_; }

  // --- What is due --------------------------------------------------------
  void Hear(ConnectionId id, const Message& message);
  void TimerDue();
  void Resume(uint32_t pause);
  void StartDue(uint32_t start);
  void DiskDue(uint32_t life);
  void WakeDue();

 private:
  Instant Local() const;
  Nanos AtLocal(Instant local) const;
  absl::Time Wall() const;
  void Take(const Message& message);
  void Dial();
  void CarryOut(const agent::LinkActions& actions);
  void SendOut(const v1::AgentMessage& message);
  bool SendUpdate(const v1::CommandUpdate& update);
  bool SendChunk(v1::TransferChunk chunk);
  void TakeAboutOutput(const Message& message);
  void NoteNothingOnTheWay();
  void NoteRuns(bool runs);
  // False if there is none: the disk refuses, or it died over it.
  bool StartCommands();
  void EndCommands();
  void SetNow();
  // What was posted is done, and so may the process be.
  void AfterTask();
  void Arm();

  World world_;
  const uint32_t self_;
  const uint32_t machine_;
  Random random_;
  int64_t drift_ppm_ = 0;
  Nanos booted_ = 0;
  Nanos wall_step_ = 0;

  // Of the boot and of this life of the process.
  uint32_t boot_ = 0;
  bool power_ = true;
  uint32_t life_ = 0;
  uint32_t dialled_in_ = 0;  // The life that dialled last.
  uint32_t said_boot_ = 0;   // What names the instance to the gateway.
  uint32_t said_life_ = 0;
  Nanos told_back_ = 0;  // The gateway asked it to stay away until then.
  uint32_t start_ = 0;
  std::unique_ptr<agent::LinkMachine> link_;
  ConnectionId connection_;
  Nanos timer_armed_ = kNever;
  bool leaving_ = false;  // Its goodbye is on the way.
  bool paused_ = false;
  uint32_t pause_ = 0;
  Nanos paused_until_ = 0;
  std::deque<std::pair<ConnectionId, Message>> socket_;
  bool deregistered_ = false;

  // Commands: what the host keeps, and what this life of the process does.
  ModelHost host_;
  std::unique_ptr<AgentCommands> commands_;
  bool wake_armed_ = false;
  uint32_t missed_disk_tasks_ = 0;  // While it was stopped.
  Nanos down_ = 0;                  // How long a crash at an effect lasts.
  // Which stream for output this connection is at, and what is on its way on
  // it, chunk by chunk.
  uint32_t transfer_ = 0;
  std::deque<uint64_t> chunks_;
  uint64_t on_the_way_ = 0;

  struct Snapshot {
    ModelHost::Image host;
    Nanos local;
    uint32_t said_boot;
    uint32_t said_life;
    std::unique_ptr<agent::LinkMachine> link;
  };
  std::optional<Snapshot> snapshot_;

  // Used again and again: no message is built for every answer.
  v1::GatewayMessage ack_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_AGENT_NODE_H_
