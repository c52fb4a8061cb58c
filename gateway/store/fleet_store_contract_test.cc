// The definition of FleetStore: all but its history, see
// history_store_contract_test.cc.

#include "gateway/store/test_fleet_store.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// --- Transactions -----------------------------------------------------------

TEST_P(FleetStoreContract, CommitKeepsEveryCallSinceBegin) {
  ASSERT_TRUE(store_->Begin().ok());
  ASSERT_TRUE(store_->PutMachine(Machine("m3")).ok());
  Add(Command("c1", "m3"));
  ASSERT_TRUE(store_->Commit().ok());
  Reopen();
  EXPECT_THAT(*store_->LoadMachines(), SizeIs(3));
  EXPECT_TRUE(store_->GetCommand(CommandId("c1")).ok());
}

TEST_P(FleetStoreContract, RollbackDropsEveryCallSinceBegin) {
  MachineRecord before = Machine("m1");
  const std::pair heard(AgentId("m1"), At(5));
  ASSERT_TRUE(store_->Begin().ok());
  MachineRecord changed = before;
  changed.status = Status::kOnline;
  ASSERT_TRUE(store_->PutMachine(changed).ok());
  ASSERT_TRUE(store_->PutLastHeard({&heard, 1}).ok());
  ASSERT_TRUE(store_->PutMachine(Machine("m3")).ok());
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 1)).ok());
  Add(Command("c1", "m3"));
  Append("c1", Stream::kStdout, 0, "abc");
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  ASSERT_TRUE(store_->Enroll(Request(Token("t1"), "k9", "m9")).ok());
  EXPECT_EQ(*store_->BeginRun(At(9)), 1);
  store_->Rollback();
  EXPECT_THAT(*store_->LoadMachines(), ElementsAre(before, Machine("m2")));
  EXPECT_THAT(*store_->ListTransitions(AgentId("m1"), 9), IsEmpty());
  EXPECT_THAT(*store_->ListTokens(OrgId("acme")), IsEmpty());
  EXPECT_THAT(List({}), IsEmpty());
  EXPECT_EQ(*store_->BeginRun(At(9)), 1);
}

TEST_P(FleetStoreContract, AMethodThatFailsInATransactionUndoesOnlyItself) {
  ASSERT_TRUE(store_->Begin().ok());
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 1)).ok());
  EXPECT_EQ(CodeOf(store_->AddTransition(Transition("m1", 1))),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(store_->AddCommand(Command("c1", "nobody"))),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 2)).ok());
  ASSERT_TRUE(store_->Commit().ok());
  Reopen();
  EXPECT_THAT(*store_->ListTransitions(AgentId("m1"), 9),
              ElementsAre(Transition("m1", 2), Transition("m1", 1)));
  EXPECT_THAT(List({}), IsEmpty());
}

TEST_P(FleetStoreContract, AnInnerRollbackUndoesOnlyWhatIsInside) {
  ASSERT_TRUE(store_->Begin().ok());
  ASSERT_TRUE(store_->PutMachine(Machine("m3")).ok());
  ASSERT_TRUE(store_->Begin().ok());
  ASSERT_TRUE(store_->PutMachine(Machine("m4")).ok());
  ASSERT_TRUE(store_->Begin().ok());
  ASSERT_TRUE(store_->PutMachine(Machine("m5")).ok());
  ASSERT_TRUE(store_->Commit().ok());
  store_->Rollback();
  ASSERT_TRUE(store_->Begin().ok());
  ASSERT_TRUE(store_->PutMachine(Machine("m6")).ok());
  ASSERT_TRUE(store_->Commit().ok());
  ASSERT_TRUE(store_->Commit().ok());
  Reopen();
  EXPECT_THAT(
      *store_->LoadMachines(),
      ElementsAre(Machine("m1"), Machine("m2"), Machine("m3"), Machine("m6")));
}

// --- Start ------------------------------------------------------------------

TEST_P(FleetStoreContract, EveryRunIsLargerThanAllBefore) {
  EXPECT_EQ(*store_->BeginRun(At(0)), 1);
  Reopen();
  EXPECT_EQ(*store_->BeginRun(At(0)), 2);
  EXPECT_EQ(*store_->BeginRun(At(0)), 3);
}

TEST_P(FleetStoreContract, ANewRunClosesTheLinksThatTheLastOneLeftOpen) {
  LinkRecord closed = Link("m1", 1);
  closed.closed_at = At(2);
  closed.end = LinkEnd::kGoodbye;
  ASSERT_TRUE(store_->PutLink(closed).ok());
  ASSERT_TRUE(store_->PutLink(Link("m1", 2)).ok());
  Reopen();
  ASSERT_TRUE(store_->BeginRun(At(50)).ok());
  Reopen();
  LinkRecord stopped = Link("m1", 2);
  stopped.closed_at = At(50);
  stopped.end = LinkEnd::kGatewayStopped;
  EXPECT_THAT(*store_->ListLinks(AgentId("m1"), 9),
              ElementsAre(stopped, closed));
}

