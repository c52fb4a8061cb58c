#include "gateway/admin/heartbeat_taps.h"

#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/test_fleet.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/sanitizers.h"

namespace {
int allocations = 0;
}  // namespace

// Every allocation of this program is counted: the price of a heartbeat that
// nobody watches.
void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HeartbeatTapsTest : public FleetTest {
 protected:
  HeartbeatTapsTest() {
    a_ = Admit("a");
    epoch_ = Connect(a_, link_);
  }

  using Answer = HeartbeatTaps::Answer;
  // The answer, once there is one.
  std::shared_ptr<std::optional<absl::StatusOr<Answer>>> Watch(
      std::optional<uint64_t> after, absl::Duration wait) {
    auto answer = std::make_shared<std::optional<absl::StatusOr<Answer>>>();
    taps_.Watch(Of(a_), after, wait, [answer](absl::StatusOr<Answer> a) {
      EXPECT_FALSE(answer->has_value()) << "answered twice";
      *answer = std::move(a);
    });
    return answer;
  }
  Answer Poll(std::optional<uint64_t> after) {
    const auto answer = Watch(after, absl::ZeroDuration());
    EXPECT_TRUE(answer->has_value() && (*answer)->ok());
    return ***answer;
  }
  void BeatWith(uint64_t sequence) {
    EXPECT_TRUE(fleet_->Heartbeat(a_, epoch_,
                                  {.sequence = sequence,
                                   .acknowledged = 0,
                                   .sent_at = std::nullopt,
                                   .round_trip = absl::Milliseconds(3)}));
  }
  static std::vector<uint64_t> Sequences(const Answer& answer) {
    std::vector<uint64_t> sequences;
    for (const HeartbeatSample& h : answer.heartbeats) {
      EXPECT_EQ(h.round_trip, absl::Milliseconds(3));
      sequences.push_back(h.sequence);
    }
    return sequences;
  }

  HeartbeatTaps taps_{loop_,
                      {.taps_max = 1,
                       .waiting_max = 2,
                       .heartbeats_max = 3,
                       .linger = Seconds(15)}};
  AgentId a_;
  uint64_t epoch_ = 0;
};

TEST_F(HeartbeatTapsTest, AHeartbeatThatNobodyWatchesCostsNothingMore) {
  if (kThreadSanitizer) GTEST_SKIP() << "it has an operator new of its own";
  const auto price = [this] {
    const int before = allocations;
    for (int i = 0; i < 1000; ++i) BeatWith(1);
    return allocations - before;
  };
  price();  // Whatever grows once has grown.
  const int never_watched = price();
  EXPECT_EQ(never_watched, 0);
  EXPECT_EQ(Of(a_).tap, nullptr);
  Poll(std::nullopt);
  EXPECT_NE(Of(a_).tap, nullptr);
  EXPECT_GT(price(), never_watched) << "this test can fail";
  loop_.Advance(Seconds(16));
  EXPECT_EQ(Of(a_).tap, nullptr);
  EXPECT_EQ(taps_.open(), 0u);
  price();
  EXPECT_EQ(price(), never_watched);
}

TEST_F(HeartbeatTapsTest, AWaitingReaderHearsTheNextHeartbeatAtOnce) {
  BeatWith(1);  // Before anybody watches.
  const auto answer = Watch(std::nullopt, Seconds(30));
  EXPECT_FALSE(answer->has_value());
  BeatWith(2);
  ASSERT_TRUE(answer->has_value());
  EXPECT_THAT(Sequences(***answer), ElementsAre(2));
  BeatWith(3);
  BeatWith(4);
  EXPECT_THAT(Sequences(Poll((**answer)->next)), ElementsAre(3, 4));
}

TEST_F(HeartbeatTapsTest, WhenTheWaitIsOverTheAnswerIsEmpty) {
  const auto answer = Watch(std::nullopt, Seconds(5));
  loop_.Advance(Seconds(5) - kTick);
  EXPECT_FALSE(answer->has_value());
  loop_.Advance(kTick);
  ASSERT_TRUE(answer->has_value());
  EXPECT_THAT(Sequences(***answer), IsEmpty());
  BeatWith(9);
  EXPECT_THAT(Sequences(Poll((**answer)->next)), ElementsAre(9));
}

TEST_F(HeartbeatTapsTest, ASlowReaderIsToldHowManyItMissed) {
  const uint64_t next = Poll(std::nullopt).next;
  for (uint64_t i = 1; i <= 5; ++i) BeatWith(i);
  const Answer late = Poll(next);
  EXPECT_THAT(Sequences(late), ElementsAre(3, 4, 5));
  EXPECT_EQ(late.missed, 2u);
  EXPECT_EQ(Poll(late.next).missed, 0u);
}

TEST_F(HeartbeatTapsTest, ANumberThatWasNeverGivenMeansAllThatIsKept) {
  Poll(std::nullopt);
  BeatWith(1);
  EXPECT_THAT(Sequences(Poll(0)), ElementsAre(1));
  EXPECT_EQ(Poll(0).missed, 0u);
  EXPECT_THAT(Sequences(Poll(~uint64_t{0})), ElementsAre(1));
}

TEST_F(HeartbeatTapsTest, ATapThatIsAskedStaysOpenAndThenCloses) {
  Poll(std::nullopt);
  for (int i = 0; i < 5; ++i) {
    loop_.Advance(Seconds(10));
    Poll(std::nullopt);
  }
  const auto waiting = Watch(std::nullopt, Seconds(50));
  loop_.Advance(Seconds(49));
  EXPECT_EQ(taps_.open(), 1u);
  loop_.Advance(Seconds(1));
  EXPECT_TRUE(waiting->has_value());
  loop_.Advance(Seconds(15));
  EXPECT_EQ(taps_.open(), 0u);
}

TEST_F(HeartbeatTapsTest, MoreWatchersThanTheBoundAreRefusedByName) {
  const auto first = Watch(std::nullopt, Seconds(5));
  const auto second = Watch(std::nullopt, Seconds(5));
  const auto third = Watch(std::nullopt, Seconds(5));
  ASSERT_TRUE(third->has_value());
  EXPECT_EQ((*third)->status(),
            TooManyWatchers("2 calls wait for heartbeats of a", 2));
  taps_.Watch(Of(Admit("b")), std::nullopt, Seconds(5), [](auto answer) {
    EXPECT_EQ(answer.status(), TooManyWatchers("1 machines are watched", 1));
  });
  BeatWith(1);
  EXPECT_TRUE(first->has_value() && second->has_value());
}

}  // namespace
}  // namespace muster::gateway
