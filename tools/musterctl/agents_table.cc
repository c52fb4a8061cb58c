#include "tools/musterctl/agents_table.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "fmt/format.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/history_table.h"
#include "tools/musterctl/presence_verbs.h"

namespace muster::ctl {
namespace {

std::string Since(const google::protobuf::Timestamp& t, absl::Time now) {
  return AgeText(now - wire::FromProto(t));
}

std::string StatusWord(const v1::Agent& agent) {
  return wire::EnumText(
             *v1::Status_descriptor()->FindValueByNumber(agent.status())) +
         (agent.confirmed() ? "" : "?") +
         (agent.has_silenced_at() ? " (silenced)" : "");
}

std::string When(const google::protobuf::Timestamp& t, absl::Time now,
                 absl::TimeZone zone) {
  return fmt::format("{}  ({} ago)", ClockText(wire::FromProto(t), now, zone),
                     Since(t, now));
}

// "14:02:11  (in 4m)", "14:02:11  (1h ago)".
std::string PromiseText(const google::protobuf::Timestamp& t, absl::Time now,
                        absl::TimeZone zone) {
  const absl::Time end = wire::FromProto(t);
  if (end <= now) return When(t, now, zone);
  return fmt::format("{}  (in {})", ClockText(end, now, zone),
                     AgeText(end - now));
}

template <typename Enum>
std::string EnumWord(const google::protobuf::EnumDescriptor* type, Enum value) {
  const auto* known = type->FindValueByNumber(value);
  return known == nullptr ? "unknown" : wire::EnumText(*known);
}

// "host_crashed, likely": id and confidence.
std::string CauseText(const v1::Agent& agent) {
  if (!agent.has_cause()) return "";
  return fmt::format("{}, {}", EnumWord(v1::Cause_descriptor(), agent.cause()),
                     EnumWord(v1::Confidence_descriptor(), agent.confidence()));
}

}  // namespace

std::string LongName(const v1::Agent& agent) {
  return agent.hostname() + "~" + AgentId(agent.agent_id()).suffix();
}

std::string Name(const v1::Agent& agent) {
  return agent.name().empty() ? LongName(agent) : agent.name();
}

Cell StatusCell(const v1::Agent& agent) {
  switch (agent.status()) {
    case v1::STATUS_ONLINE:
      return {StatusWord(agent),
              agent.health().empty() ? Color::kGreen : Color::kYellow};
    case v1::STATUS_STALE:
      return {StatusWord(agent), Color::kYellow};
    case v1::STATUS_OFFLINE:
      return {StatusWord(agent), Color::kRed};
    default:
      return {"unknown"};
  }
}

std::string WhyText(const v1::Agent& agent) {
  if (!agent.summary().empty()) return agent.summary();
  const std::map<std::string, std::string> health(agent.health().begin(),
                                                  agent.health().end());
  std::string text;
  for (const auto& [what, finding] : health) {
    text += (text.empty() ? "" : ", ") + what + " " + finding;
  }
  return text;
}

std::string LabelsText(
    const google::protobuf::Map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [key, value] :
       std::map<std::string, std::string>(labels.begin(), labels.end())) {
    text += (text.empty() ? "" : ",") + key + "=" + value;
  }
  return text;
}

Table AgentsTable(AgentSpan agents, absl::Time now, bool wide) {
  std::vector<std::string> titles = {"MACHINE",   "STATUS", "FOR",
                                     "LAST SEEN", "WHY",    "LABELS"};
  if (wide) {
    titles.insert(titles.end(),
                  {"ID", "ADDRESS", "AGENT", "OS", "RTT", "SKEW", "GATEWAY"});
  }
  Table table(std::move(titles), "WHY");
  for (const v1::Agent* each : agents) {
    const v1::Agent& agent = *each;
    std::vector<Cell> row = {
        {Name(agent)},
        StatusCell(agent),
        {Since(agent.status_since(), now)},
        {agent.has_last_seen() ? Since(agent.last_seen(), now) : "-"},
        {WhyText(agent)},
        {LabelsText(agent.labels())}};
    if (wide) {
      row.push_back({agent.agent_id()});
      row.push_back({agent.address()});
      row.push_back({agent.facts().agent_version()});
      row.push_back({agent.facts().os()});
      row.push_back({agent.has_round_trip()
                         ? ShortDuration(wire::FromProto(agent.round_trip()))
                         : ""});
      row.push_back({agent.has_clock_skew()
                         ? ShortDuration(wire::FromProto(agent.clock_skew()))
                         : ""});
      row.push_back({agent.gateway()});
    }
    table.AddRow(std::move(row));
  }
  return table;
}