TEST_P(FleetStoreContract, LinksOfTheLastRunEndedWhenItLastGaveASignOfLife) {
  LinkRecord late = Link("m1", 3);
  late.opened_at = At(22);
  ASSERT_TRUE(store_->PutLink(Link("m1", 2)).ok());
  ASSERT_TRUE(store_->PutLink(late).ok());
  ASSERT_TRUE(store_->BeginRun(At(1)).ok());
  for (const uint64_t epoch : {4, 5}) {
    LinkRecord open = Link("m1", epoch);
    if (epoch == 5) open.opened_at = At(22);  // After the last sign.
    ASSERT_TRUE(store_->PutLink(open).ok());
  }
  ASSERT_TRUE(store_->SignOfLife(At(20)).ok());
  ASSERT_TRUE(store_->BeginRun(At(5000)).ok());
  const auto links = store_->ListLinks(AgentId("m1"), 2);
  ASSERT_TRUE(links.ok());
  EXPECT_EQ((*links)[0].closed_at, At(22));
  EXPECT_EQ((*links)[1].closed_at, At(20));
}

TEST_P(FleetStoreContract, ATransitionToOnlineEndsItsPartInAnIncident) {
  TransitionRecord online = Transition("m1", 13);
  TransitionRecord stale = Transition("m2", 13);
  online.to = Status::kOnline;
  stale.to = Status::kStale;
  for (const auto& t : {online, stale}) {
    ASSERT_TRUE(store_->AddTransition(t).ok());
  }
  EXPECT_EQ((*store_->LoadMachines())[0].incident, "");
  EXPECT_EQ((*store_->LoadMachines())[1].incident, Machine("m2").incident);
}

TEST_P(FleetStoreContract, OpenCommandsAreThoseWithoutAnEndOrAllTheirOutput) {
  const std::pair<const char*, CommandState> states[] = {
      {"c4", CommandState::kRunning},
      {"c1", CommandState::kQueued},
      {"c2", CommandState::kOutcomeUnknown},
      {"c3", CommandState::kSucceeded}};
  for (const auto& [id, state] : states) {
    CommandRecord command = Command(id);
    Add(command);
    command.state = state;
    if (command.id.str() == "c3") command.stderr_total = 3;
    ASSERT_TRUE(store_->PutCommand(command).ok());
  }
  Reopen();
  const auto open = store_->LoadOpenCommands();
  ASSERT_TRUE(open.ok()) << open.status();
  ASSERT_THAT(*open, SizeIs(3));
  EXPECT_EQ((*open)[0].id.str(), "c1");
  EXPECT_EQ((*open)[1].id.str(), "c3");
  EXPECT_EQ((*open)[2].id.str(), "c4");
  Append("c3", Stream::kStderr, 0, "abc");
  EXPECT_THAT(*store_->LoadOpenCommands(), SizeIs(2));
}

// --- Registration -----------------------------------------------------------

TEST_P(FleetStoreContract, ATokenAdmitsANewMachineAndCountsOneUse) {
  ASSERT_TRUE(store_->AddToken(Token("t1", 2)).ok());
  const auto enrolled = store_->Enroll(Request(Token("t1"), "k9", "m9"));
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  EXPECT_FALSE(enrolled->repeated);
  Reopen();
  const auto machines = store_->LoadMachines();
  const MachineRecord& born = machines->back();
  EXPECT_EQ(born, enrolled->machine);
  EXPECT_EQ(born.id, AgentId("m9"));
  EXPECT_EQ(born.org, OrgId("acme"));
  EXPECT_EQ(born.status, Status::kStale);
  EXPECT_EQ(born.verdict->cause, Cause::kNeverConnected);
  EXPECT_EQ(born.registered_at, At(10));
  EXPECT_EQ(born.address, "192.0.2.9:1");
  EXPECT_EQ(born.labels,
            (Labels{{"rack", "7"}, {"role", "of the token"}, {"zone", "b"}}));
  EXPECT_EQ(store_->ListTokens(OrgId("acme"))->front().uses, 1u);
}

TEST_P(FleetStoreContract, ARepeatedRegistrationChangesNothing) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  const auto first = store_->Enroll(Request(Token("t1"), "k9", "m9"));
  Reopen();
  EnrollmentRequest late = Request(Token("t1"), "k9", "m10");
  late.now = At(100'000);  // Used up and expired by now.
  const auto second = store_->Enroll(late);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->repeated);
  EXPECT_EQ(second->machine, first->machine);
  EXPECT_EQ(store_->ListTokens(OrgId("acme"))->front().uses, 1u);
  EXPECT_THAT(*store_->LoadMachines(), SizeIs(3));
}

