#include "tests/simulation/invariants.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "fmt/format.h"

namespace muster::simulation {
namespace {

using gateway::Cause;
using gateway::Confidence;
using gateway::Status;

bool Worsens(const Event& e) { return e.to > e.from; }

// Not for silence, nor for a lost link.
bool Contested(const Event& e) {
  return e.to == Status::kStale && e.verdict &&
         e.cause == Cause::kDuplicateIdentity;
}

double Seconds(Nanos n) { return static_cast<double>(n) / 1e9; }

// The link was absent for longer than the grace while links were accepted.
bool Absent(const MachineFacts& m, const Ledger& ledger, Nanos now) {
  // Nobody is back sooner than newcomers are let in.
  if (!m.broke.known() || now < ledger.deaf_until()) return false;
  Nanos absent = ledger.Listened(m.broke, now);
  if (m.waiting > 0) {
    const Nanos waited = ledger.Listened(m.waits, now);
    if (waited > ledger.promises().unnoticed_wait) absent -= waited;
  }
  return absent >= ledger.promises().reconnect_grace - kMillisecond;
}

// --- Presence --------------------------------------------------------------

class NoFalseOffline final : public Invariant {  // P1
 public:
  NoFalseOffline() : Invariant("P1") {}
  bool Wants(What what) const override { return what == What::kDecided; }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    if (!Worsens(e) || m.left || Contested(e)) return;
    const Nanos slack = before.promises().slack;
    if (e.to == Status::kStale) {
      const Nanos since = m.fresh.known() ? m.fresh.at : m.born.at;
      const Nanos silent = std::max(e.at - since, before.Unechoed(m, e.at));
      if (silent >= before.StaleLease(m) - slack) return;
      if (Absent(m, before, e.at)) return;
      Fail(e, fmt::format("stale, though an echoed heartbeat arrived {:.3f} s "
                          "ago",
                          Seconds(silent)));
    } else {
      const Nanos since = m.heard.known() ? m.heard.at : m.born.at;
      const Nanos silent = std::max(e.at - since, before.Unheard(m, e.at));
      if (silent >= before.promises().offline_after - slack) return;
      Fail(e, fmt::format("offline, though something arrived {:.3f} s ago",
                          Seconds(silent)));
    }
  }
};

class ToldInterval final : public Invariant {  // P2
 public:
  ToldInterval() : Invariant("P2") {}
  bool Wants(What what) const override {
    return what == What::kAccepted || what == What::kHandled ||
           what == What::kOpened;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.length > before.promises().interval_max) {
      Fail(e,
           fmt::format("told to speak every {:.0f} s only", Seconds(e.length)));
    }
  }
};

class Completeness final : public Invariant {  // P2
 public:
  Completeness() : Invariant("P2") {}
  bool Wants(What what) const override { return what == What::kTick; }
  void On(const Event& e, const Ledger& before) override {
    if (!before.open()) return;
    for (uint32_t i = 0; i < before.machines().size(); ++i) {
      const MachineFacts& m = before.machine(i);
      if (!m.judged()) continue;
      const bool linked = before.promises().tells_ended_links && m.epoch != 0 &&
                          !m.broke.known();
      if (linked && e.at > SilentAt(m, before) + 2 * before.promises().slack) {
        Event about = e;
        about.machine = i;
        Fail(about, "its link is kept, though nothing comes from it");
        continue;
      }
      if (m.status == Status::kOffline) continue;
      const Nanos due = OfflineDue(m, before) + 2 * before.promises().slack;
      if (e.at > due) {
        Event about = e;
        about.machine = i;
        Fail(about, fmt::format("not offline {:.3f} s after it should be",
                                Seconds(e.at - due)));
        continue;
      }
      if (m.status != Status::kOnline || m.left) continue;
      const Nanos stale_due = StaleDue(m, before) + 2 * before.promises().slack;
      if (e.at > stale_due) {
        Event about = e;
        about.machine = i;
        Fail(about, fmt::format("online {:.3f} s after it should be stale",
                                Seconds(e.at - stale_due)));
      }
    }
  }

