// Many of one group that fall silent together are one incident, and only they.

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "fmt/format.h"
#include "tests/simulation/invariants.h"

namespace muster::simulation {
namespace {

using gateway::Status;

class MassSilence final : public Invariant {  // P3
 public:
  MassSilence() : Invariant("P3") {}
  bool Wants(What what) const override {
    return what == What::kDecided || what == What::kHeld ||
           what == What::kTick || what == What::kCrashed ||
           what == What::kIncident || what == What::kOpened ||
           what == What::kRestored;
  }
  void On(const Event& e, const Ledger& before) override {
    switch (e.what) {
      case What::kDecided:
        Look(before.machine(e.machine).group, before);
        if (e.to == Status::kStale) FellSilent(e, before);
        if (e.to == Status::kOffline) GivenUp(e, before);
        return;
      case What::kHeld:
        Held(e, before);
        return;
      case What::kIncident:
        rows_due_.erase(e.group);
        if (e.flag) carried_.erase(e.group);
        return;
      case What::kRestored:
        if (e.machine >= carried_in_.size()) carried_in_.resize(e.machine + 1);
        carried_in_[e.machine] = e.flag;
        if (e.flag) carried_.insert(e.group);
        return;
      case What::kCrashed:
        due_.clear();
        rows_due_.clear();
        return;
      case What::kOpened:
        carried_.clear();
        return;
      default:
        Tick(e, before);
    }
  }

 private:
  struct Count {
    size_t present = 0;   // Of the group: living, and not offline.
    size_t silent = 0;    // Of these.
    size_t together = 0;  // Of these, within the window before now.
    size_t held = 0;      // Of these.
    // Of the present: online since the incident is under way. It is not over
    // because others joined.
    size_t came = 0;
  };
  static Count Of(uint64_t group, Nanos now, Nanos window,
                  const Ledger& ledger) {
    Count count;
    Nanos opened = kNever;
    for (const MachineFacts& m : ledger.machines()) {
      if (m.group == group && m.held.known()) {
        opened = std::min(opened, m.held.at);
      }
    }
    for (const MachineFacts& m : ledger.machines()) {
      if (m.group != group || !m.judged() || m.status == Status::kOffline) {
        continue;
      }
      ++count.present;
      count.came += m.status == Status::kOnline && m.since.at > opened;
      if (!m.fell_silent.known()) continue;
      ++count.silent;
      count.held += m.held.known();
      count.together += now - m.fell_silent.at <= window;
    }
    return count;
  }
  static bool Many(size_t silent, size_t present, const Promises& p) {
    return silent >= p.incident_machines &&
           static_cast<double>(silent) >=
               p.incident_share * static_cast<double>(present);
  }

  // Enough to be one incident: it must be said.
  void FellSilent(const Event& e, const Ledger& before) {
    const Promises& p = before.promises();
    const uint64_t group = before.machine(e.machine).group;
    if (group == 0) return;
    // This machine is not counted in yet, and some of those together belong to
    // what was before: one more than needed.
    const Count count = Of(group, e.at, p.incident_window - p.slack, before);
    if (Many(count.together, count.present, p)) due_[group] = e.at;
  }
  void Held(const Event& e, const Ledger& before) {
    const Promises& p = before.promises();
    const MachineFacts& m = before.machine(e.machine);
    if (e.group != m.group) {
      Fail(e, fmt::format("held for group {}, and is of {}", e.group, m.group));
      return;
    }
    if (!m.fell_silent.known()) Fail(e, "held, and more is known of it");
    const Count count = Of(m.group, e.at, p.incident_window + p.slack, before);
    if (count.held == 0 && !Many(count.together, count.present, p)) {
      Fail(e, fmt::format("held with {} of {} that fell silent together",
                          count.together, count.present));
    } else if (!Many(count.silent, count.present - count.came, p)) {
      Fail(e, fmt::format("held with {} of {} that are silent", count.silent,
                          count.present));
    }
    due_.erase(m.group);
    rows_due_.try_emplace(m.group, e.at);
  }
  // So few of it are still silent that nothing holds them: for good.
  void Look(uint64_t group, const Ledger& before) {
    if (!carried_.contains(group)) return;
    const Count count = Of(group, 0, 0, before);
    if (!Many(count.held, count.present, before.promises())) {
      carried_.erase(group);
    }
  }
  // Its incident goes on over a start, and so does the hold of all of it.
  void GivenUp(const Event& e, const Ledger& before) {
    const Promises& p = before.promises();
    const MachineFacts& m = before.machine(e.machine);
    if (e.machine >= carried_in_.size() || !carried_in_[e.machine] ||
        !carried_.contains(m.group) || m.left ||
        (m.heard.known() && m.heard.at > m.restored.at)) {
      return;
    }
    if (e.at >= m.restored.at + p.offline_after + p.hold_max - p.slack) return;
    Fail(e, fmt::format("offline {:.0f} s after the start, and its group is "
                        "held",
                        static_cast<double>(e.at - m.restored.at) / 1e9));
  }
  void Tick(const Event& e, const Ledger& before) {
    for (const uint64_t group : std::set(carried_)) Look(group, before);
    for (const auto& [group, at] : due_) {
      const Count count =
          Of(group, e.at, before.promises().incident_window, before);
      if (count.held == 0 &&
          Many(count.silent, count.present, before.promises())) {
        Fail(e, fmt::format("group {} fell silent, and no incident was opened",
                            group));
      }
    }
    due_.clear();
    const Nanos quiet =
        std::max({before.store_found_at(), before.excused_until()});
    if (before.store_lost_at() != kNever || e.at < quiet + 2 * kMinute) return;
    for (const auto& [group, at] : rows_due_) {
      if (e.at < at + 2 * kMinute) continue;
      Fail(e, fmt::format("no row says that group {} fell silent", group));
      rows_due_.clear();
      return;
    }
  }

  std::map<uint64_t, Nanos> due_;
  std::map<uint64_t, Nanos> rows_due_;
  // Groups with an incident of a former life that still holds its machines, and
  // those machines.
  std::set<uint64_t> carried_;
  std::vector<bool> carried_in_;
};

}  // namespace

std::vector<std::unique_ptr<Invariant>> IncidentInvariants() {
  std::vector<std::unique_ptr<Invariant>> all;
  all.push_back(std::make_unique<MassSilence>());
  return all;
}

}  // namespace muster::simulation
