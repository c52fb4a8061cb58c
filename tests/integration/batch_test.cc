// Batches: every machine has its turn once, and what came of it is told.

#include <fstream>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/wire/proto_time.h"
#include "tests/integration/mini_fleet.h"

namespace muster::integration {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class BatchTest : public ::testing::Test {
 protected:
  static v1::SubmitBatchRequest Request(const std::string& text) {
    v1::SubmitBatchRequest request;
    request.mutable_run()->set_command(text);
    request.mutable_run()->set_shell_type(v1::SHELL_TYPE_SH);
    request.set_all(true);
    return request;
  }
  absl::StatusOr<v1::Batch> Submit(const v1::SubmitBatchRequest& request) {
    return fleet_.rest().Call<v1::Batch>("SubmitBatch", request);
  }
  // Long-polls until it has ended.
  absl::StatusOr<v1::Batch> End(const std::string& id) {
    v1::GetBatchRequest request;
    request.set_batch_id(id);
    *request.mutable_wait() = wire::ToProto(absl::Seconds(10));
    while (true) {
      auto batch = fleet_.rest().Call<v1::Batch>("GetBatch", request);
      if (!batch.ok() || batch->has_finished_at()) return batch;
      request.set_seen(batch->targets() - batch->counts().waiting() -
                       batch->counts().running());
    }
  }
  std::vector<v1::BatchTarget> Targets(const std::string& id) {
    v1::ListBatchTargetsRequest request;
    request.set_batch_id(id);
    const auto answer = fleet_.rest().Call<v1::ListBatchTargetsResponse>(
        "ListBatchTargets", request);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return {answer->targets().begin(), answer->targets().end()};
  }

  MiniFleet fleet_{{.agents = 3}};
  const TempDir scratch_;
};

TEST_F(BatchTest, RunsOnEveryMachineOnceAndTellsHowEachCameOut) {
  ASSERT_TRUE(fleet_.WaitForAllOnline());
  auto request = Request(fmt::format(
      "echo x >> {0}/ran; test $(wc -l < {0}/ran) -ne 2", scratch_.path()));
  request.set_concurrency("1");
  const auto batch = Submit(request);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_EQ(batch->targets(), 3u);
  EXPECT_EQ(batch->selector(), "all");
  const auto ended = End(batch->batch_id());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::BATCH_STATE_FINISHED);
  EXPECT_EQ(ended->counts().succeeded(), 2u);
  EXPECT_EQ(ended->counts().failed(), 1u);
  EXPECT_EQ(*ReadFile(scratch_.File("ran"), 100), "x\nx\nx\n");
  const auto targets = Targets(batch->batch_id());
  ASSERT_EQ(targets.size(), 3u);
  EXPECT_EQ(targets[1].command().state(), v1::COMMAND_STATE_FAILED);
  EXPECT_EQ(targets[1].command().batch_id(), batch->batch_id());
}

TEST_F(BatchTest, AMachineThatIsAwaySaysWhyAndIsRetriedAlone) {
  ASSERT_TRUE(fleet_.WaitForAllOnline());
  fleet_.StopAgent(1);
  ASSERT_TRUE(fleet_.WaitForStatus(1, v1::STATUS_STALE));
  const auto batch = Submit(Request(
      fmt::format("echo x >> {}", scratch_.File("ran"))));
  ASSERT_TRUE(batch.ok()) << batch.status();
  const auto ended = End(batch->batch_id());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->counts().succeeded(), 2u);
  EXPECT_EQ(ended->counts().not_delivered(), 1u);
  for (const v1::BatchTarget& target : Targets(batch->batch_id())) {
    if (target.agent_id() != fleet_.agent_id(1)) continue;
    EXPECT_EQ(target.command().state(), v1::COMMAND_STATE_REJECTED);
    EXPECT_THAT(target.command().reason(),
                StartsWith("agent_unreachable: "));
  }
  fleet_.StartAgent(1);
  ASSERT_TRUE(fleet_.WaitForStatus(1, v1::STATUS_ONLINE));
  v1::RetryBatchRequest retry;
  retry.set_batch_id(batch->batch_id());
  const auto again = fleet_.rest().Call<v1::Batch>("RetryBatch", retry);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->targets(), 1u);
  EXPECT_EQ(again->retry_of(), batch->batch_id());
  EXPECT_EQ(End(again->batch_id())->counts().succeeded(), 1u);
  EXPECT_EQ(*ReadFile(scratch_.File("ran"), 100), "x\nx\nx\n");
  retry.set_batch_id(again->batch_id());
  EXPECT_EQ(ProblemCode(
                fleet_.rest().Call<v1::Batch>("RetryBatch", retry).status()),
            "no_machines");
}

