#include "agent/app/start_agent.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "agent/app/agent_state.h"
#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

constexpr char kUnit[] = "muster-agent.service";

bool SystemdRunsAgents(const std::string& root) {
  if (!FileExists(root + "/run/systemd/system")) return false;
  for (const char* folder :
       {"/etc/systemd/system/", "/usr/local/lib/systemd/system/",
        "/usr/lib/systemd/system/", "/lib/systemd/system/"}) {
    if (FileExists(root + folder + kUnit)) return true;
  }
  return false;
}

// The environment without the registration token: it is no business of the
// daemon, nor of the commands that it runs.
std::vector<char*> EnvironmentWithoutToken() {
  std::vector<char*> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.starts_with("MUSTER_TOKEN=")) continue;
    if (text.starts_with("MUSTER_TOKEN_FILE=")) continue;
    kept.push_back(*entry);
  }
  kept.push_back(nullptr);
  return kept;
}

// Runs `argv`; `log` takes its output, or this program's own descriptors do.
absl::StatusOr<pid_t> Spawn(std::vector<std::string> argv,
                            const std::string& log) {
  std::vector<char*> words;
  words.reserve(argv.size() + 1);
  for (std::string& word : argv) words.push_back(word.data());
  words.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  if (!log.empty()) {
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null",
                                     O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  }
  pid_t pid = -1;
  const int error =
      posix_spawnp(&pid, words[0], &files, &attributes, words.data(),
                   EnvironmentWithoutToken().data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) return ErrnoStatus(error, "starting", argv[0]);
  return pid;
}

absl::StatusOr<std::string> StartUnit() {
  ASSIGN_OR_RETURN(const pid_t pid,
                   Spawn({"systemctl", "enable", "--now", kUnit}, ""));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("`systemctl enable --now {}` failed; see `systemctl status "
                    "{}`",
                    kUnit, kUnit));
  }
  return fmt::format("Started {} by systemd; it starts at every boot.\n",
                     kUnit);
}

}  // namespace

absl::StatusOr<std::string> StartAgent(const StartRequest& request) {
  {
    const auto free = AgentState(request.state_dir).Lock();
    if (absl::IsAlreadyExists(free.status())) {
      return "The agent is already running.\n";
    }
    RETURN_IF_ERROR(free.status());
  }
  if (request.unit_fits && SystemdRunsAgents(request.host_root)) {
    return StartUnit();
  }
  std::vector<std::string> argv = {request.own_binary, "run"};
  argv.insert(argv.end(), request.arguments.begin(), request.arguments.end());
  const std::string log = request.state_dir + "/agent.log";
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(std::move(argv), log));
  return fmt::format(
      "Started the agent in the background (process {}, log {}); nothing "
      "starts it at boot.\n",
      pid, log);
}

}  // namespace muster::agent
