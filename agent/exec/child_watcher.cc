#include "agent/exec/child_watcher.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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
  for (const auto& [id, gone] : events_) events.push_back({id, gone});
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
      ReadEnds();
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
      for (const auto& [id, watched] : watched_) Note(id, false);
    } else if (const auto it = by_watch_.find(event->wd);
               it != by_watch_.end()) {
      Note(it->second, false);
    }
  }
}

void ChildWatcher::ReadEnds() {
  MutexLock lock(mu_);
  for (auto it = watched_.begin(); it != watched_.end();) {
    const Watched& watched = it->second;
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
    Note(it->first, true);
    it = watched_.erase(it);
  }
}

void ChildWatcher::Note(const CommandId& command_id, bool gone) {
  events_[command_id] |= gone;
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
