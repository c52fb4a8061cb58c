// What holds of the open commands when either side is back.

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "gateway/fleet/command_desk.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

void CommandDesk::Restore(std::vector<CommandRecord> commands, Instant now) {
  for (CommandRecord& command : commands) {
    if (machines_.Find(command.agent) == nullptr) continue;
    if (IsFinished(command)) continue;
    const bool queued = command.state == CommandState::kQueued;
    const Instant since = queued ? QueuedSince(command, now) : now;
    Add(std::move(command), since);
  }
}

Instant CommandDesk::QueuedSince(const CommandRecord& queued,
                                 Instant now) const {
  const absl::Duration patience = queued.spec.delivery_timeout;
  // Its machine, too, could not be heard while the gateway was away.
  const absl::Duration waited_max =
      patience - std::min(patience, LeaseOf(queued));
  return now - std::clamp(loop_.clock().Wall() - queued.created_at,
                          absl::ZeroDuration(), waited_max);
}

struct CommandDesk::AgentMemory {
  uint64_t seen_high = 0;
  absl::flat_hash_set<CommandId> open;
  bool agent_rolled_back = false;
  bool gateway_rolled_back = false;
};

std::string CommandDesk::ReasonForDoubt(const CommandRecord& record,
                                        const AgentMemory& memory) {
  const bool queued = record.state == CommandState::kQueued;
  const bool open = memory.open.contains(record.id);
  // If we believe that it was never sent, it must not be sent again.
  if (queued && (open || memory.gateway_rolled_back)) {
    return "gateway_rolled_back";
  }
  if (queued) return "";
  // Whatever it says now of its end is news; that it never began is not.
  if (memory.agent_rolled_back) return kAgentRolledBack;
  if (open) return "";  // It will say itself what became of it.
  if (memory.gateway_rolled_back) return "gateway_rolled_back";
  // It had this one and has forgotten it without our leave.
  return record.dispatch_seq <= memory.seen_high ? "agent_forgot" : "";
}

void CommandDesk::Reconcile(Machine& machine, uint64_t seen_high,
                            const std::vector<CommandId>& open_at_agent,
                            Instant now) {
  AgentMemory memory{
      .seen_high = seen_high,
      .open = {open_at_agent.begin(), open_at_agent.end()},
      .agent_rolled_back = seen_high<machine.record.acknowledged_high,
                                     .gateway_rolled_back = seen_high>
                               machine.record.dispatch_high};
  if (memory.agent_rolled_back || memory.gateway_rolled_back) {
    Log(kWarning, "agent and gateway disagree: was one of them restored?",
        {{"agent_id", machine.record.id.str()},
         {"seen_high", seen_high},
         {"acknowledged_high", machine.record.acknowledged_high},
         {"dispatch_high", machine.record.dispatch_high}});
    machine.record.dispatch_high =
        std::max(machine.record.dispatch_high, seen_high);
    machine.record.acknowledged_high = seen_high;
    journal_.Put({machine.record}, [](const absl::Status&) {
      // The next write of the machine brings it along.
    });
  }
  // In the order of their numbers: the agent refuses a smaller one after a
  // larger one.
  std::vector<CommandId> ids = machine.open_commands;
  std::sort(ids.begin(), ids.end(),
            [this](const CommandId& a, const CommandId& b) {
              return FindOpen(a)->record.dispatch_seq <
                     FindOpen(b)->record.dispatch_seq;
            });
  for (const CommandId& id : ids) {
    Open& open = *FindOpen(id);
    if (IsTerminal(open.record.state)) {
      // The agent has forgotten it, and the output that was still to come.
      if (!memory.open.contains(id)) Forgo(open);
      continue;
    }
    std::string reason = ReasonForDoubt(open.record, memory);
    // It was sent, and is not sent again.
    if (reason.empty() && open.record.state == CommandState::kDispatched &&
        !memory.open.contains(id) && !MayStillRun(open.record)) {
      reason = kPermissionRevoked;
    }
    if (!reason.empty()) {
      MarkUnknown(open.record, std::move(reason), loop_.clock().Wall());
      Schedule(open, now);
      Save(open);
      continue;
    }
    // The last link may have lost it.
    if (memory.open.contains(id)) open.sent_epoch = machine.record.epoch;
    SendOrder(open);
    if (open.durable()) Tell(open, open.record);
  }
}

}  // namespace muster::gateway
