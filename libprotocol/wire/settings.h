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
#include <vector>

#include "absl/status/status.h"
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
                      int64_t max, int64_t& value);

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

// Fills what the settings are bound to. InvalidArgument naming the source
// ("gateway.toml:3", variable or flag), the key, what is accepted, and the
// value; also for a key that is no setting. `validate` is asked last: its
// errors begin with a key, and get that key's source before them.
absl::Status LoadSettings(
    const std::vector<Setting>& settings, const SettingSources& sources,
    const std::function<absl::Status()>& validate = absl::OkStatus);

}  // namespace muster::wire

#endif  // MUSTER_LIBPROTOCOL_WIRE_SETTINGS_H_
