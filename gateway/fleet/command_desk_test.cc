#include "gateway/fleet/command_desk.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/fake_journal.h"
#include "gateway/fleet/fake_link.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/log.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::gateway {
namespace {

using enum CommandState;
using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

const OrgId kOrg("default");

class CommandDeskTest : public ::testing::Test {
 protected:
  CommandDeskTest() { Connect(); }

  Machine& AddMachine(const std::string& id) {
    MachineRecord record;
    record.id = AgentId(id);
    record.org = kOrg;
    record.facts.hostname = "host-" + id;
    record.status = Status::kOnline;
    return machines_.Add(
        std::move(record),
        Presence::Restored(policy_, Status::kOnline, {}, {}, loop_.Now()));
  }
  // A new link, as Fleet would open it.
  void Connect(uint64_t seen_high = 0, std::vector<CommandId> open = {}) {
    link_ = FakeLink();
    machine_.link = &link_;
    ++machine_.record.epoch;
    desk_.Reconcile(machine_, seen_high, open, loop_.Now());
    desk_.Dispatch(machine_, loop_.Now());
  }
  CommandRecord Command(const std::string& id) {
    CommandRecord command;
    command.id = CommandId(id);
    command.agent = machine_.record.id;
    command.org = kOrg;
    command.spec.timeout = absl::Hours(1);
    command.spec.delivery_timeout = Seconds(30);
    command.spec.kill_grace = Seconds(10);
    command.spec.output_bytes_max = 100;
    return command;
  }
  void Submit(const std::string& id) { Submit(Command(id)); }
  void Submit(CommandRecord command) {
    desk_.Submit(std::move(command),
                 [this](auto r) { answer_ = std::move(r); });
  }
  void Cancel(const std::string& id) {
    desk_.Cancel(CommandId(id), [this](auto r) { answer_ = std::move(r); });
  }
  void Say(const std::string& id, CommandState state,
           uint64_t stdout_total = 0) {
    CommandWord word;
    word.id = CommandId(id);
    word.state = state;
    word.stdout_total = stdout_total;
    desk_.TakeWord(machine_, std::move(word), loop_.Now());
  }
  void SubmitAndRun(const std::string& id) {
    Submit(id);
    loop_.RunReady();
    Say(id, kRunning);
    loop_.RunReady();
  }
  void AdvanceAndSweep(absl::Duration step) {
    loop_.Advance(step);
    desk_.Sweep(loop_.Now());
    loop_.RunReady();
  }
  CommandState Stored(const std::string& id) {
    return journal_.commands.at(CommandId(id)).state;
  }
  std::vector<std::string> Orders() {
    std::vector<std::string> text;
    for (const CommandRecord& c : link_.orders)
      text.push_back(fmt::format("{}/{}", c.id.str(), c.dispatch_seq));
    return text;
  }

