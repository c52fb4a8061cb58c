#include "tests/simulation/invariants.h"

#include <algorithm>
#include <utility>

namespace muster::simulation {

Invariants::Invariants(Promises promises) : ledger_(promises) {
  for (auto make :
       {PresenceInvariants, IncidentInvariants, LinkInvariants,
        DurabilityInvariants, CommandInvariants, OutputInvariants}) {
    for (auto& invariant : make()) all_.push_back(std::move(invariant));
  }
  for (size_t what = 0; what < kWhats; ++what) {
    for (const auto& invariant : all_) {
      if (invariant->Wants(static_cast<What>(what))) {
        wanted_[what].push_back(invariant.get());
      }
    }
  }
}

void Invariants::On(const Event& event) {
  ledger_.Know(event.machine);
  for (Invariant* invariant : wanted_[static_cast<size_t>(event.what)]) {
    if (invariant->violations().size() >= kViolationsMax) continue;
    invariant->On(event, ledger_);
    failed_ |= !invariant->violations().empty();
  }
  ledger_.Take(event);
}

std::vector<Violation> Invariants::violations() const {
  std::vector<Violation> found;
  for (const auto& invariant : all_) {
    found.insert(found.end(), invariant->violations().begin(),
                 invariant->violations().end());
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Violation& a, const Violation& b) {
                     return a.event.at < b.event.at;
                   });
  return found;
}

std::vector<std::string_view> Invariants::ids() const {
  std::vector<std::string_view> ids;
  for (const auto& invariant : all_) ids.push_back(invariant->id());
  return ids;
}

}  // namespace muster::simulation