 private:
  static Nanos OfflineDue(const MachineFacts& m, const Ledger& ledger) {
    const Promises& p = ledger.promises();
    if (m.left && m.promise_end > 0) {
      Nanos end =
          std::max({m.promise_end, ledger.excused_until(), Deaf(m, ledger)}) +
          p.stale_after + p.blind_restart;
      // A stored promise is read by the wall clock, within bounds.
      if (ledger.opened_at() > m.left_at.at) {
        end = std::max(end, ledger.opened_at() + p.promise_max);
      }
      return end + p.slack;
    }
    return SilentAt(m, ledger) + Hold(m, ledger);
  }
  static Nanos SilentAt(const MachineFacts& m, const Ledger& ledger) {
    const Nanos heard = m.heard.known() ? m.heard.at : m.born.at;
    return std::max({heard, ledger.excused_until(), Deaf(m, ledger)}) +
           ledger.OfflineLease(m);
  }
  static Nanos Hold(const MachineFacts& m, const Ledger& ledger) {
    return m.held.known() ? ledger.promises().hold_max : 0;
  }
  // Until when it could not get a link.
  static Nanos Deaf(const MachineFacts& m, const Ledger& ledger) {
    const bool linkless = m.broke.known() || m.epoch == 0;
    return std::max(linkless ? ledger.deaf_until() : m.postponed_until,
                    m.excused_until);
  }
  static Nanos StaleDue(const MachineFacts& m, const Ledger& ledger) {
    const Promises& p = ledger.promises();
    const Nanos from = std::max({m.fresh.known() ? m.fresh.at : m.born.at,
                                 ledger.excused_until(), Deaf(m, ledger)});
    const Nanos lease = from + std::max(p.stale_after, m.told * 5 / 2);
    const bool plain = m.broke.known() && !m.by_gateway &&
                       m.broke.at > ledger.excused_until() &&
                       m.broke.at > ledger.deaf_until();
    return plain ? std::min(lease, m.broke.at + p.reconnect_grace) : lease;
  }
};

class BoundedHold final : public Invariant {  // P3
 public:
  BoundedHold() : Invariant("P3") {}
  bool Wants(What what) const override { return what == What::kTick; }
  void On(const Event& e, const Ledger& before) override {
    const Promises& p = before.promises();
    if (!before.open()) return;
    for (uint32_t i = 0; i < before.machines().size(); ++i) {
      const MachineFacts& m = before.machine(i);
      if (!m.judged() || m.status != Status::kStale || m.left) continue;
      const Moment& heard = m.heard.known() ? m.heard : m.born;
      // Every restart of a lease is one hold, and they are counted in time.
      const Nanos listened = before.ListenedMin(heard, e.at);
      const Nanos bound = before.OfflineLease(m) + p.hold_max + 2 * p.slack;
      if (listened <= bound ||
          before.ListenedMin(before.deaf_end(), e.at) <= bound ||
          before.ListenedMin(before.perhaps_restarted(), e.at) <= bound) {
        continue;
      }
      Event about = e;
      about.machine = i;
      Fail(about, fmt::format("stale, and not heard in {:.3f} s of listening",
                              Seconds(listened)));
    }
  }
};

class DetectorBlamesItself final : public Invariant {  // P4
 public:
  DetectorBlamesItself() : Invariant("P4") {}
  bool Wants(What what) const override { return what == What::kDecided; }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    if (!Worsens(e) || m.left || Contested(e)) return;
    const Nanos restarted = before.restarted_at();
    const bool lost_since =
        m.broke.known() && m.broke.at > restarted && Absent(m, before, e.at);
    if (e.to == Status::kStale && lost_since) return;
    if (e.at < restarted + before.promises().stale_after - kMillisecond) {
      Fail(e, fmt::format("worse {:.3f} s after the gateway could hear again",
                          Seconds(e.at - restarted)));
      return;
    }
    const Nanos slack = before.promises().slack;
    if (e.to == Status::kStale) {
      if (Absent(m, before, e.at)) return;
      const Nanos listened = before.Unechoed(m, e.at);
      if (listened >= before.StaleLease(m) - slack) return;
      Fail(e,
           fmt::format("stale after {:.3f} s of listening", Seconds(listened)));
    } else {
      const Nanos listened = before.Unheard(m, e.at);
      if (listened >= before.promises().offline_after - slack) return;
      Fail(e, fmt::format("offline after {:.3f} s of listening",
                          Seconds(listened)));
    }
  }
};

