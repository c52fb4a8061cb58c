#include "gateway/fleet/session_desk.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "libprotocol/base/log.h"

namespace muster::gateway {

SessionDesk::SessionDesk(EventLoop& loop, Journal& journal,
                         CommandDesk& commands, Options options)
    : loop_(loop), journal_(journal), commands_(commands), options_(options) {
  commands_.OnMoved([this](const CommandRecord& now) { CommandMoved(now); });
}

SessionDesk::~SessionDesk() {
  if (timer_) loop_.Cancel(*timer_);
}

void SessionDesk::Opened(const CommandRecord& record) {
  if (!record.spec.terminal || IsTerminal(record.state)) return;
  Session& session = sessions_[record.id];
  session.agent = record.agent;
  session.terminal = *record.spec.terminal;
  session.viewer_at = session.typist_at = session.shown_at =
      loop_.clock().Now();
  Arm();
}

absl::Status SessionDesk::Attach(const CommandId& id, std::string attachment) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return NotFound("session", id.str());
  Session& session = it->second;
  session.attachment = std::move(attachment);
  session.opening = false;
  session.read = session.begin;
  session.typist_at = session.viewer_at = loop_.clock().Now();
  Notify(session);  // Whoever typed before is told.
  return absl::OkStatus();
}

void SessionDesk::Detach(const CommandId& id, std::string_view attachment) {
  if (!Types(id, attachment)) return;
  Session& session = sessions_.at(id);
  session.attachment.clear();
  Advance(session);
  Notify(session);
}

bool SessionDesk::IsFree(const CommandId& id) const {
  const auto it = sessions_.find(id);
  return it != sessions_.end() && it->second.attachment.empty();
}

bool SessionDesk::Types(const CommandId& id,
                        std::string_view attachment) const {
  const auto it = sessions_.find(id);
  return it != sessions_.end() && !attachment.empty() &&
         it->second.attachment == attachment;
}

absl::StatusOr<SessionDesk::Piece> SessionDesk::Read(
    const CommandId& id, uint64_t offset, std::string_view attachment,
    size_t bytes_max) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return NotFound("session", id.str());
  Session& session = it->second;
  session.viewer_at = loop_.clock().Now();
  if (Types(id, attachment)) {
    // One who asks and does not read on is not waited for.
    if (offset > session.read || session.read >= session.end()) {
      session.typist_at = session.viewer_at;
    }
    session.read = std::max(session.read, offset);
    Advance(session);
  }
  Piece piece;
  piece.offset = std::clamp(offset, session.begin, session.end());
  piece.data = session.ring.substr(piece.offset - session.begin, bytes_max);
  if (session.ended_at && piece.data.empty() && session.waiting.empty()) {
    // What does not come for so long will not.
    const Instant quiet_since = std::max(session.shown_at, *session.ended_at);
    piece.end = session.end() >= session.total.value_or(0) ||
                session.viewer_at - quiet_since >= options_.viewer_lease;
  }
  return piece;
}

uint64_t SessionDesk::Begin(const CommandId& id) const {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? 0 : it->second.begin;
}

bool SessionDesk::IsAttached(const CommandId& id) const {
  const auto it = sessions_.find(id);
  return it != sessions_.end() && !it->second.ended_at &&
         !it->second.attachment.empty() &&
         IsWaitedFor(it->second, loop_.clock().Now());
}

void SessionDesk::TakeOutput(const AgentId& agent, OutputRecord output,
                             Stored stored) {
  const auto it = sessions_.find(output.command);
  if (it == sessions_.end() || it->second.agent != agent) {
    stored(NotFound("session", output.command.str()));
    return;
  }
  constexpr uint64_t kOffsetMax = std::numeric_limits<int64_t>::max();
  if (output.stream != Stream::kStdout || output.data.empty() ||
      output.offset > kOffsetMax - output.data.size()) {
    stored(absl::InvalidArgumentError(fmt::format(
        "output of session {}: of its terminal, not empty, below 2^63",
        output.command.str())));
    return;
  }
  it->second.waiting.push_back({std::move(output), std::move(stored)});
  Advance(it->second);
}

bool SessionDesk::IsWaitedFor(const Session& session, Instant now) const {
  return (session.opening || !session.attachment.empty()) &&
         now - session.typist_at < options_.viewer_lease;
}

