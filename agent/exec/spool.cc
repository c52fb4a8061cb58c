#include "agent/exec/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace muster::agent {

absl::StatusOr<Spool> Spool::Open(const std::string& path, uint64_t bytes_max) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making", "pipe");
  Fd reader(ends[0]), writer(ends[1]);
  // Only our end: a command does not expect its output to say "try again".
  if (fcntl(reader.get(), F_SETFL, O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "preparing", "pipe");
  }
  Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "creating", path);
  return Spool(std::move(reader), std::move(writer), std::move(file),
               bytes_max);
}

bool Spool::Drain() {
  char buffer[65536];
  const ssize_t n = read(reader_.get(), buffer, sizeof buffer);
  if (n > 0) {
    Keep(buffer, static_cast<size_t>(n));
    return true;
  }
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) reader_.Reset();
  return false;
}

void Spool::Keep(const char* bytes, size_t size) {
  const uint64_t room = dropped_bytes_ > 0 ? 0 : bytes_max_ - kept_bytes_;
  size_t wanted = static_cast<size_t>(std::min<uint64_t>(room, size));
  size_t kept = 0;
  while (kept < wanted) {
    const ssize_t n = write(file_.get(), bytes + kept, wanted - kept);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // The disk is full, or worse; `Sync` tells the latter.
    kept += static_cast<size_t>(n);
  }
  kept_bytes_ += kept;
  dropped_bytes_ += size - kept;
}

absl::Status Spool::Sync() {
  if (fdatasync(file_.get()) != 0) return ErrnoStatus(errno, "syncing", "out");
  return absl::OkStatus();
}

}  // namespace muster::agent
