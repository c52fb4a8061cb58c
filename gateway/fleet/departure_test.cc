#include "gateway/fleet/departure.h"

#include <vector>

#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Hours;
using absl::Minutes;

Instant Up(absl::Duration d) { return Instant::SinceBoot(d); }

TEST(DepartureTest, AMachineThatIsNotOfflineNeverLeaves) {
  Departure departure;
  EXPECT_EQ(departure.due(), Instant::Never());
  departure.Excuse(Up(Hours(1)), Up(Hours(2)), Minutes(2));
  departure.NotBefore(Up(Hours(9)));
  EXPECT_EQ(departure.due(), Instant::Never());
  departure.Begin(Up(Hours(1)), Hours(24));
  departure.Cancel();
  EXPECT_EQ(departure.due(), Instant::Never());
}

TEST(DepartureTest, TimeInWhichNobodyCouldBeHeardDoesNotCount) {
  Departure departure;
  departure.Begin(Up(Hours(1)), Hours(24));
  EXPECT_EQ(departure.due(), Up(Hours(25)));
  departure.Excuse(Up(Hours(2)), Up(Hours(5)), Minutes(2));
  EXPECT_EQ(departure.due(), Up(Hours(28)));
  // Only the part since it is offline.
  departure.Begin(Up(Hours(10)), Hours(24));
  departure.Excuse(Up(Hours(4)), Up(Hours(11)), Minutes(2));
  EXPECT_EQ(departure.due(), Up(Hours(35)));
  departure.Excuse(Up(Hours(4)), Up(Hours(10)), Minutes(2));
  EXPECT_EQ(departure.due(), Up(Hours(35)));
}

TEST(DepartureTest, AfterAGapThereIsTimeToComeBack) {
  Departure departure;
  departure.Begin(Up(Hours(1)), Hours(24));
  departure.Excuse(Up(Hours(25) - Minutes(1)), Up(Hours(99)), Minutes(2));
  EXPECT_EQ(departure.due(), Up(Hours(99) + Minutes(2)));
}

TEST(DepartureTest, ASignOfLifeOnlyPutsItOff) {
  Departure departure;
  departure.Begin(Up(Hours(1)), Hours(1));
  departure.NotBefore(Up(Minutes(90)));
  EXPECT_EQ(departure.due(), Up(Hours(2)));
  departure.NotBefore(Up(Hours(3)));
  EXPECT_EQ(departure.due(), Up(Hours(3)));
}

absl::Time At(int hour) { return absl::UnixEpoch() + Hours(hour); }

TEST(ListenedTest, BlindTimeIsTakenOffOnce) {
  const std::vector<BlindRecord> blind = {
      {At(4), At(6), BlindReason::kNotRunning},
      {At(5), At(7), BlindReason::kDescriptors},
      {At(1), At(2), BlindReason::kStoodStill}};
  EXPECT_EQ(Listened(At(0), At(10), blind), Hours(6));
  EXPECT_EQ(Listened(At(3), At(10), blind), Hours(4));
  EXPECT_EQ(Listened(At(5), At(6), blind), Hours(0));
  EXPECT_EQ(Listened(At(0), At(5), blind), Hours(3));
  EXPECT_EQ(Listened(At(8), At(10), blind), Hours(2));
  EXPECT_EQ(Listened(At(10), At(8), blind), Hours(0));
  EXPECT_EQ(Listened(At(8), At(8), {}), Hours(0));
}

}  // namespace
}  // namespace muster::gateway
