#include "tools/musterctl/input_sender.h"

#include <algorithm>
#include <utility>

#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

constexpr size_t kPartBytesMax = 32 * 1024;
constexpr absl::Duration kPause = absl::Milliseconds(500);

}  // namespace

InputSender::InputSender(LiveInput& input, Line line, uint64_t offset, Put put,
                         Filter filter)
    : input_(input),
      line_(std::move(line)),
      put_(std::move(put)),
      filter_(std::move(filter)),
      offset_(offset),
      reader_([this] { Read(); }),
      sender_([this] { SendAll(); }) {}

InputSender::~InputSender() {
  bool left = false;
  {
    MutexLock lock(mu_);
    left = left_;
  }
  if (left) sent_all_.WaitForNotificationWithTimeout(kFarewell);
  stopped_.Notify();
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  input_.Wake();
  line_.api->Abort();
  reader_.join();
  sender_.join();
}

void InputSender::Read() {
  bool more = true;
  while (more && !stopped_.HasBeenNotified()) {
    LiveInput::Event event = input_.Wait(kPartBytesMax);
    const bool stays = !filter_ || filter_(event.bytes);
    more = stays && !event.ended;
    MutexLock lock(mu_);
    while (next_.bytes.size() >= kQueuedMax && !stopping_) changed_.Wait(mu_);
    next_.bytes += event.bytes;
    next_.end |= event.ended;
    if (event.resized) next_.size = input_.WindowSize();
    left_ |= !stays;
    changed_.NotifyAll();
  }
}

std::optional<InputSender::Part> InputSender::Take() {
  MutexLock lock(mu_);
  while (next_.empty() && !left_ && !stopping_) {
    if (tail_.empty()) {
      changed_.Wait(mu_);
      continue;
    }
    changed_.WaitFor(mu_, kPause);
    if (next_.empty() && !left_ && !stopping_) return Part();
  }
  if (stopping_ || next_.empty()) return std::nullopt;
  Part part = next_;
  if (part.bytes.size() > kPartBytesMax) {
    part.bytes.resize(kPartBytesMax);
    part.end = false;
    next_.bytes.erase(0, kPartBytesMax);
  } else {
    next_ = Part();
  }
  next_.size = {};
  changed_.NotifyAll();
  return part;
}

void InputSender::SendAll() {
  while (std::optional<Part> part = Take()) {
    const bool end = part->end;
    if (!Send(*std::move(part))) break;
    if (end) Settle();
    if (end) break;
  }
  sent_all_.Notify();
}

void InputSender::Settle() {
  while (!tail_.empty() && !stopped_.HasBeenNotified()) {
    stopped_.WaitForNotificationWithTimeout(kPause);
    Part again;
    again.end = true;
    if (!Send(std::move(again))) return;
  }
}

bool InputSender::Send(Part part) {
  while (!stopped_.HasBeenNotified()) {
    part.offset = offset_;
    const absl::StatusOr<Progress> progress = put_(*line_.api, part);
    if (!progress.ok()) {
      if (!IsPassing(progress.status())) return false;
      stopped_.WaitForNotificationWithTimeout(kPause);
      continue;
    }
    if (progress->closed) return false;
    part.size = {};
    const bool all = progress->accepted == part.offset + part.bytes.size();
    Account(*progress, part);
    if (all) return true;
  }
  return false;
}

void InputSender::Account(const Progress& progress, Part& part) {
  const uint64_t tail_begin = offset_ - tail_.size();
  std::string all = tail_ + part.bytes;  // From tail_begin on.
  const uint64_t accepted = std::clamp<uint64_t>(progress.accepted, tail_begin,
                                                 tail_begin + all.size());
  const uint64_t taken =
      std::clamp<uint64_t>(progress.taken, tail_begin, accepted);
  part.bytes = all.substr(accepted - tail_begin);
  tail_ = all.substr(taken - tail_begin, accepted - taken);
  offset_ = accepted;
}

}  // namespace muster::ctl
