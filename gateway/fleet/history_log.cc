#include "gateway/fleet/history_log.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/btree_set.h"
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

}  // namespace

void HistoryLog::Add(Change happened) {
  if (waiting_.size() >= options_.waiting_max) {
    Log(kError, "history lost: the store has been away for too long");
    waiting_.pop_front();
  }
  waiting_.push_back(std::move(happened));
  WriteNext();
}

void HistoryLog::WriteNext() {
  if (!in_flight_.empty() || retry_armed_ || waiting_.empty()) return;
  const size_t count =
      std::min(waiting_.size(), singly_ > 0 ? size_t{1} : options_.batch_max);
  std::vector<Change> changes;
  absl::btree_set<AgentId> whose;
  for (size_t i = 0; i < count; ++i) {
    in_flight_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    changes.push_back(in_flight_.back());
    if (const AgentId* agent = AgentOf(changes.back())) whose.insert(*agent);
  }
  // After its transitions: what was found out since is of the last of them.
  for (const AgentId& agent : whose) {
    changes.emplace_back(machines_.Find(agent)->record);
  }
  if (singly_ > 0) --singly_;
  journal_.Put(std::move(changes),
               [this](const absl::Status& status) { Answered(status); });
}

void HistoryLog::Answered(const absl::Status& status) {
  if (status.ok()) {
    NoteDurable();
    in_flight_.clear();
  } else if (MayPass(status)) {
    TakeBack();
    Log(kError, "history not stored, trying again",
        {{"waiting", waiting_.size()}, {"error", status}});
    retry_armed_ = true;
    retry_timer_ =
        loop_.PostAt(loop_.clock().Now() + options_.retry_after, [this] {
          retry_armed_ = false;
          WriteNext();
        });
  } else if (in_flight_.size() > 1) {
    // The store will never take all of it: find what it does take.
    singly_ = in_flight_.size();
    TakeBack();
  } else {
    // Aborted: another gateway has accepted a newer link; its word counts.
    Log(kError, "history lost: the store does not take it",
        {{"error", status}});
    in_flight_.clear();
  }
  WriteNext();
}

void HistoryLog::TakeBack() {
  waiting_.insert(waiting_.begin(), std::make_move_iterator(in_flight_.begin()),
                  std::make_move_iterator(in_flight_.end()));
  in_flight_.clear();
}

void HistoryLog::NoteDurable() {
  for (const Change& change : in_flight_) {
    const auto* transition = std::get_if<TransitionRecord>(&change);
    if (transition == nullptr) continue;
    machines_.Find(transition->agent)->durable_sequence = transition->sequence;
  }
}

std::vector<TransitionRecord> HistoryLog::NotDurable(
    const AgentId& agent) const {
  std::vector<TransitionRecord> found;
  const auto collect = [&](const auto& changes) {
    for (const Change& change : changes) {
      const auto* t = std::get_if<TransitionRecord>(&change);
      if (t != nullptr && t->agent == agent) found.push_back(*t);
    }
  };
  collect(in_flight_);
  collect(waiting_);
  return found;
}

}  // namespace muster::gateway