class OneReason final : public Invariant {  // P6
 public:
  OneReason() : Invariant("P6") {}
  bool Wants(What what) const override { return what == What::kDecided; }
  void On(const Event& e, const Ledger&) override {
    if (e.to == Status::kOnline) {
      if (e.verdict) Fail(e, "online, with a reason not to be");
    } else if (!e.verdict || !e.flag) {
      Fail(e, "no reason, or no words for it");
    }
  }
};

class CauseSoundness final : public Invariant {  // P7
 public:
  CauseSoundness() : Invariant("P7") {}
  bool Wants(What what) const override { return what == What::kDecided; }
  void On(const Event& e, const Ledger& before) override {
    if (!e.verdict || !Worsens(e)) return;
    const MachineFacts& m = before.machine(e.machine);
    const Nanos slack = before.promises().slack;
    switch (e.cause) {
      case Cause::kUndetermined:
        if (e.confidence != Confidence::kUndetermined) {
          Fail(e, "silence proves nothing");
        }
        return;
      case Cause::kNeverConnected:
        if (m.epoch != 0) Fail(e, "never connected, though it has been");
        return;
      case Cause::kNetworkOneWay:
        // Time adds nothing to what is known; what was so then need not be now.
        if (e.to == Status::kOffline) return;
        if (e.confidence == Confidence::kProven) Fail(e, "proven by silence");
        if (before.ListenedMin(m.heard, e.at) >
            std::max(before.promises().stale_after, m.told * 5 / 2) + slack) {
          Fail(e, "one way, though nothing was heard");
        }
        return;
      case Cause::kNetworkGroup:
        if (!m.held.known() && m.restored_cause != e.cause)
          Fail(e, "a group, though none fell silent");
        return;
      case Cause::kDuplicateIdentity:
        return;  // P13 judges it.
      case Cause::kAgentStopped:
      case Cause::kAgentUpgrading:
      case Cause::kHostRebooted:
      case Cause::kHostShutdown:
        if (!m.left || m.left_cause != e.cause) {
          Fail(e, "a cause that no goodbye of this link has told");
        }
        return;
      default:
        Fail(e, "a cause that nothing in this history supports");
    }
  }
};

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

class SingleOwner final : public Invariant {  // P9
 public:
  SingleOwner() : Invariant("P9") {}
  bool Wants(What what) const override {
    return what == What::kAccepted || what == What::kStored ||
           what == What::kGreeted;
  }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    if (e.machine >= claimed_.size()) claimed_.resize(e.machine + 1);
    if (e.what == What::kGreeted) claimed_[e.machine] = e.epoch;
    if (e.what == What::kAccepted && e.epoch <= claimed_[e.machine]) {
      Fail(e, fmt::format("epoch {:x}, and the agent knows {:x}", e.epoch,
                          claimed_[e.machine]));
    }
    if (e.what == What::kAccepted && e.epoch <= m.epoch) {
      Fail(e, fmt::format("epoch {} after {}", e.epoch, m.epoch));
    }
    if (e.what == What::kStored && e.epoch < m.stored_epoch) {
      Fail(e, fmt::format("epoch {} written over {}", e.epoch, m.stored_epoch));
    }
  }

 private:
  std::vector<uint64_t> claimed_;  // By the newest hello.
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

class RestartNeutrality final : public Invariant {  // P12
 public:
  RestartNeutrality() : Invariant("P12") {}
  bool Wants(What what) const override {
    return what == What::kDecided || what == What::kRestored;
  }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    if (e.what == What::kRestored) {
      if (e.to == Status::kOffline && m.stored_status != Status::kOffline &&
          !before.rolled_back()) {
        Fail(e, "the start made it offline");
      }
    } else if (e.to != Status::kOnline && !before.open() && !m.left) {
      Fail(e, "judged by a gateway that is ending");
    } else if (e.to == Status::kOffline && !m.left &&
               e.at < before.opened_at() + before.promises().offline_after -
                          before.promises().slack) {
      Fail(e, fmt::format("offline {:.3f} s after the start",
                          Seconds(e.at - before.opened_at())));
    }
  }
};

