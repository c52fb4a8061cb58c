#include "gateway/fleet/presence_settings.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::HasSubstr;

PresenceSettings Slow() {
  PresenceSettings settings;
  settings.stale_after = Seconds(300);
  settings.offline_after = Seconds(600);
  return settings;
}

TEST(PresenceSettingsTest, TheMachineComesBeforeItsOrgAndThatBeforeTheGateway) {
  PresenceSettings own;
  own.offline_after = absl::InfiniteDuration();
  const ResolvedPresence resolved = Resolve({}, Slow(), own);
  EXPECT_TRUE(resolved.org.ok() && resolved.own.ok());
  EXPECT_EQ(resolved.policy.heartbeat_interval, Seconds(30));
  EXPECT_EQ(resolved.policy.stale_after, Seconds(300));
  EXPECT_EQ(resolved.policy.offline_after, absl::InfiniteDuration());
}

TEST(PresenceSettingsTest, WhatCannotHoldWithTheLevelBelowIsIgnoredAsAWhole) {
  PresenceSettings own;
  own.heartbeat_interval = Seconds(60);  // Too slow for stale_after = 75 s …
  own.reconnect_grace = Seconds(9);
  ResolvedPresence resolved = Resolve({}, {}, own);
  EXPECT_EQ(resolved.policy, PresencePolicy());
  EXPECT_THAT(std::string(resolved.own.message()), HasSubstr("stale_after"));
  // … but not for that of its org.
  resolved = Resolve({}, Slow(), own);
  EXPECT_TRUE(resolved.own.ok());
  EXPECT_EQ(resolved.policy.reconnect_grace, Seconds(9));
}

TEST(PresenceSettingsTest, AnOrgThatIsIgnoredLeavesItsMachinesToTheGateway) {
  PresenceSettings org, own;
  org.stale_after = Seconds(120);  // Not below offline_after.
  own.reconnect_grace = Seconds(9);
  const ResolvedPresence resolved = Resolve({}, org, own);
  EXPECT_FALSE(resolved.org.ok());
  EXPECT_TRUE(resolved.own.ok());
  EXPECT_EQ(resolved.policy.stale_after, Seconds(75));
  EXPECT_EQ(resolved.policy.reconnect_grace, Seconds(9));
}

TEST(PresenceSettingsTest, AnEditSetsResetsAndLeavesTheRest) {
  PresenceEdit edit;
  edit.set.reconnect_grace = Seconds(9);
  edit.reset = {&PresenceSettings::stale_after};
  PresenceSettings expected;
  expected.offline_after = Seconds(600);
  expected.reconnect_grace = Seconds(9);
  EXPECT_EQ(Edited(Slow(), edit), expected);
}

TEST(PresencePoliciesTest, MachinesWithTheSameSettingsShareOneCopy) {
  PresencePolicies policies({});
  EXPECT_EQ(policies.Keep({}), nullptr);
  const PresenceSettings* slow = policies.Keep(Slow());
  EXPECT_EQ(policies.Keep(Slow()), slow);
  EXPECT_EQ(*slow, Slow());
  EXPECT_EQ(&policies.For(OrgId("a"), slow), &policies.For(OrgId("b"), slow));
}

TEST(PresencePoliciesTest, WhoHasNothingOfItsOwnFollowsTheGateway) {
  PresencePolicies policies({});
  EXPECT_EQ(&policies.For(OrgId("a"), nullptr), &policies.gateway());
  policies.SetOrg(OrgId("b"), Slow());
  EXPECT_EQ(policies.For(OrgId("a"), nullptr), policies.gateway());
  EXPECT_EQ(policies.For(OrgId("b"), nullptr).stale_after, Seconds(300));
}

TEST(PresencePoliciesTest, APolicyStaysValidWhenItHoldsForNobodyAnyMore) {
  PresencePolicies policies({});
  policies.SetOrg(OrgId("a"), Slow());
  const PresencePolicy& slow = policies.For(OrgId("a"), nullptr);
  policies.SetOrg(OrgId("a"), {});
  EXPECT_EQ(policies.For(OrgId("a"), nullptr).stale_after, Seconds(75));
  EXPECT_EQ(slow.stale_after, Seconds(300));
}

TEST(PresencePoliciesTest, WhatAnOrgSetsAgainIsFoundAtOnce) {
  PresencePolicies policies({});
  const PresenceSettings* slow = policies.Keep(Slow());
  EXPECT_EQ(policies.For(OrgId("a"), slow).heartbeat_interval, Seconds(30));
  PresenceSettings org;
  org.heartbeat_interval = Seconds(60);
  org.stale_after = Seconds(140);
  org.offline_after = Seconds(200);
  policies.SetOrg(OrgId("a"), org);
  EXPECT_EQ(policies.For(OrgId("a"), slow).heartbeat_interval, Seconds(60));
  EXPECT_EQ(policies.For(OrgId("a"), slow).stale_after, Seconds(300));
}

}  // namespace
}  // namespace muster::gateway
