// Waiting for a gateway that does not answer, by verbs that go on for ever.

#ifndef MUSTER_TOOLS_MUSTERCTL_OUTAGE_H_
#define MUSTER_TOOLS_MUSTERCTL_OUTAGE_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "libprotocol/base/clock.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// Outage is the time in which the gateway does not answer: it is told at its
// beginning and at its end, and lasts until Ctrl-C if need be.
class Outage {
 public:
  explicit Outage(Tool& tool) : tool_(tool) {}

  // Says so, once for each `error`, and pauses before the next question.
  void Failed(const absl::Status& error);

  // Says for how long nobody answered, if so, and then `what_of_it`.
  void Answered(std::string_view what_of_it);

  // Nobody has answered since: ask for an answer at once, or its end is told as
  // late as there is something to say.
  bool lasts() const { return since_.has_value(); }

 private:
  Tool& tool_;
  std::optional<Instant> since_;
  absl::Duration pause_;
  std::string told_;
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_OUTAGE_H_
