// Structured log records on stderr.
//
//   Log(kInfo, "machine offline", {{"agent_id", id}, {"silence", d}});
//
// The message is a constant; values are fields, so that a log can be searched
// by machine. One record is one line and one write. Secrets have no overload:
// see secret.h.

#ifndef MUSTER_LIBPROTOCOL_BASE_LOG_H_
#define MUSTER_LIBPROTOCOL_BASE_LOG_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace muster {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };
inline constexpr LogLevel kDebug = LogLevel::kDebug;
inline constexpr LogLevel kInfo = LogLevel::kInfo;
inline constexpr LogLevel kWarning = LogLevel::kWarning;
inline constexpr LogLevel kError = LogLevel::kError;

enum class LogFormat { kLogfmt, kJson };

// LogField is one key and its value, already rendered.
struct LogField {
  LogField(std::string_view k, std::string_view v)
      : key(k), value(v), quoted(true) {}
  LogField(std::string_view k, const std::string& v)
      : LogField(k, std::string_view(v)) {}
  LogField(std::string_view k, const char* v)
      : LogField(k, std::string_view(v)) {}
  LogField(std::string_view k, bool v)
      : key(k), value(v ? "true" : "false"), quoted(false) {}
  template <std::integral T>
  LogField(std::string_view k, T v)
      : key(k), value(std::to_string(v)), quoted(false) {}
  LogField(std::string_view k, double v);
  LogField(std::string_view k, absl::Duration v);
  LogField(std::string_view k, absl::Time v);
  LogField(std::string_view k, const absl::Status& v);

  std::string_view key;
  std::string value;
  bool quoted;  // In JSON the value is a string.
};

// Thread-safe. Records below the configured level cost one comparison.
void Log(LogLevel level, std::string_view message,
         std::initializer_list<LogField> fields = {});

// Call once from main(), before other threads exist. Default: info, logfmt.
void ConfigureLog(LogLevel level, LogFormat format);

// Also hands every record, rendered without a newline, to `tap` (on the thread
// that logs; it must not log). For the agent's ring of recent lines and for
// tests. An empty function removes it. Thread-safe.
void TapLog(std::function<void(std::string_view line)> tap);

// The names accepted by settings: debug, info, warning, error / logfmt, json.
// InvalidArgument naming the accepted values otherwise.
absl::Status ParseLogLevel(std::string_view text, LogLevel& out);
absl::Status ParseLogFormat(std::string_view text, LogFormat& out);

}  // namespace muster

#endif  // MUSTER_LIBPROTOCOL_BASE_LOG_H_
