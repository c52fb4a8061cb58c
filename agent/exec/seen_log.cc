#include "agent/exec/seen_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

#include "fmt/format.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

// One sector: written whole, or not at all, by most disks.
constexpr size_t kSlotBytes = 512;

// The number twice: the second time inverted, so that a torn or blank slot
// cannot pass for a record.
std::string EncodeSlot(uint64_t seq) {
  std::string slot = fmt::format("seen {:020} {:020}\n", seq, ~seq);
  slot.resize(kSlotBytes, ' ');
  return slot;
}

std::optional<uint64_t> DecodeSlot(std::string_view slot) {
  if (slot.size() != kSlotBytes) return std::nullopt;
  uint64_t seq = 0;
  std::from_chars(slot.data() + 5, slot.data() + 25, seq);
  if (slot != EncodeSlot(seq)) return std::nullopt;
  return seq;
}

}  // namespace

absl::StatusOr<SeenLog> SeenLog::Open(const std::string& path) {
  const std::string fresh = EncodeSlot(0) + EncodeSlot(0);
  const absl::Status created = CreateFileDurably(path, fresh, 0600);
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "opening", path);
  SeenLog log(std::move(fd));
  std::optional<uint64_t> slots[2];
  for (const int slot : {0, 1}) {
    std::array<char, kSlotBytes> bytes = {};
    const ssize_t n = pread(log.file_.get(), bytes.data(), kSlotBytes,
                            static_cast<off_t>(slot * kSlotBytes));
    if (n < 0) return ErrnoStatus(errno, "reading", path);
    slots[slot] = DecodeSlot({bytes.data(), static_cast<size_t>(n)});
  }
  if (!slots[0] && !slots[1]) {
    return absl::DataLossError(path + ": neither slot can be read");
  }
  const int newest = !slots[1] || (slots[0] && *slots[0] > *slots[1]) ? 0 : 1;
  log.high_ = *slots[newest];
  log.next_slot_ = 1 - newest;
  return log;
}

absl::Status SeenLog::Record(uint64_t seq) {
  MUSTER_CHECK(seq > high_);
  const std::string slot = EncodeSlot(seq);
  const ssize_t n = pwrite(file_.get(), slot.data(), slot.size(),
                           static_cast<off_t>(next_slot_ * kSlotBytes));
  if (n != static_cast<ssize_t>(slot.size())) {
    return ErrnoStatus(n < 0 ? errno : ENOSPC, "writing", "seen");
  }
  if (fdatasync(file_.get()) != 0) return ErrnoStatus(errno, "syncing", "seen");
  high_ = seq;
  next_slot_ = 1 - next_slot_;
  return absl::OkStatus();
}

}  // namespace muster::agent
