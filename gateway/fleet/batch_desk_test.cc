#include "gateway/fleet/batch_desk.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fake_journal.h"
#include "gateway/fleet/fake_link.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::gateway {
namespace {

using enum CommandState;
using absl::Seconds;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const OrgId kOrg("default");

class BatchDeskTest : public ::testing::Test {
 protected:
  BatchDeskTest() { Start(); }

  // A life of the gateway: what is stored is all that it knows.
  void Start() {
    machines_ = std::make_unique<Machines>();
    links_.clear();
    for (int i = 0; i < 8; ++i) {
      MachineRecord record;
      record.id = AgentId(fmt::format("m{}", i));
      record.org = kOrg;
      record.facts.hostname = fmt::format("host-{}", i);
      record.status = Status::kOnline;
      Machine& machine = machines_->Add(
          std::move(record),
          Presence::Restored(policy_, Status::kOnline, {}, {}, loop_.Now()));
      links_.push_back(std::make_unique<FakeLink>());
      machine.link = links_.back().get();
      machine.record.epoch = 1;
    }
    journal_.Restart(loop_);
    batches_.reset();
    commands_ = std::make_unique<CommandDesk>(
        loop_, journal_, *machines_,
        [](const Machine&) { return "offline for 3m"; },
        CommandDesk::Options());
    batches_ = std::make_unique<BatchDesk>(loop_, journal_, *machines_,
                                           *commands_, options_);
    std::vector<CommandRecord> open;
    for (const auto& [id, command] : journal_.commands) {
      if (!IsFinished(command)) open.push_back(command);
    }
    commands_->Restore(std::move(open), loop_.Now());
    std::vector<StoredBatch> batches;
    for (const auto& [id, record] : journal_.batches) {
      if (HasEnded(record.state)) continue;
      StoredBatch& batch = batches.emplace_back(StoredBatch{.record = record});
      for (const AgentId& agent : journal_.batch_targets[id]) {
        batch.targets.push_back({agent, CommandOf(agent.str())});
      }
    }
    batches_->Restore(std::move(batches));
    batches_->Resume();
    loop_.RunReady();
  }

  BatchRecord Batch(uint32_t concurrency) {
    BatchRecord batch;
    batch.id = BatchId("b");
    batch.org = kOrg;
    batch.spec.timeout = Seconds(60);
    batch.spec.delivery_timeout = Seconds(30);
    batch.concurrency = concurrency;
    return batch;
  }
  void Submit(BatchRecord batch, int count = 6) {
    std::vector<AgentId> targets;
    for (int i = 0; i < count; ++i) targets.emplace_back(fmt::format("m{}", i));
    batches_->Submit(std::move(batch), std::move(targets),
                     [this](auto r) { answer_ = std::move(r); });
    loop_.RunReady();
  }
  std::optional<CommandRecord> CommandOf(const std::string& agent) {
    for (const auto& [id, command] : journal_.commands) {
      if (command.agent.str() == agent) return command;
    }
    return std::nullopt;
  }
  void End(const std::string& agent, CommandState state = kSucceeded) {
    const auto command = CommandOf(agent);
    ASSERT_TRUE(command.has_value()) << agent;
    CommandWord word;
    word.id = command->id;
    word.state = state;
    commands_->TakeWord(*machines_->Find(AgentId(agent)), word, loop_.Now());
    loop_.RunReady();
  }
  // Has had its turn.
  int Turns() { return static_cast<int>(journal_.commands.size()); }
  const BatchRecord& Stored() { return journal_.batches.at(BatchId("b")); }

