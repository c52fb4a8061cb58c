#include "gateway/fleet/session_desk.h"

#include <memory>
#include <string>
#include <vector>

#include "gateway/fleet/fake_journal.h"
#include "gateway/fleet/fake_link.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/fake_event_loop.h"

namespace muster::gateway {
namespace {

using absl::Seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const OrgId kOrg("default");
const AgentId kAgent("m1");
const CommandId kId("s1");

class SessionDeskTest : public ::testing::Test {
 protected:
  SessionDeskTest() {
    MachineRecord record;
    record.id = kAgent;
    record.org = kOrg;
    record.status = Status::kOnline;
    record.epoch = 1;
    Machine& machine = machines_.Add(
        std::move(record),
        Presence::Restored(policy_, Status::kOnline, {}, {}, loop_.Now()));
    machine.link = &link_;
  }

  void Open(bool recorded = false) {
    CommandRecord session;
    session.id = kId;
    session.agent = kAgent;
    session.org = kOrg;
    session.state = CommandState::kRunning;
    session.dispatch_seq = 1;
    session.spec.terminal = Terminal{.keep = Seconds(60), .recorded = recorded};
    journal_.commands[kId] = session;
    commands_.Restore({session}, loop_.Now());
    desk_.Opened(session);
  }
  // What the machine shows; the end that it was told, if it was.
  void Show(uint64_t offset, std::string data) {
    desk_.TakeOutput(kAgent, {.command = kId, .offset = offset, .data = data},
                     [this](absl::StatusOr<uint64_t> end) {
                       taken_.push_back(end.value_or(0));
                     });
    loop_.RunReady();
  }
  SessionDesk::Piece Read(uint64_t offset, const std::string& attachment = "") {
    return desk_.Read(kId, offset, attachment, 1 << 20).value();
  }
  void End(uint64_t total) {
    CommandWord word;
    word.id = kId;
    word.state = CommandState::kSucceeded;
    word.stdout_total = total;
    commands_.TakeWord(*machines_.Find(kAgent), word, loop_.Now());
    loop_.RunReady();
  }