std::string AgentsFooter(const v1::StatusCounts& counts, size_t shown,
                         size_t matched) {
  std::string text =
      fmt::format("{} offline, {} stale, {} online", Grouped(counts.offline()),
                  Grouped(counts.stale()), Grouped(counts.online()));
  if (counts.degraded() > 0) {
    text += fmt::format(" ({} degraded)", Grouped(counts.degraded()));
  }
  text += ".";
  if (counts.silenced() > 0) {
    text +=
        fmt::format(" {} silenced: --silenced.", Grouped(counts.silenced()));
  }
  if (shown < matched) {
    text += fmt::format(" {} of {} shown, problems first; --all for the rest.",
                        Grouped(shown), Grouped(matched));
  }
  return text;
}

std::string UnconfirmedWarning(const v1::GatewayStatus& status, absl::Time now,
                               absl::TimeZone zone) {
  if (status.presence_confirmed() && !status.has_unconfirmed_since()) {
    // It hears; these it has not heard since it did not.
    return "warning: with \"?\": not heard since the gateway last could not "
           "hear; judged when a whole lease has passed";
  }
  std::string text = "warning: not confirmed";
  if (status.has_unconfirmed_since()) {
    text += " since " +
            ClockText(wire::FromProto(status.unconfirmed_since()), now, zone);
  }
  if (status.blind_reason() == v1::BLIND_REASON_NOT_RUNNING) {
    return text + ": " + Printable(status.unconfirmed_reason());  // It is now.
  }
  const bool deaf = status.blind_reason() == v1::BLIND_REASON_ADMISSION ||
                    status.blind_reason() == v1::BLIND_REASON_ONE_SOURCE;
  text += deaf ? ": the gateway cannot let in machines that connect now"
               : ": the gateway cannot hear machines";
  if (!status.unconfirmed_reason().empty()) {
    text += fmt::format(" ({})", Printable(status.unconfirmed_reason()));
  }
  return text;
}

std::string AgentDetails(const v1::Agent& agent, absl::Time now,
                         absl::TimeZone zone) {
  const v1::AgentFacts& facts = agent.facts();
  return Details({
      {"Machine", Name(agent)},
      {"Id", agent.agent_id()},
      {"Status", fmt::format("{} for {}", StatusWord(agent),
                             Since(agent.status_since(), now))},
      {"Last seen",
       agent.has_last_seen() ? When(agent.last_seen(), now, zone) : "never"},
      {"Why", WhyText(agent)},
      {"Promised back", agent.has_promised_back()
                            ? PromiseText(agent.promised_back(), now, zone)
                            : ""},
      {"Cause", CauseText(agent)},
      {"Labels", LabelsText(agent.labels())},
      {"Address", agent.address()},
      {"Round trip", agent.has_round_trip()
                         ? ShortDuration(wire::FromProto(agent.round_trip()))
                         : ""},
      {"Clock skew", agent.has_clock_skew()
                         ? ShortDuration(wire::FromProto(agent.clock_skew()))
                         : ""},
      {"Gateway", agent.gateway()},
      {"Agent", facts.agent_version()},
      {"Runs as", facts.runtime_name().empty()
                      ? EnumWord(v1::RuntimeKind_descriptor(), facts.runtime())
                      : facts.runtime_name()},
      {"OS", facts.os()},
      {"Kernel", facts.kernel()},
      {"Architecture", facts.architecture()},
      {"Heartbeats", PresenceText(agent.presence().heartbeat_interval())},
      {"Stale after", PresenceText(agent.presence().stale_after())},
      {"Offline after", PresenceText(agent.presence().offline_after())},
      {"Reconnect", PresenceText(agent.presence().reconnect_grace())},
      {"Settings", agent.presence().pending()
                       ? "these hold from its next heartbeat on"
                       : ""},
      {"Registered", When(agent.registered_at(), now, zone)},
      {"Approval", agent.pending()
                       ? "pending: musterctl agents approve " + Name(agent)
                       : ""},
      {"Ephemeral",
       agent.has_ephemeral_for()
           ? "leaves the list when offline for " +
                 ShortDuration(wire::FromProto(agent.ephemeral_for()))
           : ""},
      {"Replaced by", agent.replaced_by()},
      {"Replaces", absl::StrJoin(agent.replaces(), ", ")},
      {"Silenced",
       agent.has_silenced_at() ? When(agent.silenced_at(), now, zone) : ""},
  });
}

}  // namespace muster::ctl
