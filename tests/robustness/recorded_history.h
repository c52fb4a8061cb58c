// Did a fleet of real processes keep what was promised?
//
// The harness (recorder.py) writes down what was true and what the gateway
// said, as the events of tests/simulation/history.h: one JSON object a line,
// the first with the promises. The simulation's invariants judge it.
//
//   {"promises": {"stale_after": 2.5, …}, "judge": ["P1", "D1", …]}
//   {"at": 3.107, "what": "arrived", "machine": 2, "epoch": 65537, "number": 4}
//   {"at": 3.2, "what": "decided", "machine": 1, "number": 2, "from": "online",
//    "to": "stale", "cause": "undetermined", …}
//
// Times and lengths are seconds. Names are those of REST and of What.

#ifndef MUSTER_TESTS_ROBUSTNESS_RECORDED_HISTORY_H_
#define MUSTER_TESTS_ROBUSTNESS_RECORDED_HISTORY_H_

#include <cstdint>
#include <istream>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/simulation/history.h"
#include "tests/simulation/invariants.h"

namespace muster::robustness {

struct RecordedHistory {
  simulation::Promises promises;
  // Invariants that must have had something to judge.
  std::vector<std::string> judge;
  std::vector<simulation::Event> events;
};

// InvalidArgument names the first line that is no event, or goes back in time.
absl::StatusOr<RecordedHistory> ReadHistory(std::istream& in);

struct Judgement {
  // How many events could have broken each.
  std::map<std::string, uint64_t> judged;
  std::vector<simulation::Violation> violations;
  // Of RecordedHistory::judge, those that had nothing to judge: no proof.
  std::vector<std::string> idle;

  bool good() const { return violations.empty() && idle.empty(); }
};

Judgement Judge(const RecordedHistory& history);

}  // namespace muster::robustness

#endif  // MUSTER_TESTS_ROBUSTNESS_RECORDED_HISTORY_H_
