// Chance, all of it from one seed.

#ifndef MUSTER_TESTS_SIMULATION_RANDOM_H_
#define MUSTER_TESTS_SIMULATION_RANDOM_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace muster::simulation {

// Random is splitmix64: eight bytes of state, two nanoseconds a number. Streams
// of one seed differ by their name, so that drawing more from one does not
// change what the others give.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0)
      : state_(seed * 0x9e3779b97f4a7c15 + stream * 0xd1b54a32d192ed03) {
    Next();
  }

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // In [0, 1).
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // In [0, n); n > 0.
  uint64_t Below(uint64_t n) { return Next() % n; }
  bool Chance(double probability) { return Unit() < probability; }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Unit() * static_cast<double>(high - low));
  }
  // Between `low` and `high` so that every order of magnitude is as likely.
  int64_t Spread(int64_t low, int64_t high) {
    const double ratio = static_cast<double>(high) / static_cast<double>(low);
    return static_cast<int64_t>(static_cast<double>(low) *
                                std::pow(ratio, Unit()));
  }
  int64_t Exponential(int64_t mean) {
    return static_cast<int64_t>(-std::log(1.0 - Unit()) *
                                static_cast<double>(mean));
  }

 private:
  uint64_t state_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_RANDOM_H_
