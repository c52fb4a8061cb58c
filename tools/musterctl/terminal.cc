#include "tools/musterctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "fmt/format.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

// 0, or the errno of the write that failed.
int WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
      pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&ready, 1, -1);
      continue;
    }
    if (n < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

// Switches the terminal's echo off for as long as it lives.
class NoEcho {
 public:
  NoEcho() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
  }
  ~NoEcho() {
    if (changed_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

// What the signal handler may touch: lock-free values and fixed buffers. Two of
// each text, so that replacing one never changes what a handler is writing.
struct LastWords {
  char text[1024];
  size_t size = 0;
};
LastWords g_first[2], g_second[2];
std::atomic<int> g_texts{0};
std::atomic<int> g_interrupts{0};

void OnInterrupt(int) {
  const int error = errno;
  const int texts = g_texts.load();
  const bool second = g_interrupts.fetch_add(1) > 0;
  const LastWords& words = second ? g_second[texts] : g_first[texts];
  [[maybe_unused]] const ssize_t n =
      write(STDERR_FILENO, words.text, words.size);
  if (second) _exit(kExitInterrupted);
  errno = error;
}

void Store(std::string_view text, LastWords& words) {
  words.size = std::min(text.size(), sizeof(words.text));
  memcpy(words.text, text.data(), words.size);
}

}  // namespace

void Terminal::Out(std::string_view bytes) {
  if (out_error_ == 0) out_error_ = WriteAll(STDOUT_FILENO, bytes);
  // Nobody can be told what was not written: a full disk, a lost terminal.
  if (out_error_ != 0 && !survive_) _exit(kExitFailure);
}

void Terminal::Err(std::string_view bytes) { WriteAll(STDERR_FILENO, bytes); }

void Terminal::SurviveClosedOut() {
  survive_ = true;
  signal(SIGPIPE, SIG_IGN);
}

std::string Terminal::OutFailure() {
  pollfd out{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
  // A pipe says so before anything is written to it.
  if (out_error_ == 0 && poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0)
    out_error_ = EPIPE;
  return out_error_ == 0 ? "" : strerror(out_error_);
}

bool Terminal::OutIsTerminal() const { return isatty(STDOUT_FILENO) == 1; }
bool Terminal::InIsTerminal() const { return isatty(STDIN_FILENO) == 1; }

size_t Terminal::Columns() const {
  if (!OutIsTerminal()) return 0;
  if (const char* columns = getenv("COLUMNS")) {
    if (const int n = atoi(columns); n > 0) return static_cast<size_t>(n);
  }
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

absl::StatusOr<std::string> Terminal::ReadInput(size_t bytes_max) {
  std::string input;
  char chunk[4096];
  while (true) {
    const ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::FailedPreconditionError(
          fmt::format("reading standard input: {}", strerror(errno)));
    }
    if (n == 0) return input;
    input.append(chunk, static_cast<size_t>(n));
    if (input.size() > bytes_max) {
      return absl::InvalidArgumentError(
          fmt::format("standard input is longer than {} bytes", bytes_max));
    }
  }
}

absl::StatusOr<std::string> Terminal::Ask(std::string_view prompt) {
  if (!InIsTerminal()) {
    return absl::FailedPreconditionError("standard input is no terminal");
  }
  Err(prompt);
  std::string line;
  for (char c = 0; read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  return line;
}

absl::StatusOr<Secret> Terminal::AskSecret(std::string_view prompt) {
  absl::StatusOr<std::string> line;
  {
    const NoEcho quiet;
    line = Ask(prompt);
  }
  if (!line.ok()) return line.status();
  Err("\n");  // The person's own was not shown.
  return Secret(*std::move(line));
}

void SignalPatience::Pause(absl::Duration d) {
  const int64_t ms = absl::ToInt64Milliseconds(d);
  poll(nullptr, 0, static_cast<int>(std::clamp<int64_t>(ms, 0, 60'000)));
}

void SignalPatience::CatchInterrupts(std::string_view first,
                                     std::string_view second) {
  const int spare = 1 - g_texts.load();
  Store(first, g_first[spare]);
  Store(second, g_second[spare]);
  g_texts.store(spare);
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  // System calls go on, so that no answer of the gateway is lost half-read;
  // poll() returns all the same.
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

bool SignalPatience::Interrupted() const { return g_interrupts.load() > 0; }

}  // namespace muster::ctl
