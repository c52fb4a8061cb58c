#include "libprotocol/wire/duration_text.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "fmt/format.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::wire {
namespace {

struct Unit {
  std::string_view name;
  absl::Duration length;
};

// Larger units first. "ms" stands before "m" nowhere: names are compared whole.
const std::array<Unit, 5>& Units() {
  static const std::array<Unit, 5> units = {{{"d", absl::Hours(24)},
                                             {"h", absl::Hours(1)},
                                             {"m", absl::Minutes(1)},
                                             {"s", absl::Seconds(1)},
                                             {"ms", absl::Milliseconds(1)}}};
  return units;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view TakeWhile(std::string_view& text, bool (*wanted)(char)) {
  size_t n = 0;
  while (n < text.size() && wanted(text[n])) ++n;
  const std::string_view taken = text.substr(0, n);
  text.remove_prefix(n);
  return taken;
}

// "90", "1.5" in `unit`s; infinite if it has too many digits to be within the
// bounds. False if it is no number.
bool TakeNumber(std::string_view& text, absl::Duration unit,
                absl::Duration& out) {
  constexpr size_t kWholeDigitsMax = 15, kFractionDigitsMax = 9;
  const std::string_view whole = TakeWhile(text, IsDigit);
  if (whole.empty()) return false;
  int64_t value = 0;
  for (char c : whole.substr(0, kWholeDigitsMax))
    value = value * 10 + (c - '0');
  out =
      whole.size() > kWholeDigitsMax ? absl::InfiniteDuration() : value * unit;
  if (!text.starts_with('.')) return true;
  text.remove_prefix(1);
  const std::string_view fraction = TakeWhile(text, IsDigit);
  if (fraction.empty() || fraction.size() > kFractionDigitsMax) return false;
  int64_t digits = 0, scale = 1;
  for (char c : fraction) {
    digits = digits * 10 + (c - '0');
    scale *= 10;
  }
  out += digits * unit / scale;
  return true;
}

// The number and unit at the front of `text`; `next` is the first unit that may
// still come.
bool TakePart(std::string_view& text, size_t& next, absl::Duration& out) {
  std::string_view rest = text;
  TakeWhile(rest, [](char c) { return IsDigit(c) || c == '.'; });
  const std::string_view name =
      TakeWhile(rest, [](char c) { return c >= 'a' && c <= 'z'; });
  for (size_t i = next; i < Units().size(); ++i) {
    if (Units()[i].name != name) continue;
    if (!TakeNumber(text, Units()[i].length, out)) return false;
    if (!text.starts_with(name)) return false;
    text = rest;
    next = i + 1;
    return true;
  }
  return false;
}

}  // namespace

std::string DurationText(absl::Duration d) {
  const google::protobuf::Duration p = ToProto(d);
  const bool negative = p.seconds() < 0 || p.nanos() < 0;
  std::string text = fmt::format("{}{}.{:09}", negative ? "-" : "",
                                 negative ? -p.seconds() : p.seconds(),
                                 negative ? -p.nanos() : p.nanos());
  text.resize(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text + "s";
}

absl::StatusOr<absl::Duration> ParseDurationText(std::string_view text) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative) rest.remove_prefix(1);
  absl::Duration sum;
  size_t next = 0;
  bool good = !rest.empty();
  while (good && !rest.empty()) {
    absl::Duration part;
    good = TakePart(rest, next, part);
    sum += part;
  }
  if (good && sum > absl::Seconds(kDurationSecondsMax)) {
    return absl::InvalidArgumentError(
        fmt::format("must be at most {}s, got \"{}\"", kDurationSecondsMax,
                    text.substr(0, 64)));
  }
  if (!good) {
    return absl::InvalidArgumentError(fmt::format(
        "expected a duration such as 500ms, 30s, 5m, 2h, 1d or 1h30m, got "
        "\"{}\"",
        text.substr(0, 64)));
  }
  return negative ? -sum : sum;
}

std::string DurationOrNeverText(absl::Duration d) {
  return d < absl::Seconds(kDurationSecondsMax) ? DurationText(d) : "never";
}

absl::StatusOr<absl::Duration> ParseDurationOrNever(std::string_view text) {
  if (text == "never") return absl::InfiniteDuration();
  return ParseDurationText(text);
}

}  // namespace muster::wire
