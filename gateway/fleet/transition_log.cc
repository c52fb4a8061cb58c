#include "gateway/fleet/transition_log.h"

#include <utility>
#include <vector>

#include "libprotocol/base/log.h"

namespace muster::gateway {

void TransitionLog::Add(const TransitionRecord& transition) {
  ++decided_;
  if (waiting_.empty()) {
    Write({{decided_, transition}});
    return;
  }
  if (waiting_.size() >= options_.waiting_max) {
    Log(kError, "transition lost: the store has been away for too long",
        {{"agent_id", waiting_.begin()->second.agent.str()}});
    waiting_.erase(waiting_.begin());
  }
  waiting_.emplace(decided_, transition);
}

void TransitionLog::Write(Batch batch) {
  std::vector<Change> changes;
  for (const auto& [order, transition] : batch) {
    changes.emplace_back(machines_.Find(transition.agent)->record);
    changes.emplace_back(transition);
  }
  journal_.Put(std::move(changes), [this, batch = std::move(batch)](
                                       const absl::Status& status) mutable {
    if (!status.ok()) {
      Refused(std::move(batch), status);
    } else if (!retry_armed_) {
      TryAgain();
    }
  });
}

void TransitionLog::Refused(Batch batch, const absl::Status& status) {
  waiting_.merge(batch);
  if (retry_armed_) return;
  Log(kError, "transitions not stored, trying again",
      {{"waiting", waiting_.size()}, {"error", status}});
  retry_armed_ = true;
  retry_timer_ =
      loop_.PostAt(loop_.clock().Now() + options_.retry_after, [this] {
        retry_armed_ = false;
        TryAgain();
      });
}

void TransitionLog::TryAgain() {
  Batch batch;
  while (!waiting_.empty() && batch.size() < options_.batch_max) {
    batch.insert(waiting_.extract(waiting_.begin()));
  }
  if (!batch.empty()) Write(std::move(batch));
}

}  // namespace muster::gateway
