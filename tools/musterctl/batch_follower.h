// Watches a batch until it has ended: every line of every machine, behind the
// machine's name, and how many have come out.

#ifndef MUSTER_TOOLS_MUSTERCTL_BATCH_FOLLOWER_H_
#define MUSTER_TOOLS_MUSTERCTL_BATCH_FOLLOWER_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libprotocol/base/clock.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/output_reader.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

bool HasEnded(const v1::Batch& batch);

// "3 succeeded, 1 failed, 2 not delivered": what is not zero.
std::string CountsText(const v1::Batch& batch);

// What became of a machine's command, in a few words; empty if it succeeded.
std::string OutcomeText(const v1::Command& command);

// Puts whole lines behind a name. A line of more than 64 KiB is cut in pieces.
class LinePrefix {
 public:
  explicit LinePrefix(std::string prefix) : prefix_(std::move(prefix)) {}
  // The lines that are whole now, each with its prefix and end.
  std::string Add(std::string_view bytes);
  // What is left, as a line.
  std::string Rest();

 private:
  const std::string prefix_;
  std::string line_;
};

// `tool` must outlive it.
class BatchFollower {
 public:
  BatchFollower(Tool& tool, v1::Batch batch)
      : tool_(tool), batch_(std::move(batch)) {}

  // Until the batch has ended and all output has been shown, but for what a
  // machine does not send for half a minute. Ctrl-C asks once to cancel it.
  absl::Status Run();

  const v1::Batch& batch() const { return batch_; }
  // The last answer as it came.
  const std::string& body() const { return body_; }

  // Who did not succeed, and the sum of it, on stderr.
  void Summarize() const;

 private:
  struct Machine {
    std::string name;
    v1::Command command;
    std::unique_ptr<OutputReader> reader;
    LinePrefix out, err;
    // Since when nothing has come of it.
    Instant quiet_since;
    bool done = false;
  };

  absl::Status Look();
  absl::Status TakeTargets();
  void Take(const v1::BatchTarget& target);
  absl::Status ReadOutput();
  absl::Status ReadOne(const std::string& id, Machine& machine);
  void Show(Machine& machine, v1::OutputStream stream, std::string_view bytes);
  void Progress();
  void ClearProgress();
  bool AllDone() const;

  Tool& tool_;
  v1::Batch batch_;
  std::string body_;
  std::map<std::string, Machine> machines_;  // By command.
  std::string counts_taken_ = "none yet";
  bool cancelled_ = false;
  bool progress_shown_ = false;
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_BATCH_FOLLOWER_H_
