// A whole fleet in one process: one gateway and a few agents, for tests.
//
//   TEST(Backup, SurvivesAGatewayRestart) {
//     MiniFleet fleet({.agents = 2});
//     ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
//     EXPECT_EQ(fleet.Run(0, "echo hi")->out, "hi\n");
//     fleet.RestartGateway();
//     ASSERT_TRUE(fleet.WaitForStatus(0, v1::STATUS_ONLINE));
//   }
//
// Everything is real: gRPC with mutual TLS, SQLite on disk, one muster-exec per
// command, REST. Ports are free ones of 127.0.0.1, files live in a temporary
// folder, so that any number of fleets run side by side. Copy this folder's
// files for your own tests; docs/operations/integration-tests.md says how.
//
// Never assert how long something takes: machines are busy. Assert what must
// come (WaitFor…, with a generous deadline) and what must never be.

#ifndef MUSTER_TESTS_INTEGRATION_MINI_FLEET_H_
#define MUSTER_TESTS_INTEGRATION_MINI_FLEET_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/app/agent.h"
#include "gateway/server/gateway.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/testing/temp_dir.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tests/integration/relay.h"
#include "tests/integration/rest_client.h"

namespace muster::integration {

// Heartbeats every 200 ms, and leases so long that no load makes a machine
// stale: for tests in which the status must not change by itself.
gateway::PresencePolicy PatientPresence();

// Stale after 600 ms, offline after 1.2 s: for tests that wait for silence. A
// busy machine may make an agent stale for a moment; it comes back.
gateway::PresencePolicy QuickPresence();

struct MiniFleetOptions {
  int agents = 1;
  gateway::PresencePolicy presence = PatientPresence();
  // An agent gives up a link when a heartbeat stays unanswered for this many
  // intervals. Many: only what the test does ends a link.
  double agent_lease_intervals = 100;
  // Changes the gateway's settings before each start.
  std::function<void(gateway::GatewayConfig&)> configure = {};
};

// What became of a command.
struct Ran {
  v1::Command command;
  std::string out;
  std::string err;
};

// A machine's own certificate, as a join leaves it.
struct Credentials {
  std::string agent_id;
  std::string ca_pem;
  std::string certificate_pem;
  Secret key_pem;
};

// `condition` comes true before `patience` is over. For what has no event.
bool Eventually(const std::function<bool()>& condition,
                absl::Duration patience = absl::Seconds(30));

// MiniFleet starts its gateway and agents, and at its end proves that every
// machine's history is without gap.
//
// Threading: one thread, the test's; rest() and relay() may be used on others
// while the gateway runs. What cannot be set up ends the process with a line
// that says why; what does not happen in time is a test failure, and false.
class MiniFleet {
 public:
  explicit MiniFleet(MiniFleetOptions options = {});
  ~MiniFleet();
  MiniFleet(const MiniFleet&) = delete;
  MiniFleet& operator=(const MiniFleet&) = delete;

  // --- The gateway --------------------------------------------------------
  gateway::Gateway& gateway() { return *gateway_; }
  const RestClient& rest() const { return *rest_; }
  void StopGateway();
  void StartGateway();  // Agents find it, although its ports are new.
  void RestartGateway();
  std::string gateway_folder() const { return dir_.File("gateway"); }

  // --- Agents -------------------------------------------------------------
  int AddAgent();  // Joins and starts one more; returns its index.
  const std::string& agent_id(int i) const { return At(i).id; }
  void StartAgent(int i);  // Joins first if it has no identity.
  void StopAgent(int i);   // Says goodbye.
  // Ends it without a word to the gateway. Commands go on, as after kill -9.
  void CrashAgent(int i);
  // Stops it and removes its state, as reinstalling the machine would.
  void WipeAgent(int i);
  // Gives a stopped agent the certificate that it would have, had the gateway
  // issued it so long ago.
  void AgeCertificate(int i, absl::Duration age);
  const agent::AgentState& state(int i) const { return *At(i).state; }
  // Why it ended by itself, waiting for that.
  std::optional<agent::Agent::End> WaitForEnd(int i);
  // All of its connections go through this.
  Relay& relay(int i) { return *At(i).relay; }

  // --- What is known ------------------------------------------------------
  absl::StatusOr<v1::Agent> Get(int i) const;
  bool WaitForStatus(int i, v1::Status status);
  bool WaitForAllOnline();
  // From the gateway's memory, on its loop.
  gateway::MachineRecord Record(int i);
  gateway::LinkRecord Link(int i);
  // From its database, oldest first: all that have happened before the call.
  std::vector<gateway::TransitionRecord> Transitions(int i);

  // --- Commands -----------------------------------------------------------
  // Runs a bash command to its end and fetches its output.
  absl::StatusOr<Ran> Run(int i, const std::string& text);
  absl::StatusOr<v1::Command> Submit(int i, const std::string& text);
  absl::StatusOr<v1::Command> Submit(v1::SubmitCommandRequest request);
  // Long-polls until it has ended and its output is complete.
  absl::StatusOr<Ran> Finish(const std::string& command_id);
  absl::StatusOr<v1::Command> GetCommand(const std::string& command_id) const;
  bool WaitForState(const std::string& command_id, v1::CommandState state);

  // --- Raw agents ---------------------------------------------------------
  // Registers a machine that no agent runs for.
  Credentials Register(const std::string& hostname);
  // Those of a running agent.
  Credentials CredentialsOf(int i) const;
  // A valid certificate of a machine that was never registered.
  Credentials Forge();

 private:
  struct Node {
    std::string hostname;
    std::string id;
    std::unique_ptr<agent::AgentState> state;
    std::unique_ptr<Relay> relay;
    // Constant while it runs; the agent is touched on the loop only.
    std::unique_ptr<ThreadEventLoop> loop;
    std::unique_ptr<agent::Agent> agent;
    std::shared_ptr<std::atomic<int>> end;  // Of Agent::End; -1: it lives.
  };

  Node& At(int i) { return *nodes_.at(static_cast<size_t>(i)); }
  const Node& At(int i) const { return *nodes_.at(static_cast<size_t>(i)); }
  agent::Identity Join(const agent::AgentState& state,
                       const std::string& hostname);
  void Destroy(Node& node);
  void CancelRunningCommands();
  absl::StatusOr<std::string> ReadOutput(const v1::Command& command,
                                         const std::string& stream) const;

  const MiniFleetOptions options_;
  TempDir dir_;
  SystemClock clock_;
  std::unique_ptr<gateway::Gateway> gateway_;
  std::unique_ptr<RestClient> rest_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace muster::integration

#endif  // MUSTER_TESTS_INTEGRATION_MINI_FLEET_H_
