// What was typed → what is meant. The only file that knows the flags' names.

#ifndef MUSTER_TOOLS_MUSTERCTL_COMMAND_LINE_H_
#define MUSTER_TOOLS_MUSTERCTL_COMMAND_LINE_H_

#include <string>
#include <variant>
#include <vector>

#include "tools/musterctl/program.h"

namespace muster::ctl {

// Instead of running: help that was asked for (code 0), or what is wrong (2).
struct Message {
  int code = 0;
  std::string text;
};

// `arguments` without the program's name. Words after the first `--` are the
// command of `run`, whatever they look like.
std::variant<Invocation, Message> ParseCommandLine(
    std::vector<std::string> arguments);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_COMMAND_LINE_H_
