#include "gateway/admin/convert.h"

#include <string>

#include "gateway/fleet/command_rules.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::gateway {
namespace {

void CopyMap(const Labels& from,
             google::protobuf::Map<std::string, std::string>& to) {
  for (const auto& [key, value] : from) to[key] = value;
}

// Messages in which a verdict may be absent.
template <typename Message>
void CopyVerdict(const std::optional<Verdict>& verdict, Message& to) {
  if (!verdict) return;
  to.set_domain(static_cast<v1::Domain>(verdict->domain));
  to.set_cause(static_cast<v1::Cause>(verdict->cause));
  to.set_confidence(static_cast<v1::Confidence>(verdict->confidence));
  to.set_summary(verdict->summary);
}

v1::TokenState StateOf(const TokenRecord& token, absl::Time now) {
  if (token.revoked_at) return v1::TOKEN_STATE_REVOKED;
  if (token.uses >= token.uses_max) return v1::TOKEN_STATE_USED;
  if (token.expires_at <= now) return v1::TOKEN_STATE_EXPIRED;
  return v1::TOKEN_STATE_ACTIVE;
}

// Says what has happened in `out`, where its kind belongs.
class EventWriter {
 public:
  EventWriter(v1::Event& out, bool durable) : out_(out), durable_(durable) {}
  void operator()(const TransitionRecord& transition) {
    out_.set_kind(v1::EVENT_KIND_TRANSITION);
    *out_.mutable_transition() = ToProto(transition, durable_);
  }
  void operator()(const NoteRecord& note) {
    out_.set_kind(v1::EVENT_KIND_NOTE);
    *out_.mutable_note() = ToProto(note);
  }
  void operator()(const IncidentRecord& incident) {
    out_.set_kind(v1::EVENT_KIND_INCIDENT);
    *out_.mutable_incident() = ToProto(incident);
  }
  void operator()(const BlindRecord& blind) {
    out_.set_kind(v1::EVENT_KIND_BLIND_INTERVAL);
    *out_.mutable_blind_interval() = ToProto(blind);
  }
  void operator()(Membership membership) {
    out_.set_kind(membership == Membership::kAdmitted ? v1::EVENT_KIND_ADMITTED
                                                      : v1::EVENT_KIND_DELETED);
  }

 private:
  v1::Event& out_;
  const bool durable_;
};

}  // namespace

std::optional<CommandState> ToCommandState(v1::CommandState state) {
  if (state == v1::COMMAND_STATE_UNSPECIFIED ||
      !v1::CommandState_IsValid(state)) {
    return std::nullopt;
  }
  return static_cast<CommandState>(state);
}

std::optional<Shell> ToShell(v1::ShellType shell) {
  if (shell == v1::SHELL_TYPE_UNSPECIFIED || !v1::ShellType_IsValid(shell)) {
    return std::nullopt;
  }
  return static_cast<Shell>(shell);
}

std::optional<Stream> ToStream(v1::OutputStream stream) {
  if (stream == v1::OUTPUT_STREAM_UNSPECIFIED ||
      !v1::OutputStream_IsValid(stream)) {
    return std::nullopt;
  }
  return static_cast<Stream>(stream);
}

std::optional<Status> ToStatus(v1::Status status) {
  if (status == v1::STATUS_UNSPECIFIED || !v1::Status_IsValid(status)) {
    return std::nullopt;
  }
  return static_cast<Status>(status);
}

PresenceSettings ToSettings(const v1::PresenceSettings& settings) {
  const auto read = [](const google::protobuf::Duration& value) {
    const absl::Duration d = wire::FromProto(value);
    return d < absl::Seconds(wire::kDurationSecondsMax)
               ? absl::Trunc(d, absl::Microseconds(1))
               : absl::InfiniteDuration();
  };
  PresenceSettings out;
  if (settings.has_heartbeat_interval()) {
    out.heartbeat_interval = read(settings.heartbeat_interval());
  }
  if (settings.has_stale_after()) {
    out.stale_after = read(settings.stale_after());
  }
  if (settings.has_offline_after()) {
    out.offline_after = read(settings.offline_after());
  }
  if (settings.has_reconnect_grace()) {
    out.reconnect_grace = read(settings.reconnect_grace());
  }
  return out;
}

