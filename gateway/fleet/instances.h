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
  // Others that are remembered; more come only from a machine that restarts
  // faster than it can be watched.
  static constexpr size_t kOthersMax = 4;

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
  // Another one that lives, the one heard last if they are many; null: there is
  // none. It has no name (empty) if only a former life of this gateway knew it.
  // Valid until the next call that is not const.
  const Instance* rival() const;

  // Rivals that have been silent for `lease` are gone.
  void ForgetSilent(Instant now, absl::Duration lease);

  // No rival could be heard in that time; it may have been since `from`.
  void Excuse(Instant from, Instant to);

  // A gateway that has just started knows that there were two.
  void ExpectRival(Instant now);

 private:
  // How sure it is that another one than the present lives.
  enum class Life { kSuperseded, kAskedAgain, kProven };
  struct Other {
    Instance instance;
    Instant heard;
    Life life = Life::kSuperseded;
  };

  std::vector<Other>::iterator Find(const Instance& hello);
  // `hello` is the present one; the one before was `heard` last and has `life`.
  void Succeed(const Instance& hello, Instant heard, Life life);

  Instance present_;
  std::vector<Other> others_;  // Who was superseded last is the last.
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_INSTANCES_H_
