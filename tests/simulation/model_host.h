// What an agent's host keeps for commands: the disk, and the processes that
// outlive the agent.
//
// The product decides over it: agent/exec/executor and command_store are
// compiled as they are, and model_exec.cc puts this in the place of the files
// and processes below them. The shim, whose real code is one thread around
// poll(2), is a model here: the same steps in the same order (agent/exec/
// shim.h), and it may be killed between any two.

#ifndef MUSTER_TESTS_SIMULATION_MODEL_HOST_H_
#define MUSTER_TESTS_SIMULATION_MODEL_HOST_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "agent/exec/command_folder.h"
#include "tests/simulation/random.h"
#include "tests/simulation/recorder.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

// What every run of a command writes to a stream from `offset` on: what a
// reader sees can be compared with it. stdout is 1, stderr 2.
std::string OutputBytes(uint64_t command, uint64_t stream, uint64_t offset,
                        size_t size);

// ModelHost is one node's. What the product's classes do they do at the host
// that is Current(): that of the agent whose turn it is.
class ModelHost {
 public:
  struct World {
    Timeline& timeline;
    Recorder& recorder;
    uint64_t seed;
    uint32_t self;     // The node, …
    uint32_t machine;  // … and whose identity it shows.
  };

  struct Spooled {
    uint64_t kept = 0;  // In the file.
    uint64_t synced = 0;
    uint64_t dropped = 0;
  };
  // One command folder: the files of agent/exec/command_folder.h.
  struct Folder {
    std::optional<agent::Spec> spec;
    std::optional<agent::Started> started;
    std::optional<agent::Exit> exit;
    bool cancel = false;
    std::array<Spooled, 2> spools;
  };
  struct Disk {
    uint64_t seen_high = 0;
    std::map<std::string, Folder> folders;
  };

  explicit ModelHost(World world);

  // While one lives, the product's classes work on `host`.
  class Scope {
   public:
    explicit Scope(ModelHost& host) : before_(current_) { current_ = &host; }
    ~Scope() { current_ = before_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ModelHost* const before_;
  };
  static ModelHost& Current() { return *current_; }

  // --- What the director does ---------------------------------------------
  // The host stops: processes are gone, and what was not synced.
  void PowerOff();
  void SetFull(bool full) { full_ = full; }
  void SetSlowUntil(Nanos until) { slow_until_ = until; }
  // kill -9 of some shim, if one lives.
  void KillShim(Random& random);
  // The agent dies at the `effects`th thing that the outside could notice.
  void CrashAfter(uint32_t effects) { effects_left_ = effects; }

  // What ran, and the disk, at some moment; and back to it.
  struct Image;
  const Disk& disk() const { return disk_; }
  void SetDisk(Disk disk) { disk_ = std::move(disk); }
  Image TakeImage() const;
  void SetImage(Image image);

  // --- The agent's process ------------------------------------------------
  // It begins; `wake` is called when there is something for its loop.
  void AgentBegins(std::function<void()> wake);
  // It is gone, with all that it meant to do.
  void AgentEnds();
  // False once it has died in the middle of a task.
  bool Effect();
  bool dying() const { return dying_; }
  uint32_t agent_life() const { return agent_life_; }
  // Its disk thread. RunDiskTask() does the oldest of what was posted.
  void PostToDisk(absl::AnyInvocable<void()> task);
  void RunDiskTask(uint32_t agent_life);

  // --- What model_exec.cc asks for ----------------------------------------
  Folder* Find(const std::string& id);
  absl::Status CreateFolder(const std::string& id, const agent::Spec& spec);
  void DeleteFolder(const std::string& id);
  absl::Status CreateStarted(const std::string& id,
                             const agent::Started& started);
  absl::Status WriteExit(const std::string& id, const agent::Exit& exit);
  absl::Status RequestCancel(const std::string& id);
  absl::Status RecordSeen(uint64_t seq);
  std::optional<int32_t> LockHolder(const std::string& id) const;
  int32_t StartShim(const std::string& id);
  using Heard = std::function<void(bool gone)>;
  void Watch(const std::string& id, Heard heard);
  void WakeShim(const std::string& id);
  // SIGKILL to every process of the command / whether there is one.
  void KillProcesses(const std::string& id);
  bool HasProcesses(const std::string& id) const;

