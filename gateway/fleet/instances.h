// Who speaks for this identity: one life of one agent, or two at once?
//
// An agent that restarts is a new instance, and the old one is never heard
// again. If it is, both are alive: a copied key, or a clone.

#ifndef MUSTER_GATEWAY_FLEET_INSTANCES_H_
#define MUSTER_GATEWAY_FLEET_INSTANCES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "libprotocol/base/clock.h"

namespace muster::gateway {

struct Instance {
  std::string boot_id;
  std::string process_start_id;
  std::string address;  // Where it was last heard from; names it.

  bool IsSame(const Instance& other) const {
    return boot_id == other.boot_id &&
           process_start_id == other.process_start_id;
  }
  bool empty() const { return boot_id.empty() && process_start_id.empty(); }
};

// Instances judges the hellos of one identity. Not thread-safe.
class Instances {
 public:
  // Former instances that are remembered; more come only from a machine that
  // restarts faster than it can be watched.
  static constexpr size_t kFormerMax = 4;

  enum class Answer {
    kAccept,
    // It was superseded, and here it is again: if it lives, it can say so a
    // second time. A hello that was long on its way cannot.
    kSayAgain,
    kRefuse,  // Another live instance holds the link.
  };

  // A hello of `hello` at `now`. `holder_heard`: when the present instance was
  // last heard; absent: unknown. Whoever was silent for `lease` is gone.
  // `link_open`: the present instance holds a link.
  Answer Hello(const Instance& hello, Instant now, absl::Duration lease,
               std::optional<Instant> holder_heard, bool link_open);

  // The one whose link was accepted last.
  const Instance& present() const { return present_; }
  // The other one, while both are alive.
  const std::optional<Instance>& rival() const { return rival_; }

  // The rival has been silent for `lease`: there is one again. True once.
  bool RivalIsGone(Instant now, absl::Duration lease);

  // The rival could not be heard in that time; it may have been since `from`.
  void Excuse(Instant from, Instant to);

  // A gateway that has just started knows that there were two.
  void ExpectRival(Instant now);

 private:
  void Succeed(const Instance& hello);
  bool IsFormer(const Instance& hello) const;

  Instance present_;
  std::vector<Instance> former_;  // Newest last.
  std::optional<Instance> asked_again_;
  std::optional<Instance> rival_;
  Instant rival_heard_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_INSTANCES_H_
