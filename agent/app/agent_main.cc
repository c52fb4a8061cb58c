// muster-agent: speaks for one machine to its gateway.

#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "agent/app/agent_config.h"
#include "agent/app/environment.h"
#include "agent/app/flags.h"
#include "agent/app/run.h"
#include "agent/app/verbs.h"
#include "agent/link/grpc_log.h"
#include "libprotocol/base/deadlock_search.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/system_clock.h"

namespace muster::agent {
namespace {

std::optional<std::string> Environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

std::string OwnBinary() {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : std::string();
}

VerbResult Do(const Flags& flags, Secret token) {
  if (flags.verb == Verb::kVersion)
    return {0, "muster-agent " MUSTER_VERSION "\n", ""};
  const auto config = LoadAgentConfig({.file = flags.config_file,
                                       .default_file = kDefaultConfigFile,
                                       .environment = Environment,
                                       .flags = flags.settings});
  if (!config.ok()) return Failure(config.status());
  ConfigureLog(config->log_level, config->log_format);
  SkipDeadlockSearch();
  TakeGrpcLog();
  static const SystemClock clock;
  const VerbContext context{*config,  clock,       Environment,
                            std::cin, OwnBinary(), std::move(token)};
  switch (flags.verb) {
    case Verb::kJoin:
      return DoJoin(context, flags);
    case Verb::kLeave:
      return DoLeave(context, flags);
    case Verb::kStatus:
      return DoStatus(context, flags);
    case Verb::kCommands:
      return DoCommands(context, flags);
    case Verb::kHeartbeatNow:
      return DoHeartbeatNow(context);
    case Verb::kStop:
      return DoStop(context, flags);
    case Verb::kVersion:
    case Verb::kRun:
      break;
  }
  const absl::Status status = RunAgent(*config, context.own_binary);
  return status.ok() ? VerbResult{} : Failure(status);
}

int Main(int argc, char** argv) {
  // Before anything is started that would inherit it.
  Secret token = TakeSecret("MUSTER_TOKEN");
  const auto parsed = ParseFlags(argc, argv);
  VerbResult result;
  if (const auto* early = std::get_if<EarlyExit>(&parsed)) {
    result = {early->code, early->out, early->err};
  } else {
    result = Do(std::get<Flags>(parsed), std::move(token));
  }
  std::cout << result.out << std::flush;
  std::cerr << result.err << std::flush;
  return result.exit_code;
}

}  // namespace
}  // namespace muster::agent

int main(int argc, char** argv) {
  muster::OpenStandardDescriptors();
  return muster::agent::Main(argc, argv);
}
