// What was typed on the command line.

#ifndef MUSTER_AGENT_APP_FLAGS_H_
#define MUSTER_AGENT_APP_FLAGS_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "absl/time/time.h"

namespace muster::agent {

enum class Verb {
  kJoin,
  kLeave,
  kRun,
  kStatus,
  kCommands,
  kHeartbeatNow,
  kStop,
  kVersion
};

struct Flags {
  Verb verb = Verb::kRun;
  std::optional<std::string> config_file;
  std::map<std::string, std::string>
      settings;  // key → value, for LoadAgentConfig().

  // join
  std::string server;
  std::string pin;
  std::string ca_file;
  std::map<std::string, std::string> labels;
  bool replace = false;
  bool token_stdin = false;
  std::optional<absl::Duration> wait;
  bool start = false;

  std::optional<absl::Duration> back_within;  // stop
  bool for_upgrade = false;                   // stop

  bool force = false;  // leave
  bool json = false;   // status, commands
  size_t last = 50;    // commands: so many.
};

// The program ends here: help was asked for (0), or the words make no sense
// (2).
struct EarlyExit {
  int code = 0;
  std::string out;  // For stdout.
  std::string err;  // For stderr.
};

std::variant<Flags, EarlyExit> ParseFlags(int argc, const char* const* argv);

}  // namespace muster::agent

#endif  // MUSTER_AGENT_APP_FLAGS_H_
