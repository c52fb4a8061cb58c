// Who is due next.

#ifndef MUSTER_GATEWAY_FLEET_DEADLINES_H_
#define MUSTER_GATEWAY_FLEET_DEADLINES_H_

#include <optional>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

// Deadlines orders keys by the instant at which they must be looked at. A key
// has one entry. Moving a deadline later, which every heartbeat does, costs
// nothing: the early entry stays, is popped, and the owner schedules it again
// after a look. Not thread-safe.
template <typename Key>
class Deadlines {
 public:
  // Makes sure that `key` is popped no later than `when`.
  void Schedule(const Key& key, Instant when) {
    if (when == Instant::Never()) return;
    const auto [it, inserted] = due_.try_emplace(key, when);
    if (!inserted) {
      if (it->second <= when) return;
      order_.erase({it->second, key});
      it->second = when;
    }
    order_.insert({when, key});
  }

  void Remove(const Key& key) {
    const auto it = due_.find(key);
    if (it == due_.end()) return;
    order_.erase({it->second, key});
    due_.erase(it);
  }

  // Removes and returns the earliest key due at `now`, if any.
  std::optional<Key> PopDue(Instant now) {
    if (order_.empty() || order_.begin()->first > now) return std::nullopt;
    Key key = order_.begin()->second;
    order_.erase(order_.begin());
    due_.erase(key);
    return key;
  }

  Instant Earliest() const {
    return order_.empty() ? Instant::Never() : order_.begin()->first;
  }

 private:
  absl::btree_set<std::pair<Instant, Key>> order_;
  absl::flat_hash_map<Key, Instant> due_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_DEADLINES_H_
