// The event loop and the clocks of the gateway's process.

#ifndef MUSTER_TESTS_SIMULATION_SIM_LOOP_H_
#define MUSTER_TESTS_SIMULATION_SIM_LOOP_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/event_loop.h"
#include "tests/simulation/history.h"

namespace muster::simulation {

// SimLoop runs tasks when its process is given time, at the instant it is told.
// One per life of the process: what a dead process meant to do is gone with it.
class SimLoop final : public EventLoop, public Clock {
 public:
  // `booted`: how long the host had been up when the history began.
  explicit SimLoop(Nanos booted) : booted_(booted) { SetNow(0, 0); }

  // The present, and the wall clock's nanoseconds since the Unix epoch.
  void SetNow(Nanos now, int64_t wall) {
    tasks_now_ = 0;
    now_ = Instant::SinceBoot(absl::Nanoseconds(now + booted_));
    wall_ = absl::UnixEpoch() + absl::Nanoseconds(wall);
  }

  bool Post(Task task) override {
    ready_.push_back(std::move(task));
    return true;
  }
  TimerId PostAt(Instant when, Task task) override {
    timers_.push_back({when, ++last_timer_, std::move(task)});
    return TimerId{last_timer_};
  }
  void Cancel(TimerId id) override {
    for (Timer& timer : timers_) {
      if (timer.id == static_cast<uint64_t>(id)) {
        timer = std::move(timers_.back());
        timers_.pop_back();
        return;
      }
    }
  }
  bool IsCurrent() const override { return true; }
  const Clock& clock() const override { return *this; }
  Instant Now() const override { return now_; }
  absl::Time Wall() const override { return wall_; }

  // Runs what was posted, and what that posts.
  void RunReady() {
    while (!ready_.empty()) {
      CountTask();
      Task task = std::move(ready_.front());
      ready_.pop_front();
      std::move(task)();
    }
  }
  // Runs the earliest timer that is due; false if there is none.
  bool RunTimer() {
    const auto first = std::min_element(timers_.begin(), timers_.end());
    if (first == timers_.end() || first->when > now_) return false;
    CountTask();
    Task task = std::move(first->task);
    *first = std::move(timers_.back());
    timers_.pop_back();
    std::move(task)();
    return true;
  }
  // When a timer falls due next, as a time of the history.
  Nanos NextTimer() const {
    const auto first = std::min_element(timers_.begin(), timers_.end());
    if (first == timers_.end() || first->when == Instant::Never()) {
      return kNever;
    }
    // Instants are finer than nanoseconds: never a moment too early.
    return absl::ToInt64Nanoseconds(first->when.since_boot()) + 1 - booted_;
  }

 private:
  // A loop that never comes to rest would stop all time.
  void CountTask() { MUSTER_CHECK(++tasks_now_ < 1'000'000); }

  struct Timer {
    Instant when;
    uint64_t id;
    Task task;
    friend bool operator<(const Timer& a, const Timer& b) {
      return a.when == b.when ? a.id < b.id : a.when < b.when;
    }
  };

  const Nanos booted_;
  Instant now_;
  absl::Time wall_;
  uint64_t last_timer_ = 0;
  uint32_t tasks_now_ = 0;
  std::deque<Task> ready_;
  std::vector<Timer> timers_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_SIM_LOOP_H_
