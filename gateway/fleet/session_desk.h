// What open sessions show, and who looks.
//
// The terminal's output passes through a ring in memory. Somebody who types, or
// has opened it and is about to, is waited for: output stays in the network,
// and in the end the program waits, as on a terminal of one's own. Nobody else
// is: what a slow viewer misses is gone, and he is told how much. Nothing of it
// is stored unless the session is recorded.

#ifndef MUSTER_GATEWAY_FLEET_SESSION_DESK_H_
#define MUSTER_GATEWAY_FLEET_SESSION_DESK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/fleet/command_desk.h"
#include "gateway/fleet/journal.h"
#include "libprotocol/base/event_loop.h"

namespace muster::gateway {

// SessionDesk keeps the ends of the output of all open sessions.
//
// Lives on the fleet loop. Everything given must outlive it.
class SessionDesk {
 public:
  struct Options {
    size_t open_max = 256;  // Sessions; each costs a ring.
    size_t ring_bytes = 256 << 10;
    // Of a recording; what comes later is not in it.
    uint64_t recorded_bytes_max = 8 << 20;
    // Who has not asked for so long is gone.
    absl::Duration viewer_lease = absl::Seconds(15);
    // For those who still read when it ends.
    absl::Duration kept_after_end = absl::Minutes(1);
    // For one who types and still reads on.
    absl::Duration kept_for_reader = absl::Minutes(10);
    // How often it is looked who is gone.
    absl::Duration look_every = absl::Seconds(1);
    size_t watchers_per_session_max = 64;
  };
  using Changed = absl::AnyInvocable<void()>;
  using Stored = absl::AnyInvocable<void(absl::StatusOr<uint64_t>)>;

  SessionDesk(EventLoop& loop, Journal& journal, CommandDesk& commands,
              Options options);
  ~SessionDesk();

  // A session is stored and may begin; so are those of a former life that are
  // still open. Other commands are none of ours.
  void Opened(const CommandRecord& session);

  // True if one more may be opened.
  bool HasRoom() const { return sessions_.size() < options_.open_max; }
  bool Has(const CommandId& id) const { return sessions_.contains(id); }

  // From now on `attachment` types, and nobody else. NotFound.
  absl::Status Attach(const CommandId& id, std::string attachment);
  // It types no more.
  void Detach(const CommandId& id, std::string_view attachment);
  // True if it is the one that types.
  bool Types(const CommandId& id, std::string_view attachment) const;

  struct Piece {
    uint64_t offset = 0;  // Of the first byte of `data`.
    std::string data;
    bool end = false;  // The session has ended, and this was all.
  };
  // What is here from `offset` on, at most `bytes_max`. `attachment` as given
  // to Attach(), or empty for one who only looks. NotFound.
  absl::StatusOr<Piece> Read(const CommandId& id, uint64_t offset,
                             std::string_view attachment, size_t bytes_max);
  // Of the oldest byte that is here.
  uint64_t Begin(const CommandId& id) const;

  // Nobody has attached since he detached, or since the gateway started.
  bool IsFree(const CommandId& id) const;
  // Somebody types, or has of late.
  bool IsAttached(const CommandId& id) const;

  // Output of a session of this machine that is here. `stored` hears the end of
  // what was taken, durable if it is recorded; perhaps only when it has been
  // read.
  void TakeOutput(const AgentId& agent, OutputRecord output, Stored stored);

  // As CommandDesk::Watch(), for Read().
  [[nodiscard]] bool Watch(const CommandId& id, Changed changed);
  void WakeWatchers();

 private:
  struct Waiting {
    OutputRecord output;
    Stored stored;
  };
  struct Session {
    AgentId agent;
    Terminal terminal;
    std::string ring;
    uint64_t begin = 0;           // Offset of the first byte of `ring`.
    std::deque<Waiting> waiting;  // Until the one who types has read more.
    std::string attachment;       // Empty: nobody types.
    uint64_t read = 0;            // By the one who types.
    Instant typist_at;            // When he asked last, …
    Instant viewer_at;            // … or anybody did.
    // Whoever opened it has not attached yet, and is waited for as if he had.
    bool opening = true;
    Instant shown_at;  // When output came last.
    std::optional<Instant> ended_at;
    std::optional<uint64_t> total;  // Of output, once it has ended.
    std::vector<Changed> watchers;

    uint64_t end() const { return begin + ring.size(); }
  };

  void CommandMoved(const CommandRecord& now);
  bool IsWaitedFor(const Session& session, Instant now) const;
  // Takes what waits, as far as there is room.
  void Advance(Session& session);
  void Show(Session& session, const OutputRecord& output);
  void Keep(OutputRecord output, uint64_t end, Stored stored);
  void Notify(Session& session);
  void LookAround();
  void Arm();

  // Constant after construction.
  EventLoop& loop_;
  Journal& journal_;
  CommandDesk& commands_;
  const Options options_;

  absl::flat_hash_map<CommandId, Session> sessions_;
  std::optional<EventLoop::TimerId> timer_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_SESSION_DESK_H_