  const PresencePolicy policy_;
  FakeEventLoop loop_;
  FakeJournal journal_{loop_};
  Machines machines_;
  CommandDesk desk_{
      loop_,
      journal_,
      machines_,
      [](const Machine& m) { return m.record.facts.hostname + " is away"; },
      {}};
  Machine& machine_ = AddMachine("m");
  FakeLink link_;
  std::optional<absl::StatusOr<CommandRecord>> answer_;
};

TEST_F(CommandDeskTest, NothingIsAnsweredOrSentBeforeItIsDurable) {
  journal_.Hold();
  Submit("c1");
  loop_.RunReady();
  EXPECT_FALSE(answer_.has_value());
  journal_.ReleaseOne();
  loop_.RunReady();
  ASSERT_TRUE(answer_ && answer_->ok());
  EXPECT_EQ((*answer_)->state, kQueued);
  EXPECT_THAT(link_.orders, IsEmpty()) << "its number is not durable yet";
  journal_.ReleaseOne();
  loop_.RunReady();
  EXPECT_THAT(Orders(), ElementsAre("c1/1"));
  EXPECT_EQ(journal_.machines.at(AgentId("m")).dispatch_high, 1u);
}

TEST_F(CommandDeskTest, AnEndIsShownOnlyWhenItIsDurable) {
  SubmitAndRun("c1");
  journal_.Hold();
  Say("c1", kSucceeded, /*stdout_total=*/1);
  loop_.RunReady();
  EXPECT_EQ(desk_.Find(CommandId("c1"))->state, kRunning);
  journal_.ReleaseOne();
  loop_.RunReady();
  EXPECT_EQ(desk_.Find(CommandId("c1"))->state, kSucceeded);
}

TEST_F(CommandDeskTest, AWordIsAcknowledgedOnlyWhenItIsDurable) {
  SubmitAndRun("c1");
  EXPECT_THAT(link_.acks, ElementsAre(Pair(CommandId("c1"), kRunning)));
  journal_.Hold();
  Say("c1", kSucceeded);
  loop_.RunReady();
  EXPECT_EQ(link_.acks.size(), 1u);
  journal_.Release();
  loop_.RunReady();
  EXPECT_EQ(link_.acks.back(), std::pair(CommandId("c1"), kSucceeded));
}

TEST_F(CommandDeskTest, AWordThatComesDuringAWriteIsAcknowledgedAfterTheNext) {
  Submit("c1");
  loop_.RunReady();
  journal_.Hold();
  Say("c1", kReceived);
  Say("c1", kSucceeded);
  journal_.ReleaseOne();
  loop_.RunReady();
  EXPECT_THAT(link_.acks, ElementsAre(Pair(CommandId("c1"), kReceived)));
  journal_.ReleaseOne();
  loop_.RunReady();
  EXPECT_EQ(link_.acks.back(), std::pair(CommandId("c1"), kSucceeded));
  EXPECT_EQ(desk_.open(), 0u);
}

TEST_F(CommandDeskTest, ARepeatedWordIsAcknowledgedAgainWithoutAWrite) {
  SubmitAndRun("c1");
  const int puts = journal_.puts;
  Say("c1", kReceived);
  EXPECT_EQ(link_.acks.back(), std::pair(CommandId("c1"), kRunning));
  EXPECT_EQ(journal_.puts, puts);
}

TEST_F(CommandDeskTest,
       AWordWhoseWriteFailedIsNotAcknowledgedUntilItIsWritten) {
  SubmitAndRun("c1");
  link_.acks.clear();
  journal_.FailNext(1);
  Say("c1", kSucceeded);
  loop_.RunReady();
  Say("c1", kSucceeded);
  loop_.RunReady();
  EXPECT_THAT(link_.acks, IsEmpty());
  loop_.Advance(Seconds(1));
  EXPECT_THAT(link_.acks, ElementsAre(Pair(CommandId("c1"), kSucceeded)));
  EXPECT_EQ(Stored("c1"), kSucceeded);
}

TEST_F(CommandDeskTest, ANeverSentCommandGetsALargerNumberAfterAFailedWrite) {
  journal_.Hold();
  Submit("c1");
  Submit("c2");
  journal_.ReleaseOne();
  journal_.ReleaseOne();
  loop_.RunReady();
  journal_.FailNext(1);
  journal_.Release();  // c1 fails with number 1, c2 gets 2.
  loop_.RunReady();
  EXPECT_THAT(Orders(), ElementsAre("c2/2"));
  EXPECT_EQ(desk_.Find(CommandId("c1"))->state, kQueued);
  loop_.Advance(Seconds(1));
  EXPECT_THAT(Orders(), ElementsAre("c2/2", "c1/3"));
}

TEST_F(CommandDeskTest, ASentCommandIsNeverTakenBackByAFailedWrite) {
  Submit("c1");
  loop_.RunReady();
  journal_.FailNext(1);
  Cancel("c1");
  loop_.RunReady();
  EXPECT_FALSE(answer_->ok());
  EXPECT_EQ(desk_.Find(CommandId("c1"))->state, kDispatched);
  loop_.Advance(Seconds(1));
  EXPECT_THAT(Orders(), ElementsAre("c1/1"));
  EXPECT_THAT(link_.cancels, ElementsAre(CommandId("c1")));
}

TEST_F(CommandDeskTest, ACancelledCommandWhoseNumberFailedIsNeverSent) {
  journal_.Hold();
  Submit("c1");
  journal_.ReleaseOne();
  loop_.RunReady();
  Cancel("c1");
  journal_.FailNext(1);
  journal_.Release();
  loop_.Advance(Seconds(1));
  EXPECT_EQ(Stored("c1"), kCancelled);
  EXPECT_THAT(link_.orders, IsEmpty());
}

TEST_F(CommandDeskTest, AQueuedCommandIsCancelledAtOnce) {
  machine_.link = nullptr;
  Submit("c1");
  loop_.RunReady();
  Cancel("c1");
  loop_.RunReady();
  EXPECT_EQ((*answer_)->state, kCancelled);
  EXPECT_EQ(Stored("c1"), kCancelled);
  EXPECT_EQ(desk_.open(), 0u);
  Connect();
  loop_.RunReady();
  EXPECT_THAT(link_.orders, IsEmpty());
}

TEST_F(CommandDeskTest, ADispatchedCommandIsCancelledByAskingTheAgent) {
  SubmitAndRun("c1");
  Cancel("c1");
  EXPECT_THAT(link_.cancels, IsEmpty()) << "not durable yet";
  loop_.RunReady();
  EXPECT_EQ((*answer_)->state, kRunning);
  EXPECT_TRUE((*answer_)->cancel_requested);
  EXPECT_THAT(link_.cancels, ElementsAre(CommandId("c1")));
  Connect(1, {CommandId("c1")});
  EXPECT_THAT(link_.cancels, ElementsAre(CommandId("c1"))) << "asked again";
}

TEST_F(CommandDeskTest, ACancelIsAnsweredOnlyWhenItsOwnWriteIsDurable) {
  Submit("c1");
  loop_.RunReady();
  journal_.Hold();
  Say("c1", kRunning);
  answer_.reset();
  Cancel("c1");
  journal_.ReleaseOne();
  loop_.RunReady();
  EXPECT_FALSE(answer_.has_value());
  journal_.Release();
  loop_.RunReady();
  ASSERT_TRUE(answer_ && answer_->ok());
  EXPECT_TRUE(journal_.commands.at(CommandId("c1")).cancel_requested);
}

TEST_F(CommandDeskTest, ACommandThatIsNotOpenCannotBeCancelledHere) {
  Cancel("nothing");
  EXPECT_EQ(ErrorCode(answer_->status()), "not_found");
}

TEST_F(CommandDeskTest, OnlyAQueuedCommandExpires) {
  machine_.link = nullptr;
  Submit("c1");
  loop_.RunReady();
  AdvanceAndSweep(Seconds(30) - absl::Milliseconds(1));
  EXPECT_EQ(Stored("c1"), kQueued);
  AdvanceAndSweep(absl::Milliseconds(1));
  EXPECT_EQ(Stored("c1"), kExpired);
  EXPECT_EQ(desk_.NextDeadline(), Instant::Never());
  EXPECT_EQ(desk_.open(), 0u);
}

TEST_F(CommandDeskTest, WhatExpiresForAMachineThatIsAwaySaysWhy) {
  machine_.link = nullptr;
  Submit("c1");
  loop_.RunReady();
  machine_.record.status = Status::kOffline;
  Submit("c2");
  loop_.RunReady();
  AdvanceAndSweep(Seconds(30));
  EXPECT_EQ(journal_.commands.at(CommandId("c2")).reason,
            "delivery_timeout: host-m is away");
}

// A gateway that is restarted again and again must not prolong it for ever.
TEST_F(CommandDeskTest, AQueuedCommandHasTheTimeThatIsLeftAfterARestart) {
  CommandRecord queued = Command("c1");
  queued.spec.delivery_timeout = absl::Hours(2);
  const auto deadline_when_restored = [&](absl::Duration old) {
    queued.created_at = loop_.Wall() - old;
    CommandDesk desk(loop_, journal_, machines_, nullptr, {});
    desk.Restore({queued}, loop_.Now());
    std::erase(machine_.open_commands, queued.id);
    return desk.NextDeadline() - loop_.Now();
  };
  const absl::Duration lease = policy_.CommandLease();
  loop_.Advance(absl::Hours(9));
  EXPECT_EQ(deadline_when_restored(absl::Minutes(30)), absl::Minutes(90));
  // Nobody could be heard meanwhile.
  EXPECT_EQ(deadline_when_restored(absl::Hours(2) - lease), lease);
  EXPECT_EQ(deadline_when_restored(absl::Hours(8)), lease);
  // The clock was set back.
  EXPECT_EQ(deadline_when_restored(-absl::Hours(8)), absl::Hours(2));
}

TEST_F(CommandDeskTest, WhoseRightWasRevokedHasNothingSentThatWasQueued) {
  machine_.link = nullptr;
  CommandRecord command = Command("c1");
  command.issued_by = "alice";
  command.created_at = loop_.Wall();
  Submit(command);
  Submit("c2");
  loop_.RunReady();
  std::vector<std::string> asked;
  desk_.AskBeforeSending(
      [&](const std::string& principal, const OrgId& org, absl::Time at) {
        asked.push_back(principal + "@" + org.str());
        return principal != "alice" || at != command.created_at;
      });
  Connect();
  loop_.RunReady();
  // Before the order is stored, and before it is sent.
  EXPECT_THAT(asked, ElementsAre("alice@default", "@default", "@default"));
  const CommandRecord& stored = journal_.commands.at(CommandId("c1"));
  EXPECT_EQ(stored.state, kRejected);
  EXPECT_EQ(stored.reason, "permission_revoked");
  EXPECT_EQ(stored.finished_at, loop_.Wall());
  EXPECT_EQ(stored.dispatch_seq, 0u);
  EXPECT_THAT(Orders(), ElementsAre("c2/1"));
  EXPECT_EQ(desk_.Find(CommandId("c1")), nullptr);
}

TEST_F(CommandDeskTest, ARevocationWhileTheOrderIsStoredKeepsItFromBeingSent) {
  Submit("c1");
  journal_.Hold();  // It is stored; its order is being stored.
  loop_.RunReady();
  desk_.AskBeforeSending(
      [](const std::string&, const OrgId&, absl::Time) { return false; });
  journal_.Release();
  loop_.RunReady();
  EXPECT_THAT(link_.orders, IsEmpty());
  EXPECT_EQ(Stored("c1"), kRejected);
  EXPECT_EQ(journal_.commands.at(CommandId("c1")).reason, "permission_revoked");
}

// It may have arrived: only the agent could say that it has not begun.
TEST_F(CommandDeskTest, WhatWasSentBeforeARevocationIsNotSentAgain) {
  Submit("c1");
  loop_.RunReady();
  ASSERT_THAT(Orders(), ElementsAre("c1/1"));
  desk_.AskBeforeSending(
      [](const std::string&, const OrgId&, absl::Time) { return false; });
  Connect();
  loop_.RunReady();
  EXPECT_THAT(link_.orders, IsEmpty());
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  EXPECT_EQ(journal_.commands.at(CommandId("c1")).reason, "permission_revoked");
  Say("c1", kSucceeded);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kSucceeded);
}

