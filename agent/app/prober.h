// The agent's own look at a path that failed.

#ifndef MUSTER_AGENT_APP_PROBER_H_
#define MUSTER_AGENT_APP_PROBER_H_

#include <functional>
#include <memory>
#include <utility>

#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/thread_event_loop.h"
#include "libprotocol/net/probe.h"

namespace muster::agent {

// Prober walks the way to the gateway, at most one walk at a time and one per
// ten seconds. Threading: Probe() and its callback on `loop`; the walk blocks a
// thread of its own. Lifetime: callbacks are dropped once the prober is gone;
// its end waits for a walk under way.
class Prober {
 public:
  Prober(EventLoop& loop, ProbeTarget target);

  // Calls `done` with the result, or with nothing at once when it is too early
  // for another walk.
  void Probe(std::function<void(std::optional<ProbeResult>)> done);

  // For every walk from now on.
  void SetTarget(ProbeTarget target) { target_ = std::move(target); }

 private:
  EventLoop& loop_;
  ProbeTarget target_;
  Instant next_;
  bool walking_ = false;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  ThreadEventLoop thread_;  // Last.
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_PROBER_H_
