// muster-gateway: serves a fleet.

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "fmt/format.h"
#include "gateway/identity/principals.h"
#include "gateway/rpc/grpc_log.h"
#include "gateway/server/backup.h"
#include "gateway/server/gateway.h"
#include "gateway/server/gateway_config.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/deadlock_search.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/service_notify.h"
#include "libprotocol/base/system_clock.h"

namespace muster::gateway {
namespace {

constexpr int kExitUsage = 2;

// One line for a person; the log may go elsewhere.
int Fail(const absl::Status& status) {
  fmt::print(stderr, "error: {}\n", ToStd(status.message()));
  return absl::IsInvalidArgument(status) ? kExitUsage : 1;
}

// Blocks the signals that main() answers, for all threads made later.
int OpenSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, s);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

int NextSignal(int fd) {
  signalfd_siginfo info;
  while (read(fd, &info, sizeof info) != sizeof info) {
  }
  return static_cast<int>(info.ssi_signo);
}

// The first stop drains; the second does not wait for anything.
void DieOnNextStop() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT}) {
    signal(s, [](int) { _exit(1); });
    sigaddset(&set, s);
  }
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

int Run(const GatewayConfig& config) {
  ConfigureLog(config.log_level, config.log_format);
  SkipDeadlockSearch();
  TakeGrpcLog();
  const int signals = OpenSignals();
  const SystemClock clock;
  std::atomic<bool> failed = false;
  // A store that cannot be trusted ends the process: nothing it would say
  // later could be believed.
  auto gateway = Gateway::Start(config, clock, [&failed](const absl::Status&) {
    failed = true;
    kill(getpid(), SIGTERM);
  });
  if (!gateway.ok()) return Fail(gateway.status());
  const AdminToken& token = (*gateway)->admin_token();
  if (token.created) fmt::print(stderr, "Admin token: {}\n", token.path);
  (*gateway)->FeedWatchdog(WatchdogInterval());
  NotifyService("READY=1");
  while (NextSignal(signals) == SIGHUP) {
    const absl::Status status = (*gateway)->Reload();
    if (status.ok()) {
      Log(kInfo, "reloaded");
    } else {
      Log(kError, "not reloaded, all stays as it was",
          {{"error", ToStd(status.message())}});
    }
  }
  NotifyService("STOPPING=1");
  Log(kInfo, "stopping");
  DieOnNextStop();
  (*gateway)->Stop();
  return failed ? 1 : 0;
}

int ResetToken(const GatewayConfig& config) {
  if (!FileExists(config.data_dir + "/muster.db")) {
    return Fail(absl::NotFoundError(
        fmt::format("{} holds no gateway", config.data_dir)));
  }
  const auto token = ResetAdminToken(config.data_dir);
  if (!token.ok()) return Fail(token.status());
  fmt::print("New admin token: {}\n", token->path);
  fmt::print(stderr,
             "A running gateway takes it at the next reload (SIGHUP).\n");
  return 0;
}

// Flags of all settings, as a map from key to what was given.
void AddSettings(CLI::App& app, std::map<std::string, std::string>& flags) {
  static GatewayConfig defaults;
  for (const wire::Setting& setting : GatewaySettings(defaults)) {
    app.add_option_function<std::string>(
           wire::FlagName(setting.key),
           [&flags, key = setting.key](const std::string& value) {
             flags[key] = value;
           },
           wire::HelpText(setting))
        ->type_name("");
  }
}

int Main(int argc, char** argv) {
  CLI::App app{
      "muster-gateway serves a fleet: it knows for every machine whether it "
      "can be reached, and runs commands there.\n\n"
      "Example:\n  muster-gateway --data-dir /var/lib/muster\n\n"
      "Every setting can stand in the file, in the environment "
      "(--web-listen is MUSTER_WEB_LISTEN) or here; the later wins."};
  std::map<std::string, std::string> flags;
  std::string file;
  app.add_option("--config", file,
                 fmt::format("settings file [{}]", kDefaultConfigFile))
      ->envname("MUSTER_GATEWAY_CONFIG")  // MUSTER_CONFIG is musterctl's.
      ->type_name("FILE");
  AddSettings(app, flags);
  app.set_version_flag("--version", fmt::format("muster-gateway {}", kVersion));
  app.fallthrough();
  auto* reset = app.add_subcommand("reset-admin",
                                   "make a new admin token; the old one ends");
  std::string path;
  auto* backup = app.add_subcommand(
      "backup",
      "write database, CA and admin token to one file, while the "
      "gateway runs");
  backup->add_option("FILE", path, "must not exist")->required();
  auto* restore =
      app.add_subcommand("restore", "fill an empty data folder from a backup");
  restore->add_option("FILE", path)->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return Fail(absl::InvalidArgumentError(
        fmt::format("{}; see muster-gateway --help", error.what())));
  }
  const auto config = LoadGatewayConfig(
      {.file = file.empty() ? std::nullopt : std::optional(file),
       .default_file = kDefaultConfigFile,
       .environment =
           [](const std::string& name) -> std::optional<std::string> {
         const char* value = std::getenv(name.c_str());
         if (value == nullptr) return std::nullopt;
         return value;
       },
       .flags = flags});
  if (!config.ok()) return Fail(config.status());
  if (*reset) return ResetToken(*config);
  if (*backup || *restore) {
    const absl::Status status = *backup ? WriteBackup(config->data_dir, path)
                                        : RestoreBackup(path, config->data_dir);
    if (!status.ok()) return Fail(status);
    fmt::print(stderr, "{} {}\n", *backup ? "Wrote" : "Restored from", path);
    return 0;
  }
  return Run(*config);
}

}  // namespace
}  // namespace muster::gateway

int main(int argc, char** argv) {
  muster::OpenStandardDescriptors();
  return muster::gateway::Main(argc, argv);
}
