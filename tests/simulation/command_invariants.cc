// Commands run at most once, and what is said of them is true.

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "tests/simulation/invariants.h"

namespace muster::simulation {
namespace {

using gateway::CommandState;

// After a shim has ended what it was to end, or an agent that is there has
// found that a shim is lost; an agent's disk may be slow for a minute.
constexpr Nanos kForceSlack = 10 * kSecond;
constexpr Nanos kSettleSlack = 90 * kSecond;

// How long a word may take when nothing fails any more: the timeouts and leases
// of a command, and what retries cost.
constexpr Nanos kLastWord = 12 * kMinute;

int Number(CommandState state) { return static_cast<int>(state); }

// What one disk says may not be all that happened there.
bool Copied(const Ledger& before, uint32_t machine) {
  return machine < before.machines().size() && before.machine(machine).copied;
}

// Everything has had the time to come to its end, and its machine is there.
bool IsOver(const Ledger& before, const CommandFacts& c, Nanos since,
            Nanos now) {
  const Nanos healed = before.healed_at();
  if (healed == kNever || since == kNever || c.doubtful ||
      Copied(before, c.machine) || !before.machine(c.machine).judged()) {
    return false;
  }
  return now >= std::max(healed + before.promises().settle, since) + kLastWord;
}

class AtMostOnce final : public Invariant {  // C1
 public:
  AtMostOnce() : Invariant("C1") {}
  bool Wants(What what) const override { return what == What::kStarted; }
  void On(const Event& e, const Ledger& before) override {
    const bool first = before.commands().of(e.number).starts == 0;
    if (!first && !Copied(before, e.machine)) {
      Fail(e, "a command was started twice");
    }
  }
};

class NoLoss final : public Invariant {  // C2
 public:
  NoLoss() : Invariant("C2") {}
  bool Wants(What what) const override { return what == What::kTick; }
  void On(const Event& e, const Ledger& before) override {
    if (before.healed_at() == kNever) return;
    for (const auto& [number, c] : before.commands().all()) {
      Event about = e;
      about.machine = c.machine;
      about.number = number;
      if (c.ended == kNoState && IsOver(before, c, c.accepted_at, e.at)) {
        Fail(about, "an accepted command has not ended");
      }
      if (c.kept != kNoState && c.accepted_at != kNever && c.kept != c.ended &&
          IsOver(before, c, c.kept_at, e.at)) {
        Fail(about, fmt::format("ended with {} on its machine, {} is told",
                                Number(c.kept), Number(c.ended)));
      }
    }
  }
};

class TerminalOnce final : public Invariant {  // C3
 public:
  TerminalOnce() : Invariant("C3") {}
  bool Wants(What what) const override { return what == What::kCommandEnded; }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (c.ended == kNoState || c.ended == CommandState::kOutcomeUnknown ||
        c.doubtful) {
      return;
    }
    Fail(e, fmt::format("had ended with {}", Number(c.ended)));
  }
};

class NoInvention final : public Invariant {  // C4
 public:
  NoInvention() : Invariant("C4") {}
  bool Wants(What what) const override { return what == What::kCommandEnded; }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (e.state != CommandState::kSucceeded &&
        e.state != CommandState::kFailed) {
      return;
    }
    if (e.state != c.kept || e.code != c.kept_code) {
      Fail(e, fmt::format("its machine has {} and code {} on its disk",
                          Number(c.kept), c.kept_code));
    } else if (c.waited != e.code) {
      Fail(e, "nobody has seen it end so");
    }
  }
};

class NotStarted final : public Invariant {  // C5
 public:
  NotStarted() : Invariant("C5") {}
  bool Wants(What what) const override {
    return what == What::kCommandEnded || what == What::kStarted;
  }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (c.doubtful || Copied(before, e.machine)) return;
    if (e.what == What::kCommandEnded) {
      if (SaysSo(e.state, e.flag) && c.starts > 0) {
        Fail(e, "it is said not to have started, and has");
      }
    } else if (SaysSo(c.ended, c.ended_started)) {
      Fail(e, "it was said not to have started");
    }
  }

 private:
  static bool SaysSo(CommandState state, bool started) {
    return state == CommandState::kExpired ||
           state == CommandState::kRejected ||
           (state == CommandState::kCancelled && !started);
  }
};

class OneKeyOneCommand final : public Invariant {  // C6
 public:
  OneKeyOneCommand() : Invariant("C6") {}
  bool Wants(What what) const override {
    return what == What::kCommandAsked || what == What::kCommandAccepted ||
           what == What::kCommandRefused || what == What::kStarted ||
           what == What::kRolledBack;
  }
  void On(const Event& e, const Ledger&) override {
    switch (e.what) {
      case What::kCommandAsked:
        asked_[e.number] = {e.epoch, e.group};
        return;
      case What::kCommandRefused:
        asked_[e.number].refused = !e.flag;
        return;
      case What::kRolledBack:
        keys_.clear();  // With the commands that they named, perhaps.
        return;
      case What::kStarted: {
        const auto it = asked_.find(e.number);
        if (it != asked_.end() && it->second.refused) {
          Fail(e, "what was refused runs");
        }
        return;
      }
      default:
        Accepted(e);
    }
  }

 private:
  struct Asked {
    uint64_t key = 0;
    uint64_t body = 0;
    bool refused = false;
  };
  struct Named {
    uint64_t command = 0;
    uint64_t body = 0;
  };

