#include "agent/link/output_sender.h"

#include <algorithm>
#include <cmath>

namespace muster::agent {
namespace {

// Shorter samples measure the scheduler, not the path.
constexpr absl::Duration kSampleMin = absl::Milliseconds(200);

}  // namespace

void OutputSender::Grew(const OutputKey& key, uint64_t bytes, Window window) {
  Progress& p =
      streams_.try_emplace(key, Progress{.window = window}).first->second;
  p.known = std::max(p.known, bytes);
}

void OutputSender::EndsAt(const OutputKey& key, uint64_t bytes) {
  Progress& p = streams_[key];
  p.known = std::max(p.sent, bytes);
}

void OutputSender::SkipTo(const OutputKey& key, uint64_t offset) {
  Progress& p = streams_[key];
  if (offset <= p.sent) return;
  Count(p, -static_cast<int64_t>(p.sent - p.acknowledged));
  p.acknowledged = p.sent = offset;
  p.known = std::max(p.known, offset);
}

void OutputSender::Forget(const CommandId& command) {
  std::erase_if(streams_, [&](const auto& entry) {
    if (entry.first.command != command) return false;
    const Progress& p = entry.second;
    Count(p, -static_cast<int64_t>(p.sent - p.acknowledged));
    return true;
  });
}

uint64_t OutputSender::RoomFor(const Progress& p) const {
  const bool own = p.window == Window::kOwn;
  const uint64_t most = own ? options_.session_bytes_max : window_;
  return most - std::min(most, own ? p.sent - p.acknowledged : unacknowledged_);
}

void OutputSender::Count(const Progress& p, int64_t bytes) {
  if (p.window == Window::kShared) {
    unacknowledged_ += static_cast<uint64_t>(bytes);
  }
}

std::optional<OutputSender::Slice> OutputSender::Next() const {
  auto it =
      last_served_ ? streams_.upper_bound(*last_served_) : streams_.begin();
  for (size_t looked_at = 0; looked_at < streams_.size(); ++looked_at, ++it) {
    if (it == streams_.end()) it = streams_.begin();
    const Progress& p = it->second;
    const uint64_t bytes =
        std::min({p.known - p.sent, options_.chunk_bytes_max, RoomFor(p)});
    if (bytes > 0) return Slice{it->first, p.sent, bytes};
  }
  return std::nullopt;
}

void OutputSender::Sent(const Slice& slice, uint64_t bytes, Instant now) {
  const auto it = streams_.find(slice.key);
  if (it == streams_.end()) return;
  Progress& p = it->second;
  // Was idle: idle time says nothing of the path.
  if (p.window == Window::kShared && unacknowledged_ == 0) {
    sample_start_ = now;
    sample_bytes_ = 0;
  }
  p.sent += bytes;
  Count(p, static_cast<int64_t>(bytes));
  last_served_ = slice.key;
}

void OutputSender::Acknowledged(const OutputKey& key, uint64_t offset,
                                Instant now) {
  const auto it = streams_.find(key);
  if (it == streams_.end()) return;
  Progress& p = it->second;
  offset = std::min(offset, p.known);
  if (offset <= p.acknowledged) return;
  // After a reconnect the gateway may have more than we know that we sent.
  if (offset > p.sent) {
    Count(p, static_cast<int64_t>(offset - p.sent));
    p.sent = offset;
  }
  const uint64_t bytes = offset - p.acknowledged;
  p.acknowledged = offset;
  Count(p, -static_cast<int64_t>(bytes));
  if (p.window == Window::kShared) Measure(bytes, now);
}

void OutputSender::Measure(uint64_t bytes, Instant now) {
  if (!sample_start_) return;
  sample_bytes_ += bytes;
  const absl::Duration elapsed = now - *sample_start_;
  if (elapsed < kSampleMin && sample_bytes_ < window_) return;
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-6);
  const double one_second =
      std::min(static_cast<double>(sample_bytes_) / seconds,
               static_cast<double>(options_.window_bytes_max));
  // Half old, half new: one hiccup shall not close the window.
  const double blended = (static_cast<double>(window_) + one_second) / 2;
  window_ = std::clamp(static_cast<uint64_t>(blended),
                       options_.window_bytes_min, options_.window_bytes_max);
  sample_start_ = now;
  sample_bytes_ = 0;
}

void OutputSender::PathLost() {
  for (auto& [key, p] : streams_) p.sent = p.acknowledged;
  unacknowledged_ = 0;
  sample_start_.reset();
}

uint64_t OutputSender::acknowledged(const OutputKey& key) const {
  const auto it = streams_.find(key);
  return it == streams_.end() ? 0 : it->second.acknowledged;
}

}  // namespace muster::agent
