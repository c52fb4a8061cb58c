// A program's settings and where they come from:
// default < TOML file < environment MUSTER_… < flag.
//
// Each setting is declared once. `web_listen` in the file is MUSTER_WEB_LISTEN
// in the environment and --web-listen on the command line.

#ifndef MUSTER_LIBPROTOCOL_WIRE_SETTINGS_H_
#define MUSTER_LIBPROTOCOL_WIRE_SETTINGS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/log.h"

namespace muster::wire {

// One setting, bound to the place that it fills.
struct Setting {
  std::string key;   // "web_listen"
  std::string help;  // One line for --help, with bounds.
  // Takes the value as text. An error says what is accepted and what was given.
  std::function<absl::Status(const std::string&)> set;
  // The present value as text: for --help and the log.
  std::function<std::string()> get;
  // In a file it stands without quotes.
  bool is_number = false;
};

// The value as --help shows it: "1s to 5m [5s]".
std::string HelpText(const Setting& setting);

Setting TextSetting(std::string key, std::string help, std::string& value);
Setting DurationSetting(std::string key, std::string help,
                        absl::Duration& value);
// "log_level" and "log_format", which every program has.
Setting LogLevelSetting(LogLevel& level);
Setting LogFormatSetting(LogFormat& format);
// `min` and `max` are inclusive.
Setting NumberSetting(std::string key, std::string help, int64_t min,
                      int64_t max, std::function<void(int64_t)> set,
                      std::function<int64_t()> get);
template <typename Number>
Setting NumberSetting(std::string key, std::string help, int64_t min,
                      int64_t max, Number& value) {
  return NumberSetting(
      std::move(key), std::move(help), min, max,
      [&value](int64_t number) { value = static_cast<Number>(number); },
      [&value] { return static_cast<int64_t>(value); });
}

std::string EnvironmentName(std::string_view key);  // "MUSTER_WEB_LISTEN"
std::string FlagName(std::string_view key);         // "--web-listen"

struct SettingSources {
  // Must exist if given; else `default_file`, which may be absent.
  std::optional<std::string> file;
  std::string default_file;
  // The value of an environment variable, if it is set.
  std::function<std::optional<std::string>(const std::string& name)>
      environment;
  // key → value, as given on the command line.
  std::map<std::string, std::string> flags;
};

// Where the settings that are not left to their default were set: key →
// "gateway.toml:3", "MUSTER_DRAIN" or "--drain".
using Origins = std::map<std::string, std::string, std::less<>>;

// The error of settings that are wrong together, or with this machine. It
// begins with the key of one of `settings`, and gets the place before it where
// that was set; if that is its default, the place of the one that was set among
// those that it names. Other errors stay as they are.
absl::Status AtOrigin(const absl::Status& status,
                      const std::vector<Setting>& settings,
                      const Origins& origins);

// Fills what the settings are bound to and says where from. InvalidArgument
// naming the source, the key, what is accepted, and the value; also for a key
// that is no setting. `validate` is asked last: its errors go through
// AtOrigin().
absl::StatusOr<Origins> LoadSettings(
    const std::vector<Setting>& settings, const SettingSources& sources,
    const std::function<absl::Status()>& validate = absl::OkStatus);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_SETTINGS_H_
