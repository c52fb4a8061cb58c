// The one source of time in this repository.
//
// Two kinds of time exist and do not convert into each other:
//   Instant     time since boot, suspension included. Never goes back. Leases,
//               timers and every decision about silence use it.
//   absl::Time  wall clock. Shown, stored, compared with certificates. It may
//               jump; nothing that matters waits for it.
//
// Rules are told `now`. Adapters hold a `const Clock&`. Only
// `libprotocol/base/system_clock.h` may ask the operating system;
// `tools/dev/check_layers.py` enforces that.

#ifndef MUSTER_LIBPROTOCOL_BASE_CLOCK_H_
#define MUSTER_LIBPROTOCOL_BASE_CLOCK_H_

#include <compare>

#include "absl/time/time.h"

namespace muster {

// Instant is a point on CLOCK_BOOTTIME of this machine. Meaningless to any
// other machine and after a reboot; never stored, never sent.
class Instant {
 public:
  // The instant of boot: earlier than or equal to every other one.
  constexpr Instant() = default;
  static Instant SinceBoot(absl::Duration d) { return Instant(d); }
  static Instant Never() { return Instant(absl::InfiniteDuration()); }

  absl::Duration since_boot() const { return since_boot_; }

  friend Instant operator+(Instant i, absl::Duration d) {
    return Instant(i.since_boot_ + d);
  }
  friend Instant operator-(Instant i, absl::Duration d) {
    return Instant(i.since_boot_ - d);
  }
  friend absl::Duration operator-(Instant a, Instant b) {
    return a.since_boot_ - b.since_boot_;
  }
  Instant& operator+=(absl::Duration d) {
    since_boot_ += d;
    return *this;
  }
  friend bool operator==(Instant a, Instant b) {
    return a.since_boot_ == b.since_boot_;
  }
  friend std::strong_ordering operator<=>(Instant a, Instant b) {
    if (a.since_boot_ < b.since_boot_) return std::strong_ordering::less;
    return a.since_boot_ == b.since_boot_ ? std::strong_ordering::equal
                                          : std::strong_ordering::greater;
  }

 private:
  explicit Instant(absl::Duration d) : since_boot_(d) {}
  absl::Duration since_boot_;
};

// Clock tells both times. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Time since boot. Never decreases during the life of the process; counts
  // suspension. Resolution: 1 ns nominal, do not rely on better than 1 ms.
  virtual Instant Now() const = 0;

  // How much of Now() the host has spent suspended.
  virtual absl::Duration Suspended() const { return absl::ZeroDuration(); }

  // What a person's watch says. May jump in either direction between calls.
  virtual absl::Time Wall() const = 0;
};

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_CLOCK_H_
