// What a command writes is what a reader sees.

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "tests/simulation/invariants.h"

namespace muster::simulation {
namespace {

constexpr Nanos kLastByte = 12 * kMinute;

class ExactPrefix final : public Invariant {  // O1
 public:
  ExactPrefix() : Invariant("O1") {}
  bool Wants(What what) const override {
    return what == What::kOutputStored || what == What::kOutputRead;
  }
  void On(const Event& e, const Ledger& before) override {
    const uint64_t wrote = before.commands().of(e.number).wrote[e.epoch - 1];
    if (!e.flag) Fail(e, "bytes that the command did not write there");
    if (static_cast<uint64_t>(e.length) > wrote) {
      Fail(e, fmt::format("{} bytes of {}", e.length, wrote));
    }
  }
};

class Resume final : public Invariant {  // O2
 public:
  Resume() : Invariant("O2") {}
  bool Wants(What what) const override { return what == What::kOutputRead; }
  void On(const Event& e, const Ledger&) override {
    uint64_t& next = next_[{e.number, e.epoch}];
    if (e.group != next) {
      Fail(e, fmt::format("asked for byte {}, got byte {}", next, e.group));
    }
    next = static_cast<uint64_t>(e.length);
  }

 private:
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> next_;
};

class Completeness final : public Invariant {  // O3
 public:
  Completeness() : Invariant("O3") {}
  bool Wants(What what) const override {
    return what == What::kOutputComplete || what == What::kTick;
  }
  void On(const Event& e, const Ledger& before) override {
    if (e.what == What::kTick) return Tick(e, before);
    const CommandFacts& c = before.commands().of(e.number);
    if (!Told(before, c)) return;
    const std::array<uint64_t, 2> said = {e.epoch,
                                          static_cast<uint64_t>(e.length)};
    for (size_t i = 0; i < 2; ++i) {
      if (said[i] != c.kept_bytes[i] || c.stored[i] < said[i]) {
        Fail(e, fmt::format("{} bytes are said, {} kept, {} stored", said[i],
                            c.kept_bytes[i], c.stored[i]));
      }
    }
  }

 private:
  // Its machine has one story to tell, and the gateway has heard it.
  static bool Told(const Ledger& before, const CommandFacts& c) {
    return c.kept != kNoState && !c.doubtful &&
           !before.machine(c.machine).copied &&
           before.machine(c.machine).judged();
  }

  void Tick(const Event& e, const Ledger& before) {
    const Nanos healed = before.healed_at();
    if (healed == kNever ||
        e.at < healed + before.promises().settle + kLastByte) {
      return;
    }
    for (const auto& [number, c] : before.commands().all()) {
      if (c.accepted_at == kNever || !Told(before, c) ||
          e.at < c.kept_at + kLastByte) {
        continue;
      }
      for (size_t i = 0; i < 2; ++i) {
        if (c.stored[i] >= c.kept_bytes[i]) continue;
        Event about = e;
        about.machine = c.machine;
        about.number = number;
        Fail(about, fmt::format("{} of {} bytes have come", c.stored[i],
                                c.kept_bytes[i]));
      }
    }
  }
};

class BoundedMemory final : public Invariant {  // O4
 public:
  BoundedMemory() : Invariant("O4") {}
  bool Wants(What what) const override { return what == What::kBuffered; }
  void On(const Event& e, const Ledger& before) override {
    if (static_cast<uint64_t>(e.length) > before.promises().output_waits_max) {
      Fail(e, fmt::format("{} bytes of output wait", e.length));
    }
  }
};

class Isolation final : public Invariant {  // O5
 public:
  Isolation() : Invariant("O5") {}
  bool Wants(What what) const override { return what == What::kHeldUp; }
  void On(const Event& e, const Ledger& before) override {
    if (2 * e.length >= before.promises().heartbeat_interval) {
      Fail(e, fmt::format("a heartbeat waits for {:.1f} s behind output",
                          Seconds(e.length)));
    }
  }
};

}  // namespace

std::vector<std::unique_ptr<Invariant>> OutputInvariants() {
  std::vector<std::unique_ptr<Invariant>> all;
  all.push_back(std::make_unique<ExactPrefix>());
  all.push_back(std::make_unique<Resume>());
  all.push_back(std::make_unique<Completeness>());
  all.push_back(std::make_unique<BoundedMemory>());
  all.push_back(std::make_unique<Isolation>());
  return all;
}

}  // namespace muster::simulation