TEST_F(CommandDeskTest, WhatTheAgentHasGoesOnAfterARevocation) {
  Submit("c1");
  loop_.RunReady();
  desk_.AskBeforeSending(
      [](const std::string&, const OrgId&, absl::Time) { return false; });
  Connect(1, {CommandId("c1")});
  Say("c1", kRunning);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kRunning);
}

TEST_F(CommandDeskTest, ADispatchedCommandWithoutAWordIsOutcomeUnknown) {
  Submit("c1");
  loop_.RunReady();
  AdvanceAndSweep(Seconds(30));
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  EXPECT_EQ(journal_.commands.at(CommandId("c1")).reason, "no_answer");
}

TEST_F(CommandDeskTest, ARunningCommandIsOutcomeUnknownALeaseAfterItsTimeout) {
  SubmitAndRun("c1");
  AdvanceAndSweep(Seconds(3600 + 10 + 120) - absl::Milliseconds(1));
  EXPECT_EQ(Stored("c1"), kRunning);
  AdvanceAndSweep(absl::Milliseconds(1));
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  EXPECT_EQ(journal_.commands.at(CommandId("c1")).reason, "no_word");
}

TEST_F(CommandDeskTest, ALateWordRefinesOnlyOutcomeUnknown) {
  Submit("c1");
  loop_.RunReady();
  AdvanceAndSweep(Seconds(30));
  Say("c1", kRunning);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  Say("c1", kSucceeded);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kSucceeded);
  Say("c1", kFailed);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kSucceeded);
  EXPECT_EQ(link_.acks.back(), std::pair(CommandId("c1"), kFailed));
  EXPECT_EQ(desk_.open(), 0u);
}