TEST_P(FleetStoreContract, AKnownKeyWithAnotherTokenIsTheSameMachine) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  ASSERT_TRUE(store_->AddToken(Token("t2")).ok());
  const auto first = store_->Enroll(Request(Token("t1"), "k9", "m9"));
  const auto second = store_->Enroll(Request(Token("t2"), "k9", "m10"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(second->repeated);
  EXPECT_EQ(second->machine, first->machine);
  EXPECT_EQ(store_->ListTokens(OrgId("acme"))->front().uses, 1u);
  EXPECT_EQ(store_->ListTokens(OrgId("acme"))->back().uses, 1u);
}

TEST_P(FleetStoreContract, AKeyOfAnotherOrgIsANewMachine) {
  TokenRecord other = Token("t2");
  other.org = OrgId("other");
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  ASSERT_TRUE(store_->AddToken(other).ok());
  ASSERT_TRUE(store_->Enroll(Request(Token("t1"), "k9", "m9")).ok());
  const auto second = store_->Enroll(Request(other, "k9", "m10"));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->machine.id, AgentId("m10"));
  EXPECT_EQ(second->machine.org, OrgId("other"));
}

TEST_P(FleetStoreContract, ATombstoneIsNotRevivedAndCostsNoUse) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  const EnrollmentRequest request =
      Request(Token("t1"), Machine("m1").key_pin, "m9");  // m1 is deleted.
  EXPECT_EQ(CodeOf(store_->Enroll(request)), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->ListTokens(OrgId("acme"))->front().uses, 0u);

  auto enrolled = store_->Enroll(Request(Token("t1"), "k9", "m9"));
  ASSERT_TRUE(enrolled.ok());
  enrolled->machine.deleted_at = At(20);
  ASSERT_TRUE(store_->PutMachine(enrolled->machine).ok());
  EXPECT_EQ(CodeOf(store_->Enroll(Request(Token("t1"), "k9", "m10"))),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(FleetStoreContract, ATakenIdIsRefusedAndCostsNoUse) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  EXPECT_EQ(CodeOf(store_->Enroll(Request(Token("t1"), "k9", "m1"))),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->ListTokens(OrgId("acme"))->front().uses, 0u);
}

TEST_P(FleetStoreContract, ATokenThatDoesNotAdmitSaysWhy) {
  const auto refusal = [this](const EnrollmentRequest& request) {
    const absl::Status status = store_->Enroll(request).status();
    EXPECT_EQ(CodeOf(status), absl::StatusCode::kPermissionDenied);
    return std::string(status.message());
  };
  EXPECT_EQ(refusal(Request(Token("t1"), "k1", "a")), "unknown token");
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  EnrollmentRequest late = Request(Token("t1"), "k1", "a");
  late.now = Token("t1").expires_at;
  EXPECT_EQ(refusal(late), "token expired");
  ASSERT_TRUE(store_->Enroll(Request(Token("t1"), "k1", "a")).ok());
  EXPECT_EQ(refusal(Request(Token("t1"), "k2", "b")), "token used up");
  ASSERT_TRUE(store_->RevokeToken(OrgId("acme"), TokenId("t1"), At(5)).ok());
  EXPECT_EQ(refusal(Request(Token("t1"), "k2", "b")), "token revoked");
  EXPECT_EQ(refusal(Request(Token("t1"), "k1", "a")), "token revoked");
}

TEST_P(FleetStoreContract, ATokenForTenAdmitsExactlyTenOfAHundred) {
  ASSERT_TRUE(store_->AddToken(Token("t1", 10)).ok());
  int admitted = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string n = std::to_string(i);
    admitted += store_->Enroll(Request(Token("t1"), "k" + n, "new-" + n)).ok();
  }
  EXPECT_EQ(admitted, 10);
  EXPECT_THAT(*store_->LoadMachines(), SizeIs(12));
}

TEST_P(FleetStoreContract, AReissuedMachineIsGivenToTheNextKeyAndNoOther) {
  ASSERT_TRUE(store_->AddToken(Token("t1", 2)).ok());
  const auto first = store_->Enroll(Request(Token("t1"), "k1", "m9"));
  ASSERT_TRUE(first.ok()) << first.status();
  TokenRecord reissue = Token("t2");
  reissue.agent = AgentId("m9");
  reissue.uses_max = 1;
  ASSERT_TRUE(store_->Reissue(reissue).ok());
  TokenRecord again = Token("t3");
  again.agent = AgentId("m9");
  again.uses_max = 1;
  ASSERT_TRUE(store_->Reissue(again).ok());
  // A write of the machine as it was before brings no key back.
  ASSERT_TRUE(store_->PutMachine(first->machine).ok());
  Reopen();
  EXPECT_EQ(store_->LoadMachines()->back().key_pin, "");
  const auto enroll = [&](const char* token, const char* key) {
    return store_->Enroll(Request(Token(token), key, "m10"));
  };
  EXPECT_EQ(CodeOf(enroll("t1", "k1").status()),
            absl::StatusCode::kPermissionDenied)
      << "the registration before does not repeat";
  EXPECT_EQ(CodeOf(enroll("t2", "k2").status()),
            absl::StatusCode::kPermissionDenied)
      << "an older token was revoked";
  const auto second = enroll("t3", "k2");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->machine.id, AgentId("m9"));
  EXPECT_EQ(second->machine.key_pin, "k2");
  EXPECT_EQ(second->machine.labels, first->machine.labels);
  EXPECT_TRUE(enroll("t3", "k2")->repeated);
  EXPECT_EQ(CodeOf(enroll("t3", "k3").status()),
            absl::StatusCode::kPermissionDenied)
      << "it is used up";
  Reopen();
  EXPECT_EQ(store_->LoadMachines()->back().key_pin, "k2");
  // The old key alone makes a machine of its own.
  EXPECT_EQ(enroll("t1", "k4")->machine.id, AgentId("m10"));
}

