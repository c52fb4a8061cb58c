#include "tools/musterctl/tool.h"

#include <string>

#include "fmt/format.h"
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

absl::Status CheckCanAsk(Tool& tool, std::string_view verb) {
  if (tool.console.InIsTerminal()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} asks first, and nobody can answer here; give -y", verb));
}

absl::StatusOr<bool> Agreed(Tool& tool, std::string_view question) {
  ASSIGN_OR_RETURN(const std::string reply,
                   tool.console.Ask(fmt::format("{} [y/N] ", question)));
  if (reply == "y" || reply == "yes" || reply == "Y") return true;
  tool.console.Err("Nothing was changed.\n");
  return false;
}

}  // namespace muster::ctl
