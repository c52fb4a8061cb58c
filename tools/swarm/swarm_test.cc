#include <sys/stat.h>

#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"
#include "tools/swarm/command_book.h"
#include "tools/swarm/identity_store.h"
#include "tools/swarm/latency_histogram.h"
#include "tools/swarm/loopback.h"
#include "tools/swarm/swarm_options.h"

namespace muster::swarm {
namespace {

using ::testing::HasSubstr;

// --- LatencyHistogram ------------------------------------------------------

TEST(LatencyHistogramTest, APercentileIsAtMostSevenPercentAboveTheTruth) {
  LatencyHistogram histogram;
  for (int ms = 1; ms <= 1000; ++ms) histogram.Add(absl::Milliseconds(ms));
  for (const double quantile : {0.01, 0.5, 0.99, 1.0}) {
    const absl::Duration truth = absl::Milliseconds(1000 * quantile);
    EXPECT_GE(histogram.Quantile(quantile), truth) << quantile;
    EXPECT_LE(histogram.Quantile(quantile), truth * 1.07) << quantile;
  }
  EXPECT_EQ(histogram.max(), absl::Seconds(1));
  EXPECT_EQ(histogram.count(), 1000u);
}

TEST(LatencyHistogramTest, NothingAndExtremesAreCounted) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), absl::ZeroDuration());
  histogram.Add(-absl::Seconds(1));
  EXPECT_LE(histogram.Quantile(1), absl::Microseconds(1));
  histogram.Add(absl::Hours(24 * 365));
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_GT(histogram.Quantile(1), absl::Hours(1));
}

// --- CommandBook -----------------------------------------------------------

v1::CommandOrder Order(const std::string& id, uint64_t seq) {
  v1::CommandOrder order;
  order.set_command_id(id);
  order.set_dispatch_seq(seq);
  return order;
}

TEST(CommandBookTest, RunsAnOrderOnceHoweverOftenItComes) {
  CommandBook book;
  EXPECT_TRUE(book.Take(Order("a", 3), absl::UnixEpoch()));
  EXPECT_FALSE(book.Take(Order("a", 3), absl::UnixEpoch()));
  EXPECT_FALSE(book.Take(Order("b", 2), absl::UnixEpoch()));
  EXPECT_EQ(book.open().size(), 1u);
  EXPECT_EQ(book.ForHello().seen_high, 3u);
}

TEST(CommandBookTest, KeepsItsWordUntilUpdateAndOutputAreAcknowledged) {
  CommandBook book;
  book.Take(Order("a", 1), absl::UnixEpoch());
  const uint64_t bytes = book.open().at("a").update.stdout_bytes();
  ASSERT_GT(bytes, 0u);
  v1::CommandUpdateAck update;
  update.set_command_id("a");
  update.set_state(v1::COMMAND_STATE_RUNNING);
  book.UpdateAcked(update);
  EXPECT_FALSE(book.open().at("a").update_acked);
  update.set_state(v1::COMMAND_STATE_SUCCEEDED);
  book.UpdateAcked(update);
  v1::TransferAck output;
  output.set_command_id("a");
  output.set_offset(bytes - 1);
  book.OutputAcked(output);
  EXPECT_EQ(book.ForHello().open_command_ids, std::vector<std::string>({"a"}));
  output.set_offset(bytes);
  book.OutputAcked(output);
  EXPECT_TRUE(book.open().empty());
  EXPECT_FALSE(book.Take(Order("a", 1), absl::UnixEpoch()));
}

// --- IdentityStore ---------------------------------------------------------

