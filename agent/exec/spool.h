// Where does the output of a command go?

#ifndef MUSTER_AGENT_EXEC_SPOOL_H_
#define MUSTER_AGENT_EXEC_SPOOL_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// Spool moves one stream from a pipe to a file. The file is always an exact
// prefix of what was written: after the first byte that did not fit, for the
// bound or for the disk, every further one is dropped and counted.
class Spool {
 public:
  // Makes the pipe and creates `path`. `bytes_max` bounds the file.
  static absl::StatusOr<Spool> Open(const std::string& path,
                                    uint64_t bytes_max);

  // For the writer; CloseWriter() drops it once the writer has its own.
  int writer() const { return writer_.get(); }
  void CloseWriter() { writer_.Reset(); }

  // To poll for input; -1 once the stream has ended.
  int reader() const { return reader_.get(); }
  bool ended() const { return !reader_.valid(); }

  // Moves at most 64 KiB, without waiting. True if bytes came.
  bool Drain();

  // What is in the file survives a crash, or it is an error.
  absl::Status Sync();

  uint64_t kept_bytes() const { return kept_bytes_; }
  uint64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  Spool(Fd reader, Fd writer, Fd file, uint64_t bytes_max)
      : reader_(std::move(reader)),
        writer_(std::move(writer)),
        file_(std::move(file)),
        bytes_max_(bytes_max) {}
  void Keep(const char* bytes, size_t size);

  Fd reader_, writer_, file_;
  uint64_t bytes_max_;
  uint64_t kept_bytes_ = 0;
  uint64_t dropped_bytes_ = 0;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_SPOOL_H_