TEST_F(CommandDeskTest, AnotherMachinesWordAndOutputAreIgnored) {
  SubmitAndRun("c1");
  Machine& other = AddMachine("other");
  FakeLink other_link;
  other.link = &other_link;
  CommandWord word;
  word.id = CommandId("c1");
  word.state = kSucceeded;
  desk_.TakeWord(other, word, loop_.Now());
  std::optional<absl::StatusOr<uint64_t>> end;
  desk_.TakeOutput(other, {CommandId("c1"), Stream::kStdout, 0, "x"},
                   [&](auto e) { end = e; });
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kRunning);
  EXPECT_THAT(other_link.acks, IsEmpty());
  EXPECT_EQ(ErrorCode(end->status()), "not_found");
  Say("c1", kSucceeded);
  loop_.RunReady();
  desk_.TakeWord(other, word, loop_.Now());
  loop_.RunReady();
  EXPECT_THAT(other_link.acks, IsEmpty());
}

TEST_F(CommandDeskTest, AnUnknownCommandIsAcknowledgedSoThatTheAgentForgetsIt) {
  Say("lost", kSucceeded);
  loop_.RunReady();
  EXPECT_THAT(link_.acks, ElementsAre(Pair(CommandId("lost"), kSucceeded)));
  std::optional<absl::StatusOr<uint64_t>> end;
  desk_.TakeOutput(machine_, {CommandId("lost"), Stream::kStdout, 5, "abc"},
                   [&](auto e) { end = e; });
  loop_.RunReady();
  EXPECT_EQ(**end, 8u);
}