TEST_P(FleetStoreContract, OnlyALivingMachineIsReissuedAndToAKeyOfItsOwn) {
  TokenRecord reissue = Token("t2");
  reissue.agent = AgentId("nobody");
  EXPECT_EQ(CodeOf(store_->Reissue(reissue)), absl::StatusCode::kNotFound);
  reissue.agent = AgentId("m1");  // A tombstone.
  EXPECT_EQ(CodeOf(store_->Reissue(reissue)), absl::StatusCode::kNotFound);
  EXPECT_THAT(*store_->ListTokens(OrgId("acme")), IsEmpty());
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  ASSERT_TRUE(store_->Enroll(Request(Token("t1"), "k1", "m9")).ok());
  reissue.agent = AgentId("m9");
  ASSERT_TRUE(store_->Reissue(reissue).ok());
  EXPECT_EQ(
      CodeOf(store_->Enroll(Request(Token("t2"), Machine("m2").key_pin, "m10"))
                 .status()),
      absl::StatusCode::kAlreadyExists);
}

// --- Machines ---------------------------------------------------------------

TEST_P(FleetStoreContract, MachinesComeBackExactlyAndInOrderOfId) {
  MachineRecord bare;
  bare.id = AgentId("a");
  bare.org = OrgId("acme");
  bare.registered_at = bare.status_since = absl::UnixEpoch();
  ASSERT_TRUE(store_->PutMachine(bare).ok());
  Reopen();
  EXPECT_THAT(*store_->LoadMachines(),
              ElementsAre(bare, Machine("m1"), Machine("m2")));
}

TEST_P(FleetStoreContract, PutMachineReplacesAllButWhatOthersChange) {
  const std::pair heard(AgentId("m1"), At(5));
  ASSERT_TRUE(store_->PutLastHeard({&heard, 1}).ok());
  MachineRecord changed = Machine("m2");
  changed.id = AgentId("m1");
  changed.verdict.reset();
  changed.promised_back.reset();
  changed.deleted_at.reset();
  changed.replaced_by.reset();
  changed.last_heard = At(99);
  ASSERT_TRUE(store_->PutMachine(changed).ok());
  Reopen();
  changed.last_heard = At(5);
  changed.key_pin = Machine("m1").key_pin;  // Goes with registration only.
  EXPECT_EQ(store_->LoadMachines()->front(), changed);
}

TEST_P(FleetStoreContract, LabelsChangeOnlyByThemselves) {
  MachineRecord machine = Machine("m1");
  machine.labels = {{"other", "labels"}};
  machine.address = "192.0.2.8:1";
  ASSERT_TRUE(store_->PutMachine(machine).ok());
  Reopen();
  EXPECT_EQ((*store_->LoadMachines())[0].labels, Machine("m1").labels);
  EXPECT_EQ((*store_->LoadMachines())[0].address, "192.0.2.8:1");
  ASSERT_TRUE(store_->SetLabels(machine.id, machine.labels).ok());
  Reopen();
  EXPECT_EQ((*store_->LoadMachines())[0], machine);
  EXPECT_EQ(CodeOf(store_->SetLabels(AgentId("nobody"), {})),
            absl::StatusCode::kNotFound);
}

TEST_P(FleetStoreContract, PresenceSettingsAreEditedFieldByField) {
  PresenceEdit first, second;
  first.set.heartbeat_interval = absl::Milliseconds(1500);
  first.set.offline_after = absl::InfiniteDuration();
  second.set.stale_after = absl::Seconds(9);
  second.reset = {&PresenceSettings::heartbeat_interval};
  const OrgId acme("acme");
  for (const AgentId& whose : {AgentId("m2"), AgentId()}) {
    ASSERT_TRUE(store_->EditPresence(acme, whose, first).ok());
    ASSERT_TRUE(store_->EditPresence(acme, whose, second).ok());
  }
  ASSERT_TRUE(store_->EditPresence(acme, AgentId("m1"), first).ok());
  Reopen();
  PresenceSettings both = first.set;
  both.heartbeat_interval.reset();
  both.stale_after = absl::Seconds(9);
  EXPECT_THAT(*store_->LoadPresence(),
              ElementsAre(PresenceRecord{acme, AgentId(), both},
                          PresenceRecord{acme, AgentId("m1"), first.set},
                          PresenceRecord{acme, AgentId("m2"), both}));
}

