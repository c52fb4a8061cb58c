// What may be run on this machine, whatever a gateway orders?
//
// The machine's owner writes it; no gateway can. Each rule that is given must
// hold, and none that is not given does:
//
//   users = ["deploy", "www-data"]        # as whom
//   shells = ["sh", "exec"]               # who interprets; "exec": nobody
//   programs = ["/usr/bin/systemctl"]     # of exec, as it is found; globs too
//   environment = ["LANG", "SHOP_*"]      # names that may be given
//   running_max = 4                       # at once
//   hours = ["Mon-Fri 08:00-18:00"]       # by the machine's local time
//   sessions = true                       # or false: interactive ones
//
// With `programs` and without `shells` no shell may be used: its text could run
// anything. Nor may variables be given without `environment`: LD_PRELOAD would
// make any program of it. With `programs` or `shells` and without `sessions` no
// session may be opened: anything can be typed into one.

#ifndef MUSTER_AGENT_APP_COMMAND_POLICY_H_
#define MUSTER_AGENT_APP_COMMAND_POLICY_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "agent/exec/command_folder.h"

namespace muster::agent {

inline constexpr char kDefaultPolicyFile[] = "/etc/muster/policy.toml";

struct Hours {
  absl::Weekday first = absl::Weekday::monday;
  absl::Weekday last = absl::Weekday::sunday;  // Included.
  int from = 0;                                // Minute of the day.
  int to = 24 * 60;                            // Excluded.

  bool Contains(absl::CivilSecond local) const;
  friend bool operator==(const Hours&, const Hours&) = default;
};

// CommandPolicy is a plain value.
struct CommandPolicy {
  std::optional<std::vector<std::string>> users;
  std::optional<std::vector<Shell>> shells;
  std::optional<std::vector<std::string>> programs;
  std::optional<std::vector<std::string>> environment;
  std::optional<size_t> running_max;
  std::optional<std::vector<Hours>> hours;
  std::optional<bool> sessions;

  // OK with nothing given if `path` is kDefaultPolicyFile and there is no such
  // file; any other must be there. InvalidArgument, naming
  // file, line, field and value; unknown fields are errors: a rule that was
  // mistyped would not hold. PermissionDenied if others than root, or whom this
  // process runs as, may write the file or its folder.
  static absl::StatusOr<CommandPolicy> Load(const std::string& path);

  // The names of the rules that are given, "users shells"; "none".
  std::string Given() const;

  // The name of the rule that forbids it; empty: none does. `user`: whom it
  // would run as; `program`: what exec would execute, empty for shells and for
  // what is not there; `running`: commands that run already.
  std::string_view RuleAgainst(const Spec& spec, std::string_view user,
                               std::string_view program, size_t running,
                               absl::CivilSecond local) const;

 private:
  bool AllowsSessions() const {
    return sessions.value_or(!programs && !shells);
  }
};

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_COMMAND_POLICY_H_
