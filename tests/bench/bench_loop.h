// A loop in virtual time that knows how much of a processor its tasks took.

#ifndef MUSTER_TESTS_BENCH_BENCH_LOOP_H_
#define MUSTER_TESTS_BENCH_BENCH_LOOP_H_

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "libprotocol/base/event_loop.h"

namespace muster::bench {

// The processor time of this thread so far: unlike a clock on the wall it
// stands still while others have the processor.
inline absl::Duration CpuTime() {
  timespec ts;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return absl::DurationFromTimespec(ts);
}

// BenchLoop runs tasks when the benchmark says so, on its thread. Time stands
// still while they run. Not thread-safe.
class BenchLoop final : public EventLoop, public Clock {
 public:
  bool Post(Task task) override {
    ready_.push_back(std::move(task));
    return true;
  }
  TimerId PostAt(Instant when, Task task) override {
    timers_.emplace(std::pair(when, ++last_timer_), std::move(task));
    return TimerId{last_timer_};
  }
  void Cancel(TimerId id) override {
    std::erase_if(timers_, [id](const auto& timer) {
      return timer.first.second == static_cast<uint64_t>(id);
    });
  }
  bool IsCurrent() const override { return true; }
  const Clock& clock() const override { return *this; }
  Instant Now() const override { return now_; }
  absl::Time Wall() const override {
    return absl::FromUnixSeconds(1'800'000'000) + now_.since_boot();
  }

  // `step` passes; then runs what is due, and all that posts.
  void Advance(absl::Duration step) {
    now_ += step;
    RunReady();
    while (!timers_.empty() && timers_.begin()->first.first <= now_) {
      Run(std::move(timers_.extract(timers_.begin()).mapped()));
      RunReady();
    }
  }
  void RunReady() {
    while (!ready_.empty()) {
      Task task = std::move(ready_.front());
      ready_.pop_front();
      Run(std::move(task));
    }
  }

  // Of the tasks since the last Forget(): how long the longest kept all
  // others waiting, and how long they took together.
  absl::Duration longest() const { return longest_; }
  absl::Duration total() const { return total_; }
  void Forget() { longest_ = total_ = absl::ZeroDuration(); }

 private:
  void Run(Task task) {
    const absl::Duration begin = CpuTime();
    std::move(task)();
    const absl::Duration took = CpuTime() - begin;
    longest_ = std::max(longest_, took);
    total_ += took;
  }

  Instant now_ = Instant::SinceBoot(absl::Hours(1));
  uint64_t last_timer_ = 0;
  std::deque<Task> ready_;
  std::map<std::pair<Instant, uint64_t>, Task> timers_;  // A handful.
  absl::Duration longest_;
  absl::Duration total_;
};

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_BENCH_LOOP_H_
