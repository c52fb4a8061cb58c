// How a command came out, as an exit code and a last line.

#ifndef MUSTER_TOOLS_MUSTERCTL_CONCLUSION_H_
#define MUSTER_TOOLS_MUSTERCTL_CONCLUSION_H_

#include <string_view>

#include "muster/v1/command.pb.h"
#include "tools/musterctl/tool.h"

namespace muster::ctl {

// The exit code (exit_code.h). Unless it is plainly the command's own, a line
// on stderr says what it means. `what`: "command", "session".
int Conclude(Tool& tool, const v1::Command& command, std::string_view what);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_CONCLUSION_H_
