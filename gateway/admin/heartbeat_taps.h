// Who wants to see a machine's heartbeats as they arrive, and what came since
// they last asked?

#ifndef MUSTER_GATEWAY_ADMIN_HEARTBEAT_TAPS_H_
#define MUSTER_GATEWAY_ADMIN_HEARTBEAT_TAPS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/fleet/heartbeat_tap.h"
#include "gateway/fleet/machines.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// HeartbeatTaps keeps the newest heartbeats of the machines that somebody
// watches, and only of those: the first Watch() opens a tap, and one that
// nobody has asked for a while is closed. A reader that is slower than the
// heartbeats is told how many it missed.
//
// Lives on the fleet loop. `loop` and every Machine given must outlive it.
class HeartbeatTaps {
 public:
  struct Options {
    size_t taps_max = 64;         // Machines watched at once: 8 KiB each.
    size_t waiting_max = 16;      // Calls that wait for one machine.
    size_t heartbeats_max = 128;  // Kept for the slowest reader.
    absl::Duration linger = absl::Seconds(15);
  };

  struct Answer {
    std::vector<HeartbeatSample> heartbeats;  // Oldest first.
    uint64_t next = 0;                        // The next Watch()'s `after`.
    uint64_t missed = 0;
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Answer>)>;

  HeartbeatTaps(EventLoop& loop, Options options);
  ~HeartbeatTaps();
  HeartbeatTaps(const HeartbeatTaps&) = delete;
  HeartbeatTaps& operator=(const HeartbeatTaps&) = delete;

  // Calls `done` with the heartbeats after `after`, as soon as there is one or
  // `wait` is over. Without `after` the first is the next to come. At once
  // ResourceExhausted beyond the bounds of Options.
  void Watch(Machine& machine, std::optional<uint64_t> after,
             absl::Duration wait, Done done);

  size_t open() const { return taps_.size(); }

 private:
  class Tap;

  absl::StatusOr<Tap*> Open(Machine& machine);
  void CloseLater(Tap& tap);

  EventLoop& loop_;
  const Options options_;
  absl::flat_hash_map<AgentId, std::unique_ptr<Tap>> taps_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_HEARTBEAT_TAPS_H_
