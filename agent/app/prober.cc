#include "agent/app/prober.h"

#include <utility>

namespace muster::agent {
namespace {

constexpr absl::Duration kPause = absl::Seconds(10);

// An agent that stops waits for a walk at most this long.
constexpr absl::Duration kTimeout = absl::Seconds(3);

}  // namespace

Prober::Prober(EventLoop& loop, ProbeTarget target)
    : loop_(loop), target_(std::move(target)), thread_(loop.clock()) {}

void Prober::Probe(std::function<void(std::optional<ProbeResult>)> done) {
  const Instant now = loop_.clock().Now();
  if (walking_ || now < next_) return done(std::nullopt);
  walking_ = true;
  next_ = now + kPause;
  thread_.Post([this, target = target_, alive = std::weak_ptr<bool>(alive_),
                done = std::move(done)] {
    ProbeResult result = ProbeGateway(target, kTimeout);
    loop_.Post([this, alive, done, result = std::move(result)]() mutable {
      if (alive.expired()) return;
      walking_ = false;
      done(std::move(result));
    });
  });
}

}  // namespace muster::agent
