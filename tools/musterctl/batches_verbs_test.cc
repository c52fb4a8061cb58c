#include "tools/musterctl/batches_verbs.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/musterctl/batch_follower.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(LinePrefixTest, OnlyWholeLinesAreShown) {
  LinePrefix lines("web-1 | ");
  EXPECT_EQ(lines.Add("a"), "");
  EXPECT_EQ(lines.Add("b\nc\n\nd"), "web-1 | ab\nweb-1 | c\nweb-1 | \n");
  EXPECT_EQ(lines.Rest(), "web-1 | d\n");
  EXPECT_EQ(lines.Rest(), "");
}

TEST(LinePrefixTest, AnEndlessLineIsCut) {
  LinePrefix lines("x ");
  const std::string long_part(40'000, 'y');
  EXPECT_EQ(lines.Add(long_part), "");
  EXPECT_EQ(lines.Add(long_part).size(), 80'003u);
}

TEST(OutcomeTest, SaysWhatBecameOfIt) {
  v1::Command command;
  command.set_state(v1::COMMAND_STATE_SUCCEEDED);
  EXPECT_EQ(OutcomeText(command), "");
  command.set_state(v1::COMMAND_STATE_FAILED);
  command.set_exit_code(3);
  EXPECT_EQ(OutcomeText(command), "failed with 3");
  command.set_state(v1::COMMAND_STATE_REJECTED);
  command.set_reason("agent_unreachable: a\nb");
  EXPECT_EQ(OutcomeText(command), "did not run: agent_unreachable: a?b");
  command.set_state(v1::COMMAND_STATE_OUTCOME_UNKNOWN);
  command.set_reason("host_rebooted");
  EXPECT_EQ(OutcomeText(command), "outcome unknown: host_rebooted");
}

class BatchesTest : public ::testing::Test {
 protected:
  static v1::Batch Batch(v1::BatchState state, uint32_t targets) {
    v1::Batch batch;
    batch.set_batch_id("b-1");
    batch.set_state(state);
    batch.set_targets(targets);
    batch.set_selector("all");
    batch.set_concurrency(50);
    return batch;
  }
  FakeWorld world_;
};

constexpr char kSubmit[] = "POST /api/batches";

TEST_F(BatchesTest, MoreThanAHundredMachinesAreAskedAbout) {
  world_.console.terminal = true;
  world_.console.input = "n";
  world_.gateway.On(kSubmit, Ok(Batch(v1::BATCH_STATE_RUNNING, 101)));
  EXPECT_EQ(world_.Run({"run", "--all", "--", "true"}), 1);
  EXPECT_THAT(world_.console.err,
              HasSubstr("Run on 101 machines (all), 50 at a time?"));
  EXPECT_EQ(world_.gateway.requests.size(), 1u);
  EXPECT_THAT(world_.gateway.requests[0].body, HasSubstr("\"dry_run\":true"));
}

TEST_F(BatchesTest, WhoSaidYesIsNotAsked) {
  world_.gateway.On(kSubmit, Ok(Batch(v1::BATCH_STATE_RUNNING, 101)));
  EXPECT_EQ(world_.Run({"run", "--all", "--yes", "--detach", "--", "true"}), 0);
  EXPECT_EQ(world_.console.out, "b-1\n");
  EXPECT_THAT(world_.gateway.requests[1].body,
              HasSubstr("\"confirm_targets\":101"));
  EXPECT_THAT(world_.gateway.requests[1].body,
              Not(HasSubstr("\"dry_run\":true")));
}

}  // namespace
}  // namespace muster::ctl
