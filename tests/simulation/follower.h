// Somebody who follows the fleet by its events alone (P11).

#ifndef MUSTER_TESTS_SIMULATION_FOLLOWER_H_
#define MUSTER_TESTS_SIMULATION_FOLLOWER_H_

#include <optional>
#include <string>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "fmt/format.h"
#include "gateway/fleet/fleet.h"

namespace muster::simulation {

// Follower reads the events of one org in small portions, goes on after a
// restart of the gateway where it was, and takes a snapshot only when it is
// told to. It must know of every machine what the gateway shows.
class Follower {
 public:
  explicit Follower(OrgId org) : org_(std::move(org)) {}

  // Reads all that there is to read, and compares. Empty; or what is wrong.
  std::string ReadOn(gateway::Fleet& fleet) {
    while (true) {
      const auto reading = fleet.events().Read(org_, after_, kPortion);
      after_ = reading.next;
      if (reading.reset) {
        TakeSnapshot(fleet);
        continue;
      }
      if (reading.events.empty()) return Compare(fleet);
      for (const gateway::Event* event : reading.events) {
        if (std::string wrong = Take(*event); !wrong.empty()) return wrong;
      }
    }
  }

 private:
  static constexpr size_t kPortion = 7;
  struct View {
    gateway::Status status = gateway::Status::kStale;
    uint64_t sequence = 0;
    friend bool operator==(const View&, const View&) = default;
  };

  static View ViewOf(const gateway::Machine& machine) {
    return {machine.record.status, machine.record.transition_sequence};
  }
  void TakeSnapshot(gateway::Fleet& fleet) {
    seen_.clear();
    fleet.machines().ForEachLiving([this](const gateway::Machine& machine) {
      seen_[machine.record.id] = ViewOf(machine);
    });
  }
  std::string Take(const gateway::Event& event) {
    if (const auto* member = std::get_if<gateway::Membership>(&event.what)) {
      if (*member == gateway::Membership::kDeleted) {
        seen_.erase(event.agent);
      } else {
        seen_.try_emplace(event.agent);
      }
    }
    const auto* t = std::get_if<gateway::TransitionRecord>(&event.what);
    if (t == nullptr) return "";
    const auto it = seen_.find(t->agent);
    if (it == seen_.end()) return "an event of a machine that never joined";
    if (t->sequence != it->second.sequence + 1 ||
        t->from != it->second.status) {
      return fmt::format("event of transition {} follows that of {}",
                         t->sequence, it->second.sequence);
    }
    it->second = {t->to, t->sequence};
    return "";
  }
  std::string Compare(gateway::Fleet& fleet) {
    size_t living = 0;
    std::string wrong;
    fleet.machines().ForEachLiving([&](const gateway::Machine& machine) {
      ++living;
      const auto it = seen_.find(machine.record.id);
      if (it == seen_.end() || !(it->second == ViewOf(machine))) {
        wrong = "events tell another status than the machine has";
      }
    });
    if (living != seen_.size()) wrong = "events tell of other machines";
    return wrong;
  }

  const OrgId org_;
  std::optional<gateway::EventVersion> after_;
  absl::flat_hash_map<AgentId, View> seen_;
};

}  // namespace muster::simulation

#endif  // MUSTER_TESTS_SIMULATION_FOLLOWER_H_
