// Which orders has this machine ever seen?
//
// Two slots of fixed size in one file, written in turn: a torn write loses at
// most the newest record, never the one before, and a full disk loses none.

#ifndef MUSTER_AGENT_EXEC_SEEN_LOG_H_
#define MUSTER_AGENT_EXEC_SEEN_LOG_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

// SeenLog keeps the highest dispatch_seq, durably. An order at or below it is
// never started. Not thread-safe; blocks on the disk.
class SeenLog {
 public:
  // Opens or creates `path`. DataLoss if neither slot can be read: nothing is
  // known then of what ran here.
  static absl::StatusOr<SeenLog> Open(const std::string& path);

  uint64_t high() const { return high_; }

  // Durable after success. `seq` must be larger than high(). After an error
  // high() is unchanged and the disk holds either.
  absl::Status Record(uint64_t seq);

 private:
  explicit SeenLog(Fd file) : file_(std::move(file)) {}

  Fd file_;
  uint64_t high_ = 0;
  int next_slot_ = 0;
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_SEEN_LOG_H_