TEST_P(FleetStoreContract, PresenceSettingsThatAreAllInheritedAreNone) {
  PresenceEdit set, reset;
  set.set.stale_after = absl::Seconds(9);
  reset.reset = {&PresenceSettings::stale_after};
  ASSERT_TRUE(store_->EditPresence(OrgId("acme"), AgentId("m1"), set).ok());
  ASSERT_TRUE(store_->EditPresence(OrgId("acme"), AgentId("m1"), reset).ok());
  EXPECT_THAT(*store_->LoadPresence(), IsEmpty());
  EXPECT_EQ(
      CodeOf(store_->EditPresence(OrgId("acme"), AgentId("nobody"), reset)),
      absl::StatusCode::kNotFound);
}

TEST_P(FleetStoreContract, AWriteOfAnOlderEpochNeverTakesEffect) {
  MachineRecord newer = Machine("m1");
  newer.address = "192.0.2.8";
  ++newer.epoch;
  ASSERT_TRUE(store_->PutMachine(newer).ok());
  EXPECT_EQ(CodeOf(store_->PutMachine(Machine("m1"))),
            absl::StatusCode::kAborted);
  EXPECT_EQ((*store_->LoadMachines())[0], newer);
  newer.address = "192.0.2.9";
  ASSERT_TRUE(store_->PutMachine(newer).ok()) << "the same epoch";
  EXPECT_EQ((*store_->LoadMachines())[0], newer);
}

TEST_P(FleetStoreContract, OnlyAStoredTransitionChangesTheStoredStatus) {
  MachineRecord ahead = Machine("m1");
  const MachineRecord before = (*store_->LoadMachines())[0];
  TransitionRecord next = Transition("m1", before.transition_sequence + 1);
  next.from = before.status;
  next.to = Status::kOffline;
  ahead.status = next.to;
  ahead.status_since = next.at;
  ahead.transition_sequence = next.sequence;
  ahead.verdict = next.verdict;
  ASSERT_TRUE(store_->PutMachine(ahead).ok());
  EXPECT_EQ((*store_->LoadMachines())[0], before) << "that transition waits";
  ASSERT_TRUE(store_->AddTransition(next).ok());
  EXPECT_EQ((*store_->LoadMachines())[0], ahead);
  ahead.verdict->summary = "more is known";
  ASSERT_TRUE(store_->PutMachine(ahead).ok());
  EXPECT_EQ((*store_->LoadMachines())[0], ahead) << "of the same transition";
}

TEST_P(FleetStoreContract, LastHeardIsReplacedAndUnknownMachinesAreSkipped) {
  const std::pair<AgentId, absl::Time> heard[] = {{AgentId("m1"), At(5)},
                                                  {AgentId("nobody"), At(6)},
                                                  {AgentId("m1"), At(7)}};
  ASSERT_TRUE(store_->PutLastHeard(heard).ok());
  Reopen();
  const auto machines = store_->LoadMachines();
  EXPECT_EQ((*machines)[0].last_heard, At(7));
  EXPECT_EQ((*machines)[1].last_heard, std::nullopt);
  EXPECT_THAT(*machines, SizeIs(2));
}

TEST_P(FleetStoreContract, TheLastSignOfLifeIsKept) {
  EXPECT_EQ(*store_->LastSignOfLife(), std::nullopt);
  ASSERT_TRUE(store_->BeginRun(At(1)).ok());
  EXPECT_EQ(*store_->LastSignOfLife(), std::nullopt);
  ASSERT_TRUE(store_->SignOfLife(At(2)).ok());
  ASSERT_TRUE(store_->SignOfLife(At(7)).ok());
  Reopen();
  EXPECT_EQ(*store_->BeginRun(At(9)), 2u) << "it changes nothing else";
  EXPECT_EQ(*store_->LastSignOfLife(), At(7));
}

// --- Commands ---------------------------------------------------------------

TEST_P(FleetStoreContract, ACommandComesBackExactly) {
  CommandRecord command = Command("c1");
  Add(command);
  Reopen();
  EXPECT_EQ(*store_->GetCommand(command.id), command);
  command.state = CommandState::kSignaled;
  command.dispatch_seq = 7;
  command.dispatched_at = At(2);
  command.started_at = At(3);
  command.finished_at = At(4);
  command.exit_code = -1;
  command.signal = 9;
  command.reason = "out of memory";
  command.cancel_requested = true;
  command.stdout_total = 0;
  command.stderr_total = uint64_t{1} << 40;
  command.output_dropped_bytes = 17;
  ASSERT_TRUE(store_->PutCommand(command).ok());
  Reopen();
  EXPECT_EQ(*store_->GetCommand(command.id), command);
}

