#include "gateway/admin/metrics_handlers.h"

#include <map>
#include <string>
#include <utility>

#include "gateway/admin/gateway_handlers.h"
#include "gateway/admin/presence_health.h"
#include "gateway/admin/process_stats.h"
#include "libprotocol/wire/proto_json.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/history.pb.h"

namespace muster::gateway {
namespace {

double Unix(absl::Time t) {
  return absl::ToDoubleSeconds(t - absl::UnixEpoch());
}

double Value(uint64_t n) { return static_cast<double>(n); }
double Value(absl::Duration d) { return absl::ToDoubleSeconds(d); }

// One sample for each word of `Proto`, whose values equal those of Enum: also
// for what has not happened, or a first time would not be seen as an increase.
template <typename Proto, typename Enum, typename T>
void AddEach(std::string_view label, const std::map<Enum, T>& counts,
             MetricsText& out) {
  const auto* type = google::protobuf::GetEnumDescriptor<Proto>();
  for (int i = 0; i < type->value_count(); ++i) {
    if (type->value(i)->number() == 0) continue;
    const auto found = counts.find(static_cast<Enum>(type->value(i)->number()));
    out.Add(label, wire::EnumText(*type->value(i)),
            found == counts.end() ? 0 : Value(found->second));
  }
}

void WriteProcess(const ProcessStats& stats, MetricsText& out) {
  out.Counter("process_cpu_seconds_total", "CPU time of this process.",
              Value(stats.cpu));
  const auto gauge = [&](std::string_view name, std::string_view help,
                         const std::optional<uint64_t>& value) {
    if (value) out.Gauge(name, help, Value(*value));
  };
  gauge("process_resident_memory_bytes", "Memory that is in use.",
        stats.resident_bytes);
  gauge("process_virtual_memory_bytes", "Addresses that are in use.",
        stats.virtual_bytes);
  gauge("process_open_fds", "Descriptors that are open.",
        stats.open_descriptors);
  gauge("process_max_fds", "Descriptors that may be open.",
        stats.descriptors_max);
}

}  // namespace

void MetricsHandlers::AddTo(HandlerTable& table) {
  table.Add("muster.v1.FleetAdmin.GetMetrics", this, &MetricsHandlers::Get);
}

v1::RawBody MetricsHandlers::Body(MetricsText& out) {
  v1::RawBody body;
  body.set_content_type(kMetricsContentType);
  body.set_data(out.Take());
  return body;
}

void MetricsHandlers::Get(const Caller& caller, const v1::GetMetricsRequest&,
                          Reply<v1::RawBody> reply) {
  MetricsText out;
  out.Gauge("muster_build_info", "Which build this is; always 1.");
  out.Add("version", kVersion, 1);
  WriteMachines(caller.org, out);
  if (!caller.sees_gateway) {
    reply(Body(out));
    return;
  }
  WriteRules(out);
  WriteLinks(out);
  WriteDetector(out);
  WriteBlindness(out);
  WriteHistory(out);
  WriteStore(out);
  out.Gauge("process_start_time_seconds", "When it started, in Unix time.",
            Unix(started_at_));
  store_.Offload(
      [] { return absl::StatusOr<ProcessStats>(ReadProcessStats()); },
      [out = std::move(out), reply = std::move(reply)](
          const absl::StatusOr<ProcessStats>& stats) mutable {
        // The rest is true whatever the reader threads do.
        if (stats.ok()) WriteProcess(*stats, out);
        reply(Body(out));
      });
}

void MetricsHandlers::WriteMachines(const OrgId& org, MetricsText& out) const {
  const StatusCounts counts = fleet_.machines().Counts(org);
  out.Gauge("muster_agents", "Machines by status.");
  out.Add("status", "online", counts.online);
  out.Add("status", "stale", counts.stale);
  out.Add("status", "offline", counts.offline);
  out.Gauge("muster_agents_degraded", "Machines online with a finding.",
            counts.degraded);
  out.Gauge("muster_agents_silenced", "Machines that no other gauge counts.",
            counts.silenced);
}

void MetricsHandlers::WriteRules(MetricsText& out) const {
  const FleetCounters& counters = fleet_.counters();
  out.Counter("muster_transitions_total", "Changes of status, by the new one.");
  AddEach<v1::Status>("to", counters.transitions, out);
  out.Distribution("muster_transition_lateness_seconds",
                   "How long after its deadline a transition was decided.",
                   counters.transition_late);
  out.Counter("muster_false_offline_total",
              "Machines called offline that were not.",
              Value(fleet_.false_offlines()));
  out.Counter("muster_notes_total", "What else was noted of a machine.");
  AddEach<v1::NoteKind>("kind", counters.notes, out);
  out.Gauge("muster_incidents_open", "Groups that fell silent together.",
            Value(fleet_.incidents_open()));
  out.Counter("muster_incidents_total", "Incidents that were opened.",
              Value(counters.incidents));
  out.Gauge("muster_commands_open", "Commands that have not ended.",
            Value(fleet_.commands().open()));
}

void MetricsHandlers::WriteLinks(MetricsText& out) const {
  const FleetCounters& counters = fleet_.counters();
  out.Gauge("muster_links", "Links that are open.", fleet_.open_links());
  out.Counter("muster_links_accepted_total", "Hellos that were welcomed.",
              Value(counters.links_accepted));
  out.Counter("muster_links_refused_total", "Hellos that were refused.");
  AddEach<v1::DisconnectReason>("reason", counters.links_refused, out);
  out.Counter("muster_newcomers_turned_away_total",
              "Hellos told to come later, connections closed unheard, and "
              "seconds in which some waited.");
  std::map<BlindReason, uint64_t> turned_away = {{BlindReason::kDescriptors, 0},
                                                 {BlindReason::kAdmission, 0},
                                                 {BlindReason::kOneSource, 0}};
  for (const auto& [reason, count] : counters.turned_away) {
    turned_away[reason] = count;
  }
  AddEach<v1::BlindReason>("reason", turned_away, out);
  out.Counter("muster_heartbeats_total", "Heartbeats that counted.",
              Value(counters.heartbeats));
  out.Counter("muster_heartbeats_ignored_total",
              "Heartbeats of a link that was not the newest.",
              Value(counters.heartbeats_ignored));
  out.Gauge("muster_heartbeat_interval_seconds",
            "How often agents are told to speak.",
            Value(fleet_.HeartbeatInterval()));
}

void MetricsHandlers::WriteDetector(MetricsText& out) const {
  const PresenceHealth health = HealthOf(fleet_, started_at_);
  out.Gauge("muster_presence_confirmed",
            "1: presence can be vouched for at this moment.",
            health.confirmed() ? 1 : 0);
  out.Gauge("muster_presence_ready",
            "1: it could be for more than half of the last 30 minutes.",
            health.ready ? 1 : 0);
  out.Gauge("muster_presence_unconfirmed_since_timestamp_seconds",
            "Since when it cannot be, in Unix time; 0: it can.",
            health.trouble ? Unix(health.trouble->since) : 0);
  out.Gauge("muster_presence_impaired", "1: why it cannot be vouched for.");
  std::map<BlindReason, uint64_t> why;
  if (health.trouble && health.trouble->reason) {
    why[*health.trouble->reason] = 1;
  }
  AddEach<v1::BlindReason>("reason", why, out);
  out.Gauge("muster_loop_turn_age_seconds",
            "How long ago the detector last looked.",
            Value(clock_.Now() - fleet_.last_turn()));
  out.Distribution("muster_loop_lateness_seconds",
                   "How long after it was due the detector looked.",
                   fleet_.counters().turn_late);
}

void MetricsHandlers::WriteBlindness(MetricsText& out) const {
  const FleetCounters& counters = fleet_.counters();
  out.Counter("muster_blind_seconds_total",
              "Time in which nobody, or nobody new, could be heard.");
  AddEach<v1::BlindReason>("reason", counters.blind, out);
  out.Counter("muster_blind_intervals_total", "How often that was.");
  AddEach<v1::BlindReason>("reason", counters.blind_intervals, out);
}

void MetricsHandlers::WriteHistory(MetricsText& out) const {
  out.Gauge("muster_history_waiting",
            "Decided, and waiting for a store that is away.",
            Value(fleet_.history_waiting()));
  out.Counter("muster_events_total", "Events that were published.",
              Value(fleet_.events().published()));
  out.Gauge("muster_event_readers_waiting",
            "Readers that wait for the next event.", Value(events_.waiting()));
}

void MetricsHandlers::WriteStore(MetricsText& out) const {
  const StoreClient::Health health = store_.health();
  out.Gauge("muster_store_failing", "1: the newest transaction failed.",
            health.last_error.ok() ? 0 : 1);
  out.Gauge("muster_store_writes_queued", "Writes that wait for the disk.",
            Value(health.writes_queued));
  out.Gauge("muster_store_reads_queued", "Reads that wait for a thread.",
            Value(health.reads_queued));
  out.Gauge("muster_store_last_commit_seconds",
            "How long the newest commit took.", Value(health.last_commit));
}

}  // namespace muster::gateway
