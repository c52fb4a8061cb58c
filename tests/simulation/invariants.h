// What must hold, whatever happens: judged from a history alone.
//
// The ids are those of the project's list of invariants (docs/design/
// simulation.md). Nothing here knows of the simulator: the same classes judge
// histories of real processes.

#ifndef MUSTER_TESTS_SIMULATION_INVARIANTS_H_
#define MUSTER_TESTS_SIMULATION_INVARIANTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/history.h"
#include "tests/simulation/ledger.h"

namespace muster::simulation {

struct Violation {
  std::string invariant;  // "P1"
  Event event;            // At which it showed.
  std::string text;
};

inline bool Worsens(const Event& e) { return e.to > e.from; }

// Not for silence, nor for a lost link.
inline bool Contested(const Event& e) {
  return e.to == gateway::Status::kStale && e.verdict &&
         e.cause == gateway::Cause::kDuplicateIdentity;
}

inline double Seconds(Nanos n) { return static_cast<double>(n) / 1e9; }

// One thing that must hold. On() sees the ledger as it was before the event.
class Invariant {
 public:
  explicit Invariant(std::string_view id) : id_(id) {}
  virtual ~Invariant() = default;

  virtual bool Wants(What what) const = 0;
  virtual void On(const Event& event, const Ledger& before) = 0;

  std::string_view id() const { return id_; }
  std::vector<Violation>& violations() { return violations_; }

 protected:
  void Fail(const Event& event, std::string text) {
    violations_.push_back({std::string(id_), event, std::move(text)});
  }

 private:
  const std::string_view id_;
  std::vector<Violation> violations_;
};

// Which there are, by what they are about.
std::vector<std::unique_ptr<Invariant>> PresenceInvariants();
std::vector<std::unique_ptr<Invariant>> IncidentInvariants();
std::vector<std::unique_ptr<Invariant>> LinkInvariants();
std::vector<std::unique_ptr<Invariant>> DurabilityInvariants();
std::vector<std::unique_ptr<Invariant>> CommandInvariants();
std::vector<std::unique_ptr<Invariant>> OutputInvariants();

// All of them.
class Invariants {
 public:
  explicit Invariants(Promises promises);

  void On(const Event& event);

  bool failed() const { return failed_; }
  // In the order in which they showed; at most a few of each.
  std::vector<Violation> violations() const;
  std::vector<std::string_view> ids() const;

 private:
  static constexpr size_t kWhats = 96;
  static constexpr size_t kViolationsMax = 5;

  Ledger ledger_;
  std::vector<std::unique_ptr<Invariant>> all_;
  std::vector<Invariant*> wanted_[kWhats];
  bool failed_ = false;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_INVARIANTS_H_
