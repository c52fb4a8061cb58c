#include "agent/app/agent.h"

#include <algorithm>
#include <random>
#include <utility>

#include "agent/app/command_policy.h"
#include "agent/exec/launch.h"
#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

// A person waits for the answer to heartbeat-now.
constexpr absl::Duration kHeartbeatNowTimeout = absl::Seconds(10);
constexpr double kTwoTo64 = 18446744073709551616.0;

class ExecutorRunner final : public CommandRunner {
 public:
  explicit ExecutorRunner(Executor& executor) : executor_(executor) {}
  absl::Status Accept(Order order) override {
    return executor_.Accept(std::move(order));
  }
  absl::Status Cancel(const CommandId& id) override {
    return executor_.Cancel(id);
  }
  uint64_t OutputBytes(const CommandId& id, Stream stream) override {
    return executor_.OutputBytes(id, stream);
  }
  absl::StatusOr<std::string> ReadOutput(const CommandId& id, Stream stream,
                                         uint64_t offset,
                                         size_t bytes_max) override {
    return executor_.ReadOutput(id, stream, offset, bytes_max);
  }
  uint64_t OutputBegin(const CommandId& id) override {
    return executor_.OutputBegin(id);
  }
  bool IsSession(const CommandId& id) override {
    return executor_.IsSession(id);
  }
  void Say(const CommandId& id, const ShimMessage& message) override {
    executor_.Say(id, message);
  }
  absl::Status Forget(const CommandId& id) override {
    return executor_.Forget(id);
  }
  std::vector<CommandId> OpenCommands() override {
    return executor_.OpenCommands();
  }
  uint64_t seen_high() override { return executor_.seen_high(); }

 private:
  Executor& executor_;
};

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(
    const Identity& identity, const Secret& key) {
  return MakeAgentCredentials(identity.ca_pem, identity.certificate_pem, key);
}

LinkKeeper::Options KeeperOptions(const Agent::Options& options) {
  LinkKeeper::Options out;
  out.dial.endpoint = options.identity.endpoint;
  out.dial.credentials = CredentialsOf(options.identity, options.key);
  out.dial.proxy = options.proxy;
  out.policy = options.policy;
  out.facts = options.facts;
  out.instance = options.instance;
  out.random_seed = options.random_seed;
  return out;
}

ProbeTarget TargetOf(const Identity& identity, const Secret& key) {
  ProbeTarget target;
  target.endpoint = identity.endpoint;
  target.server_name = kGatewayName;
  target.ca_pem = identity.ca_pem;
  target.certificate_pem = identity.certificate_pem;
  target.key_pem = key;
  return target;
}

// "policy: RULE", or empty if the machine's owner allows it. A policy that
// cannot be read allows nothing.
std::string RefusalBy(const std::string& policy_file, const Spec& spec,
                      size_t running, absl::Time wall) {
  const absl::StatusOr<CommandPolicy> policy = CommandPolicy::Load(policy_file);
  if (!policy.ok()) {
    Log(kError, "the policy cannot be read: no command is allowed",
        {{"error", policy.status()}});
    return "policy: unreadable";
  }
  const absl::StatusOr<std::string> user = UserOf(spec.surroundings);
  // Whom it would run as is not known: as the shim would say.
  if (!user.ok()) return std::string(ToStd(user.status().message()));
  const bool exec = spec.shell == Shell::kExec && !spec.argv.empty();
  const std::string program =
      exec ? FindProgram(spec.argv.front(), kCommandPath) : "";
  const std::string_view rule =
      policy->RuleAgainst(spec, *user, program, running,
                          absl::ToCivilSecond(wall, absl::LocalTimeZone()));
  if (rule.empty()) return "";
  Log(kWarning, "command refused by the policy",
      {{"command_id", spec.command_id.str()}, {"rule", rule}, {"user", *user}});
  return fmt::format("policy: {}", rule);
}

// The gateway's port was reached and took no link, without a word on one: the
// certificate may be why. Without a probe, whoever hangs up may have refused
// it.
bool TurnedAway(const WentOffline& offline, std::string_view failure,
                bool probed) {
  const auto refused = FailureClassName(FailureClass::kRefusedByGateway);
  if (offline.was_online || offline.failure_class == refused) return false;
  return failure == refused ||
         failure == FailureClassName(FailureClass::kTlsFailure) ||
         (!probed &&
          (failure == FailureClassName(FailureClass::kEof) ||
           failure == FailureClassName(FailureClass::kConnectionReset)));
}

std::string ClockWords(absl::Duration skew) {
  return fmt::format(
      "this machine's clock is {} {} the gateway's: no certificate holds for "
      "both; set it right",
      absl::FormatDuration(
          absl::Trunc(absl::AbsDuration(skew), absl::Seconds(1))),
      skew > absl::ZeroDuration() ? "ahead of" : "behind");
}

