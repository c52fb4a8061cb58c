#include "gateway/fleet/history_log.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "libprotocol/base/log.h"

namespace muster::gateway {
namespace {

// Whose history it is; nullptr: the gateway's own, or a group's.
const AgentId* AgentOf(const Change& change) {
  return std::visit(
      [](const auto& c) -> const AgentId* {
        if constexpr (requires { c.agent; }) {
          return &c.agent;
        } else {
          return nullptr;
        }
      },
      change);
}

bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
}

}  // namespace

void HistoryLog::Add(Change happened) {
  ++decided_;
  if (waiting_.empty()) {
    Batch batch;
    batch.emplace(decided_, std::move(happened));
    Write(std::move(batch));
    return;
  }
  if (waiting_.size() >= options_.waiting_max) {
    Log(kError, "history lost: the store has been away for too long");
    waiting_.erase(waiting_.begin());
  }
  waiting_.emplace(decided_, std::move(happened));
}

void HistoryLog::Write(Batch batch) {
  std::vector<Change> changes;
  for (const auto& [order, change] : batch) {
    if (const AgentId* agent = AgentOf(change)) {
      changes.emplace_back(machines_.Find(*agent)->record);
    }
    changes.emplace_back(change);
  }
  const uint64_t first = batch.begin()->first;
  in_flight_[first] = std::move(batch);
  journal_.Put(std::move(changes), [this, first](const absl::Status& status) {
    Answered(first, status);
  });
}

void HistoryLog::Answered(uint64_t first, const absl::Status& status) {
  Batch batch = std::move(in_flight_.extract(first).mapped());
  if (MayPass(status)) {
    Refused(std::move(batch), status);
    return;
  }
  if (status.ok()) {
    Written(batch);
  } else {
    Separate(std::move(batch), status);
  }
  if (!retry_armed_) TryAgain();
}

void HistoryLog::Written(const Batch& batch) {
  for (const auto& [order, change] : batch) {
    const auto* transition = std::get_if<TransitionRecord>(&change);
    if (transition == nullptr) continue;
    uint64_t& durable = machines_.Find(transition->agent)->durable_sequence;
    durable = std::max(durable, transition->sequence);
  }
}

void HistoryLog::Refused(Batch batch, const absl::Status& status) {
  waiting_.merge(batch);
  if (retry_armed_) return;
  Log(kError, "history not stored, trying again",
      {{"waiting", waiting_.size()}, {"error", status}});
  retry_armed_ = true;
  retry_timer_ =
      loop_.PostAt(loop_.clock().Now() + options_.retry_after, [this] {
        retry_armed_ = false;
        TryAgain();
      });
}

void HistoryLog::Separate(Batch batch, const absl::Status& status) {
  if (batch.size() == 1) {
    // Aborted: another gateway has accepted a newer link; its word counts.
    Log(kError, "history lost: the store does not take it",
        {{"error", status}});
    return;
  }
  while (!batch.empty()) {
    Batch one;
    one.insert(batch.extract(batch.begin()));
    Write(std::move(one));
  }
}

void HistoryLog::TryAgain() {
  Batch batch;
  while (!waiting_.empty() && batch.size() < options_.batch_max) {
    batch.insert(waiting_.extract(waiting_.begin()));
  }
  if (!batch.empty()) Write(std::move(batch));
}

std::vector<TransitionRecord> HistoryLog::NotDurable(
    const AgentId& agent) const {
  std::vector<TransitionRecord> found;
  const auto collect = [&](const Batch& batch) {
    for (const auto& [order, change] : batch) {
      const auto* t = std::get_if<TransitionRecord>(&change);
      if (t != nullptr && t->agent == agent) found.push_back(*t);
    }
  };
  for (const auto& [first, batch] : in_flight_) collect(batch);
  collect(waiting_);
  std::ranges::sort(found, {}, &TransitionRecord::sequence);
  return found;
}

}  // namespace muster::gateway
