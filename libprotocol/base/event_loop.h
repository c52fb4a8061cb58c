// One sequence of tasks, run one at a time, in order.

#ifndef MUSTER_LIBPROTOCOL_BASE_EVENT_LOOP_H_
#define MUSTER_LIBPROTOCOL_BASE_EVENT_LOOP_H_

#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "libprotocol/base/clock.h"

namespace muster {

// EventLoop is where the domain lives: objects owned by a loop are touched only
// from tasks running on that loop and therefore need no lock.
//
// Post*(), Dispatch() and Cancel() are thread-safe. Tasks must not block.
class EventLoop {
 public:
  using Task = absl::AnyInvocable<void()>;
  enum class TimerId : uint64_t {};

  virtual ~EventLoop() = default;

  // Runs `task` after every task posted before it. Returns false, and drops
  // `task`, once the loop is shutting down.
  virtual bool Post(Task task) = 0;

  // Like Post(); but if the loop runs nothing at this moment, the caller may be
  // the loop for some tasks, oldest first: as a rule for `task` too. For
  // threads that may be kept for that long, and callers that hold no lock.
  virtual bool Dispatch(Task task) { return Post(std::move(task)); }

  // Runs `task` on the loop once `clock().Now()` has reached `when`. Timers
  // that fall due together run in order of `when`, then in order of creation.
  virtual TimerId PostAt(Instant when, Task task) = 0;

  // Forgets a timer. A no-op for a timer that has already run.
  virtual void Cancel(TimerId id) = 0;

  // True when called from a task of this loop. For assertions only.
  virtual bool IsCurrent() const = 0;

  virtual const Clock& clock() const = 0;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_EVENT_LOOP_H_
