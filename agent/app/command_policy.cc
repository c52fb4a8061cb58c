#include "agent/app/command_policy.h"

#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/toml_file.h"

namespace muster::agent {
namespace {

constexpr size_t kPolicyBytesMax = 64 << 10;
constexpr int64_t kRunningMaxMax = 4096;
constexpr int kMinutesOfADay = 24 * 60;

constexpr std::array<std::pair<std::string_view, absl::Weekday>, 7> kDays = {
    {{"Mon", absl::Weekday::monday},
     {"Tue", absl::Weekday::tuesday},
     {"Wed", absl::Weekday::wednesday},
     {"Thu", absl::Weekday::thursday},
     {"Fri", absl::Weekday::friday},
     {"Sat", absl::Weekday::saturday},
     {"Sun", absl::Weekday::sunday}}};

constexpr Shell kShells[] = {Shell::kBash,    Shell::kSh,   Shell::kZsh,
                             Shell::kPython3, Shell::kPwsh, Shell::kExec};

std::optional<absl::Weekday> DayOf(std::string_view word) {
  const auto day = std::ranges::find(
      kDays, word, [](const auto& entry) { return entry.first; });
  return day == kDays.end() ? std::nullopt : std::optional(day->second);
}

// "08:30" → 510; "24:00" is the end of the day.
std::optional<int> MinuteOf(std::string_view word) {
  int hour = 0, minute = 0;
  if (word.size() != 5 || word[2] != ':') return std::nullopt;
  const auto number = [&](size_t at, int& out) {
    const auto [end, error] =
        std::from_chars(word.data() + at, word.data() + at + 2, out);
    return error == std::errc() && end == word.data() + at + 2;
  };
  if (!number(0, hour) || !number(3, minute) || minute > 59) {
    return std::nullopt;
  }
  const int all = hour * 60 + minute;
  return all <= kMinutesOfADay ? std::optional(all) : std::nullopt;
}

// "Mon-Fri 08:00-18:00", "Sat 10:00-12:00".
std::optional<Hours> HoursOf(std::string_view text) {
  const size_t blank = text.find(' ');
  if (blank == text.npos) return std::nullopt;
  const auto halves = [](std::string_view words) {
    const size_t dash = words.find('-');
    return std::pair(words.substr(0, dash),
                     dash == words.npos ? words : words.substr(dash + 1));
  };
  const auto [first, last] = halves(text.substr(0, blank));
  const auto [from, to] = halves(text.substr(blank + 1));
  const auto first_day = DayOf(first), last_day = DayOf(last);
  const auto from_minute = MinuteOf(from), to_minute = MinuteOf(to);
  if (!first_day || !last_day || !from_minute || !to_minute ||
      *from_minute >= *to_minute) {
    return std::nullopt;
  }
  return Hours{*first_day, *last_day, *from_minute, *to_minute};
}

std::optional<Shell> ShellOf(std::string_view word) {
  const auto* shell = std::ranges::find_if(
      kShells, [&](Shell known) { return Name(known) == word; });
  return shell == std::end(kShells) ? std::nullopt : std::optional(*shell);
}

// Reads one field after another and says of each error where it is.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  absl::Status Error(const toml::node& at, std::string_view field,
                     std::string_view what) const {
    return absl::InvalidArgumentError(fmt::format(
        "{}:{}: {}: {}", path_, at.source().begin.line, field, what));
  }

