// What may become of a command, and who may say so.
//
//   queued ──▶ dispatched ──▶ received ──▶ running ──▶ succeeded failed
//     │            │              │            │       signaled timed_out
//     │            └──────────────┴────────────┴─────▶ cancelled rejected
//     │                    the agent's durable word
//     ├──▶ expired, cancelled,    the gateway's word: it was never dispatched
//     │    rejected
//     └──▶ outcome_unknown        nobody can know; a later word refines it
//
// Pure functions over records; told the time.

#ifndef MUSTER_GATEWAY_FLEET_COMMAND_RULES_H_
#define MUSTER_GATEWAY_FLEET_COMMAND_RULES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// An agent's durable word on one of its commands.
struct CommandWord {
  CommandId id;
  CommandState state = CommandState::kReceived;
  std::optional<int32_t> exit_code;
  std::optional<int32_t> signal;
  std::string reason;
  std::optional<absl::Time> started_at;
  std::optional<absl::Time> finished_at;
  uint64_t stdout_total = 0;
  uint64_t stderr_total = 0;
  uint64_t output_dropped_bytes = 0;
};

// Why nobody can know: the machine was put back to an older copy of its folder.
inline constexpr char kAgentRolledBack[] = "agent_rolled_back";

bool IsTerminal(CommandState state);

// True when an agent may say `state` at all: received, running or a terminal
// state other than expired.
bool AgentMaySay(CommandState state);

// Takes the agent's word into `record`. False if it changes nothing: the word
// is old, repeated, or comes after the end. A terminal state changes only from
// outcome_unknown to a known one. A machine that was put back to an older copy
// is not believed that a command never started: it is known to have been if it
// said before that the command runs, and then the outcome is unknown.
bool ApplyWord(CommandRecord& record, const CommandWord& word, absl::Time now);

// All that the agent will ever send is stored.
bool OutputComplete(const CommandRecord& record);

// Nothing about this command can change any more.
bool IsFinished(const CommandRecord& record);

// How long the command may stay as it is, counted from the moment it got there;
// infinite when only a person or the agent can move it. `lease`: how long its
// machine may be silent.
absl::Duration PatienceFor(const CommandRecord& record, absl::Duration lease);

// Patience is over: expired if it was never dispatched, else outcome_unknown.
void GiveUp(CommandRecord& record, absl::Time now);

inline constexpr char kPermissionRevoked[] = "permission_revoked";

// Who asked for it may not any more: a queued command will never be sent.
void RejectRevoked(CommandRecord& record, absl::Time now);

// The rest of the output will never come: it counts as dropped.
void ForgoOutput(CommandRecord& record);

// Nobody can know what became of it; `reason` says why: "agent_rolled_back", ….
void MarkUnknown(CommandRecord& record, std::string reason, absl::Time now);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_COMMAND_RULES_H_
