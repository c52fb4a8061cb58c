// Records of the fleet ⇄ messages of the contract.

#ifndef MUSTER_GATEWAY_ADMIN_CONVERT_H_
#define MUSTER_GATEWAY_ADMIN_CONVERT_H_

#include <optional>

#include "gateway/fleet/event_log.h"
#include "gateway/fleet/machines.h"
#include "gateway/fleet/records.h"
#include "gateway/fleet/token_records.h"
#include "gateway/fleet/user_records.h"
#include "muster/v1/agent.pb.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/command.pb.h"
#include "muster/v1/event.pb.h"
#include "muster/v1/fleet_admin.pb.h"
#include "muster/v1/history.pb.h"
#include "muster/v1/session.pb.h"

namespace muster::gateway {

// Values are equal by design; a test compares every name.
inline v1::Status ToProto(Status s) { return static_cast<v1::Status>(s); }
inline v1::CommandState ToProto(CommandState s) {
  return static_cast<v1::CommandState>(s);
}
inline v1::ShellType ToProto(Shell s) { return static_cast<v1::ShellType>(s); }
inline v1::OutputStream ToProto(Stream s) {
  return static_cast<v1::OutputStream>(s);
}

// Absent for UNSPECIFIED and for values of a newer version.
std::optional<CommandState> ToCommandState(v1::CommandState state);
std::optional<Shell> ToShell(v1::ShellType shell);
std::optional<Stream> ToStream(v1::OutputStream stream);
std::optional<Status> ToStatus(v1::Status status);

// Kept to the microsecond; the longest Duration is without end.
PresenceSettings ToSettings(const v1::PresenceSettings& settings);

Surroundings ToSurroundings(const v1::Surroundings& surroundings);
v1::Surroundings ToProto(const Surroundings& surroundings);

Facts ToFacts(const v1::AgentFacts& facts);
v1::AgentFacts ToProto(const Facts& facts);

// `confirmed`: the gateway can vouch for its status now.
v1::Agent ToProto(const Machine& machine, bool confirmed);
v1::StatusCounts ToProto(const StatusCounts& counts);
// `hostname` is the machine's present name. What may be secret is left out.
v1::Command ToProto(const CommandRecord& command, std::string_view hostname);
v1::Batch ToProto(const BatchRecord& batch);
// `attached`: somebody types.
v1::Session ToSession(const CommandRecord& session, std::string_view hostname,
                      bool attached);
v1::WindowSize ToProto(const WindowSize& size);
WindowSize ToWindowSize(const v1::WindowSize& size);
v1::CommandOrder ToOrder(const CommandRecord& command);
v1::OutputChunk ToProto(const OutputRecord& output);
v1::Token ToProto(const TokenRecord& token, absl::Time now);

// `durable`: the store has it.
v1::Transition ToProto(const TransitionRecord& transition, bool durable);
v1::Link ToProto(const LinkRecord& link);
v1::Note ToProto(const NoteRecord& note);
v1::BlindInterval ToProto(const BlindRecord& blind);
v1::Incident ToProto(const IncidentRecord& incident);
v1::HeartbeatSample ToProto(const HeartbeatSample& heartbeat);
// `durable`: the store has it. Matters for a transition only.
v1::Event ToProto(const Event& event, bool durable);

v1::User ToProto(const UserRecord& user);
// Its state is as of `now`.
v1::AccessToken ToProto(const AccessTokenRecord& token, absl::Time now);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_CONVERT_H_
