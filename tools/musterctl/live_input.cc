#include "tools/musterctl/live_input.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

#include "libprotocol/base/files.h"
#include "libprotocol/wire/limits.h"

namespace muster::ctl {
namespace {

// Whatever ends a process that can be caught, and does not mean a fault of its
// own.
constexpr int kEnds[] = {SIGTERM, SIGHUP,  SIGQUIT,   SIGINT,  SIGPIPE,
                         SIGALRM, SIGUSR1, SIGUSR2,   SIGXCPU, SIGXFSZ,
                         SIGPROF, SIGIO,   SIGVTALRM, SIGPWR};

// What the handler of SIGWINCH may touch.
std::atomic<int> g_wake{-1};
std::atomic<bool> g_resized{false};

// The terminal as it was, for a process that is ended by a signal.
termios g_before;

void OnEnd(int number) {
  tcsetattr(STDIN_FILENO, TCSANOW, &g_before);
  signal(number, SIG_DFL);
  raise(number);
}

void OnResize(int) {
  const int error = errno;
  g_resized = true;
  eventfd_write(g_wake, 1);
  errno = error;
}

class StandardInput final : public LiveInput {
 public:
  explicit StandardInput(std::optional<termios> before)
      : before_(before), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!before_) return;
    g_wake = wake_.get();
    struct sigaction action = {};
    action.sa_handler = OnResize;
    sigaction(SIGWINCH, &action, nullptr);
  }
  ~StandardInput() override {
    if (!before_) return;
    signal(SIGWINCH, SIG_DFL);
    for (const int number : kEnds) signal(number, SIG_DFL);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
  }

  Event Wait(size_t bytes_max) override {
    if (before_ && !std::exchange(is_raw_, true)) BecomeRaw();
    Event event;
    while (!woken_) {
      pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0) continue;
      eventfd_t ignored;
      if (fds[1].revents != 0) eventfd_read(wake_.get(), &ignored);
      event.resized = g_resized.exchange(false);
      if (fds[0].revents != 0) Read(bytes_max, event);
      if (event.resized || event.ended || !event.bytes.empty()) break;
    }
    return event;
  }

  void Wake() override {
    woken_ = true;
    eventfd_write(wake_.get(), 1);
  }

  Size WindowSize() const override {
    winsize size{};
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) return {};
    constexpr unsigned kMost = wire::kWindowSizeMax;
    return {.rows = std::min<unsigned>(size.ws_row, kMost),
            .columns = std::min<unsigned>(size.ws_col, kMost)};
  }

 private:
  void BecomeRaw() const {
    g_before = *before_;
    for (const int number : kEnds) signal(number, OnEnd);
    termios raw = *before_;
    cfmakeraw(&raw);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  }

  static void Read(size_t bytes_max, Event& event) {
    event.bytes.resize(bytes_max);
    const ssize_t n = read(STDIN_FILENO, event.bytes.data(), bytes_max);
    event.bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
    event.ended = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
  }

  const std::optional<termios> before_;
  const Fd wake_;
  bool is_raw_ = false;  // Touched by who waits.
  std::atomic<bool> woken_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LiveInput>> OpenStandardInput(bool raw) {
  std::optional<termios> before;
  if (raw && tcgetattr(STDIN_FILENO, &before.emplace()) != 0) {
    return absl::FailedPreconditionError("standard input is no terminal");
  }
  return std::make_unique<StandardInput>(before);
}

}  // namespace muster::ctl
