#include "tools/musterctl/presence_verbs.h"

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/duration_text.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/enum_words.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/resolve.h"

namespace muster::ctl {
namespace {

std::string Value(const v1::PresenceValue& value) {
  return wire::DurationOrNeverText(wire::FromProto(value.value()));
}

std::string Source(const v1::PresenceValue& value) {
  return EnumWord(v1::PresenceSource_descriptor(), value.source());
}

absl::StatusOr<int> Show(Tool& tool, const v1::EffectivePresence& presence,
                         std::string_view body) {
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, body));
  if (shown) return kExitOk;
  Table table({"SETTING", "VALUE", "FROM"});
  const std::pair<const char*, const v1::PresenceValue&> rows[] = {
      {"heartbeat_interval", presence.heartbeat_interval()},
      {"stale_after", presence.stale_after()},
      {"offline_after", presence.offline_after()},
      {"reconnect_grace", presence.reconnect_grace()}};
  for (const auto& [name, value] : rows) {
    table.AddRow({{name}, {Value(value)}, {Source(value)}});
  }
  tool.console.Out(table.Render(tool.Style(/*header=*/true)));
  if (presence.pending()) {
    tool.console.Err("It holds from the machine's next heartbeat on.\n");
  }
  if (!presence.ignored().empty()) {
    tool.console.Err(
        fmt::format("warning: ignored: {}\n", Printable(presence.ignored())));
  }
  return kExitOk;
}

template <typename Request>
void TakeEdit(const PresenceSetOptions& options, Request& request) {
  *request.mutable_set() = options.set;
  for (const v1::PresenceSetting setting : options.reset) {
    request.add_reset(setting);
  }
}

absl::StatusOr<int> SetForOrg(Tool& tool, const PresenceSetOptions& options) {
  v1::SetPresenceRequest request;
  TakeEdit(options, request);
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::EffectivePresence>(
                                          "SetPresence", request));
  return Show(tool, answer.message, answer.body);
}

absl::StatusOr<int> SetForOne(Tool& tool, const PresenceSetOptions& options) {
  v1::SetAgentPresenceRequest request;
  TakeEdit(options, request);
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  request.set_agent_id(resolved.agent.agent_id());
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Agent>("SetAgentPresence", request));
  return Show(tool, answer.message.presence(), answer.body);
}

absl::StatusOr<int> SetForMany(Tool& tool, const PresenceSetOptions& options) {
  v1::SetPresenceOfManyRequest request;
  TakeEdit(options, request);
  for (const v1::Status status : options.status) request.add_status(status);
  for (const std::string& label : options.labels) request.add_label(label);
  request.set_hostname(options.hostname);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::SetPresenceOfManyResponse>(
                       "SetPresenceOfMany", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  const uint32_t written = answer.message.written();
  if (!shown && written == 0) {
    tool.console.Err("No machine matches.\n");
  } else if (!shown) {
    tool.console.Err(fmt::format(
        "Written to {} machine{}; it holds from the next heartbeat of each "
        "on.\n",
        Grouped(written), written == 1 ? "" : "s"));
  }
  return written == 0 ? kExitNotFound : kExitOk;
}

}  // namespace

std::string PresenceText(const v1::PresenceValue& value) {
  if (!value.has_value()) return "";
  return fmt::format("{} ({})", Value(value), Source(value));
}

absl::StatusOr<int> PresenceGet(Tool& tool, const std::string& agent) {
  if (agent.empty()) {
    ASSIGN_OR_RETURN(const auto answer,
                     tool.api.Call<v1::EffectivePresence>(
                         "GetPresence", v1::GetPresenceRequest()));
    return Show(tool, answer.message, answer.body);
  }
  ASSIGN_OR_RETURN(const ResolvedAgent resolved, ResolveAgent(tool, agent));
  v1::GetAgentRequest request;
  request.set_agent_id(resolved.agent.agent_id());
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Agent>("GetAgent", request));
  return Show(tool, answer.message.presence(), answer.body);
}

absl::StatusOr<int> PresenceSet(Tool& tool, const PresenceSetOptions& options) {
  const bool many = !options.labels.empty() || !options.status.empty() ||
                    !options.hostname.empty();
  if (int{!options.agent.empty()} + int{options.org} + int{many} != 1) {
    return absl::InvalidArgumentError(
        "say for whom: AGENT, --org, or machines by --label, --status and "
        "--hostname; one of the three");
  }
  const v1::PresenceSettings nothing;
  if (options.reset.empty() &&
      options.set.SerializeAsString() == nothing.SerializeAsString()) {
    return absl::InvalidArgumentError(
        "nothing to set: give at least one of --heartbeat-interval, "
        "--stale-after, --offline-after and --reconnect-grace");
  }
  if (options.org) return SetForOrg(tool, options);
  return many ? SetForMany(tool, options) : SetForOne(tool, options);
}

}  // namespace muster::ctl
