// One machine has one link, and many that dial are not a storm.

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "tests/simulation/invariants.h"

namespace muster::simulation {
namespace {

using gateway::Cause;
using gateway::Status;

class SingleOwner final : public Invariant {  // P9
 public:
  SingleOwner() : Invariant("P9") {}
  bool Wants(What what) const override {
    return what == What::kAccepted || what == What::kStored ||
           what == What::kGreeted || what == What::kOpened ||
           what == What::kRolledBack;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.machine >= links_.size()) links_.resize(e.machine + 1);
    Link& link = links_[e.machine];
    switch (e.what) {
      case What::kRolledBack:
        put_back_ = true;
        return;
      case What::kOpened:
        // Epochs may have gone beyond the run, and the disk have been full: who
        // holds such a link knows of it, and nobody else does.
        if (put_back_) {
          for (Link& forgotten : links_) forgotten.given = 0;
        }
        return;
      case What::kGreeted:
        link.claimed = e.epoch;
        return;
      case What::kStored:
        if (e.epoch < before.machine(e.machine).stored_epoch) {
          Fail(e, fmt::format("epoch {:x} written over {:x}", e.epoch,
                              before.machine(e.machine).stored_epoch));
        }
        return;
      default:
        Given(e, before.machine(e.machine).stored_epoch, link);
    }
  }

 private:
  struct Link {
    uint64_t given = 0;    // The newest.
    uint64_t claimed = 0;  // By the newest hello.
  };

  void Given(const Event& e, uint64_t stored, Link& link) {
    for (const auto& [known, by] : {std::pair(link.given, "was given"),
                                    std::pair(link.claimed, "the agent knows"),
                                    std::pair(stored, "is stored")}) {
      if (e.epoch <= known) {
        Fail(e, fmt::format("epoch {:x}, and {} {:x}", e.epoch, by, known));
      }
    }
    link.given = e.epoch;
  }

  bool put_back_ = false;
  std::vector<Link> links_;
};

class LinkMonotonicity final : public Invariant {  // P10
 public:
  LinkMonotonicity() : Invariant("P10") {}
  bool Wants(What what) const override {
    return what == What::kHandled || what == What::kOldLinkCounted;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.what == What::kOldLinkCounted) {
      Fail(e, "a message of an older link was answered, or changed the record");
    } else if (e.flag && e.epoch != before.machine(e.machine).epoch) {
      Fail(e, "a heartbeat of another link than the newest was acknowledged");
    }
  }
};

class ViewAgreement final : public Invariant {  // P11
 public:
  ViewAgreement() : Invariant("P11") {}
  bool Wants(What what) const override { return what == What::kMiscounted; }
  void On(const Event& e, const Ledger&) override {
    Fail(e, e.flag ? "who follows the events knows something else"
                   : "the counts differ from the machines");
  }
};

class DuplicateIdentity final : public Invariant {  // P13
 public:
  DuplicateIdentity() : Invariant("P13") {}
  bool Wants(What what) const override {
    return what == What::kHandled || what == What::kDecided;
  }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    if (e.what == What::kHandled) {
      const bool newest = e.flag && e.epoch == m.epoch;
      if (newest && e.to == Status::kOnline && before.AreTwo(m, e.at)) {
        Fail(e, "two live instances, and it is shown as healthy");
      }
    } else if (Contested(e)) {
      if (!before.MayBeTwo(m, e.at)) Fail(e, "contested, and only one lives");
      if (!e.flag) Fail(e, "does not name both");
    }
  }
};

class Convergence final : public Invariant {  // R1
 public:
  Convergence() : Invariant("R1") {}
  bool Wants(What what) const override {
    return what == What::kTick || what == What::kDialled ||
           what == What::kHandled;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.what == What::kTick) {
      Settled(e, before);
      return;
    }
    if (e.machine >= dials_.size()) dials_.resize(e.machine + 1);
    std::deque<Nanos>& dials = dials_[e.machine];
    if (e.what == What::kHandled) {
      if (!dials.empty()) dials.clear();
      return;
    }
    // Full jitter up to 30 s: so many in so short a time are no accident.
    dials.push_back(e.at);
    if (dials.size() <= kDials) return;
    dials.pop_front();
    if (dials.back() - dials.front() < kDialsTime) {
      Fail(e, fmt::format("{} dials in {:.3f} s, none of them answered", kDials,
                          Seconds(dials.back() - dials.front())));
    }
  }

 private:
  static constexpr size_t kDials = 20;
  static constexpr Nanos kDialsTime = 20 * kSecond;

  void Settled(const Event& e, const Ledger& before) {
    if (before.healed_at() == kNever || told_ ||
        e.at < before.healed_at() + before.promises().settle) {
      return;
    }
    told_ = true;
    for (uint32_t i = 0; i < before.machines().size(); ++i) {
      const MachineFacts& m = before.machine(i);
      if (!m.judged() || !m.healthy || m.status == Status::kOnline) continue;
      Event about = e;
      about.machine = i;
      Fail(about, "healthy, healed, and not online");
    }
  }

  bool told_ = false;
  std::vector<std::deque<Nanos>> dials_;  // Since the last answer.
};

class Storm final : public Invariant {  // R2
 public:
  Storm() : Invariant("R2") {}
  bool Wants(What what) const override {
    return what == What::kAccepted || what == What::kDecided ||
           what == What::kDialled || what == What::kOpened;
  }
  void On(const Event& e, const Ledger& before) override {
    const Promises& p = before.promises();
    if (e.what == What::kOpened) {
      places_ = p.links_burst;
      refilled_ = e.at;
    } else if (e.what == What::kAccepted) {
      places_ = std::min(p.links_burst, places_ + Seconds(e.at - refilled_) *
                                                      p.links_per_second);
      refilled_ = e.at;
      places_ -= 1;
      if (places_ < -0.01) Fail(e, "more links were accepted than the bound");
    } else if (e.what == What::kDialled) {
      if (!e.flag && e.length > p.slack) {
        Fail(e, fmt::format("dials {:.3f} s before it was told to",
                            Seconds(e.length)));
      }
    } else if (Worsens(e) && !Contested(e)) {
      const MachineFacts& m = before.machine(e.machine);
      // It may have been heard on an older link, and lost that one since.
      const bool lost_since = m.broke.known() && m.broke.at > m.postponed_until;
      if (!m.left && m.postponed_until > 0 && !lost_since &&
          e.at < m.postponed_until + p.stale_after - p.slack) {
        Fail(e, "worse because it was told to come back later");
      }
    }
  }

 private:
  double places_ = 0;
  Nanos refilled_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Invariant>> LinkInvariants() {
  std::vector<std::unique_ptr<Invariant>> all;
  all.push_back(std::make_unique<SingleOwner>());
  all.push_back(std::make_unique<LinkMonotonicity>());
  all.push_back(std::make_unique<ViewAgreement>());
  all.push_back(std::make_unique<DuplicateIdentity>());
  all.push_back(std::make_unique<Convergence>());
  all.push_back(std::make_unique<Storm>());
  return all;
}

}  // namespace muster::simulation
