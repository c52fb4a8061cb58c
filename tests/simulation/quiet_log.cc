// Takes the place of libprotocol/base/log.cc: the rules under simulation log
// millions of lines that nobody reads. What they decide is in the history.

#include <cstdio>
#include <cstdlib>

#include "libprotocol/base/check.h"
#include "libprotocol/base/log.h"

namespace muster {

LogField::LogField(std::string_view k, double) : key(k), quoted(false) {}
LogField::LogField(std::string_view k, absl::Duration) : key(k), quoted(true) {}
LogField::LogField(std::string_view k, absl::Time) : key(k), quoted(true) {}
LogField::LogField(std::string_view k, const absl::Status&)
    : key(k), quoted(true) {}

void Log(LogLevel, std::string_view, std::initializer_list<LogField>) {}

void CheckFailed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace muster
