// How much has happened in this life of the gateway? Plain numbers of the fleet
// loop, for metrics.

#ifndef MUSTER_GATEWAY_FLEET_COUNTERS_H_
#define MUSTER_GATEWAY_FLEET_COUNTERS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "absl/time/time.h"
#include "gateway/fleet/link_port.h"
#include "gateway/fleet/records.h"

namespace muster::gateway {

// How long something took, as counts below fixed bounds.
class Histogram {
 public:
  // Seconds; what takes longer is in the last count.
  static constexpr std::array<double, 8> kBounds = {0.001, 0.005, 0.02, 0.1,
                                                    0.5,   1,     2.5,  10};

  void Add(absl::Duration d) {
    const double seconds = absl::ToDoubleSeconds(d);
    size_t i = 0;
    while (i < kBounds.size() && seconds > kBounds[i]) ++i;
    ++counts_[i];
    sum_ += seconds;
  }

  const std::array<uint64_t, kBounds.size() + 1>& counts() const {
    return counts_;
  }
  double sum() const { return sum_; }

 private:
  std::array<uint64_t, kBounds.size() + 1> counts_ = {};
  double sum_ = 0;
};

// What a map lacks has not happened.
struct FleetCounters {
  uint64_t heartbeats = 0;
  uint64_t heartbeats_ignored = 0;  // Of a link that was not the newest.
  uint64_t links_accepted = 0;
  std::map<DisconnectReason, uint64_t> links_refused;
  std::map<BlindReason, uint64_t> turned_away;
  std::map<Status, uint64_t> transitions;  // To this status.
  std::map<NoteKind, uint64_t> notes;
  std::map<BlindReason, uint64_t> blind_intervals;
  std::map<BlindReason, absl::Duration> blind;
  uint64_t incidents = 0;
  // How long after its deadline: a transition was decided, the loop turned.
  Histogram transition_late;
  Histogram turn_late;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_COUNTERS_H_