TEST_P(FleetStoreContract, PutCommandChangesNeitherTheRequestNorTheOutputEnd) {
  const CommandRecord command = Command("c1");
  Add(command);
  Append("c1", Stream::kStdout, 0, "abc");
  CommandRecord changed = command;
  changed.spec.text = "rm -rf /";
  changed.issued_by = "someone else";
  changed.created_at = At(77);
  changed.stdout_bytes = 1;
  changed.state = CommandState::kRunning;
  ASSERT_TRUE(store_->PutCommand(changed).ok());
  CommandRecord expected = command;
  expected.state = CommandState::kRunning;
  expected.stdout_bytes = 3;
  EXPECT_EQ(*store_->GetCommand(command.id), expected);
}

TEST_P(FleetStoreContract, AnUnknownCommandIsNotFound) {
  EXPECT_EQ(CodeOf(store_->PutCommand(Command("c9"))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->GetCommand(CommandId("c9"))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->ReadOutput(CommandId("c9"), 0, 0, 1)),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->AppendOutput(Output("c9", Stream::kStdout, 0, "x"))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->AddCommand(Command("c9", "nobody"))),
            absl::StatusCode::kNotFound);
}

TEST_P(FleetStoreContract, ACommandIdIsUsedOnce) {
  Add(Command("c1"));
  EXPECT_EQ(CodeOf(store_->AddCommand(Command("c1"))),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(FleetStoreContract, TheSameIdempotencyKeyReturnsTheStoredCommand) {
  CommandRecord first = Command("c1");
  first.idempotency_key = "key";
  Add(first);
  Reopen();
  CommandRecord again = first;
  again.id = CommandId("c2");
  EXPECT_EQ(*store_->AddCommand(again), first);
  EXPECT_EQ(*store_->FindCommand(first.org, "key"), first);
  EXPECT_EQ(CodeOf(store_->FindCommand(first.org, "other")),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->FindCommand(OrgId("other"), "key")),
            absl::StatusCode::kNotFound);
  again.spec.text = "something else";
  EXPECT_EQ(CodeOf(store_->AddCommand(again)),
            absl::StatusCode::kAlreadyExists);
  again = first;
  again.id = CommandId("c2");
  again.agent = AgentId("m2");
  EXPECT_EQ(CodeOf(store_->AddCommand(again)),
            absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(List({}), ElementsAre("c1"));
}

TEST_P(FleetStoreContract, IdempotencyKeysOfTwoOrgsDoNotMeet) {
  CommandRecord first = Command("c1");
  first.idempotency_key = "key";
  CommandRecord second = Command("c2");
  second.idempotency_key = "key";
  second.org = OrgId("other");
  Add(first);
  Add(second);
  EXPECT_THAT(List({}), ElementsAre("c2", "c1"));
}

TEST_P(FleetStoreContract, CommandsAreListedNewestFirstByEveryFilter) {
  for (const char* id : {"c1", "c2", "c3", "c4", "c5"}) {
    CommandRecord command = Command(id, id[1] == '2' ? "m2" : "m1");
    if (id[1] == '3') command.org = OrgId("other");
    Add(command);
    command.state = id[1] < '3'    ? CommandState::kRunning
                    : id[1] == '4' ? CommandState::kFailed
                                   : CommandState::kQueued;
    ASSERT_TRUE(store_->PutCommand(command).ok());
  }
  CommandFilter filter;
  EXPECT_THAT(List(filter), ElementsAre("c5", "c4", "c3", "c2", "c1"));
  EXPECT_THAT(List(filter, 2), ElementsAre("c5", "c4"));
  EXPECT_THAT(List(filter, 0), IsEmpty());
  filter.before = CommandId("c4");
  EXPECT_THAT(List(filter, 2), ElementsAre("c3", "c2"));
  filter.before.reset();
  filter.org = OrgId("acme");
  EXPECT_THAT(List(filter), ElementsAre("c5", "c4", "c2", "c1"));
  filter.states = {CommandState::kRunning, CommandState::kQueued,
                   CommandState::kRunning};
  EXPECT_THAT(List(filter), ElementsAre("c5", "c2", "c1"));
  EXPECT_THAT(List(filter, 2), ElementsAre("c5", "c2"));
  filter.agent = AgentId("m1");
  EXPECT_THAT(List(filter), ElementsAre("c5", "c1"));
  filter.before = CommandId("c5");
  EXPECT_THAT(List(filter), ElementsAre("c1"));
}

// --- Output -----------------------------------------------------------------

TEST_P(FleetStoreContract, OutputIsAppendedOnceAndWithoutHoles) {
  Add(Command("c1"));
  Append("c1", Stream::kStdout, 0, "hello ");
  Append("c1", Stream::kStdout, 0, "hello ");    // Repeated.
  Append("c1", Stream::kStdout, 3, "lo world");  // Overlapping.
  Append("c1", Stream::kStdout, 11, "");
  EXPECT_EQ(*store_->AppendOutput(Output("c1", Stream::kStdout, 2, "l")), 11u);
  EXPECT_EQ(
      CodeOf(store_->AppendOutput(Output("c1", Stream::kStdout, 12, "x"))),
      absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CodeOf(store_->AppendOutput(
                Output("c1", Stream::kStdout, ~uint64_t{0}, "x"))),
            absl::StatusCode::kOutOfRange);
  Append("c1", Stream::kStderr, 0, std::string("\0\xff", 2));
  Reopen();
  EXPECT_THAT(
      *store_->ReadOutput(CommandId("c1"), 0, 0, 1000),
      ElementsAre(Output("c1", Stream::kStdout, 0, "hello "),
                  Output("c1", Stream::kStdout, 6, "world"),
                  Output("c1", Stream::kStderr, 0, std::string("\0\xff", 2))));
}

TEST_P(FleetStoreContract, OutputIsReadInOrderOfArrivalFromAnyOffset) {
  Add(Command("c0"));
  Add(Command("c1"));
  Append("c1", Stream::kStdout, 0, "aaa");
  Append("c0", Stream::kStdout, 0, "not this one");
  Append("c1", Stream::kStderr, 0, "EEE");
  Append("c1", Stream::kStdout, 3, "bbb");
  Append("c1", Stream::kStderr, 3, "FFF");
  const CommandId id("c1");
  const OutputRecord a = Output("c1", Stream::kStdout, 0, "aaa");
  const OutputRecord b = Output("c1", Stream::kStdout, 3, "bbb");
  const OutputRecord e = Output("c1", Stream::kStderr, 0, "EEE");
  const OutputRecord f = Output("c1", Stream::kStderr, 3, "FFF");
  EXPECT_THAT(*store_->ReadOutput(id, 0, 0, 1000), ElementsAre(a, e, b, f));
  EXPECT_THAT(*store_->ReadOutput(id, 4, 0, 1000),
              ElementsAre(e, Output("c1", Stream::kStdout, 4, "bb"), f));
  EXPECT_THAT(*store_->ReadOutput(id, 0, 6, 1000), ElementsAre(a, b));
  EXPECT_THAT(*store_->ReadOutput(id, 6, 5, 1000),
              ElementsAre(Output("c1", Stream::kStderr, 5, "F")));
  EXPECT_THAT(*store_->ReadOutput(id, ~uint64_t{0}, ~uint64_t{0}, 1000),
              IsEmpty());
  EXPECT_THAT(*store_->ReadOutput(id, 0, 0, 4), ElementsAre(a, e));
  EXPECT_THAT(*store_->ReadOutput(id, 0, 0, 0), IsEmpty());
}

// --- Tokens -----------------------------------------------------------------

TEST_P(FleetStoreContract, TokensComeBackExactlyAndNewestFirst) {
  TokenRecord newer = Token("a-newer", 7);
  newer.created_at = At(9);
  newer.revoked_at = At(10);
  newer.expires_at = absl::InfiniteFuture();
  newer.uses = 3;
  TokenRecord foreign = Token("foreign");
  foreign.org = OrgId("other");
  for (const TokenRecord& token : {Token("t1"), newer, foreign}) {
    ASSERT_TRUE(store_->AddToken(token).ok());
  }
  Reopen();
  EXPECT_THAT(*store_->ListTokens(OrgId("acme")),
              ElementsAre(newer, Token("t1")));
}

TEST_P(FleetStoreContract, ATokenIdAndASecretAreUsedOnce) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  TokenRecord same_secret = Token("t2");
  same_secret.secret_sha256 = Token("t1").secret_sha256;
  TokenRecord same_id = Token("t2");
  same_id.id = TokenId("t1");
  EXPECT_EQ(CodeOf(store_->AddToken(same_secret)),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CodeOf(store_->AddToken(same_id)),
            absl::StatusCode::kAlreadyExists);
}

TEST_P(FleetStoreContract, TheFirstRevocationCounts) {
  ASSERT_TRUE(store_->AddToken(Token("t1")).ok());
  EXPECT_EQ(CodeOf(store_->RevokeToken(OrgId("other"), TokenId("t1"), At(1))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(store_->RevokeToken(OrgId("acme"), TokenId("t9"), At(1))),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(
      store_->RevokeToken(OrgId("acme"), TokenId("t1"), At(2))->revoked_at,
      At(2));
  Reopen();
  EXPECT_EQ(
      store_->RevokeToken(OrgId("acme"), TokenId("t1"), At(3))->revoked_at,
      At(2));
}

// --- Care -------------------------------------------------------------------

TEST_P(FleetStoreContract, ExpiredRowsGoInSmallStepsAndNothingElse) {
  LinkRecord closed = Link("m1", 1);
  closed.closed_at = At(2);
  closed.end = LinkEnd::kGoodbye;
  ASSERT_TRUE(store_->PutLink(closed).ok());
  ASSERT_TRUE(store_->PutLink(Link("m1", 2)).ok());  // Open: stays.
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 1)).ok());
  TransitionRecord young = Transition("m1", 2);
  young.at = At(0) + absl::Hours(24 * 200);
  ASSERT_TRUE(store_->AddTransition(young).ok());
  const NoteRecord note{AgentId("m1"), At(2), NoteKind::kDrift, 7, {}, "x"};
  ASSERT_TRUE(store_->AddNote(note).ok());
  ASSERT_TRUE(
      store_->AddBlindInterval({At(1), At(2), BlindReason::kStoodStill}).ok());
  IncidentRecord over = Incident("i1", At(1));
  over.closed_at = At(2);
  ASSERT_TRUE(store_->PutIncident(over).ok());
  ASSERT_TRUE(store_->PutIncident(Incident("i2", At(1))).ok());  // Open: stays.
  CommandRecord done = Command("c1");
  done.idempotency_key = "key";
  Add(done);
  Append("c1", Stream::kStdout, 0, "abc");
  Append("c1", Stream::kStdout, 3, "def");
  done.state = CommandState::kFailed;
  ASSERT_TRUE(store_->PutCommand(done).ok());
  Add(Command("c2"));  // Not terminal: stays, with its output.
  Append("c2", Stream::kStdout, 0, "abc");

  const absl::Time now = At(0) + absl::Hours(24 * 200);
  size_t deleted = 0;
  for (int i = 0; i < 20; ++i) {
    const auto step = store_->DeleteExpired(Retention{}, now, 2);
    ASSERT_TRUE(step.ok()) << step.status();
    EXPECT_LE(*step, 2u);
    deleted += *step;
  }
  // 2 output, key, transition, link, command, note, blind interval, incident.
  EXPECT_EQ(deleted, 9u);
  Reopen();
  EXPECT_THAT(List({}), ElementsAre("c2"));
  EXPECT_THAT(*store_->ReadOutput(CommandId("c2"), 0, 0, 9), SizeIs(1));
  EXPECT_THAT(*store_->ListLinks(AgentId("m1"), 9), ElementsAre(Link("m1", 2)));
  EXPECT_THAT(*store_->ListTransitions(AgentId("m1"), 9), ElementsAre(young));
  EXPECT_THAT(*store_->ListNotes(AgentId("m1"), 9), IsEmpty());
  EXPECT_THAT(*store_->ListBlindIntervals(9), IsEmpty());
  EXPECT_THAT(*store_->ListIncidents(OrgId("acme"), 9),
              ElementsAre(Incident("i2", At(1))));
  EXPECT_THAT(*store_->LoadMachines(), SizeIs(2));
}

