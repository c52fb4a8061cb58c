#include "gateway/fleet/machines.h"

#include <random>
#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const OrgId kOrg("default");
const OrgId kOther("other");

MachineFilter All() {
  return {.org = kOrg, .statuses = {}, .hostname_glob = "", .labels = {}};
}

class MachinesTest : public ::testing::Test {
 protected:
  Machine& Add(std::string id, std::string hostname,
               Status status = Status::kOnline, Labels labels = {},
               OrgId org = kOrg) {
    MachineRecord record;
    record.id = AgentId(std::move(id));
    record.org = std::move(org);
    record.facts.hostname = std::move(hostname);
    record.labels = std::move(labels);
    record.status = status;
    return machines_.Add(
        std::move(record),
        Presence::Restored(policy_, status, std::nullopt, std::nullopt, {}));
  }

  std::vector<std::string> Listed(const MachineFilter& filter = All()) {
    std::vector<std::string> names;
    for (const Machine* m : machines_.List(filter, std::nullopt, 1000).machines)
      names.push_back(m->record.id.str());
    return names;
  }
  std::vector<std::string> Resolved(std::string_view name) {
    std::vector<std::string> ids;
    for (const Machine* m : machines_.Resolve(kOrg, name).matches)
      ids.push_back(m->record.id.str());
    return ids;
  }

  const PresencePolicy policy_ = {};
  Machines machines_;
};

MachineFilter Only(std::vector<Status> statuses) {
  MachineFilter filter = All();
  filter.statuses = std::move(statuses);
  return filter;
}
MachineFilter Glob(std::string glob) {
  MachineFilter filter = All();
  filter.hostname_glob = std::move(glob);
  return filter;
}
MachineFilter Labelled(const std::vector<std::string>& terms) {
  MachineFilter filter = All();
  for (const std::string& term : terms) {
    filter.labels.push_back(*LabelTerm::Parse(term));
  }
  return filter;
}

TEST_F(MachinesTest, ProblemsAreListedFirstThenByNameThenById) {
  Add("1", "web");
  Add("2", "app");
  Add("3", "zed", Status::kOffline);
  Add("4", "mid", Status::kStale);
  Add("6", "same");
  Add("5", "same");
  EXPECT_THAT(Listed(), ElementsAre("3", "4", "2", "5", "6", "1"));
}

TEST_F(MachinesTest, PagesNeitherRepeatNorLeaveOut) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 97; ++i) {
    Add(fmt::format("id-{:03}", i), fmt::format("host-{}", random() % 20),
        static_cast<Status>(1 + random() % 3), {},
        random() % 4 == 0 ? kOther : kOrg);
  }
  const std::vector<std::string> all = Listed();
  for (const size_t limit : {1u, 2u, 7u, 96u, 97u, 1000u}) {
    std::vector<std::string> paged;
    std::optional<ListPosition> after;
    do {
      const auto page = machines_.List(All(), after, limit);
      EXPECT_EQ(page.matched, all.size());
      EXPECT_LE(page.machines.size(), limit);
      for (const Machine* m : page.machines)
        paged.push_back(m->record.id.str());
      after = page.next;
    } while (after);
    EXPECT_EQ(paged, all) << limit;
  }
}

TEST_F(MachinesTest, APageGoesOnWhereItStoppedWhenMachinesMoveOrVanish) {
  for (int i = 0; i < 6; ++i) Add(fmt::format("{}", i), fmt::format("h{}", i));
  const auto first = machines_.List(All(), std::nullopt, 3);
  ASSERT_TRUE(first.next.has_value());
  machines_.Bury(*machines_.Find(AgentId("2")), absl::FromUnixSeconds(1));
  const auto second = machines_.List(All(), first.next, 3);
  ASSERT_EQ(second.machines.size(), 3u);
  EXPECT_EQ(second.machines[0]->record.id.str(), "3");
  EXPECT_FALSE(second.next.has_value());
}

TEST_F(MachinesTest, APageOfNothingStillCountsAndEnds) {
  Add("1", "web");
  const auto page = machines_.List(All(), std::nullopt, 0);
  EXPECT_THAT(page.machines, IsEmpty());
  EXPECT_FALSE(page.next.has_value());
  EXPECT_EQ(page.matched, 1u);
}