class MassSilence final : public Invariant {  // P3
 public:
  MassSilence() : Invariant("P3") {}
  bool Wants(What what) const override {
    return what == What::kDecided || what == What::kHeld ||
           what == What::kTick || what == What::kCrashed ||
           what == What::kIncident;
  }
  void On(const Event& e, const Ledger& before) override {
    switch (e.what) {
      case What::kDecided:
        if (e.to == Status::kStale) FellSilent(e, before);
        return;
      case What::kHeld:
        Held(e, before);
        return;
      case What::kIncident:
        rows_due_.erase(e.group);
        return;
      case What::kCrashed:
        due_.clear();
        rows_due_.clear();
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
  void Tick(const Event& e, const Ledger& before) {
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

class DetectorLiveness final : public Invariant {  // P14
 public:
  DetectorLiveness() : Invariant("P14") {}
  bool Wants(What what) const override {
    return what == What::kHandled || what == What::kDecided;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.what == What::kDecided) {
      const MachineFacts& m = before.machine(e.machine);
      if (e.to == Status::kOnline &&
          (!m.fresh.known() || e.at - m.fresh.at > before.promises().slack)) {
        Fail(e, "online without an echoed heartbeat");
      }
      return;
    }
    if (e.machine >= echoes_.size()) echoes_.resize(e.machine + 1);
    auto& [epoch, echoed] = echoes_[e.machine];
    if (epoch != e.epoch) {
      epoch = e.epoch;
      echoed = 0;
    }
    if (e.number <= echoed) return;
    echoed = e.number;
    if (e.to != Status::kOnline &&
        !before.MayBeTwo(before.machine(e.machine), e.at)) {
      Fail(e, "an echoed heartbeat did not bring it online");
    }
  }

 private:
  std::vector<std::pair<uint64_t, uint64_t>> echoes_;  // Epoch and echo.
};

// --- Storage and recovery --------------------------------------------------

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

class AtMostOnce final : public Invariant {  // C1
 public:
  AtMostOnce() : Invariant("C1") {}
  bool Wants(What what) const override { return what == What::kStarted; }
  void On(const Event& e, const Ledger& before) override {
    const bool first = started_.insert(e.number).second;
    if (!first && !before.machine(e.machine).copied) {
      Fail(e, "a command was started twice");
    }
  }

 private:
  std::set<uint64_t> started_;
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
        open_[e.number] = e;
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

Invariants::Invariants(Promises promises) : ledger_(promises) {
  all_.push_back(std::make_unique<NoFalseOffline>());
  all_.push_back(std::make_unique<Completeness>());
  all_.push_back(std::make_unique<ToldInterval>());
  all_.push_back(std::make_unique<BoundedHold>());
  all_.push_back(std::make_unique<DetectorBlamesItself>());
  all_.push_back(std::make_unique<OneReason>());
  all_.push_back(std::make_unique<CauseSoundness>());
  all_.push_back(std::make_unique<History>());
  all_.push_back(std::make_unique<SingleOwner>());
  all_.push_back(std::make_unique<LinkMonotonicity>());
  all_.push_back(std::make_unique<ViewAgreement>());
  all_.push_back(std::make_unique<RestartNeutrality>());
  all_.push_back(std::make_unique<MassSilence>());
  all_.push_back(std::make_unique<DuplicateIdentity>());
  all_.push_back(std::make_unique<DetectorLiveness>());
  all_.push_back(std::make_unique<Durability>());
  all_.push_back(std::make_unique<BrokenDisk>());
  all_.push_back(std::make_unique<AtMostOnce>());
  all_.push_back(std::make_unique<FullDisk>());
  all_.push_back(std::make_unique<Convergence>());
  all_.push_back(std::make_unique<Storm>());
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