  // `read(text)` is absent for what is none of `expected`.
  template <typename Item, typename Read>
  absl::Status List(const toml::node& value, std::string_view field,
                    std::string_view expected, Read read,
                    std::optional<std::vector<Item>>& out) const {
    const toml::array* list = value.as_array();
    if (list == nullptr) return Error(value, field, "must be a list of texts");
    out.emplace();
    for (const toml::node& node : *list) {
      const auto text = node.value<std::string>();
      std::optional<Item> item;
      if (text) item = read(*text);
      if (!item) {
        return Error(node, field,
                     fmt::format("must be {}, got {}", expected,
                                 text ? "\"" + *text + "\"" : "no text"));
      }
      out->push_back(*std::move(item));
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
};

std::optional<std::string> AnyName(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

std::optional<std::string> AbsolutePath(const std::string& text) {
  return text.starts_with('/') ? std::optional(text) : std::nullopt;
}

absl::Status ReadField(const Reader& reader, std::string_view field,
                       const toml::node& value, CommandPolicy& policy) {
  if (field == "users") {
    return reader.List(value, field, "a user's name", AnyName, policy.users);
  }
  if (field == "shells") {
    return reader.List(value, field,
                       "one of bash, sh, zsh, python3, pwsh, exec", ShellOf,
                       policy.shells);
  }
  if (field == "programs") {
    return reader.List(value, field, "an absolute path", AbsolutePath,
                       policy.programs);
  }
  if (field == "environment") {
    return reader.List(value, field, "a variable's name", AnyName,
                       policy.environment);
  }
  if (field == "hours") {
    return reader.List(value, field, "like \"Mon-Fri 08:00-18:00\"", HoursOf,
                       policy.hours);
  }
  if (field == "sessions") {
    policy.sessions = value.value<bool>();
    return policy.sessions
               ? absl::OkStatus()
               : reader.Error(value, field, "must be true or false");
  }
  if (field != "running_max") return reader.Error(value, field, "unknown rule");
  const auto number = value.value<int64_t>();
  if (!number || *number < 0 || *number > kRunningMaxMax) {
    return reader.Error(
        value, field,
        fmt::format("must be a number from 0 to {}", kRunningMaxMax));
  }
  policy.running_max = static_cast<size_t>(*number);
  return absl::OkStatus();
}

// Whoever else could write it, or put another one in its place, could make it
// allow everything.
absl::Status CheckOwner(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return ErrnoStatus(errno, "reading", path);
  if (st.st_uid != 0 && st.st_uid != geteuid()) {
    return absl::PermissionDeniedError(fmt::format(
        "{0} belongs to user {1}: chown root {0}", path, st.st_uid));
  }
  if ((st.st_mode & 0022) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("{0} may be written by others (mode {1:04o}): chmod go-w {0}",
                  path, st.st_mode & 07777u));
}

bool Matches(const std::vector<std::string>& patterns,
             const std::string& text) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), text.c_str(), FNM_PATHNAME) == 0;
  });
}

bool IsOneOf(const std::vector<std::string>& programs,
             const std::string& program) {
  // "/usr/bin/../../tmp/x" is not below /usr.
  return std::filesystem::path(program).lexically_normal() == program &&
         Matches(programs, program);
}

}  // namespace

bool Hours::Contains(absl::CivilSecond local) const {
  const int days = 7;
  const int since_first = (static_cast<int>(absl::GetWeekday(local)) -
                           static_cast<int>(first) + days) %
                          days;
  const int length =
      (static_cast<int>(last) - static_cast<int>(first) + days) % days;
  const int minute = static_cast<int>(local.hour() * 60 + local.minute());
  return since_first <= length && from <= minute && minute < to;
}

absl::StatusOr<CommandPolicy> CommandPolicy::Load(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0 && errno == ENOENT &&
      path == kDefaultPolicyFile) {
    return CommandPolicy();
  }
  RETURN_IF_ERROR(
      CheckOwner(std::filesystem::path(path).parent_path().string()));
  RETURN_IF_ERROR(CheckOwner(path));
  ASSIGN_OR_RETURN(const toml::table table,
                   wire::ReadTomlFile(path, kPolicyBytesMax));
  const Reader reader(path);
  CommandPolicy policy;
  for (const auto& [key, value] : table) {
    RETURN_IF_ERROR(ReadField(reader, key.str(), value, policy));
  }
  return policy;
}

std::string CommandPolicy::Given() const {
  const std::pair<bool, std::string_view> rules[] = {
      {users.has_value(), "users"},
      {shells.has_value(), "shells"},
      {programs.has_value(), "programs"},
      {environment.has_value(), "environment"},
      {hours.has_value(), "hours"},
      {running_max.has_value(), "running_max"},
      {sessions.has_value(), "sessions"}};
  std::string names;
  for (const auto& [given, name] : rules) {
    if (given) names += fmt::format("{}{}", names.empty() ? "" : " ", name);
  }
  return names.empty() ? "none" : names;
}

std::string_view CommandPolicy::RuleAgainst(const Spec& spec,
                                            std::string_view user,
                                            std::string_view program,
                                            size_t running,
                                            absl::CivilSecond local) const {
  const auto has = [](const auto& list, const auto& item) {
    return std::ranges::find(list, item) != list.end();
  };
  const bool exec = spec.shell == Shell::kExec;
  const bool login = spec.terminal && spec.argv.empty();
  if (users && !has(*users, user)) return "users";
  if (spec.terminal && !AllowsSessions()) return "sessions";
  if (shells && !login && !has(*shells, spec.shell)) return "shells";
  if (programs && !shells && !exec) return "programs";
  if (programs && exec && !login && !IsOneOf(*programs, std::string(program))) {
    return "programs";
  }
  for (const std::string& entry : spec.surroundings.environment) {
    if (!environment && !programs) break;
    if (!environment ||
        !Matches(*environment, entry.substr(0, entry.find('=')))) {
      return "environment";
    }
  }
  if (hours && std::ranges::none_of(*hours, [&](const Hours& some) {
        return some.Contains(local);
      })) {
    return "hours";
  }
  if (running_max && running >= *running_max) return "running_max";
  return "";
}

}  // namespace muster::agent
