// What a history says so far of commands.

#ifndef MUSTER_TESTS_SIMULATION_COMMAND_LEDGER_H_
#define MUSTER_TESTS_SIMULATION_COMMAND_LEDGER_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "gateway/fleet/command_rules.h"
#include "tests/simulation/history.h"

namespace muster::simulation {

inline constexpr gateway::CommandState kNoState{};

struct CommandFacts {
  uint32_t machine = 0;  // For which it was asked.
  Nanos timeout = 0;
  Nanos grace = 0;
  Nanos accepted_at = kNever;
  // The gateway's disk was put back since: it may know another story.
  bool doubtful = false;

  // At the machine.
  uint64_t node = 0;
  bool claimed = false;     // By a shim.
  bool called_off = false;  // By the agent.
  uint32_t starts = 0;
  Nanos started_at = kNever;
  std::optional<int32_t>
      waited;  // How the command itself ended; a shim saw it.
  bool main_ended = false;
  bool gone = false;  // No process is left.
  bool shim_lost = false;
  std::array<uint64_t, 2> wrote = {};
  // The end that its folder holds.
  gateway::CommandState kept = kNoState;
  int32_t kept_code = 0;
  Nanos kept_at = kNever;
  std::array<uint64_t, 2> kept_bytes = {};

  // At the gateway, durable.
  gateway::CommandState ended = kNoState;
  bool ended_started = false;  // It says that it had started.
  std::array<uint64_t, 2> stored = {};

  bool runs() const { return started_at != kNever && !main_ended && !gone; }
};

// An agent and its host.
struct NodeFacts {
  uint64_t seen_high = 0;
  bool runs = false;
  Nanos runs_since = 0;
};

// CommandLedger keeps the facts up to the previous event.
class CommandLedger {
 public:
  void Take(const Event& event);

  // Of a command that nobody has spoken of: what is not known.
  const CommandFacts& of(uint64_t command) const {
    static const CommandFacts nothing;
    const auto it = commands_.find(command);
    return it == commands_.end() ? nothing : it->second;
  }
  const NodeFacts& node(uint64_t node) const {
    static const NodeFacts nothing;
    const auto it = nodes_.find(node);
    return it == nodes_.end() ? nothing : it->second;
  }
  const std::map<uint64_t, CommandFacts>& all() const { return commands_; }

 private:
  void TakeFromMachine(const Event& event, CommandFacts& command);
  void TakeFromGateway(const Event& event);

  std::map<uint64_t, CommandFacts> commands_;
  std::map<uint64_t, NodeFacts> nodes_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_COMMAND_LEDGER_H_
