#include "tests/integration/mini_fleet.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <utility>

#include "agent/app/join.h"
#include "agent/host/host_facts.h"
#include "fmt/format.h"
#include "gateway/identity/certificate_authority.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::integration {
namespace {

using gateway::PresencePolicy;

constexpr absl::Duration kPollEvery = absl::Milliseconds(5);
constexpr size_t kTransitionsMax = 10'000;
constexpr absl::Duration kLongPoll = absl::Seconds(50);

template <typename T>
T OrDie(absl::StatusOr<T> value, const char* what) {
  if (!value.ok()) {
    std::fprintf(stderr, "MiniFleet: %s: %s\n", what,
                 std::string(value.status().message()).c_str());
    std::abort();
  }
  return *std::move(value);
}

void RunOn(EventLoop& loop, const std::function<void()>& f) {
  std::promise<void> ran;
  loop.Post([&] {
    f();
    ran.set_value();
  });
  ran.get_future().wait();
}

v1::AgentFacts FactsOf(const std::string& hostname) {
  v1::AgentFacts facts = agent::ReadAgentFacts({}, "test");
  facts.set_hostname(hostname);
  facts.set_machine_id(hostname);  // One real machine would have one.
  return facts;
}

bool IsTerminalState(v1::CommandState state) {
  return state >= v1::COMMAND_STATE_SUCCEEDED;
}

}  // namespace

PresencePolicy PatientPresence() {
  PresencePolicy policy;
  policy.heartbeat_interval = absl::Milliseconds(200);
  policy.reconnect_grace = absl::Seconds(10);
  policy.stale_after = absl::Seconds(20);
  policy.offline_after = absl::Seconds(40);
  return policy;
}

PresencePolicy QuickPresence() {
  PresencePolicy policy;
  policy.heartbeat_interval = absl::Milliseconds(200);
  policy.reconnect_grace = absl::Milliseconds(200);
  policy.stale_after = absl::Milliseconds(600);
  policy.offline_after = absl::Milliseconds(1200);
  policy.blind_gap = absl::Milliseconds(250);
  return policy;
}

bool Eventually(const std::function<bool()>& condition,
                absl::Duration patience) {
  const SystemClock clock;
  const Instant deadline = clock.Now() + patience;
  while (!condition()) {
    if (clock.Now() > deadline) return false;
    absl::SleepFor(kPollEvery);
  }
  return true;
}

MiniFleet::MiniFleet(MiniFleetOptions options) : options_(std::move(options)) {
  StartGateway();
  for (int i = 0; i < options_.agents; ++i) AddAgent();
}

MiniFleet::~MiniFleet() {
  if (gateway_ == nullptr) StartGateway();
  CancelRunningCommands();
  for (size_t i = 0; i < nodes_.size(); ++i) StopAgent(static_cast<int>(i));
  StopGateway();
  for (size_t i = 0; i < nodes_.size(); ++i) {
    uint64_t sequence = 0;
    gateway::Status last = gateway::Status::kStale;
    for (const auto& t : Transitions(static_cast<int>(i))) {
      EXPECT_EQ(t.sequence, ++sequence) << "history of agent " << i;
      EXPECT_EQ(t.from, last) << "history of agent " << i;
      EXPECT_NE(t.from, t.to) << "history of agent " << i;
      last = t.to;
    }
  }
}

// --- The gateway -----------------------------------------------------------

void MiniFleet::StartGateway() {
  gateway::GatewayConfig config;
  config.data_dir = gateway_folder();
  config.web_listen = "127.0.0.1:0";
  config.fleet_listen = "127.0.0.1:0";
  config.fleet.presence = options_.presence;
  config.fleet.watch_every = options_.presence.blind_gap / 5;
  if (options_.configure) options_.configure(config);
  gateway_ = OrDie(gateway::Gateway::Start(std::move(config), clock_),
                   "starting the gateway");
  std::string token =
      OrDie(ReadFile(gateway_->admin_token().path, 1024), "the admin token");
  while (!token.empty() && token.back() == '\n') token.pop_back();
  rest_ = std::make_unique<RestClient>(gateway_->web_url(),
                                       Secret(std::move(token)));
  for (auto& node : nodes_) node->relay->SetTarget(gateway_->fleet_port());
}

