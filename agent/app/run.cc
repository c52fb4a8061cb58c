#include "agent/app/run.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "agent/app/agent.h"
#include "agent/app/farewell.h"
#include "agent/app/route_watcher.h"
#include "agent/host/host_facts.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/service_notify.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/base/system_clock.h"

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "0.0.0"
#endif

namespace muster::agent {
namespace {

constexpr int kLookForIdentityMs = 500;

// The signals that end the process, and the one that a closed terminal sends to
// an agent that is to live on; as a descriptor.
absl::StatusOr<Fd> BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  signal(SIGPIPE, SIG_IGN);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) {
    return ErrnoStatus(errno, "blocking", "signals");
  }
  Fd fd(signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, "making", "a signalfd");
  return fd;
}

int ReadSignal(const Fd& signals) {
  signalfd_siginfo info{};
  return read(signals.get(), &info, sizeof info) == sizeof info
             ? static_cast<int>(info.ssi_signo)
             : SIGTERM;
}

// A terminal that is closed takes nothing with it; there is nothing to reload.
void IgnoreHangup() {
  Log(kInfo, "SIGHUP is ignored: to stop this agent send SIGTERM");
}

// False when a signal came first.
absl::StatusOr<std::optional<Identity>> WaitForIdentity(const AgentState& state,
                                                        const Fd& signals) {
  for (bool told = false;; told = true) {
    absl::StatusOr<Identity> identity = state.LoadIdentity();
    if (identity.ok()) return std::optional(*std::move(identity));
    if (!absl::IsNotFound(identity.status())) return identity.status();
    if (!told) {
      Log(kWarning, "not joined; waiting for: muster-agent join --server URL",
          {{"state_dir", state.folder()}});
      NotifyService(
          "READY=1\nSTATUS=not joined: muster-agent join --server URL");
    }
    NotifyService("WATCHDOG=1");
    pollfd p{signals.get(), POLLIN, 0};
    if (poll(&p, 1, kLookForIdentityMs) <= 0) continue;
    if (ReadSignal(signals) != SIGHUP) return std::optional<Identity>();
    IgnoreHangup();
  }
}

// One identity's life: the agent with everything it needs around it.
class Life {
 public:
  Life(AgentState state, const Fd& signals, std::string boot_root)
      : state_(std::move(state)),
        signals_(signals),
        host_root_(std::move(boot_root)) {}

  absl::StatusOr<Agent::End> Live(Agent::Options options);

 private:
  absl::Status Start(Agent::Options options);
  void WaitForEnd(RouteWatcher& routes);
  void OnSignal();
  void Beat(absl::Duration interval);

  const AgentState state_;
  const Fd& signals_;
  const std::string host_root_;
  const Fd ended_{eventfd(0, EFD_CLOEXEC)};
  bool leaving_ = false;

  // Touched only on loop_, read after ended_ was written.
  std::unique_ptr<Agent> agent_;
  Agent::End end_ = Agent::End::kStopped;

  SystemClock clock_;
  ThreadEventLoop loop_{clock_};
};

absl::Status Life::Start(Agent::Options options) {
  absl::Status status;
  const Fd started(eventfd(0, EFD_CLOEXEC));
  loop_.Post([&] {
    auto agent =
        Agent::Start(loop_, state_, std::move(options), [this](Agent::End end) {
          end_ = end;
          const uint64_t one = 1;
          (void)!write(ended_.get(), &one,
                       sizeof one);  // Cannot fail: written once.
        });
    status = agent.status();
    if (agent.ok()) agent_ = *std::move(agent);
    const uint64_t one = 1;
    (void)!write(started.get(), &one, sizeof one);
  });
  uint64_t ignored;
  while (read(started.get(), &ignored, sizeof ignored) < 0 && errno == EINTR) {
  }
  return status;
}

absl::StatusOr<Agent::End> Life::Live(Agent::Options options) {
  const std::string agent_id = options.identity.agent_id;
  RETURN_IF_ERROR(Start(std::move(options)));
  auto control = ControlServer::Start(
      state_.socket_path(), loop_,
      [this](const ControlRequest& request, ControlServer::Reply reply) {
        if (agent_) agent_->Control(request, std::move(reply));
      });
  RouteWatcher routes;
  if (control.ok()) {
    NotifyService(fmt::format("READY=1\nSTATUS=agent {}", agent_id));
    const absl::Duration interval = WatchdogInterval();
    if (interval != absl::InfiniteDuration()) {
      loop_.Post([this, interval] { Beat(interval); });
    }
  } else {
    loop_.Post([this] { agent_->Goodbye({}); });
  }
  WaitForEnd(routes);
  // It may have ended for another reason a moment before the signal was heard.
  if (leaving_ && end_ != Agent::End::kLeft) end_ = Agent::End::kStopped;
  // Otherwise this process goes on, and its supervisor need not know.
  if (end_ == Agent::End::kStopped || end_ == Agent::End::kLeft) {
    NotifyService("STOPPING=1");
  }
  loop_.Post([this] { agent_.reset(); });
  if (!control.ok()) return control.status();
  control->reset();
  return end_;
}

