// The definition of FleetStore: batches.

#include <vector>

#include "gateway/store/test_fleet_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class BatchStoreContract : public FleetStoreContract {
 protected:
  static BatchRecord Batch(const std::string& id) {
    BatchRecord b;
    b.id = BatchId(id);
    b.org = OrgId("acme");
    b.spec = Command("c").spec;
    b.queue_offline = true;
    b.concurrency = 50;
    b.canary = 2;
    b.failures_max = 7;
    b.issued_by = "admin";
    b.concurrency_text = "10%";
    b.stop_after = "7";
    b.request = "digest";
    b.labels = {{"change", "4711"}};
    b.purpose = "disk full";
    b.selector = "label=env=prod";
    b.retry_of = BatchId("b0");
    b.created_at = At(1);
    b.counts.waiting = 2;
    return b;
  }
  const std::vector<AgentId> both_ = {AgentId("m2"), AgentId("m1")};
};

TEST_P(BatchStoreContract, ABatchComesBackExactlyWithItsMachinesInOrder) {
  ASSERT_TRUE(store_->AddBatch(Batch("b1"), both_).ok());
  Reopen();
  EXPECT_EQ(*store_->GetBatch(BatchId("b1")), Batch("b1"));
  const auto targets = *store_->ListBatchTargets(BatchId("b1"), 0, 9);
  EXPECT_THAT(targets, ElementsAre(BatchTarget{AgentId("m2"), {}},
                                   BatchTarget{AgentId("m1"), {}}));
  EXPECT_THAT(*store_->ListBatchTargets(BatchId("b1"), 1, 9),
              ElementsAre(targets[1]));
  EXPECT_THAT(*store_->ListBatchTargets(BatchId("b1"), 0, 1),
              ElementsAre(targets[0]));
  EXPECT_THAT(*store_->ListBatchTargets(BatchId("b9"), 0, 9), IsEmpty());
}

TEST_P(BatchStoreContract, ATargetHasItsCommandOnceItHadItsTurn) {
  ASSERT_TRUE(store_->AddBatch(Batch("b1"), both_).ok());
  CommandRecord command = Command("c1", "m1");
  command.batch = BatchId("b1");
  Add(command);
  Add(Command("c2", "m2"));  // Of no batch.
  command.state = CommandState::kFailed;
  command.exit_code = 3;
  ASSERT_TRUE(store_->PutCommand(command).ok());
  const auto open = *store_->LoadOpenBatches();
  ASSERT_THAT(open, SizeIs(1));
  EXPECT_EQ(open[0].record, Batch("b1"));
  ASSERT_THAT(open[0].targets, SizeIs(2));
  EXPECT_FALSE(open[0].targets[0].command.has_value());
  ASSERT_TRUE(open[0].targets[1].command.has_value());
  EXPECT_EQ(open[0].targets[1].command->id, CommandId("c1"));
  EXPECT_EQ(open[0].targets[1].command->state, CommandState::kFailed);
  EXPECT_EQ(open[0].targets[1].command->exit_code, 3);
  EXPECT_THAT(List({.org = OrgId("acme"), .batch = BatchId("b1")}),
              ElementsAre("c1"));
}

