// Which bytes of output go out next, and how many may be on their way.
//
// Unacknowledged output is bounded per agent, not per command: about one second
// at the rate that the path was measured to carry, so that a slow link still
// brings heartbeats in time. A session has a small window of its own: what it
// shows is acknowledged as somebody reads it, which says nothing of the path
// and delays nobody else.

#ifndef MUSTER_AGENT_LINK_OUTPUT_SENDER_H_
#define MUSTER_AGENT_LINK_OUTPUT_SENDER_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "libprotocol/base/clock.h"
#include "libprotocol/base/ids.h"
#include "muster/v1/command.pb.h"

namespace muster::agent {

// One stream of one command.
struct OutputKey {
  CommandId command;
  v1::OutputStream stream;

  friend auto operator<=>(const OutputKey&, const OutputKey&) = default;
};

// OutputSender keeps the books; somebody else has the bytes. Pure. Not
// thread-safe; owned by one loop.
class OutputSender {
 public:
  struct Options {
    // The window never leaves these bounds. Memory: the upper one, per agent.
    uint64_t window_bytes_min = 64 * 1024;
    uint64_t window_bytes_max = 1024 * 1024;
    // The contract's bound of one chunk.
    uint64_t chunk_bytes_max = 64 * 1024;
    // On its way of one session. A terminal's screen is 10 KiB or less.
    uint64_t session_bytes_max = 32 * 1024;
  };
  enum class Window { kShared, kOwn };

  struct Slice {
    OutputKey key;
    uint64_t offset;
    uint64_t bytes;  // At least 1, at most chunk_bytes_max.
  };

  explicit OutputSender(Options options)
      : options_(options), window_(options.window_bytes_min) {}
  OutputSender() : OutputSender(Options{}) {}

  // The stream has `bytes` bytes in all so far. Never shrinks. `window`: kOwn
  // for a session; the first call decides.
  void Grew(const OutputKey& key, uint64_t bytes,
            Window window = Window::kShared);

  // Nothing can be read from `bytes` on, whatever Grew() said before.
  void EndsAt(const OutputKey& key, uint64_t bytes);

  // What is before `offset` cannot be read any more, and is not sent; an
  // acknowledgement of it, if it was sent, changes nothing.
  void SkipTo(const OutputKey& key, uint64_t offset);

  // Nothing of this command is wanted any more.
  void Forget(const CommandId& command);

  // What to send next; nullopt: nothing, or the window is full. Streams take
  // turns. Changes nothing until Sent().
  std::optional<Slice> Next() const;

  // `bytes` of the slice that Next() gave were sent: at most slice.bytes.
  void Sent(const Slice& slice, uint64_t bytes, Instant now);

  // Everything before `offset` is durable at the gateway. It may have more than
  // there is here: a crash of this host takes what was not yet on its disk. An
  // offset before an earlier one changes nothing.
  void Acknowledged(const OutputKey& key, uint64_t offset, Instant now);

  // The path broke: what is unacknowledged will be sent again, from there.
  void PathLost();

  // Everything before it is durable at the gateway.
  uint64_t acknowledged(const OutputKey& key) const;

  uint64_t window() const { return window_; }
  // On its way in the shared window.
  uint64_t unacknowledged() const { return unacknowledged_; }

 private:
  struct Progress {
    uint64_t acknowledged = 0;
    uint64_t sent = 0;
    uint64_t known = 0;
    Window window = Window::kShared;
  };
  // How much more of it may be on its way.
  uint64_t RoomFor(const Progress& p) const;
  // So much more of it is on its way, or less.
  void Count(const Progress& p, int64_t bytes);
  void Measure(uint64_t bytes, Instant now);

  const Options options_;
  std::map<OutputKey, Progress> streams_;
  std::optional<OutputKey> last_served_;
  uint64_t unacknowledged_ = 0;

  // The measurement: bytes acknowledged since `sample_start_` while busy.
  uint64_t window_;
  std::optional<Instant> sample_start_;
  uint64_t sample_bytes_ = 0;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_LINK_OUTPUT_SENDER_H_
