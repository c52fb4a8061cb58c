#include "gateway/fleet/mass_silence.h"

#include <map>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::SizeIs;

Instant T(double s) { return Instant::SinceBoot(Seconds(1000 + s)); }

TEST(SubnetTest, IsTheNeighbourhoodOfTheAddress) {
  EXPECT_EQ(SubnetOf("10.2.3.7"), "10.2.3.0/24");
  EXPECT_EQ(SubnetOf("192.0.2.255"), "192.0.2.0/24");
  EXPECT_EQ(SubnetOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(SubnetOf("fe80::1"), "fe80::/64");
  for (const char* none : {"", "somewhere", "10.2.3", "127.0.0.1", "::1"}) {
    EXPECT_EQ(SubnetOf(none), "") << none;
  }
}

class MassSilenceTest : public ::testing::Test {
 protected:
  // `count` machines "<prefix>00", … in 10.2.<net>.0/24.
  void Add(const std::string& prefix, int count, int net,
           const Labels& labels = {}) {
    for (int i = 0; i < count; ++i) {
      const AgentId id(fmt::format("{}{:02}", prefix, i));
      mass_.Place(id, members_[id], org_, fmt::format("10.2.{}.{}", net, i),
                  labels, true);
    }
  }
  std::optional<MassSilence::Event> Fall(const std::string& id, Instant now) {
    return mass_.FellSilent(AgentId(id), members_.at(AgentId(id)), now);
  }
  std::optional<MassSilence::Event> Return(const std::string& id) {
    return mass_.NoLongerSilent(AgentId(id), members_.at(AgentId(id)));
  }

  const OrgId org_{"default"};
  MassSilence mass_{MassSilencePolicy()};
  std::map<AgentId, MassSilence::Membership> members_;
};

TEST_F(MassSilenceTest, FiveOfAGroupWithinFifteenSecondsAreOneIncident) {
  Add("a", 10, 3);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(Fall(fmt::format("a{:02}", i), T(i)));
  }
  const auto event = Fall("a04", T(15));
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->incident.number, 1u);
  EXPECT_EQ(event->incident.group, "10.2.3.0/24");
  EXPECT_EQ(event->incident.opened, T(15));
  EXPECT_EQ(event->incident.machines, 5u);
  EXPECT_THAT(event->machines, SizeIs(5));
  // Whoever follows belongs to it, however late.
  const auto joined = Fall("a05", T(100));
  ASSERT_TRUE(joined.has_value());
  EXPECT_EQ(joined->incident.number, 1u);
  EXPECT_EQ(joined->incident.machines, 6u);
  EXPECT_THAT(joined->machines, ElementsAre(AgentId("a05")));
}

TEST_F(MassSilenceTest, FewerThanFiveOrASmallShareOrALongTimeAreNone) {
  Add("few", 4, 1);
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(Fall(fmt::format("few{:02}", i), T(0)));
  Add("many", 17, 2);
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(Fall(fmt::format("many{:02}", i), T(0))) << "5 of 17 = 29.4 %";
  }
  EXPECT_TRUE(Fall("many05", T(0))) << "6 of 17";
  Add("slow", 10, 4);
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(Fall(fmt::format("slow{:02}", i), T(0)));
  EXPECT_FALSE(Fall("slow04", T(15.001)));
}

TEST_F(MassSilenceTest, WhoIsSilentAndMovesCountsInItsFormerGroupNoMore) {
  Add("a", 10, 3);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(Fall(fmt::format("a{:02}", i), T(0)));
  }
  const AgentId moved("a03");
  mass_.Place(moved, members_[moved], org_, "10.2.9.9", {}, true);
  EXPECT_FALSE(Fall("a04", T(1))) << "the four that are left";
  EXPECT_FALSE(Return("a03"));
  EXPECT_TRUE(Fall("a05", T(2)));
}

TEST_F(MassSilenceTest, MachinesThatAreOfflineAnywayDoNotCount) {
  Add("a", 30, 3);
  for (int i = 10; i < 30; ++i) {
    const AgentId id(fmt::format("a{:02}", i));
    mass_.Place(id, members_[id], org_, fmt::format("10.2.3.{}", i), {}, false);
  }
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(Fall(fmt::format("a{:02}", i), T(0)));
  EXPECT_TRUE(Fall("a04", T(0))) << "5 of the 10 that are there";
}

