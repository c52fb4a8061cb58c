#include "gateway/admin/metrics_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

TEST(MetricsTextTest, AFamilySaysWhatItIsAndThenItsNumbers) {
  MetricsText out;
  out.Gauge("muster_agents", "Machines by status.");
  out.Add("status", "online", 19'000);
  out.Add("status", "stale", 0);
  out.Counter("muster_heartbeats_total", "Heartbeats.", 123456789012.0);
  out.Gauge("muster_seconds", "A time.", 0.25);
  EXPECT_EQ(out.Take(),
            "# HELP muster_agents Machines by status.\n"
            "# TYPE muster_agents gauge\n"
            "muster_agents{status=\"online\"} 19000\n"
            "muster_agents{status=\"stale\"} 0\n"
            "# HELP muster_heartbeats_total Heartbeats.\n"
            "# TYPE muster_heartbeats_total counter\n"
            "muster_heartbeats_total 123456789012\n"
            "# HELP muster_seconds A time.\n"
            "# TYPE muster_seconds gauge\n"
            "muster_seconds 0.25\n");
}

TEST(MetricsTextTest, ALabelsValueCannotEndItsLine) {
  MetricsText out;
  out.Gauge("x", "X.");
  out.Add("l", "a\"b\\c\nd", 1);
  EXPECT_THAT(out.Take(), testing::HasSubstr("x{l=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

TEST(MetricsTextTest, ADistributionCountsWhatIsAtOrBelowEachBound) {
  Histogram late;
  late.Add(absl::ZeroDuration());
  late.Add(absl::Milliseconds(20));
  late.Add(absl::Milliseconds(21));
  late.Add(absl::Minutes(2));
  MetricsText out;
  out.Distribution("late_seconds", "Late.", late);
  EXPECT_EQ(out.Take(),
            "# HELP late_seconds Late.\n"
            "# TYPE late_seconds histogram\n"
            "late_seconds_bucket{le=\"0.001\"} 1\n"
            "late_seconds_bucket{le=\"0.005\"} 1\n"
            "late_seconds_bucket{le=\"0.02\"} 2\n"
            "late_seconds_bucket{le=\"0.1\"} 3\n"
            "late_seconds_bucket{le=\"0.5\"} 3\n"
            "late_seconds_bucket{le=\"1\"} 3\n"
            "late_seconds_bucket{le=\"2.5\"} 3\n"
            "late_seconds_bucket{le=\"10\"} 3\n"
            "late_seconds_bucket{le=\"+Inf\"} 4\n"
            "late_seconds_sum 120.041\n"
            "late_seconds_count 4\n");
}

}  // namespace
}  // namespace muster::gateway