Facts ToFacts(const v1::AgentFacts& facts) {
  return {.hostname = facts.hostname(),
          .machine_id = facts.machine_id(),
          .os = facts.os(),
          .kernel = facts.kernel(),
          .architecture = facts.architecture(),
          .agent_version = facts.agent_version(),
          .runtime = v1::RuntimeKind_IsValid(facts.runtime())
                         ? static_cast<RuntimeKind>(facts.runtime())
                         : RuntimeKind::kUnspecified,
          .runtime_name = facts.runtime_name()};
}

v1::AgentFacts ToProto(const Facts& facts) {
  v1::AgentFacts out;
  out.set_hostname(facts.hostname);
  out.set_machine_id(facts.machine_id);
  out.set_os(facts.os);
  out.set_kernel(facts.kernel);
  out.set_architecture(facts.architecture);
  out.set_agent_version(facts.agent_version);
  out.set_runtime(static_cast<v1::RuntimeKind>(facts.runtime));
  out.set_runtime_name(facts.runtime_name);
  return out;
}

v1::Agent ToProto(const Machine& machine, bool confirmed) {
  const MachineRecord& record = machine.record;
  v1::Agent out;
  out.set_agent_id(record.id.str());
  out.set_hostname(record.facts.hostname);
  out.set_status(ToProto(record.status));
  *out.mutable_status_since() = wire::ToProto(record.status_since);
  if (record.last_heard) {
    *out.mutable_last_seen() = wire::ToProto(*record.last_heard);
  }
  out.set_confirmed(confirmed);
  CopyVerdict(record.verdict, out);
  CopyMap(record.labels, *out.mutable_labels());
  for (const auto& [finding, text] : machine.health) {
    (*out.mutable_health())[finding] = text;
  }
  *out.mutable_facts() = ToProto(record.facts);
  *out.mutable_registered_at() = wire::ToProto(record.registered_at);
  out.set_address(record.address);
  if (machine.round_trip) {
    *out.mutable_round_trip() = wire::ToProto(*machine.round_trip);
  }
  if (machine.clock_skew) {
    *out.mutable_clock_skew() = wire::ToProto(*machine.clock_skew);
  }
  out.set_epoch(record.epoch);
  if (const auto newer = ReplacedBy(record)) {
    out.set_replaced_by(newer->str());
  }
  if (Silenced(record)) {
    *out.mutable_silenced_at() = wire::ToProto(*record.silenced_at);
  }
  if (record.promised_back) {
    *out.mutable_promised_back() = wire::ToProto(*record.promised_back);
  }
  out.set_pending(record.pending);
  if (record.ephemeral_for) {
    *out.mutable_ephemeral_for() = wire::ToProto(*record.ephemeral_for);
  }
  return out;
}

v1::StatusCounts ToProto(const StatusCounts& counts) {
  v1::StatusCounts out;
  out.set_online(counts.online);
  out.set_stale(counts.stale);
  out.set_offline(counts.offline);
  out.set_degraded(counts.degraded);
  out.set_silenced(counts.silenced);
  return out;
}

Surroundings ToSurroundings(const v1::Surroundings& surroundings) {
  Surroundings out{.user = surroundings.user(),
                   .working_directory = surroundings.working_directory(),
                   .environment = {surroundings.environment().begin(),
                                   surroundings.environment().end()},
                   .umask = std::nullopt,
                   .input = surroundings.input()};
  if (surroundings.has_umask()) out.umask = surroundings.umask();
  return out;
}

