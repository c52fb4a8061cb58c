#include "libprotocol/wire/settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <sstream>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/toml_file.h"

namespace muster::wire {
namespace {

constexpr size_t kFileBytesMax = 256 * 1024;

const Setting* Find(const std::vector<Setting>& settings,
                    std::string_view key) {
  const auto it =
      std::find_if(settings.begin(), settings.end(),
                   [key](const Setting& s) { return s.key == key; });
  return it == settings.end() ? nullptr : &*it;
}

absl::Status Set(const Setting& setting, const std::string& value,
                 std::string_view where, Origins& origins) {
  origins[setting.key] = where;
  const absl::Status status = setting.set(value);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: {}", where, setting.key, ToStd(status.message())));
}

// A TOML string as it is; numbers and booleans as they are written.
std::optional<std::string> ScalarText(const toml::node& node) {
  if (const auto* text = node.as_string()) return **text;
  std::ostringstream out;
  if (const auto* number = node.as_integer()) {
    out << **number;
  } else if (const auto* real = node.as_floating_point()) {
    out << *real;
  } else if (const auto* flag = node.as_boolean()) {
    out << (**flag ? "true" : "false");
  } else {
    return std::nullopt;
  }
  return out.str();
}

// Whether a value of this type may stand there. Asked when the value itself was
// found good: what is wrong with that says more.
absl::Status CheckType(const Setting& setting, const toml::node& node,
                       std::string_view value) {
  if (setting.is_number ? node.is_integer() : node.is_string()) {
    return absl::OkStatus();
  }
  if (!setting.is_number) {
    return absl::InvalidArgumentError(
        fmt::format("must be text in quotes, got {}", value));
  }
  return absl::InvalidArgumentError(
      node.is_string()
          ? fmt::format("must be a number without quotes, got \"{}\"", value)
          : fmt::format("must be a whole number, got {}", value));
}

absl::Status ApplyFile(const std::string& path,
                       const std::vector<Setting>& settings, Origins& origins) {
  auto read = ReadTomlFile(path, kFileBytesMax);
  if (!read.ok()) return absl::InvalidArgumentError(read.status().message());
  const toml::table table = *std::move(read);
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const std::string where =
        fmt::format("{}:{}", path, key.source().begin.line);
    const Setting* setting = Find(settings, name);
    if (setting == nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("{}: unknown setting \"{}\"", where, name));
    }
    const auto value = ScalarText(node);
    if (!value) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: {}: expected one value, not a table or list", where, name));
    }
    RETURN_IF_ERROR(Set(*setting, *value, where, origins));
    if (const absl::Status type = CheckType(*setting, node, *value);
        !type.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: {}: {}", where, name, ToStd(type.message())));
    }
  }
  return absl::OkStatus();
}

// The settings that a text names, in its order. What stands in quotes is
// somebody's value, and a part of a path or a host is none.
std::vector<std::string> KeysIn(std::string_view text,
                                const std::vector<Setting>& settings) {
  std::vector<std::string> keys;
  std::string word;
  for (const char c : fmt::format("{}\"", text)) {
    if (std::isalnum(static_cast<unsigned char>(c)) ||
        std::string_view("_-./").find(c) != std::string_view::npos) {
      word += c;
      continue;
    }
    if (Find(settings, word) != nullptr &&
        std::ranges::count(keys, word) == 0) {
      keys.push_back(word);
    }
    word.clear();
    if (c == '"') break;
  }
  return keys;
}

}  // namespace

absl::Status AtOrigin(const absl::Status& status,
                      const std::vector<Setting>& settings,
                      const Origins& origins) {
  const std::string_view text = ToStd(status.message());
  const std::vector<std::string> keys = KeysIn(text, settings);
  if (status.ok() || keys.empty() || !text.starts_with(keys.front())) {
    return status;
  }
  std::string line(text);
  bool placed = origins.contains(keys.front());
  if (placed) line = fmt::format("{}: {}", origins.at(keys.front()), text);
  for (const std::string& key : keys) {
    const auto origin = origins.find(key);
    if (origin == origins.end() || key == keys.front()) continue;
    if (std::exchange(placed, true)) {
      line += fmt::format(" ({} is set at {})", key, origin->second);
    } else {
      line = fmt::format("{}: {}: {} by default", origin->second, key, text);
    }
  }
  return absl::Status(status.code(), line);
}

std::string HelpText(const Setting& setting) {
  const std::string value = setting.get();
  return value.empty() ? setting.help
                       : fmt::format("{} [{}]", setting.help, value);
}

Setting TextSetting(std::string key, std::string help, std::string& value) {
  return {std::move(key), std::move(help),
          [&value](const std::string& text) {
            value = text;
            return absl::OkStatus();
          },
          [&value] { return value; }};
}

Setting DurationSetting(std::string key, std::string help,
                        absl::Duration& value) {
  return {std::move(key), std::move(help),
          [&value](const std::string& text) {
            const auto parsed = ParseDurationOrNever(text);
            if (parsed.ok()) value = *parsed;
            return parsed.status();
          },
          [&value] { return DurationOrNeverText(value); }};
}

Setting LogLevelSetting(LogLevel& level) {
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  return {
      "log_level", "debug, info, warning or error",
      [&level](const std::string& text) { return ParseLogLevel(text, level); },
      [&level] { return kNames[static_cast<int>(level)]; }};
}

Setting LogFormatSetting(LogFormat& format) {
  return {"log_format", "logfmt or json",
          [&format](const std::string& text) {
            return ParseLogFormat(text, format);
          },
          [&format] { return format == LogFormat::kJson ? "json" : "logfmt"; }};
}

Setting NumberSetting(std::string key, std::string help, int64_t min,
                      int64_t max, std::function<void(int64_t)> set,
                      std::function<int64_t()> get) {
  return {
      std::move(key), std::move(help),
      [set = std::move(set), min, max](const std::string& text) {
        int64_t number = 0;
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, number);
        if (error != std::errc() || stop != end || number < min ||
            number > max) {
          return absl::InvalidArgumentError(fmt::format(
              "must be a number from {} to {}, got \"{}\"", min, max, text));
        }
        set(number);
        return absl::OkStatus();
      },
      [get = std::move(get)] { return std::to_string(get()); }, true};
}

std::string EnvironmentName(std::string_view key) {
  std::string out = fmt::format("MUSTER_{}", key);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  return out;
}

std::string FlagName(std::string_view key) {
  std::string out = fmt::format("--{}", key);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

absl::StatusOr<Origins> LoadSettings(
    const std::vector<Setting>& settings, const SettingSources& sources,
    const std::function<absl::Status()>& validate) {
  Origins origins;
  if (sources.file || FileExists(sources.default_file)) {
    RETURN_IF_ERROR(ApplyFile(sources.file.value_or(sources.default_file),
                              settings, origins));
  }
  for (const Setting& setting : settings) {
    const std::string variable = EnvironmentName(setting.key);
    if (const auto value = sources.environment(variable)) {
      RETURN_IF_ERROR(Set(setting, *value, variable, origins));
    }
  }
  for (const auto& [key, value] : sources.flags) {
    const Setting* setting = Find(settings, key);
    if (setting == nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("{}: unknown setting", FlagName(key)));
    }
    RETURN_IF_ERROR(Set(*setting, value, FlagName(key), origins));
  }
  RETURN_IF_ERROR(AtOrigin(validate(), settings, origins));
  return origins;
}

}  // namespace muster::wire
