// What was stored, told or accepted is kept.

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "tests/simulation/invariants.h"

namespace muster::simulation {
namespace {

using gateway::Status;

class History final : public Invariant {  // P8
 public:
  History() : Invariant("P8") {}
  bool Wants(What what) const override {
    return what == What::kDecided || what == What::kStored;
  }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    const bool stored = e.what == What::kStored;
    const uint64_t last = stored ? m.stored_sequence : m.sequence;
    const Status status = stored ? m.stored_status : m.status;
    if (e.number != last + 1 || e.from != status || e.from == e.to) {
      Fail(e, fmt::format("transition {} does not follow transition {}",
                          e.number, last));
    }
  }
};

class Durability final : public Invariant {  // D1
 public:
  Durability() : Invariant("D1") {}
  bool Wants(What what) const override {
    return what == What::kRestored || what == What::kOpened ||
           what == What::kTick;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.what == What::kOpened) {
      opened_ = true;
      restored_ = 0;
      members_ = perhaps_ = 0;
      for (const MachineFacts& m : before.machines()) {
        members_ += m.judged();
        perhaps_ += m.born.known() && !m.judged() && !m.deleted;
      }
    } else if (e.what == What::kRestored) {
      const MachineFacts& m = before.machine(e.machine);
      ++restored_;
      if (m.deleted) Fail(e, "deleted, and here again");
      if (before.rolled_back()) return;
      if (e.number != m.stored_sequence || e.to != m.stored_status) {
        Fail(e, fmt::format("remembers transition {}, {} was stored", e.number,
                            m.stored_sequence));
      }
    } else if (std::exchange(opened_, false)) {
      if (restored_ < members_ || restored_ > members_ + perhaps_) {
        Fail(e, fmt::format("{} of {} machines were remembered", restored_,
                            members_));
      }
    }
  }

 private:
  bool opened_ = false;
  size_t restored_ = 0;
  size_t members_ = 0;
  size_t perhaps_ = 0;  // Their deletion may not be durable.
};

class BrokenDisk final : public Invariant {  // D1
 public:
  BrokenDisk() : Invariant("D1") {}
  bool Wants(What what) const override {
    return what == What::kStoreBroken || what == What::kCrashed ||
           what == What::kStored || what == What::kCommandAccepted ||
           what == What::kTick;
  }
  void On(const Event& e, const Ledger&) override {
    if (e.what == What::kStoreBroken) {
      broken_ = true;
    } else if (e.what == What::kCrashed) {
      broken_ = false;
    } else if (broken_) {
      Fail(e, "went on after a write of which nobody knows how it ended");
    }
  }

 private:
  bool broken_ = false;
};

class FullDisk final : public Invariant {  // D2
 public:
  FullDisk() : Invariant("D2") {}
  bool Wants(What what) const override {
    return what == What::kCommandAsked || what == What::kCommandAccepted ||
           what == What::kCommandRefused || what == What::kCommandEnded ||
           what == What::kCrashed || what == What::kRolledBack ||
           what == What::kTick;
  }
  void On(const Event& e, const Ledger& before) override {
    switch (e.what) {
      case What::kRolledBack:
        open_.clear();  // Forgotten on purpose, some of them.
        return;
      case What::kCommandAsked:
        asked_[e.number] = e;
        return;
      case What::kCommandAccepted:
        if (before.store_lost_at() < asked_[e.number].at) {
          Fail(e, "accepted, with nothing to write it to");
        }
        asked_.erase(e.number);
        if (e.epoch == 0) open_[e.number] = e;
        return;
      case What::kCommandRefused:
        asked_.erase(e.number);
        return;
      case What::kCommandEnded:
        open_.erase(e.number);
        return;
      case What::kCrashed:
        asked_.clear();  // Nobody is left who could answer.
        return;
      default:
        Tick(e, before);
    }
  }

 private:
  void Tick(const Event& e, const Ledger& before) {
    // Transitions are in the store soon after it takes them again.
    if (!before.open() || before.store_lost_at() != kNever) return;
    const Nanos quiet =
        std::max({before.store_found_at(), before.excused_until()});
    const Nanos catch_up = before.promises().catch_up;
    if (e.at < quiet + catch_up) return;
    for (uint32_t i = 0; i < before.machines().size(); ++i) {
      const MachineFacts& m = before.machine(i);
      if (!m.judged() || m.sequence == m.stored_sequence ||
          e.at < m.since.at + catch_up) {
        continue;
      }
      Event about = e;
      about.machine = i;
      Fail(about, fmt::format("transition {} is decided, {} stored", m.sequence,
                              m.stored_sequence));
    }
    if (!asked_.empty() && e.at > asked_.begin()->second.at + catch_up) {
      Fail(asked_.begin()->second, "a submission without an answer");
      asked_.erase(asked_.begin());
    }
    const Nanos healed = before.healed_at();
    if (healed == kNever || e.at < healed + before.promises().settle) return;
    for (const auto& [number, event] : open_) {
      if (e.at > event.at + 10 * kMinute) {
        Fail(event, "an accepted command has not ended");
      }
    }
    open_.clear();
  }

  std::map<uint64_t, Event> asked_;
  std::map<uint64_t, Event> open_;
};

}  // namespace

std::vector<std::unique_ptr<Invariant>> DurabilityInvariants() {
  std::vector<std::unique_ptr<Invariant>> all;
  all.push_back(std::make_unique<History>());
  all.push_back(std::make_unique<Durability>());
  all.push_back(std::make_unique<BrokenDisk>());
  all.push_back(std::make_unique<FullDisk>());
  return all;
}

}  // namespace muster::simulation
