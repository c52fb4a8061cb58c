#include "agent/exec/child_watcher.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "libprotocol/base/check.h"

namespace muster::agent {
namespace {

// The C library of Debian 12 has waitid(P_PIDFD), but no wrapper for these.
int OpenPid(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}
int SignalPid(int pid_fd, int signal) {
  return static_cast<int>(
      syscall(SYS_pidfd_send_signal, pid_fd, signal, nullptr, 0));
}

bool Readable(int fd) {
  pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

bool AddTo(const Fd& epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

ChildWatcher::ChildWatcher(absl::AnyInvocable<void()> announce)
    : announce_(std::move(announce)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  MUSTER_CHECK(epoll_.valid() && stop_.valid() && AddTo(epoll_, stop_.get()));
  if (inotify_.valid()) MUSTER_CHECK(AddTo(epoll_, inotify_.get()));
  thread_ = std::thread([this] { Run(); });
}

ChildWatcher::~ChildWatcher() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

absl::Status ChildWatcher::Watch(const CommandId& command_id,
                                 const std::string& folder, pid_t pid) {
  Watched watched;
  watched.pid_fd.Reset(OpenPid(pid));
  if (!watched.pid_fd.valid()) {
    return ErrnoStatus(errno, "watching the shim of", command_id.str());
  }
  MutexLock lock(mu_);
  watched.watch = inotify_add_watch(
      inotify_.get(), folder.c_str(),
      IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR);
  if (watched.watch >= 0) by_watch_[watched.watch] = command_id;
  if (!AddTo(epoll_, watched.pid_fd.get())) {
    return ErrnoStatus(errno, "watching the shim of", command_id.str());
  }
  watched_[command_id] = std::move(watched);
  return absl::OkStatus();
}

void ChildWatcher::Signal(const CommandId& command_id, int signal) {
  MutexLock lock(mu_);
  const auto it = watched_.find(command_id);
  if (it != watched_.end()) SignalPid(it->second.pid_fd.get(), signal);
}

std::vector<ChildWatcher::Event> ChildWatcher::Take() {
  MutexLock lock(mu_);
  std::vector<Event> events;
  for (auto& [id, event] : events_) events.push_back(event);
  events_.clear();
  announced_ = false;
  return events;
}

void ChildWatcher::Run() {
  while (true) {
    epoll_event event;
    if (epoll_wait(epoll_.get(), &event, 1, -1) != 1) continue;
    if (event.data.fd == stop_.get()) return;
    if (event.data.fd == inotify_.get()) {
      ReadChanges();
    } else {
      ReadShims();
    }
    AnnounceIfNew();
  }
}

void ChildWatcher::ReadChanges() {
  alignas(inotify_event) char buffer[16384];
  const ssize_t n = read(inotify_.get(), buffer, sizeof buffer);
  MutexLock lock(mu_);
  for (ssize_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<inotify_event*>(buffer + at);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
      for (const auto& [id, watched] : watched_) EventOf(id).changed = true;
    } else if (const auto it = by_watch_.find(event->wd);
               it != by_watch_.end()) {
      EventOf(it->second).changed = true;
    }
  }
}

void ChildWatcher::ReadShims() {
  MutexLock lock(mu_);
  for (auto it = watched_.begin(); it != watched_.end();) {
    Watched& watched = it->second;
    ReadLine(it->first, watched);
    if (!Readable(watched.pid_fd.get())) {
      ++it;
      continue;
    }
    siginfo_t ignored;  // How a shim ended says nothing of its command.
    waitid(P_PIDFD, static_cast<id_t>(watched.pid_fd.get()), &ignored,
           WEXITED | WNOHANG);
    if (watched.watch >= 0) {
      inotify_rm_watch(inotify_.get(), watched.watch);
      by_watch_.erase(watched.watch);
    }
    EventOf(it->first).gone = true;
    it = watched_.erase(it);
  }
}

void ChildWatcher::ReadLine(const CommandId& command_id, Watched& watched) {
  while (watched.line.valid()) {
    const auto message = ReceivePacket(watched.line.get());
    if (message) {
      Hear(command_id, *message, watched);
    } else if (errno == EAGAIN || errno == EINTR) {
      return;
    } else {
      watched.line.Reset();
      // If the shim lives, a look opens another one.
      EventOf(command_id).changed = true;
    }
  }
}

void ChildWatcher::Hear(const CommandId& command_id, const ShimMessage& message,
                        Watched& watched) {
  if (message.kind == ShimMessage::Kind::kHello) {
    watched.foreign = message.number != kShimProtocol;
    if (watched.foreign) watched.line.Reset();
    EventOf(command_id).input = InputState{.again = true};
    return;
  }
  std::optional<InputState>& input = EventOf(command_id).input;
  if (!input) input.emplace();
  input->taken = message.number;
  input->kept = std::max(input->kept, message.kept);
  input->closed = message.kind == ShimMessage::Kind::kClosed;
}

ChildWatcher::Event& ChildWatcher::EventOf(const CommandId& command_id) {
  Event& event = events_[command_id];
  event.command_id = command_id;
  return event;
}

absl::Status ChildWatcher::OpenLine(const CommandId& command_id,
                                    const std::string& folder) {
  MutexLock lock(mu_);
  const auto it = watched_.find(command_id);
  if (it == watched_.end()) return absl::NotFoundError("not watched");
  Watched& watched = it->second;
  if (watched.line.valid() || watched.foreign) return absl::OkStatus();
  absl::StatusOr<Fd> line = DialLine(folder);
  if (!line.ok()) return line.status();
  watched.line = *std::move(line);
  MUSTER_CHECK(AddTo(epoll_, watched.line.get()));
  return absl::OkStatus();
}

bool ChildWatcher::Say(const CommandId& command_id,
                       const ShimMessage& message) {
  MutexLock lock(mu_);
  const auto it = watched_.find(command_id);
  if (it == watched_.end() || !it->second.line.valid()) return false;
  if (SendPacket(it->second.line.get(), message)) return true;
  // Its end is read by the thread, which opens another.
  shutdown(it->second.line.get(), SHUT_RDWR);
  return false;
}

void ChildWatcher::AnnounceIfNew() {
  {
    MutexLock lock(mu_);
    if (announced_ || events_.empty()) return;
    announced_ = true;
  }
  announce_();
}

}  // namespace muster::agent
