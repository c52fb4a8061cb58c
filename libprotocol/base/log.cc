#include "libprotocol/base/log.h"

#include <cstdlib>
#include <memory>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/mutex.h"
#include "libprotocol/base/system_clock.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace muster {
namespace {

// What ConfigureLog() decided; written once before threads exist.
struct Settings {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kLogfmt;
  // journald stamps the time itself and reads <n> as the priority.
  bool journald = std::getenv("JOURNAL_STREAM") != nullptr;
};
Settings& settings() {
  static Settings s;
  return s;
}

struct Tap {
  Mutex mu;
  std::function<void(std::string_view)> line ABSL_GUARDED_BY(mu);
};
Tap& tap() {
  static Tap& t = *new Tap;  // Outlives every static that may still log.
  return t;
}

spdlog::logger& sink() {
  static spdlog::logger& logger = *[] {
    auto* l = new spdlog::logger(
        "muster", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l->set_pattern("%v");
    l->set_level(spdlog::level::trace);
    l->flush_on(spdlog::level::trace);
    return l;
  }();
  return logger;
}

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};
constexpr std::string_view kSyslog[] = {"<7>", "<6>", "<4>", "<3>"};

void AppendQuoted(std::string& out, std::string_view s) {
  out += '"';
  for (const unsigned char c : s) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (c < 0x20 || c == 0x7f) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
        } else {
          out += static_cast<char>(c);
        }
    }
  }
  out += '"';
}

bool NeedsQuotes(std::string_view s) {
  for (const unsigned char c : s) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return true;
  }
  return s.empty();
}

std::string Render(LogLevel level, std::string_view message,
                   std::initializer_list<LogField> fields) {
  const int n = static_cast<int>(level);
  const bool json = settings().format == LogFormat::kJson;
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", SystemClock().Wall(),
                                            absl::UTCTimeZone());
  std::string out;
  if (settings().journald) out += kSyslog[n];
  if (json) {
    fmt::format_to(std::back_inserter(out),
                   R"({{"time":"{}","level":"{}","msg":)", time, kNames[n]);
  } else {
    if (!settings().journald) out += "time=" + time + " ";
    fmt::format_to(std::back_inserter(out), "level={} msg=", kNames[n]);
  }
  json || NeedsQuotes(message) ? AppendQuoted(out, message)
                               : void(out += message);
  for (const LogField& f : fields) {
    if (json) {
      out += ',';
      AppendQuoted(out, f.key);
      out += ':';
    } else {
      out += ' ';
      out += f.key;
      out += '=';
    }
    const bool quote = json ? f.quoted : NeedsQuotes(f.value);
    quote ? AppendQuoted(out, f.value) : void(out += f.value);
  }
  if (json) out += '}';
  return out;
}

}  // namespace

LogField::LogField(std::string_view k, double v)
    : key(k), value(fmt::format("{:.6g}", v)), quoted(false) {}
LogField::LogField(std::string_view k, absl::Duration v)
    : key(k), value(absl::FormatDuration(v)), quoted(true) {}
LogField::LogField(std::string_view k, absl::Time v)
    : key(k),
      value(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", v, absl::UTCTimeZone())),
      quoted(true) {}
LogField::LogField(std::string_view k, const absl::Status& v)
    : key(k), value(v.ToString()), quoted(true) {}

void Log(LogLevel level, std::string_view message,
         std::initializer_list<LogField> fields) {
  if (level < settings().level) return;
  const std::string line = Render(level, message, fields);
  sink().log(spdlog::level::info, line);
  MutexLock lock(tap().mu);
  if (tap().line) tap().line(line);
}

void ConfigureLog(LogLevel level, LogFormat format) {
  settings().level = level;
  settings().format = format;
}

void TapLog(std::function<void(std::string_view)> line) {
  MutexLock lock(tap().mu);
  tap().line = std::move(line);
}

absl::Status ParseLogLevel(std::string_view text, LogLevel& out) {
  for (int i = 0; i < 4; ++i) {
    if (text == kNames[i]) {
      out = static_cast<LogLevel>(i);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(fmt::format(
      "expected one of debug, info, warning, error; got \"{}\"", text));
}

absl::Status ParseLogFormat(std::string_view text, LogFormat& out) {
  if (text == "logfmt" || text == "json") {
    out = text == "json" ? LogFormat::kJson : LogFormat::kLogfmt;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("expected one of logfmt, json; got \"{}\"", text));
}

void CheckFailed(const char* file, int line, const char* expression) {
  fmt::print(stderr, "{}:{}: check failed: {}\n", file, line, expression);
  std::abort();
}

}  // namespace muster
