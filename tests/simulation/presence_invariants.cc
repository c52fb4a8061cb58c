// What is said of machines is true, and said in time.

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
using gateway::Confidence;
using gateway::Status;

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
                       m.broke.at > ledger.deaf_until() + p.dial_max;
    return plain ? std::min(lease, m.broke.at + p.reconnect_grace) : lease;
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
      // Every restart of a lease is one hold, and they are counted in time. The
      // end of a link may be one: its last words may be lost with it.
      const Nanos listened = before.ListenedMin(heard, e.at);
      const Nanos bound = before.OfflineLease(m) + p.hold_max + 2 * p.slack;
      if (listened <= bound ||
          (m.broke.known() && before.ListenedMin(m.broke, e.at) <= bound) ||
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

class VouchedFor final : public Invariant {  // P3
 public:
  VouchedFor() : Invariant("P3") {}
  bool Wants(What what) const override { return what == What::kVouched; }
  void On(const Event& e, const Ledger& before) override {
    const MachineFacts& m = before.machine(e.machine);
    const Nanos heard = std::max(m.heard.known() ? m.heard.at : m.born.at,
                                 m.linked.known() ? m.linked.at : 0);
    const Promises& p = before.promises();
    const Nanos lease = std::max(p.stale_after, m.told * 5 / 2);
    if (e.at - heard <= lease + p.blind_gap + p.slack) return;
    Fail(e, fmt::format("confirmed, and not heard for {:.3f} s",
                        Seconds(e.at - heard)));
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

class BlindRows final : public Invariant {  // P4
 public:
  BlindRows() : Invariant("P4") {}
  bool Wants(What what) const override {
    return what == What::kStalled || what == What::kBlind;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.what == What::kStalled) {
      stalls_.emplace_back(e.at - e.length, e.at);
      if (stalls_.size() > kKept) stalls_.pop_front();
      return;
    }
    Nanos stalled = 0;
    for (const auto& [from, to] : stalls_) {
      stalled += std::max<Nanos>(0, to - std::max(from, e.at - e.length));
    }
    // It looks at itself a few times in each blind_gap.
    if (stalled >= e.length - before.promises().blind_gap) return;
    Fail(e, fmt::format("a row of {:.3f} s, and it stood still for {:.3f} s",
                        Seconds(e.length), Seconds(stalled)));
  }

 private:
  static constexpr size_t kKept = 100;
  std::deque<std::pair<Nanos, Nanos>> stalls_;
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
        // A life of which nothing could be stored is forgotten by the next.
        if (m.epoch != 0 && (m.stored_sequence > 0 || !m.restored.known() ||
                             m.linked.at > m.restored.at)) {
          Fail(e, "never connected, though it has been");
        }
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

}  // namespace

std::vector<std::unique_ptr<Invariant>> PresenceInvariants() {
  std::vector<std::unique_ptr<Invariant>> all;
  all.push_back(std::make_unique<NoFalseOffline>());
  all.push_back(std::make_unique<Completeness>());
  all.push_back(std::make_unique<ToldInterval>());
  all.push_back(std::make_unique<BoundedHold>());
  all.push_back(std::make_unique<VouchedFor>());
  all.push_back(std::make_unique<DetectorBlamesItself>());
  all.push_back(std::make_unique<BlindRows>());
  all.push_back(std::make_unique<OneReason>());
  all.push_back(std::make_unique<CauseSoundness>());
  all.push_back(std::make_unique<RestartNeutrality>());
  all.push_back(std::make_unique<DetectorLiveness>());
  return all;
}

}  // namespace muster::simulation
