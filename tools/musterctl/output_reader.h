// The output of one command, byte for byte, whatever happens to the connection.

#ifndef MUSTER_TOOLS_MUSTERCTL_OUTPUT_READER_H_
#define MUSTER_TOOLS_MUSTERCTL_OUTPUT_READER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// True if nothing but a later correction can change `state`.
bool IsTerminal(v1::CommandState state);

// True if the command was never started.
bool NeverRan(const v1::Command& command);

// OutputReader remembers how far it has read, so that every byte is delivered
// once and in order however often a poll fails or repeats. `tool` must outlive
// it.
class OutputReader {
 public:
  using Sink = std::function<void(v1::OutputStream, std::string_view)>;

  OutputReader(Tool& tool, std::string command_id, Sink sink)
      : tool_(tool),
        command_id_(std::move(command_id)),
        sink_(std::move(sink)) {}

  // Reads what is there; if nothing is, waits for it at most `wait`. Errors of
  // the call leave everything as it was.
  absl::Status Poll(absl::Duration wait);

  // Polls until the end, over lost connections: Unavailable after
  // `kGiveUpAfter` without any answer; other errors at once. `on_turn` is asked
  // before each poll; an error of its ends the reading.
  absl::Status ReadToEnd(const std::function<absl::Status()>& on_turn);

  // From now on standard output is not read, and the end of the command is the
  // end of the reading.
  void IgnoreStdout();

  // Says it if the machine dropped output beyond the command's limit.
  void WarnOfDropped() const;

  // The command as of the last successful poll.
  const v1::Command& command() const { return command_; }
  // Nothing will follow.
  bool ended() const { return ended_; }
  // Whether the last poll brought bytes.
  bool progressed() const { return progressed_; }

  static constexpr absl::Duration kGiveUpAfter = absl::Minutes(5);
  // Of a command that has ended, for output that has not come.
  static constexpr absl::Duration kTailWait = absl::Seconds(30);

 private:
  void Deliver(const v1::OutputChunk& chunk, uint64_t& offset);
  absl::Status Survive(const absl::Status& error, Instant last_answer);

  Tool& tool_;
  const std::string command_id_;
  const Sink sink_;
  uint64_t stdout_offset_ = 0, stderr_offset_ = 0;
  v1::Command command_;
  bool ended_ = false;
  bool progressed_ = false;
  bool told_lost_ = false;
  bool ignoring_ = false;
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_OUTPUT_READER_H_
