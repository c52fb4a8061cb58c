#include "tools/musterctl/conclusion.h"

#include <string.h>

#include <string>

#include "fmt/format.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/output_reader.h"
#include "tools/musterctl/table.h"

namespace muster::ctl {

int Conclude(Tool& tool, const v1::Command& command, std::string_view what) {
  const auto say = [&](const std::string& text) {
    tool.console.Err("musterctl: " + text + "\n");
  };
  const std::string reason =
      command.reason().empty() ? "" : " (" + Printable(command.reason()) + ")";
  if (NeverRan(command)) {
    say(fmt::format("the {} did not run{}; safe to repeat; exit {}", what,
                    reason, int{kExitDidNotRun}));
    return kExitDidNotRun;
  }
  switch (command.state()) {
    case v1::COMMAND_STATE_SUCCEEDED:
    case v1::COMMAND_STATE_FAILED:
      return command.exit_code();
    case v1::COMMAND_STATE_SIGNALED:
      say(fmt::format("the {} was killed by signal {} ({}); exit {}", what,
                      command.signal(), strsignal(command.signal()),
                      128 + command.signal()));
      return 128 + command.signal();
    case v1::COMMAND_STATE_TIMED_OUT:
      say(fmt::format("the {} timed out and was stopped; exit {}", what,
                      int{kExitTimeout}));
      return kExitTimeout;
    case v1::COMMAND_STATE_CANCELLED: {
      const int code =
          command.has_signal() ? 128 + command.signal() : kExitInterrupted;
      say(fmt::format("the {} was cancelled{} after it had started; exit {}",
                      what, reason, code));
      return code;
    }
    default:
      say(fmt::format(
          "the outcome of {} {} is unknown{}; do not repeat it before you have "
          "looked; exit {}",
          what, command.command_id(), reason, int{kExitOutcomeUnknown}));
      return kExitOutcomeUnknown;
  }
}

}  // namespace muster::ctl
