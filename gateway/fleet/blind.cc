#include "gateway/fleet/blind.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace muster::gateway {

void GapLog::Add(const Gap& gap) {
  ++count_;
  kept_.push_back(gap);
  if (kept_.size() <= kKept) return;
  forgotten_until_ = kept_.front().to;
  kept_.pop_front();
}

void Deafness::TurnedAway(Instant now, Instant until, BlindReason reason) {
  if (!since_) {
    since_ = now;
    reason_ = reason;
  }
  until_ = std::max(until_, until);
}

std::optional<Gap> Deafness::SoFar(Instant now) const {
  if (!Lasts(now)) return std::nullopt;
  return Gap{*since_, now, reason_};
}

std::optional<Gap> Deafness::Over(Instant now) {
  if (!since_ || Lasts(now)) return std::nullopt;
  const Gap gap{*since_, until_, reason_};
  since_.reset();
  return gap;
}

std::optional<Doubt> VouchWindow::At(Instant now,
                                     const std::optional<Gap>& open) {
  if (gaps_.empty() && !open) return std::nullopt;
  const Instant begin = now - kWindow;
  std::erase_if(gaps_, [&](const Gap& gap) {
    return gap.to <= begin || (gap.reason == BlindReason::kNotRunning &&
                               gap.to <= now - settled_after_);
  });
  std::vector<Gap> gaps(gaps_.begin(), gaps_.end());
  if (open) gaps.push_back(*open);
  std::sort(gaps.begin(), gaps.end(),
            [](const Gap& a, const Gap& b) { return a.from < b.from; });
  // How much of it for which reason, and since when.
  std::map<BlindReason, std::pair<absl::Duration, Instant>> lost;
  absl::Duration lost_in_all;
  Instant counted = begin;  // Gaps may overlap.
  for (const Gap& gap : gaps) {
    const Instant from = std::max(gap.from, counted);
    if (gap.to <= from) continue;
    lost.try_emplace(gap.reason, absl::ZeroDuration(), gap.from)
        .first->second.first += gap.to - from;
    lost_in_all += gap.to - from;
    counted = gap.to;
  }
  if (lost_in_all <= kWindow / 2) return std::nullopt;
  const auto most = std::ranges::max_element(
      lost, {}, [](const auto& entry) { return entry.second.first; });
  return Doubt{most->second.second, most->first};
}

std::string_view Words(BlindReason reason) {
  switch (reason) {
    case BlindReason::kNotRunning:
      return "the gateway was not running";
    case BlindReason::kStoodStill:
      return "the gateway's process stood still";
    case BlindReason::kSuspended:
      return "the gateway's host was suspended";
    case BlindReason::kDescriptors:
      return "no descriptor left";
    case BlindReason::kAdmission:
      return "more machines connect at once than are let in";
    case BlindReason::kOneSource:
      return "too many connections from one address";
  }
  return "unknown";
}

}  // namespace muster::gateway
