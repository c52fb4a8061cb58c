// What every verb is given.

#ifndef MUSTER_TOOLS_MUSTERCTL_TOOL_H_
#define MUSTER_TOOLS_MUSTERCTL_TOOL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "libprotocol/base/clock.h"
#include "tools/musterctl/console.h"
#include "tools/musterctl/gateway_api.h"
#include "tools/musterctl/live_input.h"
#include "tools/musterctl/output_format.h"
#include "tools/musterctl/table.h"

namespace muster::ctl {

// A connection of its own, for a thread of its own.
struct Line {
  std::unique_ptr<Transport> transport;
  std::unique_ptr<GatewayApi> api;
};

// A verb returns the exit code, or an error that becomes one (exit_code.h).
struct Tool {
  GatewayApi& api;
  Console& console;
  Patience& patience;
  const Clock& clock;
  OutputFormat format = OutputFormat::kTable;
  bool color = false;
  // To the same gateway, as the same principal.
  std::function<absl::StatusOr<Line>()> another_line = nullptr;
  InputOpener open_input = nullptr;

  // The gateway's time if it told it, else ours.
  absl::Time Now(std::optional<absl::Time> served_at) const {
    return served_at.value_or(clock.Wall());
  }

  TableStyle Style(bool header) const {
    return {.header = header, .color = color, .columns_max = console.Columns()};
  }
};

// Shows `body`, the API's JSON, as it is or as YAML. True if the format was one
// of these two.
absl::StatusOr<bool> ShowTree(Tool& tool, std::string_view body);

// For a verb that asks first: InvalidArgument if nobody can answer.
absl::Status CheckCanAsk(Tool& tool, std::string_view verb);
// The person's answer to `question`, which is followed by "[y/N]". If it is no,
// that nothing was changed is said.
absl::StatusOr<bool> Agreed(Tool& tool, std::string_view question);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_TOOL_H_
