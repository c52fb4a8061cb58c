// Takes down what happens: for the invariants, the hash and the reader.

#ifndef MUSTER_TESTS_SIMULATION_RECORDER_H_
#define MUSTER_TESTS_SIMULATION_RECORDER_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "tests/simulation/history.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/timeline.h"

namespace muster::simulation {

// Recorder stamps events and hands them on. `timeline` and `invariants` must
// outlive it.
class Recorder {
 public:
  using Reader = std::function<void(const Event&)>;

  Recorder(const Timeline& timeline, Invariants& invariants, Reader reader)
      : timeline_(timeline),
        invariants_(invariants),
        reader_(std::move(reader)) {}

  void Record(Event event) {
    event.at = timeline_.now();
    ++events_;
    Mix(static_cast<uint64_t>(event.at));
    Mix((event.number * 131 + event.epoch) * 131 + event.group +
        (static_cast<uint64_t>(event.state) << 32 |
         static_cast<uint32_t>(event.code)) *
            137);
    Mix(static_cast<uint64_t>(event.what) << 56 |
        static_cast<uint64_t>(event.from) << 48 |
        static_cast<uint64_t>(event.to) << 40 |
        static_cast<uint64_t>(event.cause) << 32 | event.machine);
    if (event.what == What::kDecided) {
      MixInto(transitions_, static_cast<uint64_t>(event.at));
      MixInto(transitions_,
              static_cast<uint64_t>(event.to) << 32 | event.machine);
    }
    if (reader_) reader_(event);
    invariants_.On(event);
  }

  uint64_t events() const { return events_; }
  // Of everything, and of what was decided about machines and when.
  uint64_t hash() const { return hash_; }
  uint64_t transitions_hash() const { return transitions_; }

 private:
  static void MixInto(uint64_t& hash, uint64_t value) {
    hash = (hash ^ value) * 0x9fb21c651e98df25;
    hash ^= hash >> 32;
  }
  void Mix(uint64_t value) { MixInto(hash_, value); }

  const Timeline& timeline_;
  Invariants& invariants_;
  const Reader reader_;
  uint64_t events_ = 0;
  uint64_t hash_ = 0x2545f4914f6cdd1d;
  uint64_t transitions_ = 0x2545f4914f6cdd1d;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_RECORDER_H_