  void Accepted(const Event& e) {
    const Asked& asked = asked_[e.number];
    if (asked.key == 0) return;
    const Named now{e.epoch == 0 ? e.number : e.epoch, asked.body};
    const auto [it, first] = keys_.try_emplace(asked.key, now);
    if (first) return;
    if (it->second.body != now.body) {
      Fail(e, "one key, and another request was accepted");
    } else if (it->second.command != now.command) {
      Fail(e, fmt::format("one key names the commands {} and {}",
                          it->second.command, now.command));
    }
  }

  std::map<uint64_t, Asked> asked_;
  std::map<uint64_t, Named> keys_;
};

class OrderOfWriting final : public Invariant {  // C7
 public:
  OrderOfWriting() : Invariant("C7") {}
  bool Wants(What what) const override {
    return what == What::kSaid || what == What::kStarted ||
           what == What::kFolderGone;
  }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (Copied(before, e.machine)) return;
    if (e.what == What::kSaid) {
      Said(e, c, before.commands().node(e.group));
    } else if (e.what == What::kStarted) {
      if (!c.claimed || c.called_off)
        Fail(e, "started, and nobody had decided");
    } else if (c.kept != kNoState && c.ended == kNoState && !c.doubtful) {
      Fail(e, "its folder is gone before the gateway has its end");
    }
  }

 private:
  void Said(const Event& e, const CommandFacts& c, const NodeFacts& node) {
    // What was not taken, for a full disk, may be unknown to it.
    if (e.state == CommandState::kRejected) return;
    if (e.epoch > node.seen_high) {
      Fail(e, fmt::format("speaks of order {}, {} is seen durably", e.epoch,
                          node.seen_high));
    }
    // An order that comes a second time gets an answer without a folder.
    if (!gateway::IsTerminal(e.state) ||
        e.state == CommandState::kOutcomeUnknown) {
      return;
    }
    if (c.kept != e.state) {
      Fail(e, fmt::format("says so, and has {} on its disk", Number(c.kept)));
    }
  }
};

class NothingLeft final : public Invariant {  // C8
 public:
  NothingLeft() : Invariant("C8") {}
  bool Wants(What what) const override { return what == What::kCommandEnded; }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (e.state == CommandState::kCancelled && c.starts > 0 && !c.gone &&
        !Copied(before, e.machine)) {
      Fail(e, "cancelled, and its processes live");
    }
  }
};

class Timeout final : public Invariant {  // C9
 public:
  Timeout() : Invariant("C9") {}
  bool Wants(What what) const override {
    return what == What::kTick || what == What::kStarted ||
           what == What::kExitKept;
  }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (e.what == What::kStarted) {
      running_.insert(e.number);
    } else if (e.what == What::kTick) {
      std::erase_if(running_,
                    [&](uint64_t number) { return IsDone(e, number, before); });
    } else if (e.state == CommandState::kTimedOut &&
               !Copied(before, e.machine)) {
      if (!c.gone) Fail(e, "timed out, and its processes live");
      if (e.at < c.started_at + c.timeout) Fail(e, "timed out too early");
    }
  }

 private:
  // Nothing more is to be asked of it.
  bool IsDone(const Event& e, uint64_t number, const Ledger& before) {
    const CommandFacts& c = before.commands().of(number);
    if (!c.runs() || Copied(before, c.machine)) return true;
    const Nanos end = c.started_at + c.timeout + c.grace + kForceSlack;
    if (e.at < end || (c.shim_lost && !SomebodyCould(e, c, before))) {
      return false;
    }
    Event about = e;
    about.machine = c.machine;
    about.number = number;
    Fail(about, fmt::format("runs for {:.0f} s, {:.0f} s were allowed",
                            Seconds(e.at - c.started_at), Seconds(c.timeout)));
    return true;
  }

  // The agent was there long enough to find that the shim is lost.
  static bool SomebodyCould(const Event& e, const CommandFacts& c,
                            const Ledger& before) {
    const NodeFacts& node = before.commands().node(c.node);
    return node.runs && e.at > node.runs_since + kSettleSlack;
  }

  std::set<uint64_t> running_;
};

class FreshRights final : public Invariant {  // C10
 public:
  FreshRights() : Invariant("C10") {}
  bool Wants(What what) const override {
    return what == What::kIssued || what == What::kWithdrawn ||
           what == What::kOrdered;
  }
  void On(const Event& e, const Ledger&) override {
    if (e.what == What::kIssued) {
      issuers_[e.number] = e.group;
    } else if (e.what == What::kWithdrawn) {
      withdrawn_.insert(e.group);
    } else if (withdrawn_.contains(issuers_[e.number])) {
      Fail(e, "its order is sent, and whoever asked for it may not any more");
    }
  }

 private:
  std::map<uint64_t, uint64_t> issuers_;
  std::set<uint64_t> withdrawn_;
};

class RightMachine final : public Invariant {  // C11
 public:
  RightMachine() : Invariant("C11") {}
  bool Wants(What what) const override { return what == What::kStarted; }
  void On(const Event& e, const Ledger& before) override {
    const CommandFacts& c = before.commands().of(e.number);
    if (e.machine != c.machine) {
      Fail(e, fmt::format("it was meant for m{}", c.machine));
    }
  }
};

template <typename... All>
std::vector<std::unique_ptr<Invariant>> Make() {
  std::vector<std::unique_ptr<Invariant>> all;
  (all.push_back(std::make_unique<All>()), ...);
  return all;
}

}  // namespace

std::vector<std::unique_ptr<Invariant>> CommandInvariants() {
  return Make<AtMostOnce, NoLoss, TerminalOnce, NoInvention, NotStarted,
              OneKeyOneCommand, OrderOfWriting, NothingLeft, Timeout,
              FreshRights, RightMachine>();
}

}  // namespace muster::simulation