TEST_F(MachinesTest, FiltersSelectByStatusGlobLabelAndOrg) {
  Add("1", "web-1", Status::kOnline, {{"env", "prod"}});
  Add("2", "web-2", Status::kStale, {{"env", "test"}, {"gpu", ""}});
  Add("3", "db", Status::kOffline);
  Add("4", "web-9", Status::kOnline, {{"env", "prod"}}, kOther);
  EXPECT_THAT(Listed(Only({Status::kOnline})), ElementsAre("1"));
  EXPECT_THAT(Listed(Only({Status::kOnline, Status::kOffline})),
              ElementsAre("3", "1"));
  EXPECT_THAT(Listed(Glob("web-*")), ElementsAre("2", "1"));
  EXPECT_THAT(Listed(Glob("?b")), ElementsAre("3"));
  EXPECT_THAT(Listed(Glob("web")), IsEmpty());
  EXPECT_THAT(Listed(Labelled({"env=prod"})), ElementsAre("1"));
  EXPECT_THAT(Listed(Labelled({"env!=prod"})), ElementsAre("3", "2"));
  EXPECT_THAT(Listed(Labelled({"env"})), ElementsAre("2", "1"));
  EXPECT_THAT(Listed(Labelled({"env", "gpu="})), ElementsAre("2"));
}

TEST(LabelTermTest, ParseKnowsThreeFormsAndRefusesAnEmptyKey) {
  const auto equals = LabelTerm::Parse("a=b=c");
  EXPECT_EQ(equals->kind, LabelTerm::Kind::kEquals);
  EXPECT_EQ(equals->key, "a");
  EXPECT_EQ(equals->value, "b=c");
  const auto differs = LabelTerm::Parse("a!=b");
  EXPECT_EQ(differs->kind, LabelTerm::Kind::kDiffers);
  EXPECT_EQ(differs->key, "a");
  EXPECT_EQ(differs->value, "b");
  EXPECT_EQ(LabelTerm::Parse("a")->kind, LabelTerm::Kind::kPresent);
  for (const char* bad : {"", "=b", "!=b"}) {
    const auto term = LabelTerm::Parse(bad);
    EXPECT_EQ(term.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(term.status().message()),
                ::testing::HasSubstr(fmt::format("got \"{}\"", bad)));
  }
}

TEST_F(MachinesTest, CountsFollowEveryChange) {
  Machine& a = Add("1", "a", Status::kStale);
  Add("2", "b", Status::kOnline);
  Add("3", "c", Status::kOffline, {}, kOther);
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{1, 1, 0}));
  EXPECT_EQ(machines_.Counts(kOther), (StatusCounts{0, 0, 1}));
  EXPECT_EQ(machines_.Counts(OrgId("none")), StatusCounts{});
  (void)a.presence.Echoed({});
  machines_.SetStatus(a, absl::FromUnixSeconds(5));
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{2, 0, 0}));
  EXPECT_EQ(a.record.status_since, absl::FromUnixSeconds(5));
  machines_.SetHostname(a, "z");
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{2, 0, 0}));
  EXPECT_THAT(Listed(), ElementsAre("2", "1"));
  machines_.Bury(a, absl::FromUnixSeconds(6));
  machines_.Bury(a, absl::FromUnixSeconds(7));
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{1, 0, 0}));
}

TEST_F(MachinesTest, AnOnlineMachineWithAFindingIsDegradedAndShownFirst) {
  Add("1", "a");
  Machine& b = Add("2", "b");
  Add("3", "c", Status::kStale);
  EXPECT_TRUE(machines_.SetFinding(b, "flapping", "5 links"));
  EXPECT_FALSE(machines_.SetFinding(b, "flapping", "6 links"));
  EXPECT_EQ(b.health, (Health{{"flapping", "6 links"}}));
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{2, 1, 0, 1}));
  EXPECT_THAT(Listed(), ElementsAre("3", "2", "1"));
  (void)b.presence.Goodbye({}, {});
  machines_.SetStatus(b, {});
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{1, 2, 0, 0})) << "worse";
  (void)b.presence.Echoed({});
  machines_.SetStatus(b, {});
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{2, 1, 0, 1}));
  machines_.EndFinding(b, "flapping");
  machines_.EndFinding(b, "flapping");
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{2, 1, 0, 0}));
  EXPECT_THAT(Listed(), ElementsAre("3", "1", "2"));
}