TEST_F(CommandDeskTest, WhatOnlyTheGatewayMaySayIsNotTakenFromAnAgent) {
  SubmitAndRun("c1");
  Say("c1", kExpired);
  Say("c1", kQueued);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kRunning);
}

TEST_F(CommandDeskTest, AReconnectSendsAgainWhatNeverArrivedInOrder) {
  for (const char* id : {"c3", "c1", "c2"}) {
    Submit(id);
    loop_.RunReady();
  }
  EXPECT_THAT(Orders(), ElementsAre("c3/1", "c1/2", "c2/3"));
  Connect(1, {CommandId("c3")});
  loop_.RunReady();
  EXPECT_THAT(Orders(), ElementsAre("c1/2", "c2/3"));
}

TEST_F(CommandDeskTest, AnOrderUnderWayIsNotOvertakenOnANewLink) {
  Submit("c1");
  Submit("c2");
  loop_.RunReady();
  journal_.Hold();
  Cancel("c1");  // Its write is under way when the agent returns.
  Connect(0);
  journal_.Release();
  loop_.RunReady();
  EXPECT_THAT(Orders(), ElementsAre("c1/1", "c2/2"));
}

TEST_F(CommandDeskTest, AnAgentThatForgotACommandMakesItsOutcomeUnknown) {
  SubmitAndRun("c1");
  Submit("c2");
  loop_.RunReady();
  Connect(2);
  loop_.RunReady();
  for (const char* id : {"c1", "c2"}) {
    EXPECT_EQ(Stored(id), kOutcomeUnknown);
    EXPECT_EQ(journal_.commands.at(CommandId(id)).reason, "agent_forgot");
  }
  EXPECT_THAT(link_.orders, IsEmpty());
}

TEST_F(CommandDeskTest, AnAgentThatWasRolledBackIsNotSentTheSameAgain) {
  SubmitAndRun("c1");
  Say("c1", kSucceeded);
  Submit("c2");
  loop_.RunReady();
  Connect(0);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kSucceeded);
  EXPECT_EQ(Stored("c2"), kOutcomeUnknown);
  EXPECT_EQ(journal_.commands.at(CommandId("c2")).reason, "agent_rolled_back");
  EXPECT_THAT(link_.orders, IsEmpty());
  Submit("c3");
  loop_.RunReady();
  EXPECT_THAT(Orders(), ElementsAre("c3/3"));
}

