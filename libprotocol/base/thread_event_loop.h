#ifndef MUSTER_LIBPROTOCOL_BASE_THREAD_EVENT_LOOP_H_
#define MUSTER_LIBPROTOCOL_BASE_THREAD_EVENT_LOOP_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/mutex.h"

namespace muster {

// ThreadEventLoop is an EventLoop on a thread of its own; Dispatch() lends it
// to its caller. Whoever runs a task is the loop until it is done: tasks never
// overlap, whichever threads run them. The destructor stops it.
class ThreadEventLoop final : public EventLoop {
 public:
  // `clock` must outlive the loop.
  explicit ThreadEventLoop(const Clock& clock);
  ~ThreadEventLoop() override;

  // Runs every task already posted, drops timers that are not yet due, and
  // joins. Afterwards Post() refuses. Not from the loop. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  bool Post(Task task) override ABSL_LOCKS_EXCLUDED(mu_);
  bool Dispatch(Task task) override ABSL_LOCKS_EXCLUDED(mu_);
  TimerId PostAt(Instant when, Task task) override ABSL_LOCKS_EXCLUDED(mu_);
  // From a task: runs `f` once that task is over, on the same thread, when
  // somebody else may be the loop already. For what takes its time and needs
  // nothing of the loop. In order; also when the loop is shutting down.
  void AfterTask(Task f) { after_task_.push_back(std::move(f)); }
  void Cancel(TimerId id) override ABSL_LOCKS_EXCLUDED(mu_);
  bool IsCurrent() const override {
    return std::this_thread::get_id() == runner_.load();
  }
  const Clock& clock() const override { return clock_; }

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // The calling thread is the loop from now on / no longer. `comes_back`: to
  // TakeOver() what is ready.
  void Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(bool comes_back) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Begins with the oldest of what was posted, if that may be.
  bool TakeOver(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool TimerIsDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The next task for the own thread; empty if there is none.
  Task Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Task NextPosted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Sleep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const Clock& clock_;

  std::atomic<std::thread::id> runner_;  // Of the task that runs; or nobody.

  // Touched only by the task that runs, and whoever runs it.
  absl::InlinedVector<Task, 2> after_task_;

  Mutex mu_;
  CondVar wake_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // Somebody runs a task.
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  int tasks_first_ ABSL_GUARDED_BY(mu_) = 0;
  Instant asleep_until_ ABSL_GUARDED_BY(mu_);
  uint64_t last_timer_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Task> ready_ ABSL_GUARDED_BY(mu_);
  std::map<std::pair<Instant, uint64_t>, Task> timers_ ABSL_GUARDED_BY(mu_);
  // When each timer in timers_ is due, so that Cancel() need not search.
  absl::flat_hash_map<uint64_t, Instant> due_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;  // Last: starts when everything above exists.
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_THREAD_EVENT_LOOP_H_
