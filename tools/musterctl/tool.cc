#include "tools/musterctl/tool.h"

#include <string>

#include "libprotocol/base/status_macros.h"

namespace muster::ctl {

absl::StatusOr<bool> ShowTree(Tool& tool, std::string_view body) {
  if (tool.format == OutputFormat::kJson) {
    tool.console.Out(std::string(body) + (body.ends_with('\n') ? "" : "\n"));
    return true;
  }
  if (tool.format == OutputFormat::kYaml) {
    ASSIGN_OR_RETURN(const std::string yaml, JsonToYaml(body));
    tool.console.Out(yaml);
    return true;
  }
  return false;
}

}  // namespace muster::ctl
