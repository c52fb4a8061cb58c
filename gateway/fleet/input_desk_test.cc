#include "gateway/fleet/input_desk.h"

#include <functional>
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

using ::testing::IsEmpty;
using ::testing::SizeIs;

const OrgId kOrg("default");
const CommandId kId("c1");

class InputDeskTest : public ::testing::Test {
 protected:
  InputDeskTest() : machine_(AddMachine("m1")) {
    Add("c1", [](CommandSpec& spec) { spec.input_streamed = true; });
  }

  Machine& AddMachine(const std::string& id) {
    MachineRecord record;
    record.id = AgentId(id);
    record.org = kOrg;
    record.status = Status::kOnline;
    record.epoch = 1;
    Machine& machine = machines_.Add(
        std::move(record),
        Presence::Restored(policy_, Status::kOnline, {}, {}, loop_.Now()));
    machine.link = &link_;
    return machine;
  }
  void Add(const std::string& id,
           const std::function<void(CommandSpec&)>& change) {
    CommandRecord command;
    command.id = CommandId(id);
    command.agent = machine_.record.id;
    command.org = kOrg;
    command.state = CommandState::kRunning;
    command.dispatch_seq = 1;
    change(command.spec);
    journal_.commands[command.id] = command;
    commands_.Restore({command}, loop_.Now());
  }
  void Taken(uint64_t taken, bool again = false, bool closed = false,
             const CommandId& id = kId, uint64_t kept = 0) {
    desk_.Take(machine_, {id, taken, kept, again, closed});
  }
  uint64_t Write(uint64_t offset, const std::string& data, bool end = false) {
    return desk_.Write(kId, offset, data, end).value().accepted;
  }
  // What the link has carried, each part behind the one before.
  std::string Sent() {
    std::string all;
    for (const InputPart& part : link_.inputs) all += part.data;
    return all;
  }

  const PresencePolicy policy_;
  FakeEventLoop loop_;
  FakeJournal journal_{loop_};
  FakeLink link_;
  Machines machines_;
  Machine& machine_;
  CommandDesk commands_{loop_, journal_, machines_,
                        [](const Machine&) { return std::string(); },
                        CommandDesk::Options()};
  InputDesk desk_{loop_, machines_, commands_, InputDesk::Options()};
};

TEST_F(InputDeskTest, NothingIsTakenBeforeTheMachineSaysThatItReads) {
  EXPECT_FALSE(desk_.Write(kId, 0, "abc"));
  Taken(0);
  EXPECT_EQ(Write(0, "abc"), 3u);
  EXPECT_EQ(Sent(), "abc");
}

TEST_F(InputDeskTest, AByteThatComesTwiceIsSentOnce) {
  Taken(0);
  Write(0, "abc");
  EXPECT_EQ(Write(0, "abc"), 3u);
  EXPECT_EQ(Write(1, "bcde"), 5u);
  EXPECT_EQ(Sent(), "abcde");
}

TEST_F(InputDeskTest, WhatComesAfterAGapIsNotTaken) {
  Taken(0);
  EXPECT_EQ(Write(7, "late"), 0u);
  EXPECT_THAT(link_.inputs, IsEmpty());
}

TEST_F(InputDeskTest, OnlyWhatTheMachineAsksForIsSentAgain) {
  Taken(0);
  Write(0, "abcdef");
  Taken(2);
  EXPECT_EQ(Sent(), "abcdef");
  link_.inputs.clear();
  Taken(4, true);
  EXPECT_EQ(Sent(), "ef");
  EXPECT_EQ(link_.inputs.at(0).offset, 4u);
}

// It goes on where the machine is: what another gateway life had is gone.
TEST_F(InputDeskTest, AfterARestartTheCallerIsToldWhereToGoOn) {
  Taken(100, true);
  EXPECT_EQ(Write(120, "later"), 100u);
  EXPECT_EQ(Write(100, "now"), 103u);
  EXPECT_EQ(link_.inputs.at(0).offset, 100u);
}

// Its shim has more than the command has read: bytes with those numbers would
// be taken for what it has.
TEST_F(InputDeskTest, AfterARestartWhatWaitsOnTheMachineIsReadFirst) {
  Taken(100, true, false, kId, 180);
  EXPECT_FALSE(desk_.Write(kId, 100, "x"));
  Taken(180, false, false, kId, 180);
  EXPECT_EQ(Write(100, std::string(90, 'x')), 190u);
  EXPECT_EQ(link_.inputs.at(0).offset, 180u);
}