void MiniFleet::StopGateway() {
  if (gateway_) gateway_->Stop();
  gateway_.reset();
}

void MiniFleet::RestartGateway() {
  StopGateway();
  StartGateway();
}

// --- Agents ----------------------------------------------------------------

agent::Identity MiniFleet::Join(const agent::AgentState& state,
                                const std::string& hostname) {
  const auto token = OrDie(rest_->Call<v1::CreateTokenResponse>(
                               "CreateToken", v1::CreateTokenRequest()),
                           "making a token");
  agent::JoinOptions options;
  options.server = rest_->url();
  options.token = Secret(token.secret());
  options.facts = FactsOf(hostname);
  return OrDie(agent::Join(state, options), "joining").identity;
}

int MiniFleet::AddAgent() {
  const int i = static_cast<int>(nodes_.size());
  auto node = std::make_unique<Node>();
  node->hostname = fmt::format("m{}", i);
  node->state = std::make_unique<agent::AgentState>(dir_.File(node->hostname));
  node->relay = std::make_unique<Relay>(gateway_->fleet_port());
  nodes_.push_back(std::move(node));
  StartAgent(i);
  return i;
}

void MiniFleet::StartAgent(int i) {
  Node& node = At(i);
  if (node.agent) return;
  auto saved = node.state->LoadIdentity();
  agent::Agent::Options options;
  options.identity =
      saved.ok() ? *std::move(saved) : Join(*node.state, node.hostname);
  node.id = options.identity.agent_id;
  options.identity.endpoint = fmt::format("127.0.0.1:{}", node.relay->port());
  options.identity.server = rest_->url();
  options.key = OrDie(node.state->LoadKey(), "the agent's key");
  options.facts = FactsOf(node.hostname);
  options.instance.set_boot_id(OrDie(agent::ReadBootId(""), "the boot id"));
  options.instance.set_process_start_id(NewUuid(clock_.Wall()));
  options.exec_path = MUSTER_EXEC_PATH;
  options.policy.goodbye_timeout = absl::Seconds(10);
  options.policy.reconnect_base = absl::Milliseconds(50);
  options.policy.lease_intervals = options_.agent_lease_intervals;
  options.random_seed = static_cast<uint64_t>(i);
  node.loop = std::make_unique<ThreadEventLoop>(clock_);
  node.end = std::make_shared<std::atomic<int>>(-1);
  RunOn(*node.loop, [&] {
    node.agent =
        OrDie(agent::Agent::Start(*node.loop, *node.state, std::move(options),
                                  [end = node.end](agent::Agent::End why) {
                                    *end = static_cast<int>(why);
                                  }),
              "starting an agent");
  });
}

void MiniFleet::Destroy(Node& node) {
  RunOn(*node.loop, [&] { node.agent->Goodbye({}); });
  EXPECT_TRUE(Eventually([&] { return *node.end >= 0; }));
  RunOn(*node.loop, [&] { node.agent.reset(); });
  node.loop.reset();
}

void MiniFleet::StopAgent(int i) {
  if (At(i).agent) Destroy(At(i));
}

void MiniFleet::CrashAgent(int i) {
  Node& node = At(i);
  if (!node.agent) return;
  node.relay->Refuse(true);
  node.relay->Cut();
  Destroy(node);
  node.relay->Refuse(false);
}

void MiniFleet::WipeAgent(int i) {
  StopAgent(i);
  const absl::Status wiped = At(i).state->Wipe();
  EXPECT_TRUE(wiped.ok()) << wiped;
}

void MiniFleet::AgeCertificate(int i, absl::Duration age) {
  const agent::AgentState& state = *At(i).state;
  agent::Identity identity = OrDie(state.LoadIdentity(), "the identity");
  const auto authority = OrDie(gateway::CertificateAuthority::OpenOrCreate(
                                   gateway_folder() + "/ca", clock_.Wall()),
                               "opening the CA");
  identity.certificate_pem = OrDie(
      authority->IssueAgent(
          OrDie(MakeCsr(OrDie(state.LoadKey(), "the key"), "x"), "a request"),
          DefaultOrg(), AgentId(identity.agent_id), clock_.Wall() - age),
      "issuing a certificate");
  const absl::Status saved = state.SaveRenewed(identity);
  EXPECT_TRUE(saved.ok()) << saved;
}