TEST_F(MassSilenceTest, ALabelMakesAGroupAcrossSubnetsAndOneIncident) {
  const Labels rack = {{"muster.group", "rack-7"}};
  for (int i = 0; i < 6; ++i) Add(fmt::format("n{}-", i), 1, i, rack);
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(Fall(fmt::format("n{}-00", i), T(0)));
  const auto event = Fall("n4-00", T(0));
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->incident.group, "muster.group=rack-7");
  // Subnet and label at once are still one event.
  const Labels both = {{"muster.group", "b"}};
  Add("b", 8, 9, both);
  int opened = 0;
  for (int i = 0; i < 8; ++i) {
    const auto e = Fall(fmt::format("b{:02}", i), T(50));
    if (e && e->machines.size() > 1) ++opened;
  }
  EXPECT_EQ(opened, 1);
  Add("far", 1, 77, both);
  EXPECT_FALSE(Fall("far00", T(50))) << "the others have an incident already";
}

TEST_F(MassSilenceTest, OrgsAreCountedApart) {
  Add("a", 3, 3);
  for (int i = 0; i < 3; ++i) {
    const AgentId id(fmt::format("z{:02}", i));
    mass_.Place(id, members_[id], OrgId("other"), fmt::format("10.2.3.{}", i),
                {}, true);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(Fall(fmt::format("a{:02}", i), T(0)));
    EXPECT_FALSE(Fall(fmt::format("z{:02}", i), T(0)));
  }
}

TEST_F(MassSilenceTest, WhoIsBackBeforeTheFifthFallsDoesNotCount) {
  Add("a", 10, 3);
  for (int i = 0; i < 4; ++i) (void)Fall(fmt::format("a{:02}", i), T(0));
  EXPECT_FALSE(Return("a00"));
  EXPECT_FALSE(Fall("a04", T(1)));
  EXPECT_TRUE(Fall("a00", T(2))) << "and falls again";
}

TEST_F(MassSilenceTest, AnIncidentIsOverWhenTooFewAreStillSilent) {
  Add("a", 10, 3);
  for (int i = 0; i < 7; ++i) (void)Fall(fmt::format("a{:02}", i), T(0));
  EXPECT_FALSE(Return("a00"));
  EXPECT_FALSE(Return("a01"));
  const auto over = Return("a02");
  ASSERT_TRUE(over.has_value());
  EXPECT_EQ(over->incident.machines, 7u);
  EXPECT_THAT(over->machines, ElementsAre(AgentId("a03"), AgentId("a04"),
                                          AgentId("a05"), AgentId("a06")));
  EXPECT_FALSE(Return("a03")) << "it belongs to nothing any more";
  // The next event is another incident.
  for (int i = 0; i < 4; ++i) (void)Fall(fmt::format("a{:02}", i), T(50));
  const auto next = Fall("a07", T(50));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->incident.number, 2u);
}

TEST_F(MassSilenceTest, WhoComesAndGoesInItCountsOnce) {
  Add("a", 10, 3);
  for (int i = 0; i < 6; ++i) (void)Fall(fmt::format("a{:02}", i), T(0));
  for (int n = 1; n < 4; ++n) {
    (void)Return("a05");
    const auto event = Fall("a05", T(20 * n));
    ASSERT_TRUE(event.has_value());
    EXPECT_EQ(event->incident.machines, 6u);
  }
  EXPECT_EQ(Fall("a06", T(90))->incident.machines, 7u);
}

// Who was in it and came back before the restart is known by number only.
TEST_F(MassSilenceTest, WhoJoinsOneOfAFormerLifeMayHaveBeenCountedThere) {
  Add("a", 10, 3);
  std::vector<MassSilence::Member> away;
  for (int i = 0; i < 6; ++i) {
    const AgentId id(fmt::format("a{:02}", i));
    away.push_back({id, &members_.at(id), false});
  }
  MassSilence::Incident former;
  former.org = org_;
  former.group = "10.2.3.0/24";
  former.machines = 7;
  EXPECT_EQ(mass_.Reopen(former, away).incident.machines, 7u);
  EXPECT_EQ(Fall("a06", T(0))->incident.machines, 7u);
  EXPECT_EQ(Fall("a07", T(0))->incident.machines, 8u);
}

TEST_F(MassSilenceTest, AMachineMayMoveOrGoInTheMidstOfIt) {
  Add("a", 5, 3);
  for (int i = 0; i < 5; ++i) (void)Fall(fmt::format("a{:02}", i), T(0));
  for (auto& [id, member] : members_) {
    mass_.Place(id, member, org_, "", {}, false);
  }
  const auto over = Return("a00");
  ASSERT_TRUE(over.has_value());
  EXPECT_THAT(over->machines, SizeIs(4));
  for (int i = 1; i < 5; ++i) EXPECT_FALSE(Return(fmt::format("a{:02}", i)));
}

}  // namespace
}  // namespace muster::gateway