TEST_F(InputDeskTest, WhatALostShimNeverGotIsAskedForAnew) {
  Taken(180, false, false, kId, 180);  // As the agent believed.
  Taken(120, true, false, kId, 120);   // As its shim says.
  EXPECT_EQ(Write(180, "late"), 120u);
}

TEST_F(InputDeskTest, ACommandThatDoesNotReadHoldsUpNoOther) {
  Add("c2", [](CommandSpec& spec) { spec.input_streamed = true; });
  const CommandId other("c2");
  Taken(0);
  Taken(0, false, false, other);
  Write(0, std::string(64 << 10, 'x'));
  Taken(0, false, false, kId, 64 << 10);  // On the machine, and not read.
  link_.inputs.clear();
  EXPECT_EQ(desk_.Write(other, 0, "typed")->accepted, 5u);
  EXPECT_EQ(Sent(), "typed");
}

TEST_F(InputDeskTest, AMachineIsSentNoMoreThanItsShare) {
  Taken(0);
  const std::string much(64 << 10, 'x');
  EXPECT_EQ(Write(0, much), 64u << 10);
  EXPECT_EQ(Sent().size(), 64u << 10);
  EXPECT_EQ(Write(64 << 10, "more"), 64u << 10) << "there is no room";
  Taken(1000);
  EXPECT_EQ(Write(64 << 10, "more"), (64u << 10) + 4);
  EXPECT_EQ(Sent().size(), (64u << 10) + 4);
}

TEST_F(InputDeskTest, TheEndFollowsTheLastByteOnce) {
  Taken(0);
  Write(0, "abc", true);
  ASSERT_THAT(link_.inputs, SizeIs(1));
  EXPECT_TRUE(link_.inputs[0].end);
  Taken(3);
  EXPECT_THAT(link_.inputs, SizeIs(1));
  Taken(3, true);  // Another link: the end may have been lost.
  ASSERT_THAT(link_.inputs, SizeIs(2));
  EXPECT_TRUE(link_.inputs[1].end);
  EXPECT_EQ(link_.inputs[1].data, "");
}

TEST_F(InputDeskTest, ASizeComesBeforeWhatIsTypedAfterIt) {
  Taken(0);
  machine_.link = nullptr;
  Write(0, "abc");
  ASSERT_TRUE(desk_.Write(kId, 3, "def", false, WindowSize{50, 132}));
  machine_.link = &link_;
  Taken(0, true);
  ASSERT_THAT(link_.inputs, SizeIs(2));
  EXPECT_EQ(link_.inputs[0].data, "abc");
  EXPECT_FALSE(link_.inputs[0].size);
  EXPECT_EQ(link_.inputs[1].data, "def");
  EXPECT_EQ(link_.inputs[1].size, (WindowSize{50, 132}));
}

TEST_F(InputDeskTest, WhatNobodyReadsIsTakenAndForgotten) {
  Taken(0);
  Write(0, "abc");
  Taken(1, false, true);
  link_.inputs.clear();
  const auto progress = desk_.Write(kId, 3, "def");
  EXPECT_TRUE(progress->closed);
  EXPECT_EQ(progress->accepted, 6u);
  EXPECT_THAT(link_.inputs, IsEmpty());
}

TEST_F(InputDeskTest, AMachineCannotSpeakForAnothersCommand) {
  Machine& other = AddMachine("m2");
  desk_.Take(other, {.id = kId, .taken = 0});
  EXPECT_FALSE(desk_.Write(kId, 0, "abc"));
}

TEST_F(InputDeskTest, AMachineCannotTakeWhatItWasNeverSent) {
  Taken(0);
  Write(0, "abc");
  Taken(1'000'000);
  EXPECT_EQ(Write(3, "d"), 4u);
}

TEST_F(InputDeskTest, ACommandThatReadsNothingHasNoInput) {
  Add("c2", [](CommandSpec&) {});
  Taken(0, true, false, CommandId("c2"));
  EXPECT_FALSE(desk_.Write(CommandId("c2"), 0, "abc"));
}

TEST_F(InputDeskTest, WhoWaitsForRoomIsTold) {
  Taken(0);
  int told = 0;
  EXPECT_TRUE(desk_.Watch(kId, [&] { ++told; }));
  Taken(0);
  loop_.RunReady();
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace muster::gateway