std::string Ago(absl::Duration d) {
  if (d < absl::Seconds(1)) return "just now";
  return absl::FormatDuration(absl::Trunc(d, absl::Seconds(1))) + " ago";
}

}  // namespace

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(
    EventLoop& loop, AgentState state, Options options,
    std::function<void(End)> on_end) {
  std::unique_ptr<Agent> agent(
      new Agent(loop, std::move(state), std::move(options), std::move(on_end)));
  RETURN_IF_ERROR(agent->OpenCommands());
  agent->keeper_.Start();
  return agent;
}

Agent::Agent(EventLoop& loop, AgentState state, Options options,
             std::function<void(End)> on_end)
    : loop_(loop),
      state_(std::move(state)),
      options_(std::move(options)),
      on_end_(std::move(on_end)),
      keeper_(loop, *this, KeeperOptions(options_)),
      courier_(loop, {.send_update =
                          [this](v1::CommandUpdate u) {
                            return keeper_.Send(std::move(u));
                          },
                      .send_chunk =
                          [this](v1::TransferChunk c) {
                            return keeper_.Send(std::move(c));
                          },
                      .send_taken =
                          [this](v1::InputTaken t) {
                            return keeper_.Send(std::move(t));
                          }}),
      prober_(loop, TargetOf(options_.identity, options_.key)),
      renewal_(
          loop, state_, options_.identity, options_.key,
          std::mt19937_64(options_.random_seed)() / kTwoTo64,
          {.ask =
               [this](v1::CertificateRequest request) {
                 return keeper_.Send(std::move(request));
               },
           .renewed =
               [this](const Identity& renewed) { UseCertificate(renewed); },
           .refused =
               [this](const v1::Disconnect& refusal) {
                 keeper_.Refused(refusal);
               }}),
      pace_{options_.policy.heartbeat_interval, options_.policy.reconnect_max} {
}

Agent::~Agent() = default;

absl::Status Agent::OpenCommands() {
  Executor::Options options;
  options.folder = state_.commands_folder();
  options.shim_path = options_.exec_path;
  options.boot_id = options_.instance.boot_id();
  options.run_log = state_.run_log_folder();
  const auto policy = CommandPolicy::Load(options_.policy_file);
  Log(policy.ok() ? kInfo : kError, "what may be run here",
      {{"policy_file", options_.policy_file},
       {"rules", policy.ok() ? policy->Given()
                             : std::string(ToStd(policy.status().message()))}});
  options.refusal = [file = options_.policy_file, &clock = loop_.clock()](
                        const Spec& spec, size_t running) {
    return RefusalBy(file, spec, running, clock.Wall());
  };
  ASSIGN_OR_RETURN(executor_,
                   Executor::Open(loop_, courier_, std::move(options)));
  runner_ = std::make_unique<ExecutorRunner>(*executor_);
  courier_.SetRunner(runner_.get());
  return executor_->Recover();
}

void Agent::Goodbye(const Farewell& farewell) {
  stop_asked_ = true;
  SayGoodbye(farewell);
}

void Agent::SayGoodbye(const Farewell& farewell) {
  said_goodbye_ |= keeper_.machine().online();
  keeper_.Goodbye(farewell.reason, farewell.back_within);
}

void Agent::OnOnline(const WentOnline& online) {
  offline_.reset();
  sequence_ = 0;
  Log(kInfo, "connected",
      {{"agent_id", options_.identity.agent_id},
       {"endpoint", options_.identity.endpoint},
       {"epoch", online.epoch},
       {"heartbeat_interval", online.heartbeat_interval}});
  KeepPace({online.heartbeat_interval, online.reconnect_max});
  renewal_.OnOnline(online.renew_certificate_in);
  courier_.OnOnline();
}

void Agent::UseCertificate(const Identity& renewed) {
  keeper_.UseCredentials(CredentialsOf(renewed, options_.key));
  prober_.SetTarget(TargetOf(renewed, options_.key));
  if (!keeper_.machine().online()) keeper_.HeartbeatNow();
}

// A fleet that grows changes it a little all the time.
void Agent::KeepPace(const Pace& pace) {
  if (absl::AbsDuration(pace.heartbeat_interval - pace_.heartbeat_interval) <
          pace_.heartbeat_interval / 10 &&
      pace.reconnect_max == pace_.reconnect_max) {
    return;
  }
  pace_ = pace;
  executor_->PostToDisk([state = state_, pace] {
    if (const absl::Status saved = state.SavePace(pace); !saved.ok()) {
      Log(kWarning, "the gateway's intervals are not kept for the next start",
          {{"error", saved}});
    }
  });
}