v1::Surroundings ToProto(const Surroundings& surroundings) {
  v1::Surroundings out;
  out.set_user(surroundings.user);
  out.set_working_directory(surroundings.working_directory);
  CopyMap(surroundings.environment, *out.mutable_environment());
  if (surroundings.umask) out.set_umask(*surroundings.umask);
  out.set_input(surroundings.input);
  return out;
}

// Values of the environment and the input may be secret.
static v1::Surroundings WithoutSecrets(const Surroundings& surroundings) {
  v1::Surroundings out = ToProto(surroundings);
  for (auto& [name, value] : *out.mutable_environment()) value.clear();
  out.clear_input();
  return out;
}

v1::Command ToProto(const CommandRecord& command, std::string_view hostname) {
  v1::Command out;
  out.set_command_id(command.id.str());
  out.set_agent_id(command.agent.str());
  out.set_hostname(std::string(hostname));
  out.set_state(ToProto(command.state));
  out.set_command(command.spec.text);
  out.set_shell_type(ToProto(command.spec.shell));
  for (const std::string& arg : command.spec.argv) out.add_argv(arg);
  *out.mutable_timeout() = wire::ToProto(command.spec.timeout);
  *out.mutable_kill_grace() = wire::ToProto(command.spec.kill_grace);
  *out.mutable_delivery_timeout() =
      wire::ToProto(command.spec.delivery_timeout);
  out.set_issued_by(command.issued_by);
  *out.mutable_created_at() = wire::ToProto(command.created_at);
  if (command.started_at) {
    *out.mutable_started_at() = wire::ToProto(*command.started_at);
  }
  if (command.finished_at) {
    *out.mutable_finished_at() = wire::ToProto(*command.finished_at);
  }
  if (command.exit_code) out.set_exit_code(*command.exit_code);
  if (command.signal) out.set_signal(*command.signal);
  out.set_reason(command.reason);
  out.set_stdout_bytes(command.stdout_bytes);
  out.set_stderr_bytes(command.stderr_bytes);
  out.set_output_complete(OutputComplete(command));
  out.set_output_dropped_bytes(command.output_dropped_bytes);
  *out.mutable_surroundings() = WithoutSecrets(command.spec.surroundings);
  out.set_input_bytes(command.spec.surroundings.input.size());
  out.set_output_bytes_max(command.spec.output_bytes_max);
  CopyMap(command.labels, *out.mutable_labels());
  out.set_purpose(command.purpose);
  out.set_batch_id(command.batch.str());
  out.set_input_streamed(command.spec.input_streamed);
  return out;
}

v1::Batch ToProto(const BatchRecord& batch) {
  v1::Batch out;
  out.set_batch_id(batch.id.str());
  out.set_state(static_cast<v1::BatchState>(batch.state));
  out.set_reason(batch.reason);
  const BatchCounts& n = batch.counts;
  out.set_targets(n.waiting + n.running + n.succeeded + n.failed +
                  n.not_delivered + n.unknown);
  v1::BatchCounts& counts = *out.mutable_counts();
  counts.set_waiting(n.waiting);
  counts.set_running(n.running);
  counts.set_succeeded(n.succeeded);
  counts.set_failed(n.failed);
  counts.set_not_delivered(n.not_delivered);
  counts.set_unknown(n.unknown);
  out.set_concurrency(batch.concurrency);
  out.set_canary(batch.canary);
  out.set_failures_max(batch.failures_max);
  out.set_command(batch.spec.text);
  out.set_shell_type(ToProto(batch.spec.shell));
  for (const std::string& arg : batch.spec.argv) out.add_argv(arg);
  CopyMap(batch.labels, *out.mutable_labels());
  out.set_purpose(batch.purpose);
  out.set_issued_by(batch.issued_by);
  *out.mutable_created_at() = wire::ToProto(batch.created_at);
  if (batch.finished_at) {
    *out.mutable_finished_at() = wire::ToProto(*batch.finished_at);
  }
  *out.mutable_surroundings() = WithoutSecrets(batch.spec.surroundings);
  out.set_input_bytes(batch.spec.surroundings.input.size());
  out.set_output_bytes_max(batch.spec.output_bytes_max);
  *out.mutable_timeout() = wire::ToProto(batch.spec.timeout);
  *out.mutable_delivery_timeout() = wire::ToProto(batch.spec.delivery_timeout);
  out.set_queue_offline(batch.queue_offline);
  out.set_selector(batch.selector);
  out.set_retry_of(batch.retry_of.str());
  return out;
}

