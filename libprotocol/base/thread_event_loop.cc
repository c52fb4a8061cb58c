#include "libprotocol/base/thread_event_loop.h"

#include <algorithm>
#include <utility>

namespace muster {
namespace {
constexpr absl::Duration kLookAgain = absl::Seconds(1);
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
  while (true) {
    Task task;
    {
      MutexLock lock(mu_);
      while (!task) {
        // Timers first: a flood of posted tasks must not stop the clock.
        if (!timers_.empty() && timers_.begin()->first.first <= clock_.Now()) {
          due_.erase(timers_.begin()->first.second);
          task = std::move(timers_.extract(timers_.begin()).mapped());
        } else if (!ready_.empty()) {
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
