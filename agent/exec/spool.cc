#include "agent/exec/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

absl::StatusOr<Fd> Create(const std::string& path) {
  Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "creating", path);
  return file;
}

}  // namespace

absl::StatusOr<Spool> Spool::Open(const std::string& path, uint64_t bytes_max) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "making", "pipe");
  Fd reader(ends[0]), writer(ends[1]);
  // Only our end: a command does not expect its output to say "try again".
  if (fcntl(reader.get(), F_SETFL, O_NONBLOCK) != 0) {
    return ErrnoStatus(errno, "preparing", "pipe");
  }
  ASSIGN_OR_RETURN(Fd file, Create(path));
  return Spool(std::move(reader), std::move(writer), std::move(file), bytes_max,
               false);
}

absl::StatusOr<Spool> Spool::OpenRing(const std::string& path, Fd master) {
  ASSIGN_OR_RETURN(Fd file, Create(path));
  if (fallocate(file.get(), kPunch, 0, 1) != 0) {
    return ErrnoStatus(errno, "giving back space of", path);
  }
  return Spool(std::move(master), Fd(), std::move(file),
               std::numeric_limits<int64_t>::max(), true);
}

bool Spool::Drain() {
  if (reader() < 0) return false;
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
  if (ring_) {
    waiting_.append(bytes, size);
    Retry();
    return;
  }
  const uint64_t room = dropped_bytes_ > 0 ? 0 : bytes_max_ - kept_bytes_;
  const size_t kept =
      Write(bytes, static_cast<size_t>(std::min<uint64_t>(room, size)));
  dropped_bytes_ += size - kept;
}

size_t Spool::Write(const char* bytes, size_t size) {
  size_t kept = 0;
  while (kept < size) {
    const ssize_t n = write(file_.get(), bytes + kept, size - kept);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // The disk is full, or worse; `Sync` tells the latter.
    kept += static_cast<size_t>(n);
  }
  kept_bytes_ += kept;
  return kept;
}

void Spool::Retry() {
  if (waiting_.empty()) return;
  waiting_.erase(0, Write(waiting_.data(), waiting_.size()));
  GiveBack();
}

// Half a ring at a time, and never what a reader may want.
void Spool::GiveBack() {
  if (kept_bytes_ < given_back_ + 2 * kRingBytes) return;
  const uint64_t until = kept_bytes_ - kRingBytes;
  // A failure costs space, no more; the next attempt tries the same again.
  if (fallocate(file_.get(), kPunch, static_cast<off_t>(given_back_),
                static_cast<off_t>(until - given_back_)) == 0) {
    given_back_ = until;
  }
}

absl::Status Spool::Sync() {
  if (fdatasync(file_.get()) != 0) return ErrnoStatus(errno, "syncing", "out");
  return absl::OkStatus();
}

}  // namespace muster::agent