TEST_F(MachinesTest, ASilencedMachineIsOnlyFoundByWhoAsksForIt) {
  Machine& a = Add("1", "a", Status::kOffline);
  Add("2", "b", Status::kOffline);
  machines_.SetSilencedAt(a, absl::FromUnixSeconds(5));
  machines_.SetSilencedAt(a, absl::FromUnixSeconds(6));
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{0, 0, 1, 0, 1}));
  EXPECT_THAT(Listed(), ElementsAre("2"));
  MachineFilter filter = All();
  filter.silenced = true;
  EXPECT_THAT(Listed(filter), ElementsAre("1", "2"));
  EXPECT_THAT(Resolved("a"), ElementsAre("1"));
  machines_.SetSilencedAt(a, absl::InfiniteFuture());
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{0, 0, 2, 0, 0}));
  EXPECT_THAT(Listed(), ElementsAre("1", "2"));
  machines_.SetSilencedAt(a, absl::FromUnixSeconds(7));
  machines_.Bury(a, absl::FromUnixSeconds(8));
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{0, 0, 1, 0, 0}));
}

TEST_F(MachinesTest, IdentitiesOfOneMachineKnowEachOther) {
  Machine& a = Add("1", "web", Status::kOffline);
  Machine& b = Add("2", "web", Status::kOffline);
  machines_.SetReplacedBy(a, AgentId("2"));
  machines_.SetReplacedBy(a, AgentId("3"));
  machines_.SetReplacedBy(b, AgentId("3"));
  EXPECT_THAT(machines_.ReplacesOf(AgentId("2")), testing::IsEmpty());
  EXPECT_THAT(machines_.ReplacesOf(AgentId("3")),
              ElementsAre(AgentId("1"), AgentId("2")));
  machines_.Bury(a, absl::FromUnixSeconds(8));
  (void)b.presence.Echoed({});
  machines_.SetStatus(b, {});
  EXPECT_THAT(machines_.ReplacesOf(AgentId("3")), testing::IsEmpty())
      << "one is gone, one is there itself";
}

TEST_F(MachinesTest, ASecondAddOfTheSameIdChangesNothing) {
  Machine& first = Add("1", "a");
  EXPECT_EQ(&Add("1", "other", Status::kOffline), &first);
  EXPECT_EQ(first.record.facts.hostname, "a");
  EXPECT_EQ(machines_.Counts(kOrg), (StatusCounts{1, 0, 0}));
  EXPECT_EQ(machines_.size(), 1u);
}

TEST_F(MachinesTest, ATombstoneIsFoundByIdAndNowhereElse) {
  Machine& a = Add("1", "web");
  machines_.Bury(a, absl::FromUnixSeconds(9));
  EXPECT_EQ(machines_.Find(AgentId("1")), &a);
  EXPECT_EQ(a.record.deleted_at, absl::FromUnixSeconds(9));
  EXPECT_EQ(machines_.FindLiving(kOrg, AgentId("1")), nullptr);
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_THAT(Resolved("web"), IsEmpty());
  EXPECT_THAT(Resolved("1"), IsEmpty());
  EXPECT_THAT(machines_.Resolve(kOrg, "weg").nearest, IsEmpty());
  int living = 0;
  machines_.ForEachLiving([&](Machine&) { ++living; });
  EXPECT_EQ(living, 0);
}

TEST_F(MachinesTest, ATombstoneFromTheStoreIsAsInvisible) {
  MachineRecord record;
  record.id = AgentId("1");
  record.org = kOrg;
  record.facts.hostname = "web";
  record.deleted_at = absl::FromUnixSeconds(1);
  machines_.Add(record, Presence::Newborn(policy_, {}));
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_EQ(machines_.Counts(kOrg), StatusCounts{});
}

TEST_F(MachinesTest, ANameResolvesByIdHostnameOrSuffix) {
  const std::string one = "0190d6a8-0000-7000-8000-000000aaaaaa";
  const std::string two = "0190d6a8-0000-7000-8000-000000bbbbbb";
  Add(one, "web");
  Add(two, "web");
  Add("x", "db");
  Add("y", "web", Status::kOnline, {}, kOther);
  EXPECT_THAT(Resolved(one), ElementsAre(one));
  EXPECT_THAT(Resolved("db"), ElementsAre("x"));
  EXPECT_THAT(Resolved("web"), ElementsAre(one, two));
  EXPECT_THAT(Resolved("web~bbbbbb"), ElementsAre(two));
  EXPECT_THAT(Resolved("web~cccccc"), IsEmpty());
  EXPECT_THAT(Resolved("we"), IsEmpty());
  EXPECT_THAT(Resolved(""), IsEmpty());
  EXPECT_THAT(Resolved("y"), IsEmpty()) << "another org's machine";
}

