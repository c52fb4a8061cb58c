// check-history: judges what happened to real processes; see
// recorded_history.h.
//
// usage: check-history FILE
// Exit code 0: everything held, and what should be judged was. 1: it was not
// so. 2: FILE is no history.

#include <cstdio>
#include <fstream>

#include "fmt/format.h"
#include "tests/robustness/recorded_history.h"

int main(int argc, char** argv) {
  using muster::robustness::Judge;
  using muster::robustness::Judgement;
  if (argc != 2) {
    fmt::print(stderr, "usage: check-history FILE\n");
    return 2;
  }
  std::ifstream in(argv[1]);
  const auto history = muster::robustness::ReadHistory(in);
  if (!history.ok()) {
    fmt::print(stderr, "{}: {}\n", argv[1],
               std::string(history.status().message()));
    return 2;
  }
  const Judgement judgement = Judge(*history);
  fmt::print("{} events; judged:", history->events.size());
  for (const auto& [id, count] : judgement.judged) {
    if (count > 0) fmt::print(" {} {}", id, count);
  }
  fmt::print("\n");
  for (const auto& violation : judgement.violations) {
    fmt::print("{} BROKEN: {}\n    {}\n", violation.invariant, violation.text,
               ToText(violation.event));
  }
  for (const std::string& id : judgement.idle) {
    fmt::print("{} had nothing to judge\n", id);
  }
  return judgement.good() ? 0 : 1;
}
