// What an agent's process does for commands, in a simulation: the product's
// executor and courier, over the host's model.

#ifndef MUSTER_TESTS_SIMULATION_AGENT_COMMANDS_H_
#define MUSTER_TESTS_SIMULATION_AGENT_COMMANDS_H_

#include <memory>
#include <string>

#include "agent/app/command_courier.h"
#include "agent/exec/executor.h"
#include "tests/simulation/sim_loop.h"

namespace muster::simulation {

// AgentCommands lives as long as the process. Calls are made while its host is
// Current().
class AgentCommands final : private agent::CommandRunner {
 public:
  // Recovers what an earlier life left; nullptr if the disk refuses. `local`:
  // the host's boottime, `wall`: nanoseconds since the Unix epoch.
  static std::unique_ptr<AgentCommands> Start(std::string boot_id,
                                              agent::CommandLink link,
                                              Nanos local, int64_t wall);

  agent::CommandCourier& courier() { return courier_; }
  SimLoop& loop() { return loop_; }

 private:
  explicit AgentCommands(agent::CommandLink link)
      : courier_(loop_, std::move(link)) {}

  // As agent/app/agent.cc joins the two.
  absl::Status Accept(agent::Order order) override {
    return executor_->Accept(std::move(order));
  }
  absl::Status Cancel(const CommandId& id) override {
    return executor_->Cancel(id);
  }
  uint64_t OutputBytes(const CommandId& id, agent::Stream stream) override {
    return executor_->OutputBytes(id, stream);
  }
  absl::StatusOr<std::string> ReadOutput(const CommandId& id,
                                         agent::Stream stream, uint64_t offset,
                                         size_t bytes_max) override {
    return executor_->ReadOutput(id, stream, offset, bytes_max);
  }
  uint64_t OutputBegin(const CommandId& id) override {
    return executor_->OutputBegin(id);
  }
  bool IsSession(const CommandId& id) override {
    return executor_->IsSession(id);
  }
  void Say(const CommandId& id, const agent::ShimMessage& message) override {
    executor_->Say(id, message);
  }
  absl::Status Forget(const CommandId& id) override {
    return executor_->Forget(id);
  }
  std::vector<CommandId> OpenCommands() override {
    return executor_->OpenCommands();
  }
  uint64_t seen_high() override { return executor_->seen_high(); }

  SimLoop loop_{0};  // Its time is the host's.
  agent::CommandCourier courier_;
  std::unique_ptr<agent::Executor> executor_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_AGENT_COMMANDS_H_
