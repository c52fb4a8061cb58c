// Random lives of a small fleet, checked against oracles that know nothing of
// how the rules are written. A failure prints its seed; the same seed fails
// again.

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/fake_journal.h"
#include "gateway/fleet/fake_link.h"
#include "gateway/fleet/fleet.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::gateway {
namespace {

using absl::Seconds;

const OrgId kOrg("default");
constexpr absl::Duration kStale = Seconds(75);
constexpr absl::Duration kOffline = Seconds(120);

// What the test itself knows of one machine.
struct Agent {
  AgentId id;
  std::unique_ptr<FakeLink> link;
  uint64_t epoch = 0;
  uint64_t old_epoch = 0;
  uint64_t echo = 0;
  bool speaks = true;
  Instant spoke;      // Last message that reached the gateway.
  Instant disturbed;  // Last loss of a link or goodbye.
  Instant promised;   // End of the last promise.
  uint64_t seen_high = 0;
  std::vector<CommandId> commands;
};

class World {
 public:
  explicit World(uint64_t seed) : random_(seed), steps_wall_(seed % 2 == 0) {
    loop_->Advance(absl::Hours(1));
    for (int i = 0; i < 4; ++i) {
      Agent agent;
      agent.id = AgentId(fmt::format("m{}", i));
      MachineRecord record;
      record.id = agent.id;
      record.org = kOrg;
      record.facts.hostname = agent.id.str();
      journal_.machines[record.id] = record;
      agents_.push_back(std::move(agent));
    }
    Restart();
  }

  void Step() {
    loop_->Advance(Seconds(static_cast<double>(1 + random_() % 15)));
    Check();
    Agent& agent = agents_[random_() % agents_.size()];
    Happen(agent, random_() % 100);
    for (Agent& other : agents_) {
      if (other.speaks) Speak(other);
    }
    loop_->RunReady();
    Check();
  }

  void CheckHistory() {
    loop_->RunReady();
    for (const Agent& agent : agents_) {  // P8.
      uint64_t sequence = 0;
      Status from = Status::kStale;
      for (const TransitionRecord& t : journal_.transitions[agent.id]) {
        ASSERT_EQ(t.sequence, ++sequence);
        ASSERT_EQ(t.from, from);
        ASSERT_NE(t.to, from);
        from = t.to;
      }
      ASSERT_EQ(from, StatusOf(agent));
    }
    for (const auto& [id, states] : journal_.history) {  // C3.
      CommandState end = CommandState::kQueued;
      for (const CommandState state : states) {
        if (IsTerminal(end) && end != CommandState::kOutcomeUnknown) {
          ASSERT_EQ(state, end);
        }
        end = state;
      }
    }
  }

 private:
  Instant Now() const { return loop_->Now(); }
  Status StatusOf(const Agent& agent) {
    return fleet_->machines().Find(agent.id)->record.status;
  }

  void Happen(Agent& agent, uint64_t what) {
    if (what < 10) {
      Lose(agent);
    } else if (what < 20) {
      agent.speaks = !agent.speaks;  // Falls silent, its link open; or wakes.
    } else if (what < 24) {
      SayGoodbye(agent);
    } else if (what < 28) {
      Pause(Seconds(static_cast<double>(1 + random_() % 40)));
    } else if (what < 30) {
      Restart();
    } else if (what < 40) {
      SpeakOnOldLink(agent);
    } else if (what < 60) {
      Submit(agent);
    } else if (what < 90) {
      SayWord(agent);
    } else if (what < 92 && steps_wall_) {
      loop_->StepWall(absl::Hours(static_cast<int>(random_() % 2000) - 1000));
      wall_stepped_ = true;
    } else if (what < 95) {
      journal_.FailNext(static_cast<int>(random_() % 4));
    }
  }

  void Connect(Agent& agent) {
    agent.old_epoch = agent.epoch;
    agent.link = std::make_unique<FakeLink>();
    HelloNotice hello;
    hello.facts.hostname = agent.id.str();
    hello.last_epoch = agent.epoch;
    hello.seen_high = agent.seen_high;
    hello.open_commands = agent.commands;
    ASSERT_FALSE(fleet_->LinkOpened(agent.id, hello, *agent.link));
    ASSERT_GT(agent.link->welcome->epoch, agent.epoch);
    agent.epoch = agent.link->welcome->epoch;
    agent.echo = agent.link->welcome->acknowledgement;
  }

  void Speak(Agent& agent) {
    if (agent.link && agent.link->closed) {
      fleet_->LinkClosed(agent.id, agent.epoch, LinkEnd::kClosedByGateway);
      agent.link.reset();
    }
    if (!agent.link) Connect(agent);
    HeartbeatNotice beat;
    beat.acknowledged = agent.echo;
    const auto answer = fleet_->Heartbeat(agent.id, agent.epoch, beat);
    ASSERT_TRUE(answer.has_value());
    agent.echo = answer->acknowledgement;
    agent.spoke = Now();
    ASSERT_EQ(StatusOf(agent), Status::kOnline);  // P14.
  }

  void Lose(Agent& agent) {
    if (!agent.link) return;
    fleet_->LinkClosed(agent.id, agent.epoch, LinkEnd::kClosedByPeer);
    agent.link.reset();
    agent.disturbed = Now();
  }

  void SayGoodbye(Agent& agent) {
    if (!agent.link || agent.link->closed) return;
    GoodbyeNotice notice;
    notice.back_within = Seconds(static_cast<double>(random_() % 300));
    fleet_->Goodbye(agent.id, agent.epoch, notice);
    agent.spoke = agent.disturbed = Now();
    agent.promised = Now() + std::max(notice.back_within, Seconds(5));
    agent.speaks = false;
    Lose(agent);
  }