TEST_F(CommandDeskTest, AnAgentThatWasRolledBackCannotDenyAStart) {
  Submit("c1");
  Submit("c2");
  loop_.RunReady();
  Say("c1", kReceived);
  Say("c2", kReceived);
  loop_.RunReady();
  Connect(1,
          {CommandId("c1")});  // Its copy is of before c2, and of c1's start.
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  Say("c1", kRejected);
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  // In its own words, or it would not forget the command.
  EXPECT_THAT(link_.acks, ElementsAre(Pair(CommandId("c1"), kRejected)));
  EXPECT_THAT(link_.orders, IsEmpty());
}

TEST_F(CommandDeskTest, AGatewayThatWasRolledBackSendsNothingOld) {
  machine_.link = nullptr;
  Submit("c1");  // Queued here; in the lost life it may have run.
  Submit("c2");
  loop_.RunReady();
  Connect(7, {CommandId("c2")});
  loop_.RunReady();
  EXPECT_EQ(Stored("c1"), kOutcomeUnknown);
  EXPECT_EQ(Stored("c2"), kOutcomeUnknown);
  EXPECT_THAT(link_.orders, IsEmpty());
  Say("c2", kSucceeded);
  loop_.RunReady();
  EXPECT_EQ(Stored("c2"), kSucceeded);
  Submit("c3");
  loop_.RunReady();
  EXPECT_THAT(Orders(), ElementsAre("c3/8"));
}

TEST_F(CommandDeskTest, ADeletedMachinesCommandsEndAtOnce) {
  SubmitAndRun("ran");
  SubmitAndRun("spoke");
  Say("spoke", kSucceeded, 5);
  loop_.RunReady();
  machine_.link = nullptr;
  Submit("waits");
  loop_.RunReady();
  desk_.GiveUpAll(machine_, loop_.Now());
  loop_.RunReady();
  EXPECT_EQ(Stored("ran"), kOutcomeUnknown);
  EXPECT_EQ(Stored("waits"), kCancelled) << "it was never sent";
  EXPECT_EQ(Stored("spoke"), kSucceeded) << "what is known stays known";
  EXPECT_EQ(journal_.commands.at(CommandId("ran")).reason, "agent_deleted");
  EXPECT_EQ(journal_.commands.at(CommandId("waits")).reason, "agent_deleted");
  EXPECT_EQ(journal_.commands.at(CommandId("spoke")).output_dropped_bytes, 5u);
  EXPECT_EQ(desk_.open(), 0u);
}

TEST_F(CommandDeskTest, OutputBeyondTheLimitOfItsCommandIsNotStored) {
  SubmitAndRun("c1");
  std::optional<absl::StatusOr<uint64_t>> end;
  const auto put = [&](uint64_t offset, size_t bytes) {
    desk_.TakeOutput(
        machine_,
        {CommandId("c1"), Stream::kStdout, offset, std::string(bytes, 'x')},
        [&](auto e) { end = e; });
    loop_.RunReady();
  };
  for (const uint64_t offset : {uint64_t{61}, uint64_t{101}, UINT64_MAX}) {
    put(offset, 40);
    EXPECT_TRUE(absl::IsInvalidArgument(end->status())) << end->status();
  }
  put(60, 40);
  EXPECT_EQ(**end, 100u);
  Say("c1", kSucceeded, 100);
  loop_.RunReady();
  ASSERT_EQ(desk_.open(), 0u);
  put(100, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(end->status())) << "nor after its end";
}

TEST_F(CommandDeskTest, OutputThatTheAgentForgotIsNotWaitedFor) {
  SubmitAndRun("c1");
  desk_.TakeOutput(machine_, {CommandId("c1"), Stream::kStdout, 0, "ab"},
                   [](auto) {});
  Say("c1", kSucceeded, 5);
  loop_.RunReady();
  Connect(1, {CommandId("c1")});
  loop_.RunReady();
  EXPECT_EQ(desk_.open(), 1u) << "the agent still has it";
  Connect(1);
  loop_.RunReady();
  EXPECT_EQ(desk_.open(), 0u);
  const CommandRecord& stored = journal_.commands.at(CommandId("c1"));
  EXPECT_EQ(stored.state, kSucceeded);
  EXPECT_EQ(stored.stdout_total, 2u);
  EXPECT_EQ(stored.output_dropped_bytes, 3u);
}