std::optional<agent::Agent::End> MiniFleet::WaitForEnd(int i) {
  Node& node = At(i);
  if (!Eventually([&] { return *node.end >= 0; })) {
    ADD_FAILURE() << "agent " << i << " does not end";
    return std::nullopt;
  }
  RunOn(*node.loop, [&] { node.agent.reset(); });
  node.loop.reset();
  return static_cast<agent::Agent::End>(node.end->load());
}

// --- What is known ---------------------------------------------------------

absl::StatusOr<v1::Agent> MiniFleet::Get(int i) const {
  v1::GetAgentRequest request;
  request.set_agent_id(agent_id(i));
  return rest_->Call<v1::Agent>("GetAgent", request);
}

bool MiniFleet::WaitForStatus(int i, v1::Status status) {
  absl::StatusOr<v1::Agent> last;
  if (Eventually([&] {
        last = Get(i);
        return last.ok() && last->status() == status;
      })) {
    return true;
  }
  ADD_FAILURE() << "agent " << i << " is not " << v1::Status_Name(status)
                << " but "
                << (last.ok() ? last->ShortDebugString()
                              : last.status().ToString());
  return false;
}

bool MiniFleet::WaitForAllOnline() {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!WaitForStatus(static_cast<int>(i), v1::STATUS_ONLINE)) return false;
  }
  return true;
}

gateway::MachineRecord MiniFleet::Record(int i) {
  gateway::MachineRecord record;
  gateway_->OnLoop([&](gateway::Fleet& fleet) {
    record = fleet.machines().Find(AgentId(agent_id(i)))->record;
  });
  return record;
}

gateway::LinkRecord MiniFleet::Link(int i) {
  gateway::LinkRecord record;
  gateway_->OnLoop([&](gateway::Fleet& fleet) {
    record = fleet.machines().Find(AgentId(agent_id(i)))->link_record;
  });
  return record;
}

std::vector<gateway::TransitionRecord> MiniFleet::Transitions(int i) {
  const auto store = OrDie(
      gateway::SqliteFleetStore::OpenReader(gateway_folder() + "/muster.db"),
      "opening the database");
  std::vector<gateway::TransitionRecord> transitions;
  const auto written = [&] {
    const uint64_t known = gateway_ ? Record(i).transition_sequence : 0;
    const auto stored =
        OrDie(store->ListTransitions(AgentId(agent_id(i)), kTransitionsMax),
              "reading the database");
    transitions.assign(stored.begin(), stored.end());
    return transitions.size() >= std::min<uint64_t>(known, kTransitionsMax);
  };
  EXPECT_TRUE(Eventually(written)) << "transitions are not written";
  std::reverse(transitions.begin(), transitions.end());
  return transitions;
}

// --- Commands --------------------------------------------------------------

absl::StatusOr<v1::Command> MiniFleet::Submit(int i, const std::string& text) {
  v1::SubmitCommandRequest request;
  request.set_agent_id(agent_id(i));
  request.set_command(text);
  return Submit(std::move(request));
}

absl::StatusOr<v1::Command> MiniFleet::Submit(
    v1::SubmitCommandRequest request) {
  // The key travels in its header only.
  ctl::CallOptions options;
  options.idempotency_key = request.idempotency_key();
  request.clear_idempotency_key();
  return rest_->Call<v1::Command>("SubmitCommand", request, options);
}

absl::StatusOr<v1::Command> MiniFleet::GetCommand(
    const std::string& command_id) const {
  v1::GetCommandRequest request;
  request.set_command_id(command_id);
  return rest_->Call<v1::Command>("GetCommand", request);
}

