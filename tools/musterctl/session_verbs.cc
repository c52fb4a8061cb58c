#include "tools/musterctl/session_verbs.h"

#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "nlohmann/json.hpp"
#include "tools/musterctl/age.h"
#include "tools/musterctl/conclusion.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/output_reader.h"
#include "tools/musterctl/resolve.h"
#include "tools/musterctl/run_verb.h"
#include "tools/musterctl/session_viewer.h"
#include "tools/musterctl/submit.h"

namespace muster::ctl {
namespace {

constexpr size_t kListed = 100;

std::string WordsOf(const v1::Session& session) {
  if (session.argv().empty()) return "login shell";
  return fmt::format("{}", fmt::join(session.argv(), " "));
}

std::string StateText(const v1::Session& session) {
  const auto* known =
      v1::CommandState_descriptor()->FindValueByNumber(session.state());
  const std::string word =
      known == nullptr ? "unknown" : wire::EnumText(*known);
  return session.attached() ? word + ", attached" : word;
}

absl::StatusOr<v1::OpenSessionRequest> OpeningOf(const ExecOptions& options,
                                                 const LiveInput& input) {
  v1::OpenSessionRequest request;
  request.mutable_argv()->Assign(options.words.begin(), options.words.end());
  v1::Surroundings& surroundings = *request.mutable_surroundings();
  surroundings.set_user(options.user);
  surroundings.set_working_directory(options.working_directory);
  for (const std::string& variable : options.environment) {
    RETURN_IF_ERROR(AddVariable(variable, surroundings));
  }
  const LiveInput::Size size = input.WindowSize();
  if (size.known()) {
    request.mutable_size()->set_rows(size.rows);
    request.mutable_size()->set_columns(size.columns);
  }
  if (const char* type = getenv("TERM")) request.set_terminal_type(type);
  if (options.timeout) {
    *request.mutable_timeout() = wire::ToProto(*options.timeout);
  }
  if (options.keep) *request.mutable_keep() = wire::ToProto(*options.keep);
  request.set_record(options.record);
  request.set_purpose(options.purpose);
  return request;
}

// Shows it until its end, or until it is left; the exit code.
absl::StatusOr<int> Show(Tool& tool, const std::string& session_id,
                         SessionViewer::Role role,
                         std::unique_ptr<LiveInput> input) {
  SessionViewer viewer(tool, session_id, role);
  const auto session = viewer.Watch(input.get());
  input.reset();  // The terminal is itself again before a word is said.
  if (!session.ok()) {
    if (!IsPassing(session.status())) return session.status();
    tool.console.Err(fmt::format(
        "musterctl: how session {0} ends is not known here; musterctl sessions "
        "attach {0}\n",
        session_id));
    return session.status();
  }
  if (!*session) {
    tool.console.Err(fmt::format(
        "\nmusterctl: left; the session {}: musterctl sessions attach {}\n",
        viewer.end_wanted() ? "was asked to end" : "lives on", session_id));
    return kExitOk;
  }
  v1::Command end;
  end.set_command_id(session_id);
  end.set_state((*session)->state());
  end.set_reason((*session)->reason());
  if ((*session)->has_started_at()) {
    *end.mutable_started_at() = (*session)->started_at();
  }
  if ((*session)->has_exit_code()) end.set_exit_code((*session)->exit_code());
  if ((*session)->has_signal()) end.set_signal((*session)->signal());
  return Conclude(tool, end, "session");
}

struct CastEvent {
  double at = 0;
  std::string text;
};

absl::StatusOr<std::vector<CastEvent>> EventsOf(const std::string& cast) {
  std::vector<CastEvent> events;
  size_t from = std::min(cast.find('\n'), cast.size() - 1) + 1;
  while (from < cast.size()) {
    const size_t end = std::min(cast.find('\n', from), cast.size());
    const auto line =
        nlohmann::json::parse(cast.substr(from, end - from), nullptr, false);
    if (!line.is_array() || line.size() != 3 || !line[0].is_number() ||
        !line[2].is_string()) {
      return absl::DataLossError("the recording is no asciicast v2");
    }
    events.push_back({line[0].get<double>(), line[2].get<std::string>()});
    from = end + 1;
  }
  return events;
}

}  // namespace

absl::StatusOr<int> Exec(Tool& tool, const ExecOptions& options) {
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  auto input = tool.open_input(true);
  if (!input.ok() || !tool.console.OutIsTerminal()) {
    return absl::InvalidArgumentError(
        "exec needs a terminal here; without one: musterctl run --stdin");
  }
  ASSIGN_OR_RETURN(v1::OpenSessionRequest request, OpeningOf(options, **input));
  request.set_agent_id(resolved.agent.agent_id());
  bool maybe_sent = false;
  const auto session =
      Submit<v1::Session>(tool, "OpenSession", request, maybe_sent);
  if (!session.ok()) {
    input->reset();
    const auto problem = ProblemOf(session.status());
    if (!problem || problem->code != "agent_unreachable") {
      return session.status();
    }
    return WithHint(session.status(),
                    fmt::format("musterctl agents wait {}", options.agent));
  }
  return Show(tool, session->message.session_id(), SessionViewer::Role::kOpened,
              *std::move(input));
}

absl::StatusOr<int> SessionsLs(Tool& tool, const SessionsLsOptions& options) {
  v1::ListSessionsRequest request;
  request.set_ended(options.all);
  request.set_limit(kListed);
  if (!options.agent.empty()) {
    ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                     ResolveAgent(tool, options.agent));
    request.set_agent_id(resolved.agent.agent_id());
  }
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::ListSessionsResponse>(
                                          "ListSessions", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  const absl::Time now = tool.Now(answer.served_at);
  Table table(
      {"SESSION", "MACHINE", "STATE", "AGE", "BY", "RECORDED", "PROGRAM"},
      "PROGRAM");
  for (const v1::Session& session : answer.message.sessions()) {
    if (tool.format == OutputFormat::kName) {
      tool.console.Out(session.session_id() + "\n");
      continue;
    }
    table.AddRow({{session.session_id()},
                  {session.hostname()},
                  {StateText(session)},
                  {AgeText(now - wire::FromProto(session.created_at()))},
                  {session.issued_by()},
                  {session.recorded() ? "yes" : ""},
                  {WordsOf(session)}});
  }
  if (tool.format == OutputFormat::kName) return kExitOk;
  tool.console.Out(table.Render(tool.Style(options.header)));
  if (!answer.message.next_page_token().empty()) {
    tool.console.Err(fmt::format("the newest {}; there are more\n", kListed));
  }
  return kExitOk;
}

absl::StatusOr<int> SessionsAttach(Tool& tool,
                                   const SessionsAttachOptions& options) {
  if (options.read_only) {
    return Show(tool, options.session_id, SessionViewer::Role::kLooks, nullptr);
  }
  auto input = tool.open_input(true);
  if (!input.ok() || !tool.console.OutIsTerminal()) {
    return absl::InvalidArgumentError(
        "attach needs a terminal here; without one give --read-only");
  }
  return Show(tool, options.session_id, SessionViewer::Role::kAttaches,
              *std::move(input));
}

absl::StatusOr<int> SessionsKill(Tool& tool, const std::string& session_id) {
  v1::EndSessionRequest request;
  request.set_session_id(session_id);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Session>("EndSession", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Out(fmt::format(
        "{}: {}\n", session_id,
        IsTerminal(answer.message.state()) ? "has ended" : "asked to end"));
  }
  return kExitOk;
}

absl::StatusOr<int> SessionsPlay(Tool& tool,
                                 const SessionsPlayOptions& options) {
  v1::GetRecordingRequest request;
  request.set_session_id(options.session_id);
  ASSIGN_OR_RETURN(const std::string cast,
                   tool.api.CallRaw("GetRecording", request));
  if (!options.to.empty()) {
    RETURN_IF_ERROR(WriteFileDurably(options.to, cast, 0600));
    return kExitOk;
  }
  ASSIGN_OR_RETURN(const std::vector<CastEvent> events, EventsOf(cast));
  double shown_at = 0;
  for (const CastEvent& event : events) {
    absl::Duration pause = absl::Seconds(event.at - shown_at) / options.speed;
    if (options.idle_max) pause = std::min(pause, *options.idle_max);
    tool.patience.Pause(pause);
    tool.console.Out(event.text);
    shown_at = event.at;
  }
  tool.console.Out("\n");
  return kExitOk;
}

}  // namespace muster::ctl
