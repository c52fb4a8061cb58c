#include "gateway/admin/heartbeat_taps.h"

#include <algorithm>
#include <deque>
#include <list>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"

namespace muster::gateway {

// Numbers the heartbeats it keeps: 1 after the other within one tap, and larger
// than those of any earlier tap, whatever gateway it was in.
class HeartbeatTaps::Tap final : public HeartbeatTap {
 public:
  struct Waiting {
    uint64_t after = 0;
    Done done;
    EventLoop::TimerId timer{};
  };

  Tap(HeartbeatTaps& taps, Machine& machine)
      : taps_(taps),
        machine_(machine),
        first_(static_cast<uint64_t>(
            absl::ToUnixMicros(taps.loop_.clock().Wall()))),
        kept_from_(first_) {
    machine_.tap = this;
  }
  ~Tap() override {
    machine_.tap = nullptr;
    taps_.loop_.Cancel(close_timer);
    for (const Waiting& waiting : waiting_) taps_.loop_.Cancel(waiting.timer);
  }

  void OnHeartbeat(const HeartbeatSample& heartbeat) override {
    kept_.push_back(heartbeat);
    if (kept_.size() > taps_.options_.heartbeats_max) {
      kept_.pop_front();
      ++kept_from_;
    }
    for (Waiting& waiting : std::exchange(waiting_, {})) {
      taps_.loop_.Cancel(waiting.timer);
      waiting.done(Since(waiting.after));
    }
    taps_.CloseLater(*this);
  }

  // The number of the newest.
  uint64_t last() const { return kept_from_ + kept_.size() - 1; }
  // Where a reader stands that says `after`. What this tap never said is
  // another tap's number: all that is kept is new to it.
  uint64_t PlaceOf(std::optional<uint64_t> after) const {
    if (!after) return last();
    return *after < first_ - 1 || *after > last() ? kept_from_ - 1 : *after;
  }
  Answer Since(uint64_t after) const {
    Answer answer;
    const uint64_t from = std::max(after + 1, kept_from_);
    answer.heartbeats.assign(
        kept_.begin() + static_cast<ptrdiff_t>(from - kept_from_), kept_.end());
    answer.next = last();
    answer.missed = from - (after + 1);
    return answer;
  }

  size_t waiting() const { return waiting_.size(); }
  void Wait(uint64_t after, absl::Duration wait, Done done) {
    waiting_.push_back({after, std::move(done), {}});
    const auto mine = std::prev(waiting_.end());
    mine->timer =
        taps_.loop_.PostAt(taps_.loop_.clock().Now() + wait, [this, mine] {
          Waiting over = std::move(*mine);
          waiting_.erase(mine);
          over.done(Since(over.after));
          taps_.CloseLater(*this);
        });
  }

  const AgentId& agent() const { return machine_.record.id; }

  EventLoop::TimerId close_timer{};

 private:
  HeartbeatTaps& taps_;
  Machine& machine_;
  const uint64_t first_;
  uint64_t kept_from_;
  std::deque<HeartbeatSample> kept_;
  std::list<Waiting> waiting_;
};

HeartbeatTaps::HeartbeatTaps(EventLoop& loop, Options options)
    : loop_(loop), options_(options) {}

HeartbeatTaps::~HeartbeatTaps() = default;

void HeartbeatTaps::Watch(Machine& machine, std::optional<uint64_t> after,
                          absl::Duration wait, Done done) {
  absl::StatusOr<Tap*> tap = Open(machine);
  if (!tap.ok()) {
    done(tap.status());
    return;
  }
  const uint64_t place = (*tap)->PlaceOf(after);
  if (place < (*tap)->last() || wait <= absl::ZeroDuration()) {
    done((*tap)->Since(place));
    CloseLater(**tap);
    return;
  }
  if ((*tap)->waiting() >= options_.waiting_max) {
    done(TooManyWatchers(
        fmt::format("{} calls wait for heartbeats of {}", (*tap)->waiting(),
                    machine.record.facts.hostname),
        options_.waiting_max));
    return;
  }
  loop_.Cancel((*tap)->close_timer);
  (*tap)->Wait(place, wait, std::move(done));
}

absl::StatusOr<HeartbeatTaps::Tap*> HeartbeatTaps::Open(Machine& machine) {
  const auto it = taps_.find(machine.record.id);
  if (it != taps_.end()) return it->second.get();
  if (taps_.size() >= options_.taps_max) {
    return TooManyWatchers(fmt::format("{} machines are watched", taps_.size()),
                           options_.taps_max);
  }
  auto tap = std::make_unique<Tap>(*this, machine);
  return (taps_[machine.record.id] = std::move(tap)).get();
}

void HeartbeatTaps::CloseLater(Tap& tap) {
  loop_.Cancel(tap.close_timer);
  if (tap.waiting() > 0) return;
  tap.close_timer =
      loop_.PostAt(loop_.clock().Now() + options_.linger,
                   [this, agent = tap.agent()] { taps_.erase(agent); });
}

}  // namespace muster::gateway