void Agent::OnOffline(const WentOffline& offline) {
  courier_.OnOffline();
  offline_ = offline;
  next_dial_ = loop_.clock().Now() + offline.retry_in;
  // A probe walks straight to the gateway: what it finds there says nothing
  // about a link through a proxy.
  if (!options_.proxy.empty()) return TellFailure(offline, std::nullopt);
  prober_.Probe([this, offline](const std::optional<ProbeResult>& probe) {
    TellFailure(offline, probe);
  });
}

void Agent::TellFailure(const WentOffline& offline,
                        const std::optional<ProbeResult>& probe) {
  std::string failure = offline.failure_class;
  if (failure != FailureClassName(FailureClass::kRefusedByGateway)) {
    const FailureClass joined = ClassifyLinkFailure(
        offline.detail, probe ? probe->failure : std::nullopt);
    // Our own findings ("no_answer") are replaced only by what a probe found.
    const bool own = failure == "no_answer" || failure == "protocol_error";
    if (!own || (probe && probe->failure)) failure = FailureClassName(joined);
  }
  if (TurnedAway(offline, failure, probe.has_value())) {
    renewal_.OnTurnedAway();
  }
  if (const auto skew = renewal_.clock_wrong()) {
    failure = "clock_wrong";
    if (offline_) offline_->detail = ClockWords(*skew);
  }
  if (offline_) offline_->failure_class = failure;
  if (offline.was_online) {
    Log(kWarning, "disconnect",
        {{"agent_id", options_.identity.agent_id},
         {"class", failure},
         {"why", offline.detail}});
  }
  Log(kWarning, "heartbeat_failed",
      {{"agent_id", options_.identity.agent_id},
       {"class", failure},
       {"endpoint", options_.identity.endpoint},
       {"why", offline.detail},
       {"probe", probe ? ProbeStepName(probe->step) : "not made"},
       {"retry_in", offline.retry_in}});
  AnswerWaiters({.text = fmt::format("not delivered: class={}: {}", failure,
                                     offline.detail)},
                UINT64_MAX);
}

void Agent::OnHeartbeatSent(const HeartbeatSent& heartbeat) {
  sequence_ = heartbeat.sequence;
  Log(kInfo, "heartbeat_sent",
      {{"agent_id", options_.identity.agent_id},
       {"sequence", heartbeat.sequence}});
}

void Agent::OnHeartbeatAcknowledged(const HeartbeatAcknowledged& heartbeat) {
  KeepPace({keeper_.machine().heartbeat_interval(), pace_.reconnect_max});
  Log(kDebug, "heartbeat_acknowledged",
      {{"agent_id", options_.identity.agent_id},
       {"sequence", heartbeat.sequence},
       {"round_trip", heartbeat.round_trip}});
  AnswerWaiters({.ok = true,
                 .text = fmt::format(
                     "heartbeat {} acknowledged in {}", heartbeat.sequence,
                     absl::FormatDuration(absl::Trunc(
                         heartbeat.round_trip, absl::Microseconds(10))))},
                heartbeat.sequence);
}

void Agent::OnDeregistered(const std::string& text) {
  end_ = End::kDeregistered;
  Log(kError, "disconnect",
      {{"agent_id", options_.identity.agent_id},
       {"class", "deregistered"},
       {"why", text}});
  AnswerWaiters({.text = "the gateway has deleted this machine; join again "
                         "with a fresh token: "
                         "muster-agent join --server " +
                         options_.identity.server},
                UINT64_MAX);
}

void Agent::OnStopped() {
  AnswerWaiters({.text = "the agent stops"}, UINT64_MAX);
  if (leave_reply_) {
    leave_reply_(end_ == End::kLeft
                     ? Left()
                     : ControlReply{.text = "this machine has joined anew"});
  }
  if (end_ == End::kAgain && stop_asked_) end_ = End::kStopped;
  for (const auto& [reply, farewell] : at_end_) reply(StoppedWith(farewell));
  on_end_(end_);
}

// The identity goes only if the gateway knows that it does.
ControlReply Agent::Left() {
  if (!keeper_.machine().goodbye_heard()) {
    end_ = End::kAgain;
    return {
        .text =
            "the gateway did not confirm it: nothing was removed here, but it "
            "may delete this machine all the same; muster-agent status will "
            "say. Try again, or wipe without its word: muster-agent leave "
            "--force"};
  }
  runner_.reset();
  executor_.reset();
  const absl::Status wiped = state_.Wipe();
  if (!wiped.ok()) return {.text = std::string(ToStd(wiped.message()))};
  return {.ok = true,
          .text = fmt::format("left: {} is deregistered, its state is gone",
                              options_.identity.agent_id)};
}

