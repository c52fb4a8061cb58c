#include "agent/exec/record.h"

#include <charconv>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

void AppendEscaped(std::string& out, std::string_view value) {
  for (const unsigned char c : value) {
    if (c < 0x20 || c == 0x7f || c == '%') {
      fmt::format_to(std::back_inserter(out), "%{:02X}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
}

// False when a '%' is not followed by two hexadecimal digits.
bool Unescape(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const char* first = text.data() + i + 1;
    uint8_t byte = 0;
    if (std::from_chars(first, first + 2, byte, 16).ptr != first + 2) {
      return false;
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return true;
}

}  // namespace

void Record::Add(std::string_view key, std::string_view value) {
  pairs_.emplace_back(key, value);
}

void Record::Add(std::string_view key, int64_t value) {
  Add(key, fmt::to_string(value));
}

std::string Record::Encode() const {
  std::string out;
  for (const auto& [key, value] : pairs_) {
    out += key;
    out += '=';
    AppendEscaped(out, value);
    out += '\n';
  }
  return out + "end\n";
}

absl::StatusOr<Record> Record::Parse(std::string_view text) {
  Record record;
  for (int line_number = 1; !text.empty(); ++line_number) {
    const size_t newline = text.find('\n');
    if (newline == text.npos) break;
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline + 1);
    if (line == "end") {
      if (text.empty()) return record;
      return absl::DataLossError("record: bytes after the end");
    }
    const size_t equals = line.find('=');
    std::string value;
    if (equals == 0 || equals == line.npos ||
        !Unescape(line.substr(equals + 1), value)) {
      return absl::DataLossError(
          fmt::format("record: line {} is not key=value", line_number));
    }
    record.Add(line.substr(0, equals), value);
  }
  return absl::DataLossError("record: the end is missing");
}

absl::StatusOr<std::string> Record::Text(std::string_view key) const {
  std::vector<std::string> values = All(key);
  if (values.size() != 1) {
    return absl::DataLossError(
        fmt::format("record: {} occurs {} times, not 1", key, values.size()));
  }
  return std::move(values.front());
}

absl::StatusOr<int64_t> Record::Int(std::string_view key, int64_t min,
                                    int64_t max) const {
  ASSIGN_OR_RETURN(const std::string text, Text(key));
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end || value < min || value > max) {
    return absl::DataLossError(
        fmt::format("record: {} must be a number in [{}, {}], got \"{}\"", key,
                    min, max, text.substr(0, 40)));
  }
  return value;
}

std::vector<std::string> Record::All(std::string_view key) const {
  std::vector<std::string> values;
  for (const auto& [k, v] : pairs_) {
    if (k == key) values.push_back(v);
  }
  return values;
}

}  // namespace muster::agent
