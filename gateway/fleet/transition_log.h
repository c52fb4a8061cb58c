// What became of machines, remembered without a gap.

#ifndef MUSTER_GATEWAY_FLEET_TRANSITION_LOG_H_
#define MUSTER_GATEWAY_FLEET_TRANSITION_LOG_H_

#include <cstddef>
#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/fleet/journal.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// TransitionLog writes transitions, each with its machine, when they are
// decided. What the store refuses waits in memory and is written again, in
// order: judging goes on, history keeps no gap.
//
// Lives on the fleet loop. `loop`, `journal` and `machines` must outlive it.
class TransitionLog {
 public:
  struct Options {
    // 200 bytes each. When more wait, the oldest is lost, and logged.
    size_t waiting_max = 200'000;
    // Written in one transaction.
    size_t batch_max = 500;
    absl::Duration retry_after = absl::Seconds(1);
  };

  TransitionLog(EventLoop& loop, Journal& journal, Machines& machines,
                Options options)
      : loop_(loop),
        journal_(journal),
        machines_(machines),
        options_(options) {}
  ~TransitionLog() { loop_.Cancel(retry_timer_); }
  TransitionLog(const TransitionLog&) = delete;
  TransitionLog& operator=(const TransitionLog&) = delete;

  void Add(const TransitionRecord& transition);

  // Decided, refused by the store, and due for another try.
  size_t waiting() const { return waiting_.size(); }

 private:
  // In the order of decisions.
  using Batch = std::map<uint64_t, TransitionRecord>;
  void Write(Batch batch);
  void Refused(Batch batch, const absl::Status& status);
  void TryAgain();

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  Machines& machines_;
  const Options options_;

  uint64_t decided_ = 0;
  Batch waiting_;
  bool retry_armed_ = false;
  EventLoop::TimerId retry_timer_{};
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_TRANSITION_LOG_H_
