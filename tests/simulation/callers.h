// Those who have commands run: they ask again when no answer comes, change
// their mind, and read what their commands write.

#ifndef MUSTER_TESTS_SIMULATION_CALLERS_H_
#define MUSTER_TESTS_SIMULATION_CALLERS_H_

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include "tests/simulation/gateway_node.h"
#include "tests/simulation/random.h"
#include "tests/simulation/recorder.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

class Callers {
 public:
  struct World {
    Timeline& timeline;
    Recorder& recorder;
    GatewayNode& gateway;
    uint64_t seed;
  };

  explicit Callers(World world)
      : world_(world), random_(world.seed, 'C'), rights_(world.seed, 'R') {}

  // Somebody wants a command on this machine.
  void Want(uint32_t machine);
  // The call `index` goes on: Due::kCaller.
  void GoOn(uint32_t index);

  // Submissions that were accepted, each command once.
  uint64_t accepted() const { return accepted_; }

 private:
  struct Call {
    uint32_t machine = 0;
    uint64_t person = 0;  // Who asks.
    gateway::CommandRecord wanted;
    uint64_t key = 0;  // 0: it gives none.
    bool queue = false;
    bool cancels = false;
    uint32_t turns = 0;  // That it still has.
    std::optional<CommandId> command;
    std::array<uint64_t, 2> read = {};
  };

  void Ask(uint32_t index, bool differently);
  void Answered(uint32_t index, uint64_t number,
                const absl::StatusOr<gateway::CommandRecord>& stored);
  void Read(Call& call);

  // The present person may run nothing any more; the next one asks.
  void Withdraw();

  const World world_;
  Random random_, rights_;
  uint64_t person_ = 1;
  std::deque<Call> calls_;
  uint64_t numbers_ = 0;
  uint64_t accepted_ = 0;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_CALLERS_H_
