#include "tests/simulation/agent_commands.h"

#include <utility>

namespace muster::simulation {

std::unique_ptr<AgentCommands> AgentCommands::Start(std::string boot_id,
                                                    agent::CommandLink link,
                                                    Nanos local, int64_t wall) {
  std::unique_ptr<AgentCommands> self(new AgentCommands(std::move(link)));
  self->loop_.SetNow(local, wall);
  auto executor = agent::Executor::Open(self->loop_, self->courier_,
                                        {.folder = "/agent",
                                         .shim_path = "muster-exec",
                                         .boot_id = std::move(boot_id),
                                         .running_max = 16});
  if (!executor.ok()) return nullptr;
  self->executor_ = *std::move(executor);
  self->courier_.SetRunner(self.get());
  if (!self->executor_->Recover().ok()) return nullptr;
  return self;
}

}  // namespace muster::simulation
