#include "libprotocol/base/thread_event_loop.h"

#include <algorithm>
#include <utility>

namespace muster {
namespace {
constexpr absl::Duration kLookAgain = absl::Seconds(1);
// So many tasks have their turn between two timers. Thousands of timers may be
// due at one instant, and what each of them began is answered by a task.
constexpr int kTasksBetweenTimers = 16;
}  // namespace

ThreadEventLoop::~ThreadEventLoop() { Stop(); }

void ThreadEventLoop::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

bool ThreadEventLoop::Post(Task task) {
  MutexLock lock(mu_);
  if (stopping_) return false;
  ready_.push_back(std::move(task));
  wake_.NotifyOne();
  return true;
}

EventLoop::TimerId ThreadEventLoop::PostAt(Instant when, Task task) {
  MutexLock lock(mu_);
  const uint64_t id = ++last_timer_;
  timers_.emplace(std::pair(when, id), std::move(task));
  due_.emplace(id, when);
  wake_.NotifyOne();  // Run() may have to wake earlier than it planned.
  return TimerId{id};
}

void ThreadEventLoop::Cancel(TimerId id) {
  MutexLock lock(mu_);
  const auto it = due_.find(static_cast<uint64_t>(id));
  if (it == due_.end()) return;
  timers_.erase({it->second, it->first});
  due_.erase(it);
}

void ThreadEventLoop::Run() {
  int tasks_first = 0;
  while (true) {
    Task task;
    {
      MutexLock lock(mu_);
      while (!task) {
        // Timers first: a flood of posted tasks must not stop the clock.
        const bool due =
            !timers_.empty() && timers_.begin()->first.first <= clock_.Now();
        if (due && (tasks_first == 0 || ready_.empty())) {
          tasks_first = kTasksBetweenTimers;
          due_.erase(timers_.begin()->first.second);
          task = std::move(timers_.extract(timers_.begin()).mapped());
        } else if (!ready_.empty()) {
          if (tasks_first > 0) --tasks_first;
          task = std::move(ready_.front());
          ready_.pop_front();
        } else if (stopping_) {
          return;
        } else {
          // The condition variable does not count suspended time, the clock
          // does: look again at least every kLookAgain.
          absl::Duration wait = kLookAgain;
          if (!timers_.empty()) {
            wait = std::min(wait, timers_.begin()->first.first - clock_.Now());
          }
          wake_.WaitFor(mu_, wait);
        }
      }
    }
    std::move(task)();
  }
}

}  // namespace muster