  // The process stood still.
  void Pause(absl::Duration gap) {
    const Instant from = Now();
    loop_->SuspendFor(gap);
    if (gap <= Seconds(2)) return;
    disturbed_ = Now();
    if (gap >= Seconds(10)) blind_ = Now();
    for (Agent& agent : agents_) {
      if (agent.promised > from) agent.promised += gap;
    }
  }

  // Another life of the gateway: what was not durable is gone.
  void Restart() {
    std::map<AgentId, Status> statuses;
    for (const auto& [id, record] : journal_.machines)
      statuses[id] = record.status;
    auto loop = std::make_unique<FakeEventLoop>(loop_->Wall() -
                                                loop_->Now().since_boot());
    loop->Advance(loop_->Now().since_boot());
    loop->Advance(Seconds(static_cast<double>(random_() % 200)));
    journal_.Restart(*loop);
    fleet_.reset();
    loop_ = std::move(loop);
    fleet_ = std::make_unique<Fleet>(*loop_, journal_, FleetOptions{});
    std::vector<MachineRecord> machines;
    for (const auto& [id, record] : journal_.machines)
      machines.push_back(record);
    std::vector<CommandRecord> open;
    for (const auto& [id, command] : journal_.commands) {
      if (!IsFinished(command)) open.push_back(command);
    }
    fleet_->Restore(++run_, {.machines = std::move(machines),
                             .open_commands = std::move(open)});
    fleet_->Open();
    loop_->RunReady();
    disturbed_ = blind_ = Now();
    before_ = statuses;  // P12: Check() compares.
    for (Agent& agent : agents_) {
      agent.link.reset();
      // A stored promise is read by the wall clock, within bounds.
      agent.promised = std::max(agent.promised, Now() + kStale);
      if (wall_stepped_) agent.promised = Now() + kPromiseMax;
    }
    Check();
  }

  // P10: it is not answered and changes nothing.
  void SpeakOnOldLink(Agent& agent) {
    if (agent.old_epoch == 0) return;
    const MachineRecord record = fleet_->machines().Find(agent.id)->record;
    HeartbeatNotice beat;
    beat.acknowledged = agent.echo;
    ASSERT_FALSE(fleet_->Heartbeat(agent.id, agent.old_epoch, beat));
    fleet_->Goodbye(agent.id, agent.old_epoch, {});
    ASSERT_EQ(fleet_->machines().Find(agent.id)->record, record);
  }

  void Submit(Agent& agent) {
    CommandRecord command;
    command.id = CommandId(fmt::format("c{:06}", ++submitted_));
    command.agent = agent.id;
    command.org = kOrg;
    command.spec.timeout = Seconds(60);
    command.spec.delivery_timeout = Seconds(30);
    command.spec.kill_grace = Seconds(5);
    fleet_->commands().Submit(command, [](const auto&) {});
    if (random_() % 4 == 0) {
      fleet_->commands().Cancel(command.id, [](const auto&) {});
    }
  }

  // The agent takes its orders, then says something of one of its commands.
  void SayWord(Agent& agent) {
    if (!agent.link || agent.link->closed || !agent.speaks) return;
    for (const CommandRecord& order : agent.link->orders) {
      if (order.dispatch_seq <= agent.seen_high) continue;
      agent.seen_high = order.dispatch_seq;
      agent.commands.push_back(order.id);
    }
    if (agent.commands.empty()) return;
    CommandWord word;
    word.id = agent.commands[random_() % agent.commands.size()];
    word.state = static_cast<CommandState>(1 + random_() % 12);
    fleet_->TakeWord(agent.id, agent.epoch, word);
    agent.spoke = Now();
  }

  void Check() {
    for (const Agent& agent : agents_) {
      const Status status = StatusOf(agent);
      // P2: silent for longer than any excuse lasts.
      const Instant excuse = std::max({agent.spoke, disturbed_}) + kOffline;
      if (Now() >= std::max(excuse, agent.promised)) {
        ASSERT_EQ(status, Status::kOffline) << agent.id.str();
      }
      const Status before = std::exchange(before_[agent.id], status);
      if (status <= before) continue;
      // P1: nobody who speaks and kept its link has become worse.
      ASSERT_TRUE(agent.disturbed + Seconds(5) >= agent.spoke ||
                  Now() - agent.spoke >= kStale)
          << agent.id.str();
      // P4, P12: nor anybody within a lease after blindness, unless it has
      // lost its link or left since.
      ASSERT_TRUE(agent.disturbed >= blind_ || Now() >= blind_ + kStale)
          << agent.id.str();
    }
  }

  std::mt19937_64 random_;
  const bool steps_wall_;
  std::unique_ptr<FakeEventLoop> loop_ = std::make_unique<FakeEventLoop>();
  FakeJournal journal_{*loop_};
  std::unique_ptr<Fleet> fleet_;
  std::vector<Agent> agents_;
  std::map<AgentId, Status> before_;  // At the last Check().
  Instant disturbed_;  // The last time the gateway was blind at all.
  Instant blind_;      // The last time it was so for long.
  bool wall_stepped_ = false;
  uint64_t run_ = 0;
  int submitted_ = 0;
};

TEST(FleetPropertyTest, RandomLivesKeepEveryPromise) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(seed);
    for (int step = 0; step < 1500; ++step) {
      world.Step();
      if (::testing::Test::HasFatalFailure()) FAIL() << "step " << step;
    }
    world.CheckHistory();
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace muster::gateway
