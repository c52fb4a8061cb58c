// What happened, remembered without a gap.

#ifndef MUSTER_GATEWAY_FLEET_HISTORY_LOG_H_
#define MUSTER_GATEWAY_FLEET_HISTORY_LOG_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// HistoryLog writes transitions, links, notes, incidents and blind intervals
// when they are decided; what belongs to a machine goes together with the
// machine as it is then. What the store refuses for now waits in memory and is
// written again, in order: judging goes on, history keeps no gap.
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

  // Decided, refused by the store, and due for another try.
  size_t waiting() const { return waiting_.size(); }

  // Transitions of `agent` that the store has not confirmed, oldest first.
  std::vector<TransitionRecord> NotDurable(const AgentId& agent) const;

 private:
  // In the order of decisions.
  using Batch = std::map<uint64_t, Change>;
  void Write(Batch batch);
  void Answered(uint64_t first, const absl::Status& status);
  void Written(const Batch& batch);
  void Refused(Batch batch, const absl::Status& status);
  // The store will never take all of `batch`: finds what it does take.
  void Separate(Batch batch, const absl::Status& status);
  void TryAgain();

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  Machines& machines_;
  const Options options_;

  uint64_t decided_ = 0;
  Batch waiting_;
  // With the store, by the number of their first decision.
  std::map<uint64_t, Batch> in_flight_;
  bool retry_armed_ = false;
  EventLoop::TimerId retry_timer_{};
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_HISTORY_LOG_H_