TEST_F(BatchTest, GoesOnAfterTheGatewayAndNobodyHasTwoTurns) {
  ASSERT_TRUE(fleet_.WaitForAllOnline());
  auto request = Request(fmt::format(
      "echo x >> {0}/ran; until [ -e {0}/go ]; do sleep 0.02; done",
      scratch_.path()));
  request.set_concurrency("2");
  const auto batch = Submit(request);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_TRUE(Eventually([&] {
    const auto ran = ReadFile(scratch_.File("ran"), 100);
    return ran.ok() && *ran == "x\nx\n";
  }));
  fleet_.RestartGateway();
  ASSERT_TRUE(fleet_.WaitForAllOnline());
  std::ofstream(scratch_.File("go")) << "";
  const auto ended = End(batch->batch_id());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->counts().succeeded(), 3u);
  EXPECT_EQ(*ReadFile(scratch_.File("ran"), 100), "x\nx\nx\n");
}

TEST_F(BatchTest, ACancelledOneEndsWhatRunsAndStartsNothing) {
  ASSERT_TRUE(fleet_.WaitForAllOnline());
  auto request =
      Request(fmt::format("echo x >> {}; sleep 600", scratch_.File("ran")));
  request.set_concurrency("1");
  const auto batch = Submit(request);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_TRUE(Eventually([&] { return ReadFile(scratch_.File("ran"), 9).ok(); }));
  v1::CancelBatchRequest cancel;
  cancel.set_batch_id(batch->batch_id());
  const auto cancelled = fleet_.rest().Call<v1::Batch>("CancelBatch", cancel);
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  const auto ended = End(batch->batch_id());
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state(), v1::BATCH_STATE_CANCELLED);
  EXPECT_EQ(ended->counts().failed(), 1u);
  EXPECT_EQ(ended->counts().waiting(), 2u);
  EXPECT_EQ(*ReadFile(scratch_.File("ran"), 9), "x\n");
  EXPECT_EQ(fleet_.rest().Call<v1::Batch>("CancelBatch", cancel)->state(),
            v1::BATCH_STATE_CANCELLED)
      << "it is over; so it is as it is";
}

TEST_F(BatchTest, WhatSelectsNobodyOrTooManyIsRefusedByName) {
  ASSERT_TRUE(fleet_.WaitForAllOnline());
  const auto refused = [this](const v1::SubmitBatchRequest& request) {
    const auto batch = Submit(request);
    return std::string(batch.status().message());
  };
  auto request = Request("true");
  request.set_all(false);
  EXPECT_THAT(refused(request),
              HasSubstr("status, hostname, label, agent_id, all: at least one "
                        "must be given"));
  request.add_label("env=prod");
  EXPECT_THAT(refused(request),
              HasSubstr("no machine is selected: label=env=prod"));
  request.add_agent_id("who");
  EXPECT_THAT(refused(request), HasSubstr("agent \"who\" not found"));
  request = Request("true");
  request.set_concurrency("0");
  EXPECT_THAT(refused(request), HasSubstr("concurrency: must be a number"));
  request.set_concurrency("");
  request.mutable_run()->set_output_bytes_max(0);
  EXPECT_THAT(refused(request), HasSubstr("run.output_bytes_max: must be"));
  request = Request("true");
  request.set_dry_run(true);
  EXPECT_EQ(Submit(request)->targets(), 3u);
  v1::ListBatchesRequest list;
  EXPECT_EQ(fleet_.rest()
                .Call<v1::ListBatchesResponse>("ListBatches", list)
                ->batches_size(),
            0);
}

}  // namespace
}  // namespace muster::integration
