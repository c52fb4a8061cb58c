#include "agent/exec/pty.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cerrno>
#include <utility>

namespace muster::agent {

absl::StatusOr<Pty> Pty::Open(WindowSize size) {
  Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!master.valid()) return ErrnoStatus(errno, "making", "a terminal");
  char name[64];
  if (grantpt(master.get()) != 0 || unlockpt(master.get()) != 0 ||
      ptsname_r(master.get(), name, sizeof name) != 0) {
    return ErrnoStatus(errno, "making", "a terminal");
  }
  Fd slave(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave.valid()) return ErrnoStatus(errno, "opening", name);
  Resize(master.get(), size);
  return Pty{std::move(master), std::move(slave)};
}

void Resize(int fd, WindowSize size) {
  winsize kernel = {};
  kernel.ws_row = size.rows;
  kernel.ws_col = size.columns;
  ioctl(fd, TIOCSWINSZ, &kernel);
}

}  // namespace muster::agent
