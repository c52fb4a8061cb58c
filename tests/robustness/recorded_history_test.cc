// A recorded history is refused if it was doctored, and if it proves nothing.

#include "tests/robustness/recorded_history.h"

#include <set>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::robustness {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

// Two machines at short times. The gateway is stopped from 6 to 9 s; machine 2
// was killed at 4.2 s and is offline when silence has counted for 4 s.
constexpr char kHead[] =
    R"({"promises": {"heartbeat_interval": 1, "stale_after": 2.5,
 "offline_after": 4, "reconnect_grace": 0.5, "blind_gap": 0.5, "slack": 0.3},
 "judge": ["P1", "P4", "P8"]})";
constexpr char kStart[] = R"(
{"at": 0, "what": "opened"}
{"at": 1, "what": "admitted", "machine": 1}
{"at": 1, "what": "admitted", "machine": 2}
{"at": 1.1, "what": "accepted", "machine": 1, "epoch": 11, "length": 1}
{"at": 1.1, "what": "accepted", "machine": 2, "epoch": 12, "length": 1}
{"at": 1.2, "what": "arrived", "machine": 1, "epoch": 11, "number": 1, "length": 1}
{"at": 1.2, "what": "arrived", "machine": 2, "epoch": 12, "number": 1, "length": 1}
{"at": 1.2, "what": "decided", "machine": 1, "number": 1, "from": "stale", "to": "online", "epoch": 11}
{"at": 1.2, "what": "decided", "machine": 2, "number": 1, "from": "stale", "to": "online", "epoch": 12}
{"at": 4.0, "what": "arrived", "machine": 1, "epoch": 11, "number": 2, "length": 1}
{"at": 4.1, "what": "arrived", "machine": 2, "epoch": 12, "number": 2, "length": 1}
{"at": 8.0, "what": "arrived", "machine": 1, "epoch": 11, "number": 3, "length": 1}
{"at": 9, "what": "stalled", "length": 3})";
constexpr char kStale[] = R"(
{"at": 9.61, "what": "decided", "machine": 2, "number": 2, "from": "online", "to": "stale", "flag": true, "cause": "undetermined", "confidence": "undetermined", "domain": "unknown"})";
constexpr char kOffline[] = R"(
{"at": 11.11, "what": "decided", "machine": 2, "number": 3, "from": "stale", "to": "offline", "flag": true, "cause": "undetermined", "confidence": "undetermined", "domain": "unknown"})";
constexpr char kEnd[] = R"(
{"at": 11.2, "what": "arrived", "machine": 1, "epoch": 11, "number": 4, "length": 1}
{"at": 11.3, "what": "tick"})";

// The head is one line of the file.
std::string Head() {
  std::string head = kHead;
  std::erase(head, '\n');
  return head;
}

absl::StatusOr<RecordedHistory> Read(const std::string& text) {
  std::istringstream in(text);
  return ReadHistory(in);
}

// The invariants that the history breaks.
std::set<std::string> Broken(const std::string& events) {
  const auto history = Read(Head() + events);
  EXPECT_TRUE(history.ok()) << history.status();
  std::set<std::string> ids;
  if (!history.ok()) return ids;
  for (const auto& violation : Judge(*history).violations) {
    ids.insert(violation.invariant);
  }
  return ids;
}

TEST(RecordedHistoryTest, AnHonestHistoryHoldsAndSaysWhatItProves) {
  const auto history = Read(Head() + kStart + kStale + kOffline + kEnd);
  ASSERT_TRUE(history.ok()) << history.status();
  const Judgement judgement = Judge(*history);
  EXPECT_TRUE(judgement.good());
  EXPECT_EQ(judgement.judged.at("P1"), 2u);
  EXPECT_EQ(judgement.judged.at("P8"), 4u);
  EXPECT_EQ(judgement.judged.at("D1"), 0u);
}

TEST(RecordedHistoryTest, AFalseStaleAndAFalseOfflineAreRefused) {
  const std::string healthy = R"(
{"at": 11.2, "what": "arrived", "machine": 1, "epoch": 11, "number": 4, "length": 1}
{"at": 11.25, "what": "decided", "machine": 1, "number": 2, "from": "online", "to": "stale", "flag": true, "cause": "undetermined", "confidence": "undetermined"})";
  const std::string gone = R"(
{"at": 11.26, "what": "decided", "machine": 1, "number": 3, "from": "stale", "to": "offline", "flag": true, "cause": "undetermined", "confidence": "undetermined"})";
  const std::string before = std::string(kStart) + kStale + kOffline;
  EXPECT_THAT(Broken(before + healthy), Contains("P1"));
  EXPECT_THAT(Broken(before + healthy + gone), Contains("P1"));
}

TEST(RecordedHistoryTest, AGapInTheChainIsRefused) {
  EXPECT_THAT(Broken(std::string(kStart) + kOffline + kEnd), Contains("P8"));
}

TEST(RecordedHistoryTest, AWorseningInABlindIntervalIsRefused) {
  std::string early = kStale;
  early.replace(early.find("9.61"), 4, "9.01");
  EXPECT_THAT(Broken(kStart + early), Contains("P4"));
}

TEST(RecordedHistoryTest, AMachineThatIsNeverCalledOfflineIsRefused) {
  EXPECT_THAT(Broken(std::string(kStart) + kStale + kEnd +
                     R"(
{"at": 14.2, "what": "tick"})"),
              Contains("P2"));
}

TEST(RecordedHistoryTest, WhatJudgedNothingIsNoProof) {
  const auto history = Read(Head() + kStart);
  ASSERT_TRUE(history.ok()) << history.status();
  const Judgement judgement = Judge(*history);
  EXPECT_TRUE(judgement.violations.empty());
  EXPECT_THAT(judgement.idle, ElementsAre("P1", "P4"));
  EXPECT_FALSE(judgement.good());
}

TEST(RecordedHistoryTest, ALineThatIsNoEventIsNamed) {
  const auto why = [](const std::string& line) {
    return std::string(
        Read(Head() + "\n{\"at\": 1, \"what\": \"tick\"}\n" + line)
            .status()
            .message());
  };
  EXPECT_THAT(why("rubbish"), HasSubstr("line 3: no event"));
  EXPECT_THAT(why(R"({"at": 0.5, "what": "tick"})"),
              HasSubstr("line 3: it goes back in time"));
  EXPECT_THAT(why(R"({"at": 2, "what": "danced"})"),
              AllOf(HasSubstr("line 3"), HasSubstr("\"danced\" is no event")));
  EXPECT_THAT(why(R"({"at": 2, "what": "decided", "to": "dead"})"),
              HasSubstr("\"dead\" is no STATUS_"));
  EXPECT_THAT(why(R"({"at": 2, "what": "tick", "machine": -1})"),
              HasSubstr("machine: not a count"));
  EXPECT_THAT(why(R"({"at": 2, "what": "tick", "colour": 1})"),
              HasSubstr("unknown key colour"));
  EXPECT_THAT(std::string(Read("{}").status().message()),
              HasSubstr("line 1: no promises"));
  EXPECT_THAT(std::string(Read(Head()).status().message()),
              HasSubstr("without events"));
}

}  // namespace
}  // namespace muster::robustness