  // --- What is due --------------------------------------------------------
  void ShimDue(uint32_t pid);
  void ProcessDue(uint32_t pid);

 private:
  enum class Step : uint8_t { kLock, kPrepare, kClaim, kRelease, kRun, kExit };
  enum class Force : uint8_t { kNone, kTerm, kKill };

  // What a command does: drawn from its number.
  struct Act {
    Nanos after = 0;  // The one before.
    uint32_t stream = 0;
    uint64_t bytes = 0;
    bool main_ends = false;
    bool child_ends = false;
  };
  struct Script {
    std::vector<Act> acts;
    int32_t code = 0;
    bool ignores_term = false;
    bool has_child = false;  // It stays behind, and holds both pipes.
    bool lacks_shell = false;
  };
  // A shim and the processes below it.
  struct Shim {
    std::string id;
    uint64_t command = 0;
    bool lives = true;
    bool locked = false;
    Step step = Step::kLock;
    Nanos due = kNever;
    agent::Exit exit;
    bool starts_nothing = false;  // `exit` says why.
    Force force = Force::kNone;
    agent::CommandState forced = agent::CommandState::kCancelled;
    Nanos timeout_at = kNever;
    Nanos force_at = kNever;
    Nanos quiet_since = 0;
    Nanos ended_at = kNever;  // Of the command itself, waited for.

    Script script;
    size_t next_act = 0;
    Nanos act_due = kNever;
    bool main_lives = false;
    bool child_lives = false;
    std::array<uint64_t, 2> wrote = {};
    bool anything_lives() const { return main_lives || child_lives; }
  };

  static Script DrawScript(uint64_t seed, uint64_t command);
  Folder* FolderOf(const Shim& shim) { return Find(shim.id); }
  agent::Started StartedNow(bool by_agent) const;
  void Go(uint32_t pid, Shim& shim, Nanos after);
  void Reject(Shim& shim, std::string_view reason);
  void Lock(uint32_t pid, Shim& shim);
  void Prepare(uint32_t pid, Shim& shim);
  void Claim(uint32_t pid, Shim& shim);
  void Release(uint32_t pid, Shim& shim);
  void Supervise(uint32_t pid, Shim& shim);
  void ForceEnd(Shim& shim);
  bool Settled(const Shim& shim) const;
  Nanos NextLook(const Shim& shim) const;
  void DescribeEnd(Shim& shim);
  void KeepExit(Shim& shim);
  void EndShim(uint32_t pid, Shim& shim);
  void Perform(uint32_t pid, Shim& shim, const Act& act);
  void Write(Shim& shim, const Act& act);
  void MainEnds(Shim& shim, std::optional<int32_t> code);
  void Kill(Shim& shim);
  void NoteIfGone(Shim& shim);
  void NextAct(uint32_t pid, Shim& shim);
  void Changed(const std::string& id, bool gone);
  absl::Time Wall() const;
  Event About(What what, uint64_t command) const;

  inline static thread_local ModelHost* current_ = nullptr;

  const World world_;
  Random random_;
  Disk disk_;
  bool full_ = false;
  Nanos slow_until_ = 0;
  uint32_t last_pid_ = 0;
  std::map<uint32_t, Shim> shims_;  // By process id; also what outlives them.

  // Of this life of the agent's process.
  uint32_t agent_life_ = 0;
  std::function<void()> wake_;
  std::map<std::string, Heard> heard_;
  std::deque<absl::AnyInvocable<void()>> disk_tasks_;
  uint32_t effects_left_ = 0;  // 0: for ever.
  bool dying_ = false;
};

struct ModelHost::Image {
  Disk disk;
  std::map<uint32_t, Shim> shims;
  Nanos taken_at;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_MODEL_HOST_H_