TEST_F(CommandDeskTest, OutputIsStoredAndFinishesItsCommand) {
  SubmitAndRun("c1");
  Say("c1", kSucceeded, /*stdout_total=*/5);
  loop_.RunReady();
  ASSERT_NE(desk_.Find(CommandId("c1")), nullptr) << "output is missing";
  uint64_t end = 0;
  desk_.TakeOutput(machine_, {CommandId("c1"), Stream::kStdout, 0, "hello"},
                   [&](auto e) { end = *e; });
  loop_.RunReady();
  EXPECT_EQ(end, 5u);
  EXPECT_EQ(desk_.open(), 0u);
  EXPECT_THAT(machine_.open_commands, IsEmpty());
  EXPECT_EQ(journal_.commands.at(CommandId("c1")).stdout_bytes, 5u);
}

// A gateway that was put back to an older copy: the agent sends only what it
// had not acknowledged.
TEST_F(CommandDeskTest, OutputBehindAHoleIsCountedAsDroppedAndHoldsUpNothing) {
  SubmitAndRun("c1");
  uint64_t end = 0;
  desk_.TakeOutput(machine_, {CommandId("c1"), Stream::kStdout, 7, "later"},
                   [&](auto e) { end = *e; });
  loop_.RunReady();
  EXPECT_EQ(end, 12u) << "so that the agent goes on, and forgets it";
  Say("c1", kSucceeded, /*stdout_total=*/12);
  loop_.RunReady();
  EXPECT_EQ(desk_.open(), 0u);
  const CommandRecord& stored = journal_.commands.at(CommandId("c1"));
  EXPECT_EQ(stored.stdout_bytes, 0u);
  EXPECT_EQ(stored.output_dropped_bytes, 12u);
}

TEST_F(CommandDeskTest, OutputThatTheStoreRefusesIsAnErrorToTheAgent) {
  SubmitAndRun("c1");
  journal_.FailNext(1);
  std::optional<absl::StatusOr<uint64_t>> end;
  desk_.TakeOutput(machine_, {CommandId("c1"), Stream::kStderr, 0, "x"},
                   [&](auto e) { end = e; });
  loop_.RunReady();
  EXPECT_TRUE(absl::IsUnavailable(end->status()));
  EXPECT_EQ(desk_.Find(CommandId("c1"))->stderr_bytes, 0u);
}

TEST_F(CommandDeskTest, AWatcherFiresOnceAtTheNextChange) {
  Submit("c1");
  loop_.RunReady();
  int fired = 0;
  EXPECT_TRUE(desk_.Watch(CommandId("c1"), [&] { ++fired; }));
  loop_.RunReady();
  EXPECT_EQ(fired, 0);
  Say("c1", kRunning);
  loop_.RunReady();
  EXPECT_EQ(fired, 1);
  Say("c1", kSucceeded);
  loop_.RunReady();
  EXPECT_EQ(fired, 1);
  EXPECT_TRUE(desk_.Watch(CommandId("c1"), [&] { ++fired; }));
  loop_.RunReady();
  EXPECT_EQ(fired, 2) << "not open: at once";
}

TEST_F(CommandDeskTest, OneWatcherTooManyIsToldSoAndNotCalled) {
  Submit("c1");
  loop_.RunReady();
  int fired = 0;
  const CommandDesk::Options options;
  for (size_t i = 0; i < options.watchers_per_command_max; ++i) {
    EXPECT_TRUE(desk_.Watch(CommandId("c1"), [&] { ++fired; }));
  }
  EXPECT_FALSE(desk_.Watch(CommandId("c1"), [] { FAIL(); }));
  loop_.RunReady();
  EXPECT_EQ(fired, 0);
}

TEST_F(CommandDeskTest, EveryWatcherCanBeWoken) {
  int fired = 0;
  for (const char* id : {"c1", "c2"}) {
    Submit(id);
    loop_.RunReady();
    EXPECT_TRUE(desk_.Watch(CommandId(id), [&] { ++fired; }));
  }
  desk_.WakeWatchers();
  EXPECT_EQ(fired, 2);
  desk_.WakeWatchers();
  EXPECT_EQ(fired, 2) << "each once";
}