TEST_P(FleetStoreContract, OutputAndKeysExpireBeforeTheirCommand) {
  CommandRecord done = Command("c1");
  done.idempotency_key = "key";
  Add(done);
  Append("c1", Stream::kStdout, 0, "abc");
  done.state = CommandState::kFailed;
  done.stdout_total = 3;
  ASSERT_TRUE(store_->PutCommand(done).ok());
  const absl::Time now = done.created_at + absl::Hours(24 * 31);
  EXPECT_EQ(*store_->DeleteExpired(Retention{}, now, 100), 2u);
  EXPECT_EQ(*store_->DeleteExpired(Retention{}, now, 100), 0u);
  EXPECT_EQ(store_->GetCommand(done.id)->stdout_bytes, 3u);
  EXPECT_THAT(*store_->ReadOutput(done.id, 0, 0, 9), IsEmpty());
  EXPECT_THAT(*store_->LoadOpenCommands(), IsEmpty());
  CommandRecord again = done;
  again.id = CommandId("c2");
  EXPECT_EQ(store_->AddCommand(again)->id, again.id);
}

TEST_P(FleetStoreContract, NothingExpiresOnTheVeryEdgeOfItsRetention) {
  ASSERT_TRUE(store_->AddTransition(Transition("m1", 1)).ok());
  const absl::Time edge = Transition("m1", 1).at + Retention{}.transitions;
  EXPECT_EQ(*store_->DeleteExpired(Retention{}, edge, 9), 0u);
  Retention never;
  never.transitions = absl::InfiniteDuration();
  EXPECT_EQ(*store_->DeleteExpired(never, edge + absl::Hours(1), 9), 0u);
  EXPECT_EQ(
      *store_->DeleteExpired(Retention{}, edge + absl::Microseconds(1), 9), 1u);
}

TEST_P(FleetStoreContract, StoredBytesGrowWithWhatIsStored) {
  Add(Command("c1"));
  const auto before = store_->StoredBytes();
  ASSERT_TRUE(before.ok()) << before.status();
  for (const char* kind :
       {"machines", "transitions", "links", "notes", "incidents",
        "blind_intervals", "commands", "output", "tokens", "audit", "file"}) {
    EXPECT_TRUE(before->contains(kind)) << kind;
  }
  Append("c1", Stream::kStdout, 0, std::string(100'000, 'x'));
  const auto after = store_->StoredBytes();
  EXPECT_GE(after->at("output"), 100'000u);
  EXPECT_GT(after->at("output"), before->at("output"));
  EXPECT_GT(after->at("file"), before->at("file"));
}

INSTANTIATE_TEST_SUITE_P(, FleetStoreContract, testing::ValuesIn(Backends()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace muster::gateway