  const PresencePolicy policy_;
  BatchDesk::Options options_;
  FakeEventLoop loop_;
  FakeJournal journal_{loop_};
  std::vector<std::unique_ptr<FakeLink>> links_;
  std::unique_ptr<Machines> machines_;
  std::unique_ptr<CommandDesk> commands_;
  std::unique_ptr<BatchDesk> batches_;
  std::optional<absl::StatusOr<BatchRecord>> answer_;
};

TEST_F(BatchDeskTest, NothingIsAnsweredOrStartedBeforeItIsStored) {
  journal_.Hold();
  Submit(Batch(2));
  EXPECT_FALSE(answer_.has_value());
  EXPECT_EQ(Turns(), 0);
  journal_.Release();
  loop_.RunReady();
  ASSERT_TRUE(answer_->ok());
  EXPECT_EQ((*answer_)->counts.waiting, 6u);
  EXPECT_EQ(Turns(), 2);
  EXPECT_THAT(links_[0]->orders, SizeIs(1));
}

TEST_F(BatchDeskTest, WhoComesOutGivesItsPlaceToTheNext) {
  Submit(Batch(2));
  End("m1");
  EXPECT_EQ(Turns(), 3);
  EXPECT_EQ(CommandOf("m2")->batch, BatchId("b"));
  End("m0", kFailed);
  for (const char* agent : {"m2", "m3", "m4", "m5"}) End(agent);
  EXPECT_EQ(batches_->Find(BatchId("b")), nullptr);
  EXPECT_EQ(Stored().state, BatchState::kFinished);
  EXPECT_TRUE(Stored().finished_at.has_value());
  EXPECT_EQ(Stored().counts, (BatchCounts{.succeeded = 5, .failed = 1}));
}

// Its machines have their turns later than it was asked for.
TEST_F(BatchDeskTest, WhoseRightWasRevokedHasNoMoreTurns) {
  BatchRecord batch = Batch(2);
  batch.issued_by = "alice";
  batch.created_at = loop_.Wall();
  Submit(batch);
  loop_.Advance(Seconds(1));
  const absl::Time revoked_at = loop_.Wall();
  commands_->AskBeforeSending(
      [&](const std::string& principal, const OrgId& org, absl::Time at) {
        return principal != "alice" || org != kOrg || at >= revoked_at;
      });
  End("m0");
  EXPECT_EQ(Turns(), 2);
  EXPECT_EQ(Stored().state, BatchState::kStopping);
  EXPECT_EQ(Stored().reason, "permission_revoked");
  End("m1");
  EXPECT_EQ(Stored().state, BatchState::kStopped);
  EXPECT_EQ(Stored().counts, (BatchCounts{.waiting = 4, .succeeded = 2}));
}

TEST_F(BatchDeskTest, AMachineThatIsNotOnlineIsStoredAsNotDeliveredAndSaysWhy) {
  machines_->Find(AgentId("m0"))->record.status = Status::kOffline;
  Submit(Batch(1), 2);
  const auto command = CommandOf("m0");
  ASSERT_TRUE(command.has_value());
  EXPECT_EQ(command->state, kRejected);
  EXPECT_EQ(command->reason, "agent_unreachable: offline for 3m");
  EXPECT_THAT(links_[0]->orders, SizeIs(0));
  EXPECT_THAT(links_[1]->orders, SizeIs(1)) << "the next has its turn";
  End("m1");
  EXPECT_EQ(Stored().counts, (BatchCounts{.succeeded = 1, .not_delivered = 1}));
}

TEST_F(BatchDeskTest, AMachineMayBeWaitedFor) {
  Machine& machine = *machines_->Find(AgentId("m0"));
  machine.record.status = Status::kOffline;
  machine.link = nullptr;
  BatchRecord batch = Batch(6);
  batch.queue_offline = true;
  Submit(std::move(batch), 1);
  EXPECT_EQ(CommandOf("m0")->state, kQueued);
  loop_.Advance(Seconds(30));
  commands_->Sweep(loop_.Now());
  loop_.RunReady();
  EXPECT_EQ(Stored().counts, (BatchCounts{.not_delivered = 1}));
}

TEST_F(BatchDeskTest, ADeletedMachineDoesNotRunIt) {
  machines_->Bury(*machines_->Find(AgentId("m0")), loop_.Wall());
  Submit(Batch(6), 1);
  EXPECT_EQ(CommandOf("m0")->reason, "agent_deleted");
  EXPECT_EQ(Stored().state, BatchState::kFinished);
}

TEST_F(BatchDeskTest, TooManyFailuresSpareTheOthers) {
  BatchRecord batch = Batch(2);
  batch.failures_max = 1;
  Submit(std::move(batch));
  End("m0", kFailed);
  EXPECT_EQ(Turns(), 2);
  EXPECT_EQ(batches_->Find(BatchId("b"))->state, BatchState::kStopping);
  End("m1");
  EXPECT_EQ(Stored().state, BatchState::kStopped);
  EXPECT_EQ(Stored().counts,
            (BatchCounts{.waiting = 4, .succeeded = 1, .failed = 1}));
  EXPECT_THAT(Stored().reason, HasSubstr("1 failed, the limit is 1"));
}

TEST_F(BatchDeskTest, AfterARestartNobodyHasTwoTurnsAndTheOthersHaveTheirs) {
  Submit(Batch(3));
  End("m1");
  ASSERT_EQ(Turns(), 4);
  Start();
  EXPECT_EQ(Turns(), 4);
  EXPECT_EQ(batches_->Find(BatchId("b"))->counts,
            (BatchCounts{.waiting = 2, .running = 3, .succeeded = 1}));
  for (const char* agent : {"m0", "m2", "m3", "m4", "m5"}) End(agent);
  EXPECT_EQ(Turns(), 6);
  EXPECT_EQ(Stored().counts, (BatchCounts{.succeeded = 6}));
}

TEST_F(BatchDeskTest, ATurnThatWasNotStoredIsStillToCome) {
  Submit(Batch(1));
  journal_.Hold();
  End("m0");  // The next has its turn, which is not stored.
  journal_.ReleaseOne();
  loop_.RunReady();
  Start();
  EXPECT_EQ(Turns(), 2);
  EXPECT_EQ(CommandOf("m1")->state, kDispatched);
}

TEST_F(BatchDeskTest, ATurnWaitsForAStoreThatIsAway) {
  Submit(Batch(1), 2);
  End("m0");
  ASSERT_EQ(Turns(), 2);
  End("m1");
  BatchRecord second = Batch(1);
  second.id = BatchId("b2");
  journal_.commands.clear();
  batches_->Submit(second, {AgentId("m3")}, [](auto) {});
  journal_.Hold();
  loop_.RunReady();
  journal_.FailNext(1);  // The turn: the batch is stored.
  journal_.Release();
  loop_.RunReady();
  EXPECT_EQ(Turns(), 0);
  loop_.Advance(Seconds(1));
  EXPECT_EQ(Turns(), 1);
}

TEST_F(BatchDeskTest, ACancelStopsWhatRunsAndSparesTheRest) {
  Submit(Batch(2));
  std::optional<absl::StatusOr<BatchRecord>> cancelled;
  batches_->Cancel(BatchId("b"), [&](auto r) { cancelled = std::move(r); });
  EXPECT_FALSE(cancelled.has_value()) << "it is not stored yet";
  loop_.RunReady();
  ASSERT_TRUE(cancelled.has_value() && cancelled->ok());
  EXPECT_EQ((*cancelled)->state, BatchState::kCancelling);
  EXPECT_THAT(links_[0]->cancels, SizeIs(1));
  EXPECT_THAT(links_[1]->cancels, SizeIs(1));
  End("m0", kCancelled);
  End("m1");
  EXPECT_EQ(Stored().state, BatchState::kCancelled);
  EXPECT_EQ(Stored().counts.waiting, 4u);
  EXPECT_EQ(Turns(), 2);
}

TEST_F(BatchDeskTest, ACancelGoesOnAfterARestart) {
  Submit(Batch(2));
  batches_->Cancel(BatchId("b"), [](auto) {});
  loop_.RunReady();
  Start();
  EXPECT_EQ(Turns(), 2);
  End("m0", kCancelled);
  End("m1", kCancelled);
  EXPECT_EQ(Stored().state, BatchState::kCancelled);
}

TEST_F(BatchDeskTest, AnEndIsShownWhenItIsStoredAndNotBefore) {
  Submit(Batch(1));
  journal_.FailNext(1000);
  batches_->Cancel(BatchId("b"), [](auto) {});
  loop_.RunReady();
  EXPECT_EQ(batches_->Find(BatchId("b"))->state, BatchState::kRunning);
  journal_.FailNext(0);
  loop_.Advance(Seconds(2));
  EXPECT_EQ(batches_->Find(BatchId("b"))->state, BatchState::kCancelling);
}

TEST_F(BatchDeskTest, ATurnThatWaitsForTheStoreIsNotBegunWhenItIsCancelled) {
  journal_.Hold();
  batches_->Submit(Batch(2), {AgentId("m0"), AgentId("m1")}, [](auto) {});
  journal_.ReleaseOne();  // The batch.
  loop_.RunReady();
  journal_.FailNext(2);  // The turns.
  journal_.Release();
  loop_.RunReady();
  batches_->Cancel(BatchId("b"), [](auto) {});
  loop_.Advance(Seconds(2));
  EXPECT_EQ(Turns(), 0);
  EXPECT_EQ(Stored().state, BatchState::kCancelled);
  EXPECT_EQ(Stored().counts, (BatchCounts{.waiting = 2}));
}

TEST_F(BatchDeskTest, WhoWatchesHearsOfEachThatComesOut) {
  Submit(Batch(2));
  int heard = 0;
  ASSERT_TRUE(batches_->Watch(BatchId("b"), [&] { ++heard; }));
  End("m0");
  EXPECT_EQ(heard, 1);
}

TEST_F(BatchDeskTest, OnlySoManyAreOpen) {
  options_.open_max = 1;
  Start();
  Submit(Batch(2));
  BatchRecord second = Batch(2);
  second.id = BatchId("b2");
  Submit(std::move(second));
  EXPECT_EQ(ErrorCode(answer_->status()), "too_many_batches");
}

}  // namespace
}  // namespace muster::gateway