v1::CommandOrder ToOrder(const CommandRecord& command) {
  v1::CommandOrder out;
  out.set_command_id(command.id.str());
  out.set_dispatch_seq(command.dispatch_seq);
  out.set_shell_type(ToProto(command.spec.shell));
  out.set_command(command.spec.text);
  for (const std::string& arg : command.spec.argv) out.add_argv(arg);
  *out.mutable_timeout() = wire::ToProto(command.spec.timeout);
  *out.mutable_kill_grace() = wire::ToProto(command.spec.kill_grace);
  out.set_output_bytes_max(command.spec.output_bytes_max);
  *out.mutable_surroundings() = ToProto(command.spec.surroundings);
  out.set_issued_by(command.issued_by);
  out.set_purpose(command.purpose);
  out.set_input_streamed(command.spec.input_streamed);
  if (const auto& terminal = command.spec.terminal) {
    v1::Terminal& to = *out.mutable_terminal();
    *to.mutable_size() = ToProto(terminal->size);
    to.set_type(terminal->type);
    *to.mutable_keep() = wire::ToProto(terminal->keep);
    to.set_recorded(terminal->recorded);
  }
  return out;
}

v1::WindowSize ToProto(const WindowSize& size) {
  v1::WindowSize out;
  out.set_rows(size.rows);
  out.set_columns(size.columns);
  return out;
}

WindowSize ToWindowSize(const v1::WindowSize& size) {
  return {.rows = size.rows(), .columns = size.columns()};
}

v1::Session ToSession(const CommandRecord& session, std::string_view hostname,
                      bool attached) {
  v1::Session out;
  out.set_session_id(session.id.str());
  out.set_agent_id(session.agent.str());
  out.set_hostname(std::string(hostname));
  out.set_state(ToProto(session.state));
  for (const std::string& arg : session.spec.argv) out.add_argv(arg);
  out.set_user(session.spec.surroundings.user);
  out.set_issued_by(session.issued_by);
  *out.mutable_created_at() = wire::ToProto(session.created_at);
  if (session.started_at) {
    *out.mutable_started_at() = wire::ToProto(*session.started_at);
  }
  if (session.finished_at) {
    *out.mutable_finished_at() = wire::ToProto(*session.finished_at);
  }
  if (session.exit_code) out.set_exit_code(*session.exit_code);
  if (session.signal) out.set_signal(*session.signal);
  out.set_reason(session.reason);
  *out.mutable_timeout() = wire::ToProto(session.spec.timeout);
  *out.mutable_keep() = wire::ToProto(session.spec.terminal->keep);
  out.set_recorded(session.spec.terminal->recorded);
  out.set_purpose(session.purpose);
  out.set_attached(attached);
  out.set_terminal_type(session.spec.terminal->type);
  return out;
}

v1::OutputChunk ToProto(const OutputRecord& output) {
  v1::OutputChunk out;
  out.set_stream(ToProto(output.stream));
  out.set_offset(output.offset);
  out.set_data(output.data);
  return out;
}

