#include "tests/simulation/command_ledger.h"

#include <algorithm>

namespace muster::simulation {

void CommandLedger::Take(const Event& e) {
  switch (e.what) {
    case What::kSeen:
      nodes_[e.group].seen_high = e.number;
      return;
    case What::kAgentLost:
    case What::kAgentRuns: {
      NodeFacts& node = nodes_[e.group];
      node.runs = e.what == What::kAgentRuns;
      node.runs_since = e.at;
      return;
    }
    case What::kStarted:
    case What::kClaimed:
    case What::kExitKept:
    case What::kWrote:
    case What::kProcessEnded:
    case What::kProcessesGone:
    case What::kShimLost:
      return TakeFromMachine(e, commands_[e.number]);
    default:
      TakeFromGateway(e);
  }
}

void CommandLedger::TakeFromMachine(const Event& e, CommandFacts& c) {
  switch (e.what) {
    case What::kClaimed:
      (e.flag ? c.called_off : c.claimed) = true;
      return;
    case What::kStarted:
      ++c.starts;
      c.node = e.group;
      c.started_at = e.at;
      return;
    case What::kWrote:
      c.wrote[e.epoch - 1] =
          std::max(c.wrote[e.epoch - 1], static_cast<uint64_t>(e.length));
      return;
    case What::kProcessEnded:
      c.main_ended = true;
      if (e.flag) c.waited = e.code;
      return;
    case What::kProcessesGone:
      c.gone = true;
      return;
    case What::kShimLost:
      c.shim_lost = true;
      return;
    default:  // kExitKept
      c.kept = e.state;
      c.kept_code = e.code;
      c.kept_at = e.at;
      c.kept_bytes = {e.epoch, static_cast<uint64_t>(e.length)};
  }
}

void CommandLedger::TakeFromGateway(const Event& e) {
  switch (e.what) {
    case What::kCommandAsked: {
      CommandFacts& c = commands_[e.number];
      c.machine = e.machine;
      c.timeout = e.length;
      c.grace = e.code * kMillisecond;
      return;
    }
    case What::kCommandAccepted:
      if (e.epoch == 0) commands_[e.number].accepted_at = e.at;
      return;
    case What::kCommandEnded:
      commands_[e.number].ended = e.state;
      commands_[e.number].ended_started = e.flag;
      return;
    case What::kOutputStored:
      commands_[e.number].stored[e.epoch - 1] = static_cast<uint64_t>(e.length);
      return;
    case What::kRolledBack:
      for (auto& [number, command] : commands_) command.doubtful = true;
      return;
    default:
      return;
  }
}

}  // namespace muster::simulation
