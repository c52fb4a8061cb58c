#include "tools/musterctl/commands_verbs.h"

#include <set>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/proto_time.h"
#include "muster/v1/fleet_admin.pb.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/agents_table.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/output_reader.h"
#include "tools/musterctl/resolve.h"

namespace muster::ctl {
namespace {

std::string StateWord(const v1::Command& command) {
  const auto* known =
      v1::CommandState_descriptor()->FindValueByNumber(command.state());
  return known == nullptr ? "unknown" : wire::EnumText(*known);
}

// "0", "3", "SIG9"; empty while there is none.
std::string ExitText(const v1::Command& command) {
  if (command.has_signal()) return fmt::format("SIG{}", command.signal());
  if (command.has_exit_code()) return std::to_string(command.exit_code());
  return "";
}

// The text, or the words of argv with blanks between them.
std::string CommandText(const v1::Command& command) {
  if (command.argv().empty()) return command.command();
  std::string text;
  for (const std::string& word : command.argv()) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

// Their values may be secret, and are not told.
std::string VariableNames(const v1::Surroundings& surroundings) {
  std::set<std::string> names;
  for (const auto& [name, value] : surroundings.environment()) {
    names.insert(name);
  }
  return fmt::format("{}", fmt::join(names, ","));
}

std::string When(const google::protobuf::Timestamp& t, absl::Time now) {
  const absl::Time time = wire::FromProto(t);
  return fmt::format("{}  ({} ago)",
                     ClockText(time, now, absl::LocalTimeZone()),
                     AgeText(now - time));
}

Table CommandsTable(const v1::ListCommandsResponse& response, absl::Time now) {
  Table table({"COMMAND", "MACHINE", "STATE", "EXIT", "AGE", "BY", "TEXT"},
              "TEXT");
  for (const v1::Command& command : response.commands()) {
    const std::string text = CommandText(command);
    table.AddRow({{command.command_id()},
                  {command.hostname()},
                  {StateWord(command)},
                  {ExitText(command)},
                  {AgeText(now - wire::FromProto(command.created_at()))},
                  {command.issued_by()},
                  {text.substr(0, text.find('\n'))}});
  }
  return table;
}

std::string CommandDetails(const v1::Command& command, absl::Time now) {
  return Details({
      {"Command", command.command_id()},
      {"Machine", command.hostname()},
      {"State", StateWord(command)},
      {"Reason", command.reason()},
      {"Exit", ExitText(command)},
      {"Text", CommandText(command)},
      {"Shell", wire::EnumText(*v1::ShellType_descriptor()->FindValueByNumber(
                    command.shell_type()))},
      {"User", command.surroundings().user()},
      {"Folder", command.surroundings().working_directory()},
      {"Environment", VariableNames(command.surroundings())},
      {"Umask", command.surroundings().has_umask()
                    ? fmt::format("{:04o}", command.surroundings().umask())
                    : ""},
      {"Input", command.input_bytes() == 0
                    ? ""
                    : Grouped(command.input_bytes()) + " bytes"},
      {"Labels", LabelsText(command.labels())},
      {"Purpose", command.purpose()},
      {"By", command.issued_by()},
      {"Created", When(command.created_at(), now)},
      {"Started",
       command.has_started_at() ? When(command.started_at(), now) : ""},
      {"Finished",
       command.has_finished_at() ? When(command.finished_at(), now) : ""},
      {"Output",
       fmt::format("{} bytes, {} on stderr{}",
                   Grouped(command.stdout_bytes() + command.stderr_bytes()),
                   Grouped(command.stderr_bytes()),
                   command.output_complete() ? "" : "; not complete yet")},
      {"Dropped", command.output_dropped_bytes() == 0
                      ? ""
                      : Grouped(command.output_dropped_bytes()) + " bytes"},
  });
}

}  // namespace

absl::StatusOr<int> CommandsLs(Tool& tool, const CommandsLsOptions& options) {
  v1::ListCommandsRequest request;
  if (!options.agent.empty()) {
    ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                     ResolveAgent(tool, options.agent));
    request.set_agent_id(resolved.agent.agent_id());
  }
  for (const v1::CommandState state : options.state) request.add_state(state);
  request.set_limit(options.limit);
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::ListCommandsResponse>(
                                          "ListCommands", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  if (tool.format == OutputFormat::kName) {
    for (const v1::Command& command : answer.message.commands()) {
      tool.console.Out(command.command_id() + "\n");
    }
    return kExitOk;
  }
  if (answer.message.commands().empty()) {
    tool.console.Err("No commands.\n");
    return kExitOk;
  }
  tool.console.Out(CommandsTable(answer.message, tool.Now(answer.served_at))
                       .Render(tool.Style(options.header)));
  if (!answer.message.next_page_token().empty()) {
    tool.console.Err(fmt::format("\n{} newest shown; --limit for more.\n",
                                 answer.message.commands_size()));
  }
  return kExitOk;
}

absl::StatusOr<int> CommandsGet(Tool& tool, const std::string& command_id,
                                absl::Duration wait) {
  v1::GetCommandRequest request;
  request.set_command_id(command_id);
  if (wait > absl::ZeroDuration())
    *request.mutable_wait() = wire::ToProto(wait);
  ASSIGN_OR_RETURN(
      const auto answer,
      tool.api.Call<v1::Command>("GetCommand", request, {.wait = wait}));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  if (tool.format == OutputFormat::kName) {
    tool.console.Out(answer.message.command_id() + "\n");
  } else {
    tool.console.Out(
        CommandDetails(answer.message, tool.Now(answer.served_at)));
  }
  return kExitOk;
}

absl::StatusOr<int> CommandsOutput(Tool& tool,
                                   const CommandsOutputOptions& options) {
  OutputReader reader(tool, options.command_id,
                      [&](v1::OutputStream stream, std::string_view bytes) {
                        const bool error = stream == v1::OUTPUT_STREAM_STDERR;
                        if (options.stderr_only) {
                          if (error) tool.console.Out(bytes);
                        } else if (error) {
                          tool.console.Err(bytes);
                        } else {
                          tool.console.Out(bytes);
                        }
                      });
  if (options.follow) {
    RETURN_IF_ERROR(reader.ReadToEnd([] { return absl::OkStatus(); }));
    reader.WarnOfDropped();
    return kExitOk;
  }
  do {
    RETURN_IF_ERROR(reader.Poll(absl::ZeroDuration()));
  } while (reader.progressed() && !reader.ended());
  reader.WarnOfDropped();
  return kExitOk;
}

absl::StatusOr<int> CommandsCancel(Tool& tool, const std::string& command_id) {
  v1::CancelCommandRequest request;
  request.set_command_id(command_id);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Command>("CancelCommand", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (!shown) {
    tool.console.Err(IsTerminal(answer.message.state())
                         ? fmt::format("Command {} is {}.\n", command_id,
                                       StateWord(answer.message))
                         : fmt::format("Asked to cancel; command {} is {}.\n",
                                       command_id, StateWord(answer.message)));
  }
  return kExitOk;
}

}  // namespace muster::ctl