TEST_F(MachinesTest, AHostnameMeansTheMachineThatReplacedTheOthers) {
  Machine& first = Add("1", "web", Status::kOffline);
  Machine& second = Add("2", "web", Status::kOffline);
  Add("3", "web", Status::kStale);
  first.record.replaced_by = AgentId("2");
  EXPECT_THAT(Resolved("web"), ElementsAre("1", "2", "3"));
  second.record.replaced_by = AgentId("3");
  EXPECT_THAT(Resolved("web"), ElementsAre("3"));
  machines_.Bury(second, absl::Now());  // Its word still counts.
  EXPECT_THAT(Resolved("web"), ElementsAre("3"));
  EXPECT_THAT(Resolved("web~1"), ElementsAre("1"));
  first.record.status = Status::kOnline;
  EXPECT_THAT(Resolved("web"), ElementsAre("1", "3"));
}

TEST_F(MachinesTest, ANameMeansItsMachineAndNoOther) {
  const auto name = [this](std::string_view id) {
    const Machine& machine = *machines_.Find(AgentId(std::string(id)));
    const std::string shown = machines_.NameOf(machine);
    EXPECT_THAT(Resolved(shown), ElementsAre(id)) << shown;
    return shown;
  };
  Add("1-aaaaaa", "web");
  Add("1-eeeeee", "web", Status::kOnline, {}, kOther);
  EXPECT_EQ(name("1-aaaaaa"), "web");
  Machine& second = Add("2-bbbbbb", "web", Status::kOffline);
  Add("3-bbbbbb", "web");
  EXPECT_EQ(name("1-aaaaaa"), "web~aaaaaa");
  EXPECT_EQ(name("2-bbbbbb"), "2-bbbbbb") << "two have the same suffix";
  machines_.SetHostname(second, "old");
  EXPECT_EQ(name("2-bbbbbb"), "old");
  EXPECT_EQ(name("3-bbbbbb"), "web~bbbbbb");
  machines_.SetHostname(second, "web");
  machines_.Bury(*machines_.Find(AgentId("3-bbbbbb")), absl::Now());
  second.record.replaced_by = AgentId("1-aaaaaa");
  EXPECT_EQ(name("1-aaaaaa"), "web");
  EXPECT_EQ(name("2-bbbbbb"), "web~bbbbbb");
}

TEST_F(MachinesTest, ADamagedDatabaseWhereTwoReplaceEachOtherIsEndured) {
  Add("1", "web", Status::kOffline).record.replaced_by = AgentId("2");
  Add("2", "web", Status::kOffline).record.replaced_by = AgentId("1");
  Add("3", "web", Status::kOffline);
  EXPECT_THAT(Resolved("web"), ElementsAre("1", "2", "3"));
}

TEST_F(MachinesTest, ATypoSuggestsTheNearestNamesOfTheSameOrg) {
  Add("1", "web-1");
  Add("2", "web-2");
  Add("3", "web-3");
  Add("4", "wxy-1");
  Add("5", "database");
  Add("6", "wep-1", Status::kOnline, {}, kOther);
  EXPECT_THAT(machines_.Resolve(kOrg, "wen-1").nearest,
              ElementsAre("web-1", "web-2", "web-3"));
  EXPECT_THAT(machines_.Resolve(kOrg, "databsae").nearest,
              ElementsAre("database"));
  EXPECT_THAT(machines_.Resolve(kOrg, "mail").nearest, IsEmpty());
}

TEST(EditDistanceTest, CountsEditsUpToTheBound) {
  EXPECT_EQ(EditDistance("", "", 2), 0u);
  EXPECT_EQ(EditDistance("abc", "abc", 2), 0u);
  EXPECT_EQ(EditDistance("abc", "abd", 2), 1u);
  EXPECT_EQ(EditDistance("abc", "ab", 2), 1u);
  EXPECT_EQ(EditDistance("abc", "bc", 2), 1u);
  EXPECT_EQ(EditDistance("ab", "ba", 2), 2u);
  EXPECT_EQ(EditDistance("abcdef", "uvwxyz", 2), 3u);
  EXPECT_EQ(EditDistance("a", "abcd", 2), 3u);
}

}  // namespace
}  // namespace muster::gateway