void SessionDesk::Advance(Session& session) {
  const Instant now = loop_.clock().Now();
  bool news = false;
  while (!session.waiting.empty()) {
    const OutputRecord& next = session.waiting.front().output;
    const uint64_t end = next.offset + next.data.size();
    if (IsWaitedFor(session, now) && end > session.read + options_.ring_bytes &&
        session.read < session.end()) {
      break;
    }
    Show(session, next);
    session.shown_at = now;
    Waiting taken = std::move(session.waiting.front());
    session.waiting.pop_front();
    news = true;
    if (session.terminal.recorded && end <= options_.recorded_bytes_max) {
      Keep(std::move(taken.output), session.end(), std::move(taken.stored));
    } else {
      taken.stored(session.end());
    }
  }
  if (news) Notify(session);
}

void SessionDesk::Show(Session& session, const OutputRecord& output) {
  if (output.offset > session.end()) {  // What is between was never read.
    session.ring.clear();
    session.begin = output.offset;
  }
  const uint64_t known = session.end() - output.offset;
  if (known >= output.data.size()) return;
  session.ring.append(output.data, known);
  const size_t excess =
      session.ring.size() - std::min(session.ring.size(), options_.ring_bytes);
  session.ring.erase(0, excess);
  session.begin += excess;
}

void SessionDesk::Keep(OutputRecord output, uint64_t end, Stored stored) {
  output.at = loop_.clock().Wall();
  journal_.AppendOutput(
      std::move(output),
      [end, stored = std::move(stored)](absl::StatusOr<uint64_t> kept) mutable {
        stored(kept.ok() ? absl::StatusOr<uint64_t>(end) : std::move(kept));
      });
}

void SessionDesk::CommandMoved(const CommandRecord& now) {
  const auto it = sessions_.find(now.id);
  if (it == sessions_.end() || !IsTerminal(now.state)) return;
  Session& session = it->second;
  session.ended_at = loop_.clock().Now();
  session.total = now.stdout_total;
  Advance(session);
  Notify(session);
}

bool SessionDesk::Watch(const CommandId& id, Changed changed) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) {
    loop_.Post(std::move(changed));
    return true;
  }
  Session& session = it->second;
  if (session.watchers.size() >= options_.watchers_per_session_max) {
    return false;
  }
  session.watchers.push_back(std::move(changed));
  return true;
}

void SessionDesk::WakeWatchers() {
  for (auto& [id, session] : sessions_) Notify(session);
}

void SessionDesk::Notify(Session& session) {
  for (Changed& changed : std::exchange(session.watchers, {})) {
    // It may read, and change what is here.
    loop_.Post(std::move(changed));
  }
}

void SessionDesk::LookAround() {
  const Instant now = loop_.clock().Now();
  std::vector<CommandId> over, abandoned;
  for (auto& [id, session] : sessions_) {
    Advance(session);  // Whoever was waited for may be gone.
    if (session.ended_at) {
      const absl::Duration kept = IsWaitedFor(session, now)
                                      ? options_.kept_for_reader
                                      : options_.kept_after_end;
      if (now - *session.ended_at >= kept) over.push_back(id);
      continue;
    }
    // Those who wait for news look, too.
    if (!session.watchers.empty()) session.viewer_at = now;
    if (now - session.viewer_at >= session.terminal.keep) {
      abandoned.push_back(id);
    }
  }
  for (const CommandId& id : over) {
    Session& session = sessions_.at(id);
    session.attachment.clear();
    session.opening = false;
    Advance(session);  // Its machine hears that nobody reads the rest.
    Notify(session);
    sessions_.erase(id);
  }
  for (const CommandId& id : abandoned) {
    const CommandRecord* record = commands_.Find(id);
    if (record == nullptr || record->cancel_requested) continue;
    Log(kInfo, "session is ended, as nobody looks", {{"session_id", id.str()}});
    commands_.Cancel(
        id, [](const absl::StatusOr<CommandRecord>&) {}, "no_viewer");
  }
}

void SessionDesk::Arm() {
  if (timer_ || sessions_.empty()) return;
  timer_ = loop_.PostAt(loop_.clock().Now() + options_.look_every, [this] {
    timer_.reset();
    LookAround();
    Arm();
  });
}

}  // namespace muster::gateway
