// A fleet in virtual time, with a journal and links that the test controls.

#ifndef MUSTER_GATEWAY_FLEET_TEST_FLEET_H_
#define MUSTER_GATEWAY_FLEET_TEST_FLEET_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/fleet/fake_journal.h"
#include "gateway/fleet/fake_link.h"
#include "gateway/fleet/fleet.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::gateway {

inline constexpr absl::Duration kTick = absl::Milliseconds(1);
inline const OrgId kOrg("default");

class FleetTest : public ::testing::Test {
 protected:
  FleetTest() {
    loop_.Advance(absl::Hours(1));  // The host has been up for a while.
    Start({});
  }

  void Start(FleetOptions options) {
    std::vector<MachineRecord> machines;
    for (const auto& [id, record] : journal_.machines)
      machines.push_back(record);
    std::vector<CommandRecord> commands;
    for (const auto& [id, command] : journal_.commands) {
      if (!IsFinished(command)) commands.push_back(command);
    }
    fleet_.reset();
    fleet_ = std::make_unique<Fleet>(loop_, journal_, options);
    std::vector<PresenceRecord> presence;
    for (const auto& [of, settings] : journal_.presence)
      presence.push_back({of.first, of.second, settings});
    std::vector<IncidentRecord> incidents;
    for (const auto& [id, incident] : journal_.incidents) {
      if (!incident.closed_at) incidents.push_back(incident);
    }
    fleet_->Restore(++run_, {.machines = std::move(machines),
                             .open_commands = std::move(commands),
                             .presence = std::move(presence),
                             .open_incidents = std::move(incidents),
                             .alive_at = alive_at_,
                             .blind = journal_.blind});
    fleet_->Open();
  }
  // A machine that the store has admitted.
  AgentId Admit(const std::string& name) {
    MachineRecord record;
    record.id = AgentId(name);
    record.org = kOrg;
    record.facts.hostname = name;
    record.verdict = Verdict{Domain::kUnknown, Cause::kNeverConnected,
                             Confidence::kProven, ""};
    journal_.machines[record.id] = record;
    fleet_->Admit(record);
    return record.id;
  }
  // A machine of this computer, as the facts of its registration say.
  AgentId AdmitFrom(const std::string& machine_id, const std::string& name,
                    const std::string& replaces = "") {
    MachineRecord record;
    record.id = AgentId(name);
    record.org = kOrg;
    record.facts.hostname = name;
    record.facts.machine_id = machine_id;
    journal_.machines[record.id] = record;
    fleet_->Admit(record, AgentId(replaces));
    loop_.RunReady();
    return record.id;
  }
  void SubmitCommand(const AgentId& agent, const std::string& id) {
    CommandRecord command;
    command.id = CommandId(id);
    command.agent = agent;
    command.org = kOrg;
    command.spec.delivery_timeout = absl::Seconds(30);
    command.spec.timeout = absl::Seconds(30);
    fleet_->commands().Submit(command, [](auto) {});
    loop_.RunReady();
  }
  void Say(const AgentId& agent, uint64_t epoch, const std::string& id,
           CommandState state) {
    CommandWord word;
    word.id = CommandId(id);
    word.state = state;
    fleet_->TakeWord(agent, epoch, word);
    loop_.RunReady();
  }
  HelloNotice Hello(const AgentId& agent) {
    HelloNotice hello;
    if (const Machine* known = fleet_->machines().Find(agent)) {
      hello.facts = known->record.facts;
    }
    hello.facts.hostname = agent.str();
    return hello;
  }
  // Opens a link and echoes the welcome. Returns the epoch.
  uint64_t Connect(const AgentId& agent, FakeLink& link) {
    EXPECT_FALSE(fleet_->LinkOpened(agent, Hello(agent), link).has_value());
    const uint64_t epoch = link.welcome->epoch;
    echo_[agent] = link.welcome->acknowledgement;
    EXPECT_TRUE(Beat(agent, epoch));
    return epoch;
  }
  bool Beat(const AgentId& agent, uint64_t epoch) {
    const auto answer = fleet_->Heartbeat(agent, epoch,
                                          {.sequence = 0,
                                           .acknowledged = echo_[agent],
                                           .sent_at = std::nullopt,
                                           .round_trip = std::nullopt});
    if (answer) echo_[agent] = answer->acknowledgement;
    return answer.has_value();
  }
  Machine& Of(const AgentId& agent) { return *fleet_->machines().Find(agent); }
  Status StatusOf(const AgentId& agent) {
    EXPECT_EQ(Of(agent).record.status, Of(agent).presence.status());
    return Of(agent).record.status;
  }
  std::vector<Status> History(const AgentId& agent) {
    loop_.RunReady();
    std::vector<Status> to;
    uint64_t sequence = 0;
    Status from = Status::kStale;
    for (const TransitionRecord& t : journal_.transitions[agent]) {
      EXPECT_EQ(t.sequence, ++sequence);
      EXPECT_EQ(t.from, from);
      to.push_back(from = t.to);
    }
    return to;
  }

  FakeEventLoop loop_;
  FakeJournal journal_{loop_};
  std::unique_ptr<Fleet> fleet_;
  uint64_t run_ = 0;
  std::optional<absl::Time> alive_at_;  // What the next Start() remembers.
  std::map<AgentId, uint64_t> echo_;
  FakeLink link_;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_FLEET_TEST_FLEET_H_
