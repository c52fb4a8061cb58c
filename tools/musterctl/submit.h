// Asks the gateway to do something once, over lost connections.

#ifndef MUSTER_TOOLS_MUSTERCTL_SUBMIT_H_
#define MUSTER_TOOLS_MUSTERCTL_SUBMIT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "libprotocol/base/ids.h"
#include "tools/musterctl/problem.h"
#include "tools/musterctl/tool.h"
#include "tools/musterctl/transport.h"

namespace muster::ctl {

// Calls `method`, again with the same Idempotency-Key as long as it may have
// been heard: it never happens twice. `maybe_sent` tells after an error whether
// it may have happened all the same.
template <typename Response>
absl::StatusOr<Answer<Response>> Submit(
    Tool& tool, std::string_view method,
    const google::protobuf::Message& request, bool& maybe_sent) {
  constexpr int kTriesMax = 5;
  constexpr absl::Duration kPause = absl::Seconds(1);
  const std::string key = NewUuid(tool.clock.Wall());
  maybe_sent = false;
  for (int tries = 1;; ++tries) {
    auto answer =
        tool.api.Call<Response>(method, request, {.idempotency_key = key});
    if (answer.ok()) return answer;
    const absl::Status& error = answer.status();
    const auto problem = ProblemOf(error);
    // A refusal is an answer; what the gateway itself failed at may be done.
    if (problem && problem->status < 500) {
      maybe_sent = false;
      return error;
    }
    if (problem || !NeverSent(error)) maybe_sent = true;
    if (!maybe_sent || tries == kTriesMax) return error;
    tool.patience.Pause(kPause);
  }
}

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_SUBMIT_H_
