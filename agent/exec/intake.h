// How does what is typed, or piped, reach a command that may not read?

#ifndef MUSTER_AGENT_EXEC_INTAKE_H_
#define MUSTER_AGENT_EXEC_INTAKE_H_

#include <poll.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/exec/shim_message.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// Intake is the shim's end of `line`, and writes what comes there to the
// command. Each byte is written at most once, in order: bytes that were sent
// twice are known by their offset, and those after a gap are not taken.
//
// Threading: one thread; never waits. Bounds: kBacklogBytesMax.
class Intake {
 public:
  // Listens in `folder`. `target`: where the command reads, non-blocking; a
  // terminal if `is_terminal`: then the end of the input is not told to it.
  static absl::StatusOr<Intake> Open(const std::string& folder, Fd target,
                                     bool is_terminal);

  // What to wait for; Serve() then does what there is to do.
  void AddTo(std::vector<pollfd>& fds) const;
  void Serve();

  // The agent speaks of a gateway: everything before this offset of the output
  // is there. Absent: no agent, or no gateway.
  std::optional<uint64_t> acknowledged() const { return acknowledged_; }

 private:
  Intake(Fd listener, Fd target, bool is_terminal)
      : listener_(std::move(listener)),
        target_(std::move(target)),
        is_terminal_(is_terminal) {}
  void Accept();
  void Hear(const ShimMessage& message);
  void TakeInput(uint64_t offset, std::string data);
  // Writes what the command takes, and says how much that was.
  void Flush();
  bool ReaderIsGone() const;
  void Tell();
  void HangUp();

  Fd listener_, target_, agent_;
  bool is_terminal_;
  uint64_t taken_ = 0;  // Written to the command.
  uint64_t told_ = 0;   // As the agent was told last.
  bool told_closed_ = false;
  std::string backlog_;  // Not written yet.
  std::optional<uint64_t> end_at_;
  std::optional<uint64_t> acknowledged_;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_INTAKE_H_
