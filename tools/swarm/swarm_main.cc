// muster-swarm: a fleet without machines.

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/deadlock_search.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/base/system_clock.h"
#include "tools/swarm/registrar.h"
#include "tools/swarm/report.h"
#include "tools/swarm/swarm.h"
#include "tools/swarm/swarm_options.h"

namespace muster::swarm {
namespace {

constexpr size_t kCaBytesMax = 1 << 20;
constexpr absl::Duration kReportEvery = absl::Seconds(1);
constexpr absl::Duration kLookEvery = absl::Milliseconds(100);

// Blocked for all threads made later; main() waits for them here.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int s : {SIGTERM, SIGINT}) sigaddset(&set, s);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    fd_.Reset(signalfd(-1, &set, SFD_CLOEXEC));
  }

  // True as soon as one came, false after `limit`.
  bool Wait(absl::Duration limit) {
    pollfd poll_fd{fd_.get(), POLLIN, 0};
    return poll(&poll_fd, 1,
                static_cast<int>(absl::ToInt64Milliseconds(limit))) > 0;
  }

 private:
  Fd fd_;
};

absl::Status Stopped() { return absl::CancelledError("stopped by a signal"); }

// Progress is for people: one line, written over, on a terminal only.
void ShowProgress(const std::string& line) {
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r\033[K{}", line);
}
void EndProgress() {
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "\n");
}

// MUSTER_TOKEN; else the first line of standard input unless that is a
// terminal, where nobody should type a secret. May be empty: a later run of
// kept machines needs none.
Secret ReadToken() {
  if (const char* token = std::getenv("MUSTER_TOKEN")) {
    Secret secret{std::string(token)};
    unsetenv("MUSTER_TOKEN");
    return secret;
  }
  std::string line;
  if (!isatty(STDIN_FILENO)) std::getline(std::cin, line);
  while (!line.empty() && isspace(static_cast<unsigned char>(line.back()))) {
    line.pop_back();
  }
  return Secret(std::move(line));
}

absl::StatusOr<std::vector<Identity>> GetIdentities(const SwarmOptions& options,
                                                    const Clock& clock,
                                                    StopSignals& signals,
                                                    const IdentityStore& store,
                                                    RunFacts& facts) {
  Registrar::Options what{.gateway = {},
                          .token = ReadToken(),
                          .machines = options.agents,
                          .name_prefix = options.plan.name_prefix,
                          .any_endpoint = options.own_gateway};
  what.gateway.base_url = options.server;
  what.gateway.pin = options.pin;
  if (!options.ca_file.empty()) {
    ASSIGN_OR_RETURN(what.gateway.ca_pem,
                     ReadFile(options.ca_file, kCaBytesMax));
  }
  const Instant began = clock.Now();
  Registrar registrar(clock, store, std::move(what));
  while (true) {
    const Registrar::Progress progress = registrar.progress();
    facts.loaded = progress.loaded;
    facts.registered = progress.registered;
    facts.registration = clock.Now() - began;
    ShowProgress(fmt::format("registered {}, kept {}, of {}",
                             progress.registered, progress.loaded,
                             options.agents));
    if (progress.ended) {
      EndProgress();
      RETURN_IF_ERROR(*progress.ended);
      return registrar.TakeIdentities();
    }
    if (signals.Wait(kLookEvery)) return Stopped();
  }
}

void AddUsage(RunFacts& facts) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  facts.cpu = absl::DurationFromTimeval(usage.ru_utime) +
              absl::DurationFromTimeval(usage.ru_stime);
  facts.memory_kib = usage.ru_maxrss;
}

// Until the time is over or a signal came; the last counters.
SwarmStats Watch(Swarm& swarm, const Clock& clock, StopSignals& signals,
                 Instant until) {
  SwarmStats before = swarm.stats();
  Instant before_at = clock.Now();
  while (clock.Now() < until) {
    const bool stop = signals.Wait(std::min(kReportEvery, until - clock.Now()));
    SwarmStats now = swarm.stats();
    ShowProgress(ProgressLine(before, now, clock.Now() - before_at));
    before = std::move(now);
    before_at = clock.Now();
    if (stop) break;
  }
  EndProgress();
  return before;
}

absl::Status Run(const SwarmOptions& options) {
  const SystemClock clock;
  StopSignals signals;
  RETURN_IF_ERROR(ReserveDescriptors(options.agents));
  ASSIGN_OR_RETURN(const IdentityStore store,
                   IdentityStore::Open(options.state_dir, options.server));
  RunFacts facts;
  ASSIGN_OR_RETURN(std::vector<Identity> identities,
                   GetIdentities(options, clock, signals, store, facts));
  if (!options.endpoint.empty()) {
    for (Identity& identity : identities) {
      identity.registration.set_endpoint(options.endpoint);
    }
  }
  facts.dials_began = clock.Now();
  Swarm swarm(clock, std::move(identities), options.plan);
  const SwarmStats stats =
      Watch(swarm, clock, signals, facts.dials_began + options.duration);
  facts.now = clock.Now();
  AddUsage(facts);
  swarm.Stop();
  fmt::print("{}", options.json ? SummaryJson(stats, facts)
                                : SummaryText(stats, facts));
  if (stats.all_online_at) return absl::OkStatus();
  return absl::DeadlineExceededError(
      fmt::format("of {} machines at most some were ever online together, at "
                  "the end {}",
                  stats.machines, stats.online));
}

int Main(int argc, char** argv) {
  const auto parsed = ParseSwarmOptions(argc, argv);
  if (const auto* early = std::get_if<EarlyExit>(&parsed)) {
    fmt::print("{}", early->out);
    fmt::print(stderr, "{}", early->err);
    return early->code;
  }
  SkipDeadlockSearch();
  ConfigureLog(LogLevel::kWarning, LogFormat::kLogfmt);
  const absl::Status status = Run(std::get<SwarmOptions>(parsed));
  if (status.ok()) return 0;
  fmt::print(stderr, "error: {}\n", ToStd(status.message()));
  return 1;
}

}  // namespace
}  // namespace muster::swarm

int main(int argc, char** argv) { return muster::swarm::Main(argc, argv); }
