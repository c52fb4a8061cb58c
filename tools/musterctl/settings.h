// Which gateway, with which token, shown how: flag > environment > context >
// default.

#ifndef MUSTER_TOOLS_MUSTERCTL_SETTINGS_H_
#define MUSTER_TOOLS_MUSTERCTL_SETTINGS_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/secret.h"
#include "tools/musterctl/output_format.h"
#include "tools/musterctl/transport.h"

namespace muster::ctl {

inline constexpr char kDefaultServer[] = "http://127.0.0.1:7080";

enum class ColorMode { kAuto, kAlways, kNever };

// "auto", "always", "never"; absent for anything else.
std::optional<ColorMode> ParseColorMode(std::string_view word);

// The flags that every verb has, as they were given.
struct GlobalFlags {
  std::optional<std::string> server, context, ca_file, pin, config, org;
  std::optional<OutputFormat> output;
  ColorMode color = ColorMode::kAuto;
  // Of one call. The global `--timeout`.
  absl::Duration timeout = absl::Seconds(30);
};

// The value of an environment variable; nothing if it is unset or empty.
using Environment = std::function<std::optional<std::string>(std::string_view)>;

struct Settings {
  Endpoint endpoint;
  Secret token;             // Empty: none is configured.
  std::string org;          // Empty: that of the token.
  std::string context;      // In use; empty: none.
  std::string config_path;  // Of the context file, which need not exist.
  OutputFormat output = OutputFormat::kTable;
  ColorMode color = ColorMode::kAuto;  // NO_COLOR is already in it.
  absl::Duration timeout;
};

// NotFound for a context that is named but not there; InvalidArgument for an
// unusable URL or output format; errors of LoadContexts.
//
// A context's token, pin and CA belong to its server: they are not used when a
// flag or the environment names another one.
absl::StatusOr<Settings> ResolveSettings(const GlobalFlags& flags,
                                         const Environment& environment);

// Where the context file lies: --config, MUSTER_CONFIG, XDG_CONFIG_HOME, HOME.
absl::StatusOr<std::string> ConfigPath(const GlobalFlags& flags,
                                       const Environment& environment);

// InvalidArgument unless it is http(s)://HOST[:PORT] without user, path or
// query; and for plain HTTP to another host, which would show the token to
// everyone on the way.
absl::Status CheckServer(std::string_view url);

// Advice for a person without a token. Points to the gateway's own admin-token
// file when one is readable here; never reads it.
std::string TokenHint();

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_SETTINGS_H_
