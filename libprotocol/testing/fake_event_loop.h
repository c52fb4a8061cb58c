#ifndef MUSTER_LIBPROTOCOL_TESTING_FAKE_EVENT_LOOP_H_
#define MUSTER_LIBPROTOCOL_TESTING_FAKE_EVENT_LOOP_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/mutex.h"

namespace muster {

// FakeEventLoop runs tasks only when the test says so, on the test's thread, in
// virtual time. Same seed, same schedule, same result: no sleeping, no flakes.
class FakeEventLoop final : public EventLoop, public Clock {
 public:
  explicit FakeEventLoop(
      absl::Time wall_start = absl::FromUnixSeconds(1'700'000'000))
      : wall_(wall_start) {}

  bool Post(Task task) override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    ready_.push_back(std::move(task));
    return true;
  }

  TimerId PostAt(Instant when, Task task) override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    const uint64_t id = ++last_timer_;
    timers_.emplace(std::pair(when, id), std::move(task));
    return TimerId{id};
  }

  void Cancel(TimerId id) override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    std::erase_if(timers_, [id](const auto& entry) {
      return entry.first.second == static_cast<uint64_t>(id);
    });
  }

  bool IsCurrent() const override { return running_; }
  const Clock& clock() const override { return *this; }
  Instant Now() const override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return now_;
  }
  absl::Time Wall() const override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return wall_ + now_.since_boot();
  }

  absl::Duration Suspended() const override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return suspended_;
  }

  // As SuspendFor(), but the host was suspended, not only the process.
  void SuspendHostFor(absl::Duration gap) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      MutexLock lock(mu_);
      suspended_ += gap;
    }
    SuspendFor(gap);
  }

  // Moves the wall clock alone, as an operator or NTP would.
  void StepWall(absl::Duration step) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    wall_ += step;
  }

  // Runs posted tasks, and those they post, until none is ready.
  void RunReady() ABSL_LOCKS_EXCLUDED(mu_) {
    while (Task task = TakeReady()) RunOne(std::move(task));
  }

  // Moves time forward by `gap` without running anything, as if the process had
  // been suspended; then runs every timer that fell due, late.
  void SuspendFor(absl::Duration gap) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      MutexLock lock(mu_);
      now_ += gap;
    }
    Advance(absl::ZeroDuration());
  }

  // Moves time forward by `step`, stopping at each timer on the way so that a
  // timer always observes exactly the instant it asked for.
  void Advance(absl::Duration step) ABSL_LOCKS_EXCLUDED(mu_) {
    const Instant target = Now() + step;
    RunReady();
    while (Task task = TakeTimerDueBy(target)) {
      RunOne(std::move(task));
      RunReady();
    }
    MutexLock lock(mu_);
    now_ = target;
  }

 private:
  void RunOne(Task task) {
    running_ = true;
    std::move(task)();
    running_ = false;
  }
  Task TakeReady() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (ready_.empty()) return nullptr;
    Task task = std::move(ready_.front());
    ready_.pop_front();
    return task;
  }
  Task TakeTimerDueBy(Instant limit) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (timers_.empty() || timers_.begin()->first.first > limit) return nullptr;
    auto node = timers_.extract(timers_.begin());
    now_ = std::max(now_, node.key().first);
    return std::move(node.mapped());
  }

  bool running_ = false;

  mutable Mutex mu_;
  absl::Time wall_ ABSL_GUARDED_BY(mu_);  // Wall time of the instant zero.
  Instant now_ ABSL_GUARDED_BY(mu_);
  absl::Duration suspended_ ABSL_GUARDED_BY(mu_);
  uint64_t last_timer_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Task> ready_ ABSL_GUARDED_BY(mu_);
  std::map<std::pair<Instant, uint64_t>, Task> timers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_TESTING_FAKE_EVENT_LOOP_H_
