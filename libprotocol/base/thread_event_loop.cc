#include "libprotocol/base/thread_event_loop.h"

#include <algorithm>
#include <utility>

namespace muster {
namespace {
constexpr absl::Duration kLookAgain = absl::Seconds(1);
// So many tasks have their turn between two timers. Thousands of timers may be
// due at one instant, and what each of them began is answered by a task.
constexpr int kTasksBetweenTimers = 16;
// So many tasks does a caller of Dispatch() run, before it leaves the rest to
// the loop's own thread.
constexpr int kTasksOfCaller = 64;

// What a task throws ends the process, whoever runs it: gRPC would swallow it.
void RunAndDrop(EventLoop::Task& task) noexcept {
  std::exchange(task, nullptr)();
}

}  // namespace

ThreadEventLoop::ThreadEventLoop(const Clock& clock)
    : clock_(clock), thread_([this] { Run(); }) {}

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
  if (!busy_) wake_.NotifyOne();  // Whoever runs a task looks when it is done.
  return true;
}

bool ThreadEventLoop::Dispatch(Task task) {
  {
    MutexLock lock(mu_);
    if (stopping_) return false;
    ready_.push_back(std::move(task));
    if (!TakeOver(task)) return true;
  }
  for (int left = kTasksOfCaller - 1;; --left) {
    RunAndDrop(task);
    auto afterwards = std::exchange(after_task_, {});
    mu_.Lock();
    End(/*comes_back=*/left > 0);
    if (!afterwards.empty()) {
      mu_.Unlock();
      for (Task& f : afterwards) RunAndDrop(f);
      mu_.Lock();
    }
    const bool more = left > 0 && TakeOver(task);
    mu_.Unlock();
    if (!more) return true;
  }
}

EventLoop::TimerId ThreadEventLoop::PostAt(Instant when, Task task) {
  MutexLock lock(mu_);
  const uint64_t id = ++last_timer_;
  timers_.emplace(std::pair(when, id), std::move(task));
  due_.emplace(id, when);
  // The own thread may have to wake earlier than it planned.
  if (!busy_ && when < asleep_until_) wake_.NotifyOne();
  return TimerId{id};
}

void ThreadEventLoop::Cancel(TimerId id) {
  MutexLock lock(mu_);
  const auto it = due_.find(static_cast<uint64_t>(id));
  if (it == due_.end()) return;
  timers_.erase({it->second, it->first});
  due_.erase(it);
}

void ThreadEventLoop::Begin() {
  busy_ = true;
  runner_ = std::this_thread::get_id();
}

bool ThreadEventLoop::TakeOver(Task& task) {
  if (busy_ || ready_.empty()) return false;
  if (TimerIsDue()) {
    wake_.NotifyOne();
    return false;
  }
  task = NextPosted();
  Begin();
  return true;
}

void ThreadEventLoop::End(bool comes_back) {
  busy_ = false;
  runner_ = std::thread::id();
  const bool sooner =
      !timers_.empty() && timers_.begin()->first.first < asleep_until_;
  if ((!comes_back && !ready_.empty()) || sooner || stopping_) {
    wake_.NotifyOne();
  }
}

bool ThreadEventLoop::TimerIsDue() const {
  return !timers_.empty() && timers_.begin()->first.first <= clock_.Now();
}

EventLoop::Task ThreadEventLoop::Next() {
  // Timers first: a flood of posted tasks must not stop the clock.
  if ((tasks_first_ == 0 || ready_.empty()) && TimerIsDue()) {
    tasks_first_ = kTasksBetweenTimers;
    due_.erase(timers_.begin()->first.second);
    return std::move(timers_.extract(timers_.begin()).mapped());
  }
  if (tasks_first_ > 0) --tasks_first_;
  return NextPosted();
}

EventLoop::Task ThreadEventLoop::NextPosted() {
  if (ready_.empty()) return nullptr;
  Task task = std::move(ready_.front());
  ready_.pop_front();
  return task;
}

void ThreadEventLoop::Sleep() {
  // The condition variable does not count suspended time, the clock does: look
  // again at least every kLookAgain.
  const Instant now = clock_.Now();
  asleep_until_ = now + kLookAgain;
  if (!timers_.empty() && !busy_) {
    asleep_until_ = std::min(asleep_until_, timers_.begin()->first.first);
  }
  wake_.WaitFor(mu_, asleep_until_ - now);
  asleep_until_ = Instant();
}

void ThreadEventLoop::Run() {
  while (true) {
    Task task;
    {
      MutexLock lock(mu_);
      while (!task) {
        if (busy_) {
          Sleep();
          continue;
        }
        task = Next();
        if (!task && stopping_) return;
        if (!task) Sleep();
      }
      Begin();
    }
    RunAndDrop(task);
    auto afterwards = std::exchange(after_task_, {});
    {
      MutexLock lock(mu_);
      End(/*comes_back=*/true);
    }
    for (Task& f : afterwards) RunAndDrop(f);
  }
}

}  // namespace muster
