#include "gateway/fleet/batch_rules.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "fmt/format.h"

namespace muster::gateway {

uint32_t BatchCounts::*BatchCountOf(const CommandRecord& command) {
  switch (command.state) {
    case CommandState::kQueued:
    case CommandState::kDispatched:
    case CommandState::kReceived:
    case CommandState::kRunning:
      return &BatchCounts::running;
    case CommandState::kSucceeded:
      return &BatchCounts::succeeded;
    case CommandState::kFailed:
    case CommandState::kSignaled:
    case CommandState::kTimedOut:
      return &BatchCounts::failed;
    case CommandState::kCancelled:
      return command.started_at ? &BatchCounts::failed
                                : &BatchCounts::not_delivered;
    case CommandState::kExpired:
    case CommandState::kRejected:
      return &BatchCounts::not_delivered;
    case CommandState::kOutcomeUnknown:
      return &BatchCounts::unknown;
  }
  return &BatchCounts::unknown;
}

bool HasEnded(BatchState state) {
  return state == BatchState::kFinished || state == BatchState::kStopped ||
         state == BatchState::kCancelled;
}

uint32_t TurnsFree(const BatchRecord& batch) {
  if (batch.state != BatchState::kRunning) return 0;
  const BatchCounts& counts = batch.counts;
  uint32_t at_a_time = batch.concurrency;
  if (counts.succeeded < batch.canary) {
    at_a_time = std::min(at_a_time, batch.canary - counts.succeeded);
  }
  if (counts.running >= at_a_time) return 0;
  return std::min(counts.waiting, at_a_time - counts.running);
}

void StopBatch(BatchRecord& batch, std::string reason) {
  batch.state = BatchState::kStopping;
  batch.reason = std::move(reason);
}

void Advance(BatchRecord& batch) {
  const BatchCounts& counts = batch.counts;
  const uint32_t failures = counts.failed + counts.unknown;
  if (batch.state == BatchState::kRunning && counts.waiting > 0) {
    if (failures > 0 && counts.succeeded < batch.canary) {
      StopBatch(batch, fmt::format("canary: {} of {} succeeded, {} did not",
                                   counts.succeeded, batch.canary, failures));
    } else if (batch.failures_max > 0 && failures >= batch.failures_max) {
      StopBatch(batch, fmt::format("{} failed, the limit is {}", failures,
                                   batch.failures_max));
    }
  }
  if (counts.running > 0) return;
  if (batch.state == BatchState::kStopping) {
    batch.state = BatchState::kStopped;
  } else if (batch.state == BatchState::kCancelling) {
    batch.state = BatchState::kCancelled;
  } else if (batch.state == BatchState::kRunning && counts.waiting == 0) {
    batch.state = BatchState::kFinished;
  }
}

bool CancelBatch(BatchRecord& batch) {
  if (HasEnded(batch.state) || batch.state == BatchState::kCancelling) {
    return false;
  }
  batch.state = BatchState::kCancelling;
  batch.reason = "cancelled";
  return true;
}

absl::StatusOr<uint32_t> CountOf(std::string_view field, std::string_view text,
                                 uint32_t targets) {
  std::string_view digits = text;
  const bool percent = digits.ends_with('%');
  if (percent) digits.remove_suffix(1);
  uint32_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() ||
      number == 0 || (percent && number > 100)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: must be a number of at least 1, or 1% to 100%, got "
                    "'{}'",
                    field, text));
  }
  if (!percent) return std::min(number, std::max(targets, 1u));
  return static_cast<uint32_t>((uint64_t{targets} * number + 99) / 100);
}

}  // namespace muster::gateway