TEST_F(CommandDeskTest, TheSameIdempotencyKeyIsTheSameCommand) {
  CommandRecord command = Command("c1");
  command.idempotency_key = "key";
  Submit(command);
  loop_.RunReady();
  command.id = CommandId("c2");
  Submit(command);
  loop_.RunReady();
  EXPECT_EQ((*answer_)->id, CommandId("c1"));
  command.spec.text = "other";
  Submit(command);
  loop_.RunReady();
  EXPECT_EQ(ErrorCode(answer_->status()), "idempotency_conflict");
  EXPECT_EQ(desk_.open(), 1u);
  EXPECT_THAT(Orders(), ElementsAre("c1/1"));
}

TEST_F(CommandDeskTest, OpenCommandsOfAMachineAreBounded) {
  machine_.link = nullptr;
  for (int i = 0; i < 1000; ++i) {
    Submit(fmt::format("c{:04}", i));
    loop_.RunReady();
  }
  ASSERT_TRUE(answer_->ok());
  Submit("one-more");
  EXPECT_EQ(answer_->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorCode(answer_->status()), "too_many_commands");
}

TEST_F(CommandDeskTest, RestoredCommandsGoOnAndTheirPatienceStartsAnew) {
  SubmitAndRun("c1");
  Submit("c2");
  loop_.RunReady();
  machine_.link = nullptr;
  Submit("c3");
  loop_.RunReady();
  std::vector<CommandRecord> stored;
  for (const auto& [id, command] : journal_.commands) stored.push_back(command);
  loop_.Advance(absl::Minutes(10));
  Machines machines;
  Machine& machine = machines.Add(
      journal_.machines.at(AgentId("m")),
      Presence::Restored(policy_, Status::kOnline, {}, {}, loop_.Now()));
  CommandDesk desk(loop_, journal_, machines, nullptr, {});
  desk.Restore(stored, loop_.Now());
  EXPECT_EQ(desk.NextDeadline(), loop_.Now() + Seconds(30));
  FakeLink link;
  machine.link = &link;
  machine.record.epoch = 77;
  desk.Reconcile(machine, 1, {CommandId("c1")}, loop_.Now());
  desk.Dispatch(machine, loop_.Now());
  loop_.RunReady();
  ASSERT_EQ(link.orders.size(), 2u);
  EXPECT_EQ(link.orders[0].id, CommandId("c2"));
  EXPECT_EQ(link.orders[0].dispatch_seq, 2u);
  EXPECT_EQ(link.orders[1].id, CommandId("c3"));
  EXPECT_EQ(link.orders[1].dispatch_seq, 3u);
}

// Counts the log records with this message.
class LogCount {
 public:
  explicit LogCount(std::string message) {
    TapLog([this, message = std::move(message)](std::string_view line) {
      if (line.find(message) != line.npos) ++count_;
    });
  }
  ~LogCount() { TapLog(nullptr); }
  int count() const { return count_; }

 private:
  int count_ = 0;
};

TEST_F(CommandDeskTest, AFullDiskIsLoggedNowAndThenNotForEachCommand) {
  for (int i = 0; i < 50; ++i) Submit(fmt::format("c{:02}", i));
  loop_.RunReady();
  LogCount log("command not saved");
  journal_.FailNext(1'000'000);
  for (int i = 0; i < 50; ++i) Say(fmt::format("c{:02}", i), kRunning);
  loop_.Advance(Seconds(9));
  EXPECT_EQ(log.count(), 1);
  loop_.Advance(Seconds(3));
  EXPECT_EQ(log.count(), 2);
}

TEST_F(CommandDeskTest, AnAgentThatSpeaksOfUnknownCommandsCannotFillTheLog) {
  LogCount log("an agent reported an unknown command");
  for (int i = 0; i < 1000; ++i) Say(fmt::format("x{}", i), kRunning);
  loop_.RunReady();
  EXPECT_EQ(log.count(), 1);
  EXPECT_EQ(link_.acks.size(), 1000u) << "each is answered all the same";
}

}  // namespace
}  // namespace muster::gateway