TEST_P(BatchStoreContract, OnlyWhatMayChangeIsChanged) {
  ASSERT_TRUE(store_->AddBatch(Batch("b1"), both_).ok());
  BatchRecord changed = Batch("b1");
  changed.purpose = "another";
  changed.state = BatchState::kStopped;
  changed.reason = "1 failed, the limit is 1";
  changed.finished_at = At(9);
  changed.counts = {.waiting = 1, .failed = 1};
  ASSERT_TRUE(store_->PutBatch(changed).ok());
  changed.purpose = Batch("b1").purpose;
  EXPECT_EQ(*store_->GetBatch(BatchId("b1")), changed);
  EXPECT_THAT(*store_->LoadOpenBatches(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(store_->PutBatch(Batch("b9"))));
}

TEST_P(BatchStoreContract, WhatIsFoundOutAfterTheEndCountsAnew) {
  BatchRecord batch = Batch("b1");
  ASSERT_TRUE(store_->AddBatch(batch, both_).ok());
  CommandRecord command = Command("c1", "m1");
  command.batch = BatchId("b1");
  Add(command);
  const auto put = [&](CommandState state) {
    command.state = state;
    ASSERT_TRUE(store_->PutCommand(command).ok());
  };
  put(CommandState::kOutcomeUnknown);
  batch.state = BatchState::kStopped;
  batch.finished_at = At(9);
  batch.counts = {.waiting = 1, .unknown = 1};
  ASSERT_TRUE(store_->PutBatch(batch).ok());
  for (int twice = 0; twice < 2; ++twice) {
    put(CommandState::kSucceeded);
    EXPECT_EQ(store_->GetBatch(BatchId("b1"))->counts,
              (BatchCounts{.waiting = 1, .succeeded = 1}));
  }
}

TEST_P(BatchStoreContract, CommandsOfABatchTellWhoHadATurnAsLongAsItIsThere) {
  BatchRecord batch = Batch("b1");
  ASSERT_TRUE(store_->AddBatch(batch, both_).ok());
  CommandRecord command = Command("c1", "m1");
  command.batch = BatchId("b1");
  Add(command);
  command.state = CommandState::kSucceeded;
  ASSERT_TRUE(store_->PutCommand(command).ok());
  const auto forget = [this](absl::Time now) {
    while (*store_->DeleteExpired({}, now, 10) > 0) {
    }
  };
  forget(At(10) + 2 * Retention().commands);
  EXPECT_TRUE(store_->LoadOpenBatches()->at(0).targets[1].command.has_value());
  batch.state = BatchState::kFinished;
  batch.finished_at = At(9);
  ASSERT_TRUE(store_->PutBatch(batch).ok());
  forget(At(10) + 2 * Retention().commands);
  EXPECT_TRUE(absl::IsNotFound(store_->GetBatch(BatchId("b1")).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->GetCommand(CommandId("c1")).status()));
}

TEST_P(BatchStoreContract, TheSameIdempotencyKeyReturnsTheStoredBatch) {
  BatchRecord first = Batch("b1");
  first.idempotency_key = "k";
  ASSERT_TRUE(store_->AddBatch(first, both_).ok());
  BatchRecord again = first;
  again.id = BatchId("b2");
  again.counts.waiting = 1;
  EXPECT_EQ(*store_->AddBatch(again, {}), first);
  EXPECT_EQ(*store_->FindBatch(OrgId("acme"), "k"), first);
  EXPECT_TRUE(
      absl::IsNotFound(store_->FindBatch(OrgId("other"), "k").status()));
  again.request = "another";
  EXPECT_TRUE(absl::IsAlreadyExists(store_->AddBatch(again, {}).status()));
  again.org = OrgId("other");
  EXPECT_EQ(*store_->AddBatch(again, {}), again);
  ASSERT_TRUE(store_->AddBatch(Batch("b3"), {}).ok());
  ASSERT_TRUE(store_->AddBatch(Batch("b4"), {}).ok()) << "none has no key";
}

TEST_P(BatchStoreContract, AnUnknownMachineIsNoTarget) {
  const std::vector<AgentId> who = {AgentId("m1"), AgentId("who")};
  EXPECT_FALSE(store_->AddBatch(Batch("b1"), who).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->GetBatch(BatchId("b1")).status()));
  EXPECT_THAT(*store_->ListBatchTargets(BatchId("b1"), 0, 9), IsEmpty());
}

TEST_P(BatchStoreContract, BatchesAreListedNewestFirst) {
  BatchRecord foreign = Batch("b2");
  foreign.org = OrgId("other");
  for (const BatchRecord& batch : {Batch("b1"), foreign, Batch("b3")}) {
    ASSERT_TRUE(store_->AddBatch(batch, {}).ok());
  }
  EXPECT_THAT(*store_->ListBatches(OrgId("acme"), {}, 9),
              ElementsAre(Batch("b3"), Batch("b1")));
  EXPECT_THAT(*store_->ListBatches(OrgId("acme"), {}, 1),
              ElementsAre(Batch("b3")));
  EXPECT_THAT(*store_->ListBatches(OrgId("acme"), BatchId("b3"), 9),
              ElementsAre(Batch("b1")));
}

TEST_P(BatchStoreContract, AnEndedBatchExpiresWithItsMachines) {
  BatchRecord ended = Batch("b1");
  ASSERT_TRUE(store_->AddBatch(ended, both_).ok());
  ASSERT_TRUE(store_->AddBatch(Batch("b2"), both_).ok());
  ended.state = BatchState::kFinished;
  ended.finished_at = At(9);
  ASSERT_TRUE(store_->PutBatch(ended).ok());
  const absl::Time later = At(10) + Retention().commands;
  while (*store_->DeleteExpired({}, later, 10) > 0) {
  }
  EXPECT_TRUE(absl::IsNotFound(store_->GetBatch(BatchId("b1")).status()));
  EXPECT_THAT(*store_->ListBatchTargets(BatchId("b1"), 0, 9), IsEmpty());
  EXPECT_THAT(*store_->ListBatchTargets(BatchId("b2"), 0, 9), SizeIs(2));
}

INSTANTIATE_TEST_SUITE_P(, BatchStoreContract, testing::ValuesIn(Backends()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace muster::gateway
