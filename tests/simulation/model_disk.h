// What the gateway's disk holds, and the journal that writes it.

#ifndef MUSTER_TESTS_SIMULATION_MODEL_DISK_H_
#define MUSTER_TESTS_SIMULATION_MODEL_DISK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gateway/fleet/journal.h"
#include "tests/simulation/random.h"
#include "tests/simulation/recorder.h"
#include "tests/simulation/sim_loop.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

AgentId IdOf(uint32_t machine);
uint32_t MachineOf(const AgentId& id);
CommandId CommandIdOf(uint64_t command);
uint64_t NumberOf(const CommandId& id);

// What survives every crash.
struct DiskImage {
  uint64_t run = 0;
  std::map<AgentId, gateway::MachineRecord> machines;
  std::map<CommandId, gateway::CommandRecord> commands;
  std::map<std::string, CommandId> keys;  // Idempotency keys.
  std::map<CommandId, std::vector<gateway::OutputRecord>> output;
  std::map<std::string, gateway::IncidentRecord> open_incidents;
};

// How the disk behaves now.
struct DiskMood {
  Nanos latency = 3 * kMillisecond;
  Nanos stalled_until = 0;
  bool full = false;
  double refuses = 0;   // Nearly full: so many of the commits fail.
  bool broken = false;  // The next commit fails, and nobody knows how much.
};

// ModelJournal is the journal of one life of the gateway's process. A write is
// durable, and answered, when its commit comes; a crash keeps what was
// committed and, if it strikes between commit and answer, nobody hears of it.
class ModelJournal final : public gateway::Journal {
 public:
  // `effect` is asked before everything that the outside could notice; false:
  // the process has just died.
  ModelJournal(SimLoop& loop, Timeline& timeline, Recorder& recorder,
               DiskImage& image, DiskMood& mood, uint32_t life, uint64_t seed,
               std::function<bool()> effect, std::function<void()> on_fatal)
      : loop_(loop),
        timeline_(timeline),
        recorder_(recorder),
        image_(image),
        mood_(mood),
        life_(life),
        random_(seed, (uint64_t{'J'} << 32) + life),
        effect_(std::move(effect)),
        on_fatal_(std::move(on_fatal)) {}

  void Put(std::vector<gateway::Change> changes,
           absl::AnyInvocable<void(absl::Status)> done) override;
  void AddCommand(
      gateway::CommandRecord command,
      absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)> done)
      override;
  void AddBatch(gateway::BatchRecord batch, std::vector<AgentId> targets,
                absl::AnyInvocable<void(absl::StatusOr<gateway::BatchRecord>)>
                    done) override;
  void LoadCommand(
      CommandId id,
      absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)> done)
      override;
  void AppendOutput(
      gateway::OutputRecord output,
      absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> done) override;

  // A kCommit is due. Everything queued so far becomes durable, or nothing.
  void Commit();
  // The process dies: what was on its way may have arrived, unanswered.
  void Crash(bool arrived);

  // A transition was handed over since the last call.
  bool TakeTransitionSeen() { return std::exchange(transition_seen_, false); }

 private:
  struct Job {
    // Does the work on the image; the result goes to the caller.
    absl::AnyInvocable<void(const absl::Status& failure)> run;
    absl::AnyInvocable<void()> answer;
  };

  template <typename Work, typename Done>
  void Queue(Work work, Done done);
  void Schedule();
  // As gateway/store/store_client: no write is tried again after such a one.
  void Break();
  void Keep(const gateway::Change& change);
  void Keep(const gateway::CommandRecord& command);
  absl::StatusOr<gateway::CommandRecord> Add(
      const gateway::CommandRecord& command);
  absl::StatusOr<uint64_t> Append(const gateway::OutputRecord& output);
  // Notices what is now said of a command, and was not before.
  void NoteEnd(const gateway::CommandRecord& before,
               const gateway::CommandRecord& now);

  SimLoop& loop_;
  Timeline& timeline_;
  Recorder& recorder_;
  DiskImage& image_;
  DiskMood& mood_;
  const uint32_t life_;
  Random random_;
  const std::function<bool()> effect_;
  const std::function<void()> on_fatal_;
  std::deque<Job> queue_;
  bool scheduled_ = false;
  bool broken_ = false;
  bool transition_seen_ = false;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_MODEL_DISK_H_
