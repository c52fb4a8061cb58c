// What was run on this machine, told to its owner, whatever a gateway says.
//
//   FOLDER/       0700
//     log         0600  the newest, one JSON object a line; only appended to
//     log.1 … 7   0600  older ones
//
//   {"event":"ordered","command_id":…,"at":…,"issued_by":…,"text":…,…}
//   {"event":"ended","command_id":…,"at":…,"state":"failed","exit_code":3,…}
//
// Of a command's text its first bytes are kept; of its environment's values and
// its input nothing.

#ifndef MUSTER_AGENT_EXEC_RUN_LOG_H_
#define MUSTER_AGENT_EXEC_RUN_LOG_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/exec/command_folder.h"
#include "libprotocol/base/ids.h"

namespace muster::agent {

// A command as it was ordered.
struct RunOrder {
  CommandId command_id;
  absl::Time at;               // By this machine's clock.
  std::string issued_by = {};  // As the gateway says.
  std::string purpose = {};    // As its caller gave it.
  std::string user = {};       // Whom it was to run as.
  std::string shell = {};      // "bash", …, "exec".
  std::string text = {};       // Its first bytes; of exec the words, quoted.
  size_t text_bytes = 0;       // So many there were.

  friend bool operator==(const RunOrder&, const RunOrder&) = default;
};

// How it ended here. Rejected: `reason` names the rule.
struct RunEnd {
  absl::Time at;
  std::string state;  // "succeeded", …
  std::optional<int> exit_code = {};
  std::optional<int> signal = {};
  std::string reason = {};

  friend bool operator==(const RunEnd&, const RunEnd&) = default;
};

struct RunEntry {
  RunOrder order;
  std::optional<RunEnd> end;  // Absent: not yet, as far as this log knows.
};

// RunLog is the folder. Stateless apart from its path; blocks on the disk. One
// process at a time appends; others may read meanwhile. What it wrote survives
// the agent, but the last lines not a crash of the machine.
class RunLog {
 public:
  // Bytes kept of each text.
  static constexpr size_t kTextBytesMax = 256;
  static constexpr size_t kFileBytesMax = 1 << 20;
  static constexpr int kFilesMax = 8;  // The newest included.

  explicit RunLog(std::string folder) : folder_(std::move(folder)) {}

  // Appends. After an error nothing was.
  absl::Status Ordered(const RunOrder& order) const;
  absl::Status Ended(const CommandId& command_id, const RunEnd& end) const;

  // The last `limit` commands, newest last. Lines that are none of ours are
  // passed over; a command whose order is too old to be kept is not told.
  absl::StatusOr<std::vector<RunEntry>> Read(size_t limit) const;

 private:
  std::string File(int age) const;
  absl::Status Append(std::string line) const;
  absl::Status MakeRoom() const;

  const std::string folder_;
};

// The first bytes of `text`, or of the words of `argv` if that is not empty.
void SetText(const std::string& text, const std::vector<std::string>& argv,
             RunOrder& order);

// A line of JSON, with a newline: order and end together.
std::string ToJson(const RunEntry& entry);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_EXEC_RUN_LOG_H_
