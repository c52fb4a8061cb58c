// A question that waits for its answer.

#ifndef MUSTER_GATEWAY_ADMIN_LONG_POLL_H_
#define MUSTER_GATEWAY_ADMIN_LONG_POLL_H_

#include <functional>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// LongPoll looks again at each change until there is an answer or the time is
// over. Lives on the fleet loop; `loop` must outlive it, and what it was told
// to call must be there as long as the loop runs its tasks.
class LongPoll {
 public:
  using Again = absl::AnyInvocable<void()>;
  // Answers, or calls `again` to be called once more; `last`: it must answer.
  using Attempt = std::function<void(bool last, Again again)>;
  // Has its argument called once, at the next change. False: it never will be,
  // as too many watch already; then it is looked every second.
  using Watch = std::function<bool(Again changed)>;

  explicit LongPoll(EventLoop& loop) : loop_(loop) {}

  // Calls `attempt` at once, and as long as it asks for that.
  void Run(absl::Duration wait, Watch watch, Attempt attempt);

  // The gateway stops: every attempt from now on is the last. Who waits is to
  // be woken by the caller.
  void End() { ended_ = true; }

 private:
  struct Wait;
  void Try(std::shared_ptr<Wait> wait);

  EventLoop& loop_;
  bool ended_ = false;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_LONG_POLL_H_