TEST(IdentityStoreTest, KeepsKeysAndAnswersForTheNextRun) {
  const TempDir dir;
  const std::string folder = dir.path() + "/state";
  Secret key;
  {
    const auto store = IdentityStore::Open(folder, "http://127.0.0.1:1");
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_TRUE(absl::IsNotFound(store->Load(7, absl::UnixEpoch()).status()));
    key = *store->KeyFor(7);
    EXPECT_EQ(store->KeyFor(7)->Reveal(), key.Reveal());
    v1::RegisterResponse answer;
    answer.set_agent_id("id-7");
    answer.set_certificate_pem("none");
    ASSERT_TRUE(store->Save(7, answer).ok());
  }
  const auto store = IdentityStore::Open(folder, "http://127.0.0.1:1");
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->KeyFor(7)->Reveal(), key.Reveal());
  // That certificate does not belong to the key: said with the file's name.
  const absl::Status corrupt = store->Load(7, absl::UnixEpoch()).status();
  EXPECT_TRUE(absl::IsDataLoss(corrupt)) << corrupt;
  EXPECT_THAT(std::string(corrupt.message()), HasSubstr("00007.json"));
  struct stat st;
  ASSERT_EQ(stat((folder + "/00007.key").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST(IdentityStoreTest, IsForOneSwarmAndOneServer) {
  const TempDir dir;
  {
    const auto first = IdentityStore::Open(dir.path(), "http://127.0.0.1:1");
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_TRUE(absl::IsAlreadyExists(
        IdentityStore::Open(dir.path(), "http://127.0.0.1:1").status()));
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(
      IdentityStore::Open(dir.path(), "http://127.0.0.1:2").status()));
}

// --- Options ---------------------------------------------------------------

TEST(LoopbackTest, KnowsItsSpellingsOnly) {
  for (const char* text :
       {"http://127.0.0.1:7080", "https://localhost", "https://[::1]:7080/x",
        "127.8.9.1:7443", "[::1]:7443", "localhost:1"}) {
    EXPECT_TRUE(IsLoopback(text)) << text;
  }
  for (const char* text :
       {"http://10.0.0.1:7080", "https://127.0.0.1.evil.example",
        "http://localhost.evil.example", "[::2]:7443", "", "http://",
        "https://127.evil.example:1", "https://127.0.0.1@evil.example"}) {
    EXPECT_FALSE(IsLoopback(text)) << text;
  }
}

std::variant<SwarmOptions, EarlyExit> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "muster-swarm");
  return ParseSwarmOptions(static_cast<int>(words.size()), words.data());
}

std::string ErrorOf(std::vector<const char*> words) {
  const auto parsed = Parse(std::move(words));
  const auto* early = std::get_if<EarlyExit>(&parsed);
  if (early == nullptr) return "accepted";
  EXPECT_EQ(early->code, 2);
  return early->err;
}

constexpr char kServer[] = "http://127.0.0.1:7080";

TEST(SwarmOptionsTest, ProfilesHaveTheirOwnDefaults) {
  const auto parsed = Parse({"--server", kServer, "--agents", "10", "--profile",
                             "churn", "--state", "x"});
  const auto& options = std::get<SwarmOptions>(parsed);
  EXPECT_EQ(options.plan.profile, Profile::kChurn);
  EXPECT_EQ(options.plan.every, absl::Seconds(5));
  EXPECT_DOUBLE_EQ(options.plan.share, 0.1);
  EXPECT_FALSE(options.plan.leave_fleet);
  EXPECT_EQ(options.duration, absl::Minutes(1));
}

TEST(SwarmOptionsTest, WithoutStateTheMachinesLeaveTheFleet) {
  const auto parsed = Parse({"--server", kServer, "--agents", "10"});
  EXPECT_TRUE(std::get<SwarmOptions>(parsed).plan.leave_fleet);
}

TEST(SwarmOptionsTest, RefusesWhatIsNotOnThisMachineUnlessTold) {
  EXPECT_THAT(ErrorOf({"--server", "https://gw.example:7080", "--agents", "1"}),
              HasSubstr("--i-own-this-gateway"));
  EXPECT_EQ(ErrorOf({"--server", "https://gw.example:7080", "--agents", "1",
                     "--i-own-this-gateway"}),
            "accepted");
  EXPECT_THAT(ErrorOf({"--server", "http://gw.example:7080", "--agents", "1",
                       "--i-own-this-gateway"}),
              HasSubstr("https://"));
}

TEST(SwarmOptionsTest, BoundsAreNamed) {
  EXPECT_THAT(ErrorOf({"--server", kServer, "--agents", "0"}),
              HasSubstr("--agents"));
  EXPECT_THAT(
      ErrorOf({"--server", kServer, "--agents", "1", "--duration", "8d"}),
      HasSubstr("--duration: expected 1s to 168h, got \"8d\""));
  EXPECT_THAT(ErrorOf({"--server", kServer, "--agents", "1", "--every", "1s"}),
              HasSubstr("steady"));
  EXPECT_THAT(
      ErrorOf({"--server", kServer, "--agents", "1", "--profile", "dance"}),
      HasSubstr("got \"dance\""));
}

TEST(SwarmOptionsTest, SaysHowManyLinksTheDescriptorsAllow) {
  EXPECT_TRUE(CheckDescriptors(19'936, 20'000).ok());
  EXPECT_THAT(std::string(CheckDescriptors(19'937, 20'000).message()),
              HasSubstr("at most 19936 machines"));
}

}  // namespace
}  // namespace muster::swarm