bool MiniFleet::WaitForState(const std::string& command_id,
                             v1::CommandState state) {
  absl::StatusOr<v1::Command> last;
  if (Eventually([&] {
        last = GetCommand(command_id);
        return last.ok() && last->state() == state;
      })) {
    return true;
  }
  ADD_FAILURE() << "command is not " << v1::CommandState_Name(state) << " but "
                << (last.ok() ? last->ShortDebugString()
                              : last.status().ToString());
  return false;
}

absl::StatusOr<Ran> MiniFleet::Finish(const std::string& command_id) {
  v1::GetCommandRequest request;
  request.set_command_id(command_id);
  *request.mutable_wait() = wire::ToProto(kLongPoll);
  Ran ran;
  ASSIGN_OR_RETURN(ran.command, rest_->Call<v1::Command>("GetCommand", request,
                                                         {.wait = kLongPoll}));
  if (!IsTerminalState(ran.command.state())) {
    return absl::DeadlineExceededError("the command does not end: " +
                                       ran.command.ShortDebugString());
  }
  ASSIGN_OR_RETURN(ran.out, ReadOutput(ran.command, "stdout"));
  ASSIGN_OR_RETURN(ran.err, ReadOutput(ran.command, "stderr"));
  return ran;
}

absl::StatusOr<Ran> MiniFleet::Run(int i, const std::string& text) {
  ASSIGN_OR_RETURN(const v1::Command command, Submit(i, text));
  return Finish(command.command_id());
}

absl::StatusOr<std::string> MiniFleet::ReadOutput(
    const v1::Command& command, const std::string& stream) const {
  std::string bytes;
  while (true) {
    ASSIGN_OR_RETURN(
        const HttpResponse part,
        rest_->Get(fmt::format("/api/commands/{}/output/{}?offset={}",
                               command.command_id(), stream, bytes.size())));
    if (part.status != 200) return ctl::ProblemStatus(part.status, part.body);
    if (part.body.empty()) return bytes;
    bytes += part.body;
  }
}

void MiniFleet::CancelRunningCommands() {
  v1::ListCommandsRequest request;
  request.add_state(v1::COMMAND_STATE_RECEIVED);
  request.add_state(v1::COMMAND_STATE_RUNNING);
  const auto running =
      rest_->Call<v1::ListCommandsResponse>("ListCommands", request);
  if (!running.ok()) return;
  for (const v1::Command& command : running->commands()) {
    v1::CancelCommandRequest cancel;
    cancel.set_command_id(command.command_id());
    (void)rest_->Call<v1::Command>("CancelCommand", cancel);
    Eventually(
        [&] {
          const auto now = GetCommand(command.command_id());
          return !now.ok() || IsTerminalState(now->state());
        },
        absl::Seconds(5));
  }
}

// --- Raw agents ------------------------------------------------------------

Credentials MiniFleet::Register(const std::string& hostname) {
  const agent::AgentState state(dir_.File("raw-" + hostname));
  const agent::Identity identity = Join(state, hostname);
  return {.agent_id = identity.agent_id,
          .ca_pem = identity.ca_pem,
          .certificate_pem = identity.certificate_pem,
          .key_pem = OrDie(state.LoadKey(), "the key")};
}

Credentials MiniFleet::CredentialsOf(int i) const {
  const agent::AgentState& state = *At(i).state;
  const agent::Identity identity = OrDie(state.LoadIdentity(), "the identity");
  return {.agent_id = identity.agent_id,
          .ca_pem = identity.ca_pem,
          .certificate_pem = identity.certificate_pem,
          .key_pem = OrDie(state.LoadKey(), "the key")};
}

Credentials MiniFleet::Forge() {
  const auto authority = OrDie(gateway::CertificateAuthority::OpenOrCreate(
                                   gateway_folder() + "/ca", clock_.Wall()),
                               "opening the CA");
  Credentials out;
  out.agent_id = NewUuid(clock_.Wall());
  out.ca_pem = authority->ca_pem();
  out.key_pem = OrDie(GenerateKey(), "making a key");
  out.certificate_pem = OrDie(
      authority->IssueAgent(OrDie(MakeCsr(out.key_pem, "x"), "a request"),
                            DefaultOrg(), AgentId(out.agent_id), clock_.Wall()),
      "issuing a certificate");
  return out;
}

}  // namespace muster::integration
