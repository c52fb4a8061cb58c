#include "libprotocol/wire/toml_file.h"

#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::wire {

absl::StatusOr<toml::table> ReadTomlFile(const std::string& path,
                                         size_t bytes_max) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, bytes_max));
  toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: {}", path, parsed.error().source().begin.line,
                    parsed.error().description()));
  }
  return std::move(parsed).table();
}

}  // namespace muster::wire