ControlReply Agent::StoppedWith(const Farewell& farewell) const {
  if (!said_goodbye_) {
    return {.ok = true,
            .text = "stopped; not connected, so the gateway was told nothing"};
  }
  if (!keeper_.machine().goodbye_heard()) {
    return {.ok = true,
            .text =
                "stopped; the gateway did not answer, and may not have "
                "heard the goodbye"};
  }
  std::string text = "stopped, and said so to the gateway";
  if (farewell.back_within) {
    text += fmt::format(": back within {}",
                        absl::FormatDuration(*farewell.back_within));
  }
  return {.ok = true, .text = std::move(text)};
}

void Agent::Control(const ControlRequest& request, ControlServer::Reply reply) {
  switch (request.verb) {
    case ControlVerb::kStatus:
      return reply(Status());
    case ControlVerb::kHeartbeatNow:
      return HeartbeatNow(std::move(reply));
    case ControlVerb::kStop:
      return Stop({v1::GOODBYE_REASON_STOP, request.back_within},
                  std::move(reply));
    case ControlVerb::kStopForUpgrade:
      return Stop(FarewellForUpgrade(), std::move(reply));
    case ControlVerb::kReplaced:
      end_ = End::kAgain;
      reply({.ok = true, .text = "starting with the new identity"});
      return SayGoodbye({});
    case ControlVerb::kLeave:
      return Leave(std::move(reply));
  }
}

ControlReply Agent::Status() const {
  const LinkMachine& machine = keeper_.machine();
  const absl::Time wall = loop_.clock().Wall();
  std::string link = "connecting";
  if (machine.online()) {
    link = fmt::format("online, epoch {}, connected {}", machine.epoch(),
                       Ago(wall - machine.connected_since().value_or(wall)));
  } else if (offline_) {
    link = fmt::format(
        "offline: class={}: {}; next attempt in {}", offline_->failure_class,
        offline_->detail,
        absl::FormatDuration(absl::Trunc(
            std::max(absl::ZeroDuration(), next_dial_ - loop_.clock().Now()),
            absl::Milliseconds(100))));
  }
  const auto acknowledged = machine.last_acknowledged();
  ControlReply reply{.ok = true};
  reply.fields = {
      {"agent_id", options_.identity.agent_id},
      {"hostname", options_.facts.hostname()},
      {"server", options_.identity.server},
      {"endpoint", options_.identity.endpoint},
      {"online", machine.online() ? "true" : "false"},
      {"link", link},
      {"heartbeat",
       fmt::format("every {}, last acknowledged {}",
                   absl::FormatDuration(machine.heartbeat_interval()),
                   acknowledged ? Ago(wall - *acknowledged) : "never")},
      {"commands", fmt::format("{} open", executor_->OpenCommands().size())},
  };
  return reply;
}

void Agent::HeartbeatNow(ControlServer::Reply reply) {
  keeper_.HeartbeatNow();
  const EventLoop::TimerId timer =
      loop_.PostAt(loop_.clock().Now() + kHeartbeatNowTimeout, [this] {
        AnswerWaiters(
            {.text = fmt::format("no answer within {}",
                                 absl::FormatDuration(kHeartbeatNowTimeout))},
            UINT64_MAX);
      });
  waiters_.push_back(
      {keeper_.machine().online() ? sequence_ : 0, std::move(reply), timer});
}

void Agent::AnswerWaiters(const ControlReply& reply, uint64_t up_to_sequence) {
  std::erase_if(waiters_, [&](const Waiter& waiter) {
    if (waiter.sequence > up_to_sequence) return false;
    loop_.Cancel(waiter.timer);
    waiter.reply(reply);
    return true;
  });
}

void Agent::Stop(const Farewell& farewell, ControlServer::Reply reply) {
  // One goodbye is enough: a second one would cut the first one off.
  at_end_.emplace_back(std::move(reply),
                       at_end_.empty() ? farewell : at_end_.front().second);
  stop_asked_ = true;
  if (!said_goodbye_) Goodbye(farewell);
}

void Agent::Leave(ControlServer::Reply reply) {
  if (said_goodbye_) return reply({.text = "this agent is ending already"});
  if (!keeper_.machine().online()) {
    return reply(
        {.text = "not connected: the gateway would not hear that this machine "
                 "leaves. "
                 "Try again when it is online, or wipe without telling it: "
                 "muster-agent leave --force"});
  }
  end_ = End::kLeft;
  leave_reply_ = std::move(reply);
  SayGoodbye({v1::GOODBYE_REASON_LEAVE});
}

}  // namespace muster::agent
