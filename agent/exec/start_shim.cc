#include "agent/exec/start_shim.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include "agent/exec/launch.h"
#include "fmt/format.h"
#include "libprotocol/base/files.h"

namespace muster::agent {

absl::StatusOr<pid_t> StartShim(std::string program,
                                const CommandFolder& folder) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A signal to the agent's session must not reach the shim, which begins with
  // all signals blocked: none may end it before it can handle it.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID |
                                            POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setsigmask(&attributes, &all);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&actions, 0, 1);
  posix_spawn_file_actions_adddup2(&actions, 0, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  std::string path = folder.path();
  std::string search = fmt::format("PATH={}", kCommandPath);
  char* argv[] = {program.data(), path.data(), nullptr};
  char* env[] = {search.data(), nullptr};
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, program.c_str(), &actions, &attributes, argv, env);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return ErrnoStatus(error, "starting", program);
  return pid;
}

}  // namespace muster::agent