v1::Token ToProto(const TokenRecord& token, absl::Time now) {
  v1::Token out;
  out.set_token_id(token.id.str());
  out.set_description(token.description);
  out.set_state(StateOf(token, now));
  out.set_uses(token.uses);
  out.set_uses_max(token.uses_max);
  *out.mutable_created_at() = wire::ToProto(token.created_at);
  *out.mutable_expires_at() = wire::ToProto(token.expires_at);
  out.set_created_by(token.created_by);
  CopyMap(token.labels, *out.mutable_labels());
  if (token.agent) out.set_agent_id(token.agent->str());
  for (const std::string& range : token.allowed_from) {
    out.add_allowed_from(range);
  }
  out.set_hostname(token.hostname_glob);
  out.set_approval(token.approval);
  out.set_ephemeral(token.ephemeral_for.has_value());
  if (token.ephemeral_for) {
    *out.mutable_expire() = wire::ToProto(*token.ephemeral_for);
  }
  return out;
}

v1::Transition ToProto(const TransitionRecord& transition, bool durable) {
  v1::Transition out;
  out.set_sequence(transition.sequence);
  out.set_from(ToProto(transition.from));
  out.set_to(ToProto(transition.to));
  *out.mutable_at() = wire::ToProto(transition.at);
  CopyVerdict(transition.verdict, out);
  out.set_epoch(transition.epoch);
  out.set_durable(durable);
  return out;
}

v1::Link ToProto(const LinkRecord& link) {
  v1::Link out;
  out.set_epoch(link.epoch);
  out.set_boot_id(link.boot_id);
  out.set_process_start_id(link.process_start_id);
  out.set_address(link.address);
  *out.mutable_opened_at() = wire::ToProto(link.opened_at);
  if (link.closed_at) *out.mutable_closed_at() = wire::ToProto(*link.closed_at);
  if (link.end != LinkEnd::kOpen) {
    out.set_ended(static_cast<v1::LinkEnd>(link.end));
  }
  return out;
}

v1::Note ToProto(const NoteRecord& note) {
  v1::Note out;
  *out.mutable_at() = wire::ToProto(note.at);
  out.set_kind(static_cast<v1::NoteKind>(note.kind));
  out.set_epoch(note.epoch);
  CopyVerdict(note.verdict, out);
  out.set_text(note.text);
  return out;
}

v1::BlindInterval ToProto(const BlindRecord& blind) {
  v1::BlindInterval out;
  *out.mutable_from() = wire::ToProto(blind.from);
  *out.mutable_to() = wire::ToProto(blind.to);
  out.set_reason(static_cast<v1::BlindReason>(blind.reason));
  return out;
}

v1::Incident ToProto(const IncidentRecord& incident) {
  v1::Incident out;
  out.set_incident_id(incident.id);
  out.set_group(incident.group);
  *out.mutable_opened_at() = wire::ToProto(incident.opened_at);
  if (incident.closed_at) {
    *out.mutable_closed_at() = wire::ToProto(*incident.closed_at);
  }
  out.set_machines(incident.machines);
  CopyVerdict(incident.verdict, out);
  return out;
}

v1::HeartbeatSample ToProto(const HeartbeatSample& heartbeat) {
  v1::HeartbeatSample out;
  out.set_epoch(heartbeat.epoch);
  out.set_sequence(heartbeat.sequence);
  *out.mutable_at() = wire::ToProto(heartbeat.at);
  if (heartbeat.round_trip) {
    *out.mutable_round_trip() = wire::ToProto(*heartbeat.round_trip);
  }
  if (heartbeat.clock_skew) {
    *out.mutable_clock_skew() = wire::ToProto(*heartbeat.clock_skew);
  }
  return out;
}

v1::Event ToProto(const Event& event, bool durable) {
  v1::Event out;
  out.set_version(event.version.Text());
  *out.mutable_at() = wire::ToProto(event.at);
  out.set_agent_id(event.agent.str());
  out.set_hostname(event.hostname);
  std::visit(EventWriter(out, durable), event.what);
  if (event.late) *out.mutable_late() = wire::ToProto(*event.late);
  return out;
}

}  // namespace muster::gateway