void Life::WaitForEnd(RouteWatcher& routes) {
  while (true) {
    pollfd fds[] = {{ended_.get(), POLLIN, 0},
                    {signals_.get(), POLLIN, 0},
                    {routes.fd(), POLLIN, 0}};
    if (poll(fds, 3, -1) < 0) continue;
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) OnSignal();
    if (fds[2].revents != 0 && routes.Drain()) {
      loop_.Post([this] {
        if (agent_) agent_->RouteChanged();
      });
    }
  }
}

void Life::OnSignal() {
  const int signal = ReadSignal(signals_);
  if (signal == SIGHUP) return IgnoreHangup();
  if (leaving_) _exit(128 + signal);  // The second one means it.
  leaving_ = true;
  const Farewell farewell = FarewellOnSignal(signal, host_root_, clock_.Wall());
  Log(kInfo, "stopping", {{"signal", strsignal(signal)}});
  loop_.Post([this, farewell] { agent_->Goodbye(farewell); });
}

// A loop that hangs is killed by its supervisor.
void Life::Beat(absl::Duration interval) {
  NotifyService("WATCHDOG=1");
  loop_.PostAt(clock_.Now() + interval, [this, interval] { Beat(interval); });
}

absl::StatusOr<Agent::Options> MakeOptions(const AgentConfig& config,
                                           const AgentState& state,
                                           Identity identity,
                                           const std::string& own_binary) {
  Agent::Options options;
  ASSIGN_OR_RETURN(options.key, state.LoadKey());
  ASSIGN_OR_RETURN(options.exec_path, FindExecProgram(config, own_binary));
  const char* invocation = getenv("INVOCATION_ID");
  options.facts =
      ReadAgentFacts({.host_root = "",
                      .invocation_id = invocation != nullptr ? invocation : ""},
                     MUSTER_VERSION);
  ASSIGN_OR_RETURN(*options.instance.mutable_boot_id(), ReadBootId(""));
  options.instance.set_process_start_id(NewUuid(SystemClock().Wall()));
  const std::string seed = RandomBytes(sizeof options.random_seed);
  std::memcpy(&options.random_seed, seed.data(), seed.size());
  options.identity = std::move(identity);
  options.proxy = config.proxy;
  options.policy_file = config.policy_file;
  if (const auto pace = state.LoadPace()) {
    options.policy.heartbeat_interval = pace->heartbeat_interval;
    options.policy.reconnect_max = pace->reconnect_max;
  }
  return options;
}

}  // namespace

absl::Status RunAgent(const AgentConfig& config,
                      const std::string& own_binary) {
  const AgentState state(config.state_dir);
  RETURN_IF_ERROR(state.Create());
  ASSIGN_OR_RETURN(const Fd lock, state.Lock());
  ASSIGN_OR_RETURN(const Fd signals, BlockSignals());
  while (true) {
    ASSIGN_OR_RETURN(std::optional<Identity> identity,
                     WaitForIdentity(state, signals));
    if (!identity) return absl::OkStatus();
    RETURN_IF_ERROR(state.ClaimCommands(identity->agent_id));
    ASSIGN_OR_RETURN(
        Agent::Options options,
        MakeOptions(config, state, *std::move(identity), own_binary));
    Log(kInfo, "agent_started",
        {{"agent_id", options.identity.agent_id},
         {"version", MUSTER_VERSION},
         {"endpoint", options.identity.endpoint}});
    Life life(state, signals, "");
    ASSIGN_OR_RETURN(const Agent::End end, life.Live(std::move(options)));
    if (end == Agent::End::kStopped || end == Agent::End::kLeft)
      return absl::OkStatus();
    if (end == Agent::End::kDeregistered) {
      Log(kError,
          "deregistered: the gateway has deleted this machine; join again with "
          "a fresh "
          "token: muster-agent join --server URL");
      RETURN_IF_ERROR(state.RetireIdentity());
    }
  }
}

}  // namespace muster::agent