  const PresencePolicy policy_;
  FakeEventLoop loop_;
  FakeJournal journal_{loop_};
  FakeLink link_;
  Machines machines_;
  CommandDesk commands_{loop_, journal_, machines_,
                        [](const Machine&) { return std::string(); },
                        CommandDesk::Options()};
  SessionDesk::Options options_ = {.ring_bytes = 10,
                                   .kept_for_reader = Seconds(40)};
  SessionDesk desk_{loop_, journal_, commands_, options_};
  std::vector<uint64_t> taken_;
};

TEST_F(SessionDeskTest, WhatIsShownIsReadFromAnyOffset) {
  Open();
  Show(0, "abc");
  Show(3, "def");
  EXPECT_EQ(Read(0).data, "abcdef");
  EXPECT_EQ(Read(4).data, "ef");
  EXPECT_EQ(Read(6).data, "");
  EXPECT_FALSE(Read(6).end);
  EXPECT_THAT(taken_, ElementsAre(3, 6));
}

TEST_F(SessionDeskTest, WhoOnlyLooksIsNotWaitedForAndIsToldWhatHeMissed) {
  Open();
  loop_.Advance(options_.viewer_lease);  // Nor for whoever opened it.
  EXPECT_EQ(Read(0).data, "");
  Show(0, "0123456789");
  Show(10, "abcde");
  const SessionDesk::Piece piece = Read(0);
  EXPECT_EQ(piece.offset, 5u);
  EXPECT_EQ(piece.data, "56789abcde");
}

TEST_F(SessionDeskTest, WhoTypesIsWaitedForUntilHeHasRead) {
  Open();
  ASSERT_TRUE(desk_.Attach(kId, "a").ok());
  Show(0, "0123456789");
  Show(10, "abcde");
  EXPECT_THAT(taken_, ElementsAre(10)) << "the machine is not told more";
  EXPECT_EQ(Read(0, "a").data, "0123456789");
  EXPECT_EQ(Read(10, "a").data, "abcde");
  EXPECT_THAT(taken_, ElementsAre(10, 15));
}

TEST_F(SessionDeskTest, WhoOpenedItIsWaitedForUntilHeAttaches) {
  Open();
  Show(0, "0123456789");
  Show(10, "abcde");
  EXPECT_THAT(taken_, ElementsAre(10));
  ASSERT_TRUE(desk_.Attach(kId, "a").ok());
  EXPECT_EQ(Read(0, "a").data, "0123456789");
  EXPECT_EQ(Read(10, "a").data, "abcde");
}

TEST_F(SessionDeskTest, WhoTypesIsWaitedForAfterTheEnd) {
  Open();
  ASSERT_TRUE(desk_.Attach(kId, "a").ok());
  Show(0, "0123456789");
  Show(10, "abcde");
  End(20);
  EXPECT_EQ(Read(0, "a").data, "0123456789");
  loop_.Advance(options_.viewer_lease - Seconds(1));
  EXPECT_EQ(Read(10, "a").data, "abcde");
  EXPECT_FALSE(Read(15, "a").end);
  loop_.Advance(options_.viewer_lease - Seconds(1));
  Show(15, "fghij");  // It came late, as he read slowly.
  EXPECT_EQ(Read(15, "a").data, "fghij");
  EXPECT_TRUE(Read(20, "a").end);
  EXPECT_FALSE(desk_.IsAttached(kId)) << "nobody types into it";
}

TEST_F(SessionDeskTest, WhoReadsTooSlowlyAfterTheEndLeavesNoMachineWaiting) {
  Open();
  ASSERT_TRUE(desk_.Attach(kId, "a").ok());
  Show(0, "0123456789");
  Show(10, "abcdefghij");
  End(20);
  for (uint64_t offset = 1; offset <= 3; ++offset) {
    loop_.Advance(Seconds(10));
    Read(offset, "a");
  }
  EXPECT_THAT(taken_, ElementsAre(10));
  loop_.Advance(Seconds(11));
  EXPECT_FALSE(desk_.Has(kId));
  EXPECT_THAT(taken_, ElementsAre(10, 20));
}

TEST_F(SessionDeskTest, WhoTypesAndIsGoneIsNotWaitedFor) {
  Open();
  ASSERT_TRUE(desk_.Attach(kId, "a").ok());
  Show(0, "0123456789");
  Show(10, "abcde");
  loop_.Advance(Seconds(16));
  EXPECT_THAT(taken_, ElementsAre(10, 15));
  EXPECT_FALSE(desk_.IsAttached(kId));
}

TEST_F(SessionDeskTest, TheLastOneToAttachTypes) {
  Open();
  ASSERT_TRUE(desk_.Attach(kId, "a").ok());
  ASSERT_TRUE(desk_.Attach(kId, "b").ok());
  EXPECT_FALSE(desk_.Types(kId, "a"));
  EXPECT_TRUE(desk_.Types(kId, "b"));
  desk_.Detach(kId, "a");
  EXPECT_TRUE(desk_.Types(kId, "b"));
  desk_.Detach(kId, "b");
  EXPECT_TRUE(desk_.IsFree(kId));
}

TEST_F(SessionDeskTest, WhatTheMachineCouldNotKeepIsAGap) {
  Open();
  loop_.Advance(options_.viewer_lease);
  Show(0, "abc");
  Show(100, "xyz");
  const SessionDesk::Piece piece = Read(3);
  EXPECT_EQ(piece.offset, 100u);
  EXPECT_EQ(piece.data, "xyz");
}

TEST_F(SessionDeskTest, BytesThatComeTwiceAreShownOnce) {
  Open();
  Show(0, "abc");
  Show(1, "bcd");
  Show(0, "ab");
  EXPECT_EQ(Read(0).data, "abcd");
  EXPECT_EQ(taken_.back(), 4u);
}

TEST_F(SessionDeskTest, NobodyWhoLooksEndsItAfterItsTime) {
  Open();
  loop_.Advance(Seconds(59));
  EXPECT_THAT(link_.cancels, IsEmpty());
  (void)Read(0);
  loop_.Advance(Seconds(59));
  EXPECT_THAT(link_.cancels, IsEmpty());
  loop_.Advance(Seconds(3));
  EXPECT_THAT(link_.cancels, ElementsAre(kId));
  EXPECT_EQ(journal_.commands[kId].reason, "no_viewer");
}

TEST_F(SessionDeskTest, WhoWaitsForNewsLooks) {
  Open();
  ASSERT_TRUE(desk_.Watch(kId, [] {}));
  loop_.Advance(Seconds(100));
  EXPECT_THAT(link_.cancels, IsEmpty());
}

TEST_F(SessionDeskTest, TheEndComesAfterTheLastByte) {
  Open();
  Show(0, "abc");
  End(6);
  EXPECT_FALSE(Read(3).end) << "three bytes are on their way";
  Show(3, "def");
  EXPECT_FALSE(Read(3).end);
  EXPECT_TRUE(Read(6).end);
  loop_.Advance(Seconds(61));
  EXPECT_FALSE(desk_.Has(kId));
}

TEST_F(SessionDeskTest, AnEndWhoseBytesNeverComeIsTheEndAllTheSame) {
  Open();
  End(6);
  loop_.Advance(Seconds(15));
  EXPECT_TRUE(Read(0).end);
}

TEST_F(SessionDeskTest, AnotherMachineShowsNothingHere) {
  Open();
  absl::StatusOr<uint64_t> end;
  desk_.TakeOutput(AgentId("m2"), {.command = kId, .offset = 0, .data = "x"},
                   [&](absl::StatusOr<uint64_t> e) { end = std::move(e); });
  EXPECT_TRUE(absl::IsNotFound(end.status()));
  EXPECT_EQ(Read(0).data, "");
}

TEST_F(SessionDeskTest, NothingIsStoredUnlessItIsRecorded) {
  Open();
  Show(0, "secret");
  EXPECT_EQ(journal_.commands[kId].stdout_bytes, 0u);
}

TEST_F(SessionDeskTest, WhatIsRecordedIsTakenWhenItIsDurable) {
  Open(true);
  journal_.Hold();
  Show(0, "abc");
  EXPECT_EQ(Read(0).data, "abc") << "who looks does not wait for the disk";
  EXPECT_THAT(taken_, IsEmpty());
  journal_.Release();
  loop_.RunReady();
  EXPECT_THAT(taken_, ElementsAre(3));
  EXPECT_EQ(journal_.commands[kId].stdout_bytes, 3u);
}

TEST_F(SessionDeskTest, OtherCommandsAreNoSessions) {
  CommandRecord command;
  command.id = CommandId("c1");
  desk_.Opened(command);
  EXPECT_FALSE(desk_.Has(CommandId("c1")));
}

}  // namespace
}  // namespace muster::gateway
