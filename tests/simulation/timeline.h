// The one virtual clock: what happens next.

#ifndef MUSTER_TESTS_SIMULATION_TIMELINE_H_
#define MUSTER_TESTS_SIMULATION_TIMELINE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/simulation/history.h"

namespace muster::simulation {

enum class Due : uint8_t {
  kDelivery,       // `target`: pipe; `generation`: of its connection.
  kAgentTimer,     // `target`: agent.
  kAgentResume,    // `target`: agent; `generation`: its pause.
  kAgentStart,     // `target`: agent; `generation`: its life.
  kAgentDisk,      // `target`: agent; `generation`: its life.
  kAgentWake,      // `target`: agent.
  kShim,           // `target`: agent; `generation`: the shim.
  kProcess,        // `target`: agent; `generation`: its shim.
  kCaller,         // `target`: which call of it goes on.
  kGatewayTimer,   //
  kGatewayResume,  // `generation`: the pause.
  kGatewayStart,   // `generation`: the life.
  kGatewayOpen,    // `generation`: the life.
  kGatewayEnd,     // `generation`: the life.
  kAccept,         // `generation`: the life.
  kCommit,         // `generation`: the life.
  kFault,          // `target`: the class that strikes next.
  kFaultEnd,       // `target`: the one that ends.
  kTick,
};

// Timeline is a heap of plain entries. What is due at the same time comes in an
// order that the seed decides, by what it is: one entry more does not change
// the order of the others.
class Timeline {
 public:
  struct Entry {
    Nanos at;
    uint32_t tie;
    uint32_t order;  // Makes equal ties comparable.
    uint32_t target;
    uint32_t generation;
    Due due;
  };

  explicit Timeline(uint64_t seed) : seed_(seed) { heap_.reserve(4096); }

  Nanos now() const { return now_; }

  void Add(Nanos at, Due due, uint32_t target = 0, uint32_t generation = 0) {
    at = std::max(at, now_);
    heap_.push_back(
        {at, Tie(at, due, target), order_++, target, generation, due});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }

  // Moves the clock to the next entry. There must be one.
  Entry Pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    const Entry entry = heap_.back();
    heap_.pop_back();
    now_ = entry.at;
    return entry;
  }

 private:
  static bool Later(const Entry& a, const Entry& b) {
    if (a.at != b.at) return a.at > b.at;
    if (a.tie != b.tie) return a.tie > b.tie;
    return a.order > b.order;
  }

  uint32_t Tie(Nanos at, Due due, uint32_t target) const {
    uint64_t h = seed_ ^ static_cast<uint64_t>(at) * 0x9e3779b97f4a7c15;
    h ^= (static_cast<uint64_t>(due) << 32 | target) * 0xd1b54a32d192ed03;
    return static_cast<uint32_t>((h * 0x94d049bb133111eb) >> 32);
  }

  const uint64_t seed_;
  Nanos now_ = 0;
  uint32_t order_ = 0;
  std::vector<Entry> heap_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_TIMELINE_H_
