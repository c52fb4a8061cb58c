#include "tools/musterctl/input_sender.h"

#include <algorithm>
#include <utility>

#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

constexpr size_t kPartBytesMax = 32 * 1024;
constexpr absl::Duration kPause = absl::Milliseconds(500);

}  // namespace

InputSender::InputSender(LiveInput& input, uint64_t offset, Put put,
                         Filter filter)
    : input_(input),
      put_(std::move(put)),
      filter_(std::move(filter)),
      offset_(offset),
      thread_([this] { Run(); }) {}

InputSender::~InputSender() {
  stopped_.Notify();
  input_.Wake();
  thread_.join();
}

void InputSender::Run() {
  while (!stopped_.HasBeenNotified()) {
    LiveInput::Event event = input_.Wait(kPartBytesMax);
    Part part;
    part.bytes = std::move(event.bytes);
    part.end = event.ended;
    if (event.resized) part.size = input_.WindowSize();
    const bool more = !filter_ || filter_(part.bytes);
    const bool empty = part.bytes.empty() && !part.end && part.size.rows == 0;
    if (!empty && !Send(std::move(part))) return;
    if (event.ended) Settle();
    if (!more || event.ended) return;
  }
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
    const absl::StatusOr<Progress> progress = put_(part);
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
