// The terminal of a session.

#ifndef MUSTER_AGENT_EXEC_PTY_H_
#define MUSTER_AGENT_EXEC_PTY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// In characters.
struct WindowSize {
  uint16_t rows = 24;
  uint16_t columns = 80;

  friend bool operator==(const WindowSize&, const WindowSize&) = default;
};

// Pty is a pair of pseudoterminal ends (pty(7)). The master is non-blocking;
// the slave is nobody's controlling terminal yet.
struct Pty {
  Fd master;
  Fd slave;

  static absl::StatusOr<Pty> Open(WindowSize size);
};

// Whoever runs in the foreground of the terminal hears SIGWINCH. `fd`: either
// end. A terminal that is gone has no size: not an error.
void Resize(int fd, WindowSize size);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_PTY_H_
