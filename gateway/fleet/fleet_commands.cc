// What agents say of their commands.

#include <utility>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/fleet.h"

namespace muster::gateway {

void Fleet::TakeWord(const AgentId& agent, uint64_t epoch, CommandWord word) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  Pass(now);
  Heard(*machine, now);
  commands_.TakeWord(*machine, std::move(word), now);
}

void Fleet::TakeInput(const AgentId& agent, uint64_t epoch,
                      const InputWord& word) {
  Machine* machine = Current(agent, epoch);
  if (machine == nullptr) return;
  const Instant now = loop_.clock().Now();
  Pass(now);
  Heard(*machine, now);
  input_.Take(*machine, word);
}

void Fleet::TakeOutput(
    const AgentId& agent, OutputRecord output,
    absl::AnyInvocable<void(absl::StatusOr<uint64_t>)> stored) {
  Machine* machine = machines_.Find(agent);
  if (machine == nullptr || machine->record.deleted_at) {
    stored(NotFound("agent", agent.str()));
    return;
  }
  if (sessions_.Has(output.command)) {
    sessions_.TakeOutput(agent, std::move(output), std::move(stored));
  } else {
    commands_.TakeOutput(*machine, std::move(output), std::move(stored));
  }
}

}  // namespace muster::gateway
