#include "gateway/admin/convert.h"

#include <string>

#include "gateway/fleet/errors.h"
#include "gateway/fleet/link_port.h"
#include "gateway/fleet/presence_settings.h"
#include "gtest/gtest.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/presence.pb.h"
#include "muster/v1/verdict.pb.h"

namespace muster::gateway {
namespace {

// The rules' enums are stored and sent by number: each must be what the
// contract calls it.
TEST(ConvertTest, StatusesAreThoseOfTheContract) {
  EXPECT_EQ(int{v1::STATUS_ONLINE}, static_cast<int>(Status::kOnline));
  EXPECT_EQ(int{v1::STATUS_STALE}, static_cast<int>(Status::kStale));
  EXPECT_EQ(int{v1::STATUS_OFFLINE}, static_cast<int>(Status::kOffline));
  EXPECT_EQ(v1::Status_descriptor()->value_count(), 4);
}

struct Named {
  int number;
  const char* name;
};

void ExpectAll(const google::protobuf::EnumDescriptor& contract,
               const std::vector<Named>& ours) {
  // One more: UNSPECIFIED.
  EXPECT_EQ(contract.value_count(), static_cast<int>(ours.size()) + 1);
  for (const Named& value : ours) {
    const auto* theirs = contract.FindValueByNumber(value.number);
    ASSERT_NE(theirs, nullptr) << value.name;
    EXPECT_EQ(theirs->name(), value.name);
  }
}

#define NAMED(type, ours, theirs) \
  { static_cast<int>(type::ours), #theirs }

TEST(ConvertTest, CommandStatesAreThoseOfTheContract) {
  ExpectAll(
      *v1::CommandState_descriptor(),
      {NAMED(CommandState, kQueued, COMMAND_STATE_QUEUED),
       NAMED(CommandState, kDispatched, COMMAND_STATE_DISPATCHED),
       NAMED(CommandState, kReceived, COMMAND_STATE_RECEIVED),
       NAMED(CommandState, kRunning, COMMAND_STATE_RUNNING),
       NAMED(CommandState, kSucceeded, COMMAND_STATE_SUCCEEDED),
       NAMED(CommandState, kFailed, COMMAND_STATE_FAILED),
       NAMED(CommandState, kSignaled, COMMAND_STATE_SIGNALED),
       NAMED(CommandState, kTimedOut, COMMAND_STATE_TIMED_OUT),
       NAMED(CommandState, kCancelled, COMMAND_STATE_CANCELLED),
       NAMED(CommandState, kExpired, COMMAND_STATE_EXPIRED),
       NAMED(CommandState, kRejected, COMMAND_STATE_REJECTED),
       NAMED(CommandState, kOutcomeUnknown, COMMAND_STATE_OUTCOME_UNKNOWN)});
}

TEST(ConvertTest, BatchStatesAreThoseOfTheContract) {
  ExpectAll(*v1::BatchState_descriptor(),
            {NAMED(BatchState, kRunning, BATCH_STATE_RUNNING),
             NAMED(BatchState, kStopping, BATCH_STATE_STOPPING),
             NAMED(BatchState, kCancelling, BATCH_STATE_CANCELLING),
             NAMED(BatchState, kFinished, BATCH_STATE_FINISHED),
             NAMED(BatchState, kStopped, BATCH_STATE_STOPPED),
             NAMED(BatchState, kCancelled, BATCH_STATE_CANCELLED)});
}

TEST(ConvertTest, WordsOfTheHistoryAreThoseOfTheContract) {
  ExpectAll(*v1::LinkEnd_descriptor(),
            {NAMED(LinkEnd, kGoodbye, LINK_END_GOODBYE),
             NAMED(LinkEnd, kClosedByPeer, LINK_END_CLOSED_BY_PEER),
             NAMED(LinkEnd, kClosedByGateway, LINK_END_CLOSED_BY_GATEWAY),
             NAMED(LinkEnd, kSilence, LINK_END_SILENCE),
             NAMED(LinkEnd, kSuperseded, LINK_END_SUPERSEDED),
             NAMED(LinkEnd, kGatewayStopped, LINK_END_GATEWAY_STOPPED)});
  ExpectAll(*v1::NoteKind_descriptor(),
            {NAMED(NoteKind, kInterruption, NOTE_KIND_INTERRUPTION),
             NAMED(NoteKind, kDrift, NOTE_KIND_DRIFT),
             NAMED(NoteKind, kDisputed, NOTE_KIND_DISPUTED),
             NAMED(NoteKind, kReplaced, NOTE_KIND_REPLACED),
             NAMED(NoteKind, kSilenced, NOTE_KIND_SILENCED),
             NAMED(NoteKind, kReissued, NOTE_KIND_REISSUED),
             NAMED(NoteKind, kApproved, NOTE_KIND_APPROVED),
             NAMED(NoteKind, kSuspended, NOTE_KIND_SUSPENDED),
             NAMED(NoteKind, kLeft, NOTE_KIND_LEFT),
             NAMED(NoteKind, kFlapping, NOTE_KIND_FLAPPING),
             NAMED(NoteKind, kDuplicateIdentity, NOTE_KIND_DUPLICATE_IDENTITY),
             NAMED(NoteKind, kSharedMachineId, NOTE_KIND_SHARED_MACHINE_ID)});
  ExpectAll(*v1::BlindReason_descriptor(),
            {NAMED(BlindReason, kNotRunning, BLIND_REASON_NOT_RUNNING),
             NAMED(BlindReason, kStoodStill, BLIND_REASON_STOOD_STILL),
             NAMED(BlindReason, kSuspended, BLIND_REASON_SUSPENDED),
             NAMED(BlindReason, kDescriptors, BLIND_REASON_DESCRIPTORS),
             NAMED(BlindReason, kAdmission, BLIND_REASON_ADMISSION),
             NAMED(BlindReason, kOneSource, BLIND_REASON_ONE_SOURCE)});
}

TEST(ConvertTest, PresenceSettingsAreThoseOfTheContract) {
  const auto& message = *v1::PresenceSettings::descriptor();
  const auto& names = *v1::PresenceSetting_descriptor();
  EXPECT_EQ(static_cast<size_t>(message.field_count()), kPresenceFields.size());
  EXPECT_EQ(names.value_count(), message.field_count() + 1);
  for (int i = 0; i < message.field_count(); ++i) {
    const auto* field = message.FindFieldByNumber(i + 1);
    ASSERT_NE(field, nullptr);
    EXPECT_EQ(wire::EnumText(*names.FindValueByNumber(i + 1)), field->name());
    v1::PresenceSettings one;
    *static_cast<google::protobuf::Duration*>(
        one.GetReflection()->MutableMessage(&one, field)) =
        wire::ToProto(absl::InfiniteDuration());
    PresenceSettings expected;
    expected.*kPresenceFields[static_cast<size_t>(i)].first =
        absl::InfiniteDuration();
    EXPECT_EQ(ToSettings(one), expected) << field->name();
  }
}

TEST(ConvertTest, ShellsAndStreamsAreThoseOfTheContract) {
  ExpectAll(
      *v1::ShellType_descriptor(),
      {NAMED(Shell, kBash, SHELL_TYPE_BASH), NAMED(Shell, kSh, SHELL_TYPE_SH),
       NAMED(Shell, kZsh, SHELL_TYPE_ZSH),
       NAMED(Shell, kPython3, SHELL_TYPE_PYTHON3),
       NAMED(Shell, kPwsh, SHELL_TYPE_PWSH),
       NAMED(Shell, kExec, SHELL_TYPE_EXEC)});
  ExpectAll(*v1::OutputStream_descriptor(),
            {NAMED(Stream, kStdout, OUTPUT_STREAM_STDOUT),
             NAMED(Stream, kStderr, OUTPUT_STREAM_STDERR)});
}

TEST(ConvertTest, DomainsCausesAndConfidencesAreThoseOfTheContract) {
  ExpectAll(
      *v1::Domain_descriptor(),
      {NAMED(Domain, kGateway, DOMAIN_GATEWAY),
       NAMED(Domain, kNetwork, DOMAIN_NETWORK),
       NAMED(Domain, kHost, DOMAIN_HOST), NAMED(Domain, kAgent, DOMAIN_AGENT),
       NAMED(Domain, kIdentity, DOMAIN_IDENTITY),
       NAMED(Domain, kUnknown, DOMAIN_UNKNOWN)});
  ExpectAll(*v1::Confidence_descriptor(),
            {NAMED(Confidence, kProven, CONFIDENCE_PROVEN),
             NAMED(Confidence, kLikely, CONFIDENCE_LIKELY),
             NAMED(Confidence, kUndetermined, CONFIDENCE_UNDETERMINED)});
  ExpectAll(*v1::Cause_descriptor(),
            {NAMED(Cause, kUndetermined, CAUSE_UNDETERMINED),
             NAMED(Cause, kNeverConnected, CAUSE_NEVER_CONNECTED),
             NAMED(Cause, kNetworkInterrupted, CAUSE_NETWORK_INTERRUPTED),
             NAMED(Cause, kNetworkOneWay, CAUSE_NETWORK_ONE_WAY),
             NAMED(Cause, kNetworkGroup, CAUSE_NETWORK_GROUP),
             NAMED(Cause, kAgentStopped, CAUSE_AGENT_STOPPED),
             NAMED(Cause, kAgentRestarted, CAUSE_AGENT_RESTARTED),
             NAMED(Cause, kAgentCrashed, CAUSE_AGENT_CRASHED),
             NAMED(Cause, kAgentUpgrading, CAUSE_AGENT_UPGRADING),
             NAMED(Cause, kAgentHung, CAUSE_AGENT_HUNG),
             NAMED(Cause, kAgentOomKilled, CAUSE_AGENT_OOM_KILLED),
             NAMED(Cause, kHostShutdown, CAUSE_HOST_SHUTDOWN),
             NAMED(Cause, kHostRebooted, CAUSE_HOST_REBOOTED),
             NAMED(Cause, kHostCrashed, CAUSE_HOST_CRASHED),
             NAMED(Cause, kHostSuspended, CAUSE_HOST_SUSPENDED),
             NAMED(Cause, kGatewayDrift, CAUSE_GATEWAY_DRIFT),
             NAMED(Cause, kGatewayRestarted, CAUSE_GATEWAY_RESTARTED),
             NAMED(Cause, kGatewayBlind, CAUSE_GATEWAY_BLIND),
             NAMED(Cause, kCredentialRevoked, CAUSE_CREDENTIAL_REVOKED),
             NAMED(Cause, kCredentialExpired, CAUSE_CREDENTIAL_EXPIRED),
             NAMED(Cause, kClockWrong, CAUSE_CLOCK_WRONG),
             NAMED(Cause, kVersionRefused, CAUSE_VERSION_REFUSED),
             NAMED(Cause, kDuplicateIdentity, CAUSE_DUPLICATE_IDENTITY),
             NAMED(Cause, kNotRegistered, CAUSE_NOT_REGISTERED)});
}

TEST(ConvertTest, DisconnectReasonsAreThoseOfTheContract) {
  using R = DisconnectReason;
  ExpectAll(*v1::DisconnectReason_descriptor(),
            {NAMED(R, kDraining, DISCONNECT_REASON_DRAINING),
             NAMED(R, kVersionRefused, DISCONNECT_REASON_VERSION_REFUSED),
             NAMED(R, kDeregistered, DISCONNECT_REASON_DEREGISTERED),
             NAMED(R, kNotRegistered, DISCONNECT_REASON_NOT_REGISTERED),
             NAMED(R, kSuperseded, DISCONNECT_REASON_SUPERSEDED),
             NAMED(R, kSilent, DISCONNECT_REASON_SILENT),
             NAMED(R, kOverloaded, DISCONNECT_REASON_OVERLOADED),
             NAMED(R, kSayAgain, DISCONNECT_REASON_SAY_AGAIN),
             NAMED(R, kProtocolError, DISCONNECT_REASON_PROTOCOL_ERROR),
             NAMED(R, kSlowReader, DISCONNECT_REASON_SLOW_READER),
             NAMED(R, kCredentialRevoked, DISCONNECT_REASON_CREDENTIAL_REVOKED),
             NAMED(R, kPendingApproval, DISCONNECT_REASON_PENDING_APPROVAL)});
}

TEST(ConvertTest, ReasonsOfARefusalAreThoseOfTheContract) {
  const std::vector<RefusalReason> all = {
      RefusalReason::kUnknown, RefusalReason::kRevoked,
      RefusalReason::kExpired, RefusalReason::kUsedUp,
      RefusalReason::kAddress, RefusalReason::kHostname};
  const auto& contract = *v1::RefusalReason_descriptor();
  EXPECT_EQ(static_cast<size_t>(contract.value_count()), all.size() + 1);
  for (const RefusalReason reason : all) {
    const auto* value = contract.FindValueByNumber(static_cast<int>(reason));
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(wire::EnumText(*value), NameOf(reason));
  }
}

TEST(ConvertTest, UnknownNumbersFromTheWireAreNoState) {
  EXPECT_FALSE(ToCommandState(v1::COMMAND_STATE_UNSPECIFIED));
  EXPECT_FALSE(ToCommandState(static_cast<v1::CommandState>(99)));
  EXPECT_FALSE(ToStream(static_cast<v1::OutputStream>(3)));
  EXPECT_FALSE(ToShell(static_cast<v1::ShellType>(-1)));
  EXPECT_FALSE(ToStatus(static_cast<v1::Status>(4)));
}

TEST(ConvertTest, FactsSurviveTheRoundTrip) {
  const Facts facts{.hostname = "web-1",
                    .machine_id = "m",
                    .os = "Debian",
                    .kernel = "6.1",
                    .architecture = "x86_64",
                    .agent_version = "0.1.0",
                    .runtime = RuntimeKind::kContainer,
                    .runtime_name = "cm-runner"};
  EXPECT_EQ(ToFacts(ToProto(facts)), facts);
}

TEST(ConvertTest, ATokensStateSaysWhyItCannotBeUsed) {
  const absl::Time now = absl::FromUnixSeconds(1'000);
  TokenRecord token;
  token.expires_at = now + absl::Seconds(1);
  EXPECT_EQ(ToProto(token, now).state(), v1::TOKEN_STATE_ACTIVE);
  EXPECT_EQ(ToProto(token, token.expires_at).state(), v1::TOKEN_STATE_EXPIRED);
  token.uses = 1;
  EXPECT_EQ(ToProto(token, now).state(), v1::TOKEN_STATE_USED);
  token.revoked_at = now;
  EXPECT_EQ(ToProto(token, now).state(), v1::TOKEN_STATE_REVOKED);
}

}  // namespace
}  // namespace muster::gateway
