// Where does the output of a command go?

#ifndef MUSTER_AGENT_EXEC_SPOOL_H_
#define MUSTER_AGENT_EXEC_SPOOL_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// Of a session's output its last so many bytes can be read at any time.
inline constexpr uint64_t kRingBytes = 1 << 20;

// Spool moves one stream to a file. The file of a pipe is always an exact
// prefix of what was written: after the first byte that did not fit, for the
// bound or for the disk, every further one is dropped and counted. The file of
// a terminal grows for ever, but occupies its last two kRingBytes at most:
// offsets stay what they are.
class Spool {
 public:
  // Makes the pipe and creates `path`. `bytes_max` bounds the file.
  static absl::StatusOr<Spool> Open(const std::string& path,
                                    uint64_t bytes_max);

  // Reads `master`. Unimplemented if the file system of `path` cannot give
  // space back.
  static absl::StatusOr<Spool> OpenRing(const std::string& path, Fd master);

  // Puts words of our own into the file, before or between what is moved.
  void Say(std::string_view text) { Keep(text.data(), text.size()); }

  // For the writer; CloseWriter() drops it once the writer has its own.
  int writer() const { return writer_.get(); }
  void CloseWriter() { writer_.Reset(); }

  // To poll for input; -1 once the stream has ended, or while the disk takes
  // nothing of a terminal: then its programs wait.
  int reader() const { return starved() ? -1 : reader_.get(); }
  bool ended() const { return !reader_.valid(); }
  // The disk takes nothing of a terminal.
  bool starved() const { return !waiting_.empty(); }

  // Moves at most 64 KiB, without waiting. True if bytes came.
  bool Drain();

  // Asks the disk again to take what it would not. Call it now and then.
  void Retry();

  // What is in the file survives a crash, or it is an error.
  absl::Status Sync();

  uint64_t kept_bytes() const { return kept_bytes_; }
  uint64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  Spool(Fd reader, Fd writer, Fd file, uint64_t bytes_max, bool ring)
      : reader_(std::move(reader)),
        writer_(std::move(writer)),
        file_(std::move(file)),
        bytes_max_(bytes_max),
        ring_(ring) {}
  void Keep(const char* bytes, size_t size);
  // How many of them the disk took.
  size_t Write(const char* bytes, size_t size);
  void GiveBack();

  Fd reader_, writer_, file_;
  uint64_t bytes_max_;
  bool ring_;
  uint64_t given_back_ = 0;  // Of a ring: the file is empty before it.
  std::string waiting_;      // Of a ring: what the disk did not take.
  uint64_t kept_bytes_ = 0;
  uint64_t dropped_bytes_ = 0;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_SPOOL_H_
