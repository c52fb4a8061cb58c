// One run of musterctl: from a parsed command line to an exit code.

#ifndef MUSTER_TOOLS_MUSTERCTL_PROGRAM_H_
#define MUSTER_TOOLS_MUSTERCTL_PROGRAM_H_

#include <functional>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "libprotocol/base/clock.h"
#include "tools/musterctl/console.h"
#include "tools/musterctl/live_input.h"
#include "tools/musterctl/settings.h"
#include "tools/musterctl/tool.h"
#include "tools/musterctl/transport.h"

namespace muster::ctl {

// What the program stands on; tests replace all of it.
struct World {
  Console& console;
  Patience& patience;
  const Clock& clock;
  Environment environment;
  TransportFactory connect;
  InputOpener open_input;
};

// A verb that calls the gateway with the configured token.
using ApiVerb = std::function<absl::StatusOr<int>(Tool&)>;
// A verb that looks after the configuration itself.
using LocalVerb =
    std::function<absl::StatusOr<int>(World&, const GlobalFlags&)>;

struct Invocation {
  GlobalFlags flags;
  std::variant<LocalVerb, ApiVerb> verb;
};

// Runs the verb; errors are shown on stderr. Returns the exit code.
int RunProgram(const Invocation& invocation, World& world);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_PROGRAM_H_
