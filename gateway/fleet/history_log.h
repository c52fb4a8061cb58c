// What happened, remembered without a gap.

#ifndef MUSTER_GATEWAY_FLEET_HISTORY_LOG_H_
#define MUSTER_GATEWAY_FLEET_HISTORY_LOG_H_

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// HistoryLog writes transitions, links, notes, incidents and blind intervals
// when they are decided; what belongs to a machine goes together with the
// machine as it is then. One batch is with the store at a time, and what that
// refuses for now is written again before anything else: judging goes on, and
// history has no gap whenever the process dies.
//
// Lives on the fleet loop. `loop`, `journal` and `machines` must outlive it.
class HistoryLog {
 public:
  struct Options {
    // 200 bytes each. When more wait, the oldest is lost, and logged.
    size_t waiting_max = 200'000;
    // Written in one transaction.
    size_t batch_max = 500;
    absl::Duration retry_after = absl::Seconds(1);
  };

  HistoryLog(EventLoop& loop, Journal& journal, Machines& machines,
             Options options)
      : loop_(loop),
        journal_(journal),
        machines_(machines),
        options_(options) {}
  ~HistoryLog() { loop_.Cancel(retry_timer_); }
  HistoryLog(const HistoryLog&) = delete;
  HistoryLog& operator=(const HistoryLog&) = delete;

  void Add(Change happened);

  // Decided, and not yet with the store, or refused by it for now.
  size_t waiting() const { return waiting_.size(); }

  // With the store, or to be there at once: it takes what it is given.
  bool writing() const {
    return !in_flight_.empty() || !(waiting_.empty() || retry_armed_);
  }

  // Transitions of `agent` that the store has not confirmed, oldest first.
  std::vector<TransitionRecord> NotDurable(const AgentId& agent) const;

 private:
  void WriteNext();
  void Answered(const absl::Status& status);
  // What is in flight waits again, before all others.
  void TakeBack();
  void NoteDurable();

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  Machines& machines_;
  const Options options_;

  // In the order of decisions.
  std::deque<Change> waiting_;
  std::vector<Change> in_flight_;  // With the store.
  size_t singly_ = 0;  // So many are written one by one: one is refused.
  bool retry_armed_ = false;
  EventLoop::TimerId retry_timer_{};
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_HISTORY_LOG_H_
