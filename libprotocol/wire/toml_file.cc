#include "libprotocol/wire/toml_file.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::wire {
namespace {

// TOML 1.0 forbids them everywhere, comments included. The parser would not
// refuse a NUL but fail an assertion of its own.
bool IsForbidden(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t' && c != '\n' && c != '\r') || byte == 0x7f;
}

absl::Status CheckCharacters(const std::string& path, std::string_view text) {
  const auto bad = std::ranges::find_if(text, IsForbidden);
  if (bad == text.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}:{}: the control character 0x{:02x} cannot stand in TOML",
                  path, 1 + std::count(text.begin(), bad, '\n'), *bad));
}

}  // namespace

absl::StatusOr<toml::table> ReadTomlFile(const std::string& path,
                                         size_t bytes_max) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, bytes_max));
  RETURN_IF_ERROR(CheckCharacters(path, text));
  toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: {}", path, parsed.error().source().begin.line,
                    parsed.error().description()));
  }
  return std::move(parsed).table();
}

}  // namespace muster::wire
