#include "gateway/fleet/command_rules.h"

#include <utility>

namespace muster::gateway {
namespace {

// Position along the way; a word that does not lead onwards is old.
int Progress(CommandState state) {
  switch (state) {
    case CommandState::kQueued:
      return 0;
    case CommandState::kDispatched:
      return 1;
    case CommandState::kReceived:
      return 2;
    case CommandState::kRunning:
      return 3;
    case CommandState::kOutcomeUnknown:
      return 4;
    case CommandState::kSucceeded:
    case CommandState::kFailed:
    case CommandState::kSignaled:
    case CommandState::kTimedOut:
    case CommandState::kCancelled:
    case CommandState::kExpired:
    case CommandState::kRejected:
      return 5;
  }
  return 0;
}

// It says that nothing was started. Of a command that ran, the end says since
// when.
bool DeniesStart(const CommandWord& word) {
  return !word.started_at && (word.state == CommandState::kRejected ||
                              word.state == CommandState::kCancelled);
}

}  // namespace

bool IsTerminal(CommandState state) { return Progress(state) >= 4; }

bool AgentMaySay(CommandState state) {
  return state != CommandState::kQueued && state != CommandState::kDispatched &&
         state != CommandState::kExpired;
}

bool ApplyWord(CommandRecord& record, const CommandWord& word, absl::Time now) {
  if (Progress(word.state) <= Progress(record.state)) return false;
  // After giving up, only the end is news.
  if (IsTerminal(record.state) && !IsTerminal(word.state)) return false;
  const bool denied = record.started_at || record.reason == kAgentRolledBack;
  if (denied && DeniesStart(word)) {
    if (IsTerminal(record.state)) return false;
    MarkUnknown(record, kAgentRolledBack, now);
    return true;
  }
  record.state = word.state;
  if (word.started_at) record.started_at = word.started_at;
  if (!IsTerminal(word.state)) return true;
  record.exit_code = word.exit_code;
  record.signal = word.signal;
  // The machine does not know for what it was cancelled.
  if (word.state != CommandState::kCancelled || !word.reason.empty()) {
    record.reason = word.reason;
  }
  record.finished_at = word.finished_at.value_or(now);
  record.stdout_total = word.stdout_total;
  record.stderr_total = word.stderr_total;
  record.output_dropped_bytes = word.output_dropped_bytes;
  return true;
}

bool OutputComplete(const CommandRecord& record) {
  if (!IsTerminal(record.state)) return false;
  if (record.spec.terminal) return true;  // It is seen while it is there.
  if (!record.stdout_total || !record.stderr_total) {
    // The gateway ended it: nothing ran, or nobody knows what comes.
    return record.state != CommandState::kOutcomeUnknown;
  }
  return record.stdout_bytes >= *record.stdout_total &&
         record.stderr_bytes >= *record.stderr_total;
}

bool IsFinished(const CommandRecord& record) {
  return IsTerminal(record.state) &&
         (OutputComplete(record) ||
          record.state == CommandState::kOutcomeUnknown);
}

absl::Duration PatienceFor(const CommandRecord& record, absl::Duration lease) {
  switch (record.state) {
    case CommandState::kQueued:
    case CommandState::kDispatched:
      return record.spec.delivery_timeout;
    case CommandState::kReceived:
    case CommandState::kRunning:
      return record.spec.timeout + record.spec.kill_grace + lease;
    default:
      return absl::InfiniteDuration();
  }
}

void GiveUp(CommandRecord& record, absl::Time now) {
  if (record.state == CommandState::kQueued) {
    record.state = CommandState::kExpired;
    record.reason = "delivery_timeout";
    record.finished_at = now;
    return;
  }
  MarkUnknown(
      record,
      record.state == CommandState::kDispatched ? "no_answer" : "no_word", now);
}

void RejectRevoked(CommandRecord& record, absl::Time now) {
  record.state = CommandState::kRejected;
  record.reason = kPermissionRevoked;
  record.finished_at = now;
}

void ForgoOutput(CommandRecord& record) {
  const auto forgo = [&record](uint64_t stored,
                               std::optional<uint64_t>& total) {
    if (!total || *total <= stored) return;
    record.output_dropped_bytes += *total - stored;
    total = stored;
  };
  forgo(record.stdout_bytes, record.stdout_total);
  forgo(record.stderr_bytes, record.stderr_total);
}

void MarkUnknown(CommandRecord& record, std::string reason, absl::Time now) {
  record.state = CommandState::kOutcomeUnknown;
  record.reason = std::move(reason);
  record.finished_at = now;
}

}  // namespace muster::gateway
