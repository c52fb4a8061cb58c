#include "agent/exec/intake.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "libprotocol/base/status_macros.h"

namespace muster::agent {

absl::StatusOr<Intake> Intake::Open(const std::string& folder, Fd target,
                                    bool is_terminal) {
  ASSIGN_OR_RETURN(Fd listener, ListenOnLine(folder));
  return Intake(std::move(listener), std::move(target), is_terminal);
}

void Intake::AddTo(std::vector<pollfd>& fds) const {
  fds.push_back({listener_.get(), POLLIN, 0});
  fds.push_back({agent_.get(), POLLIN, 0});  // Negative ones are skipped.
  const bool writes = !backlog_.empty();
  // POLLERR comes unasked: the command has closed its end.
  fds.push_back({is_terminal_ && !writes ? -1 : target_.get(),
                 static_cast<short>(writes ? POLLOUT : 0), 0});
}

void Intake::Serve() {
  Accept();
  while (agent_.valid()) {
    const std::optional<ShimMessage> message = ReceivePacket(agent_.get());
    if (message) {
      Hear(*message);
    } else {
      if (errno != EAGAIN && errno != EINTR) HangUp();
      break;
    }
  }
  Flush();
}

// The newest agent is the one: an older one has died.
void Intake::Accept() {
  while (true) {
    Fd agent(accept4(listener_.get(), nullptr, nullptr,
                     SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!agent.valid()) return;
    HangUp();
    agent_ = std::move(agent);
    SendPacket(agent_.get(),
               {.kind = ShimMessage::Kind::kHello, .number = kShimProtocol});
    Tell();
  }
}

void Intake::Hear(const ShimMessage& message) {
  switch (message.kind) {
    case ShimMessage::Kind::kInput:
      TakeInput(message.number, message.data);
      return;
    case ShimMessage::Kind::kEnd:
      if (!is_terminal_) end_at_ = message.number;
      return;
    case ShimMessage::Kind::kSize:
      // Ordered with what is typed, as far as the command has read it.
      if (is_terminal_) Resize(target_.get(), message.size);
      return;
    case ShimMessage::Kind::kAcknowledged:
      acknowledged_ = message.number;
      return;
    case ShimMessage::Kind::kAlone:
      acknowledged_.reset();
      return;
    default:
      return;
  }
}

void Intake::TakeInput(uint64_t offset, std::string data) {
  const uint64_t expected = taken_ + backlog_.size();
  if (offset > expected || offset + data.size() <= expected) return;
  data.erase(0, expected - offset);
  data.resize(std::min(data.size(), kBacklogBytesMax - backlog_.size()));
  backlog_ += data;
}

void Intake::Flush() {
  while (target_.valid() && !backlog_.empty()) {
    const ssize_t n = write(target_.get(), backlog_.data(), backlog_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {  // EPIPE, EIO: nobody reads any more.
      target_.Reset();
      break;
    }
    backlog_.erase(0, static_cast<size_t>(n));
    taken_ += static_cast<uint64_t>(n);
  }
  if (end_at_ == taken_ || (!is_terminal_ && ReaderIsGone())) target_.Reset();
  if (!target_.valid()) {
    taken_ += backlog_.size();  // Nobody will ever read it.
    backlog_.clear();
  }
  if (taken_ != told_ || target_.valid() == told_closed_) Tell();
}

bool Intake::ReaderIsGone() const {
  pollfd reader = {target_.get(), 0, 0};
  return poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR) != 0;
}

void Intake::Tell() {
  told_ = taken_;
  told_closed_ = !target_.valid();
  if (!agent_.valid()) return;
  const auto kind =
      told_closed_ ? ShimMessage::Kind::kClosed : ShimMessage::Kind::kTaken;
  // One that does not read what it is told is not alive.
  if (!SendPacket(
          agent_.get(),
          {.kind = kind, .number = taken_, .kept = taken_ + backlog_.size()}))
    HangUp();
}

void Intake::HangUp() {
  agent_.Reset();
  acknowledged_.reset();
}

}  // namespace muster::agent
