// muster-exec FOLDER: runs the command of one command folder. Started by
// muster-agent, and independent of it from then on.

#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "agent/exec/shim.h"
#include "libprotocol/base/system_clock.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: muster-exec FOLDER\n");
    return 2;
  }
  for (const int ignored : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE}) {
    signal(ignored, SIG_IGN);
  }
  setsid();  // Fails, rightly, if the agent has done it.
  const muster::SystemClock clock;
  const absl::Status status =
      muster::agent::Shim(muster::agent::CommandFolder(argv[1]), clock).Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "muster-exec: %s\n", status.ToString().c_str());
  return 1;
}
