#include "tools/musterctl/run_verb.h"

#include <stdlib.h>

#include <charconv>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/conclusion.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/input_sender.h"
#include "tools/musterctl/output_reader.h"
#include "tools/musterctl/problem.h"
#include "tools/musterctl/resolve.h"
#include "tools/musterctl/submit.h"

namespace muster::ctl {
namespace {

// For room at the gateway.
constexpr absl::Duration kInputWait = absl::Seconds(10);

// For a POSIX shell: 'it'\''s'.
std::string ShellQuoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

// The text of `file`, or of stdin for "-", which `flag` names.
absl::StatusOr<std::string> ReadText(std::string_view flag,
                                     const std::string& file, size_t bytes_max,
                                     Console& console) {
  if (file == "-") return console.ReadInput(bytes_max);
  auto text = ReadFile(file, bytes_max);
  if (text.ok()) return text;
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", flag, ToStd(text.status().message())));
}

absl::Status SetSurroundings(const RunOptions& options, Console& console,
                             v1::Surroundings& out) {
  out.set_user(options.user);
  out.set_working_directory(options.working_directory);
  for (const std::string& variable : options.environment) {
    RETURN_IF_ERROR(AddVariable(variable, out));
  }
  if (!options.umask.empty()) {
    uint32_t umask = 0;
    const char* end = options.umask.data() + options.umask.size();
    const auto [stopped, error] =
        std::from_chars(options.umask.data(), end, umask, 8);
    if (error != std::errc() || stopped != end || umask > 0777) {
      return absl::InvalidArgumentError(fmt::format(
          "--umask: must be octal 0 to 0777, got '{}'", options.umask));
    }
    out.set_umask(umask);
  }
  if (options.stream_input && !options.input.empty()) {
    return absl::InvalidArgumentError("--stdin and --input: give one of them");
  }
  if (options.stream_input && options.script == "-") {
    return absl::InvalidArgumentError("--stdin and --script - cannot both be");
  }
  if (options.input.empty()) return absl::OkStatus();
  if (options.input == "-" && options.script == "-") {
    return absl::InvalidArgumentError("--input and --script cannot both be -");
  }
  ASSIGN_OR_RETURN(
      *out.mutable_input(),
      ReadText("--input", options.input, wire::kInputBytesMax, console));
  return absl::OkStatus();
}

absl::Status SetLabels(const RunOptions& options,
                       v1::SubmitCommandRequest& request) {
  for (const std::string& label : options.labels) {
    const size_t equals = label.find('=');
    if (equals == label.npos) {
      return absl::InvalidArgumentError(
          fmt::format("--label: must be KEY=VALUE, got '{}'", label));
    }
    (*request.mutable_labels())[label.substr(0, equals)] =
        label.substr(equals + 1);
  }
  return absl::OkStatus();
}

absl::Status SetWords(const RunOptions& options,
                      v1::SubmitCommandRequest& request) {
  const std::vector<std::string>& words = options.words;
  if (words.size() == 1 && options.shell != v1::SHELL_TYPE_EXEC) {
    request.set_command(words[0]);
    return absl::OkStatus();
  }
  switch (options.shell) {
    case v1::SHELL_TYPE_BASH:
    case v1::SHELL_TYPE_SH:
    case v1::SHELL_TYPE_ZSH:
      for (const std::string& word : words) {
        if (!request.command().empty()) *request.mutable_command() += ' ';
        *request.mutable_command() += ShellQuoted(word);
      }
      return absl::OkStatus();
    case v1::SHELL_TYPE_PYTHON3:
    case v1::SHELL_TYPE_PWSH:
      return absl::InvalidArgumentError(
          "python3 and pwsh take one text: quote the whole, or use --script");
    default:
      request.set_shell_type(v1::SHELL_TYPE_EXEC);
      request.mutable_argv()->Assign(words.begin(), words.end());
      return absl::OkStatus();
  }
}

// Asks to cancel; false if the gateway did not hear it.
bool Cancel(Tool& tool, const std::string& command_id) {
  v1::CancelCommandRequest request;
  request.set_command_id(command_id);
  const auto answer = tool.api.Call<v1::Command>("CancelCommand", request);
  // A command that has just ended cannot be cancelled, and need not be.
  return answer.ok() || ProblemOf(answer.status());
}

// Reads until the end. Ctrl-C, and output that nobody reads any more, ask once
// to cancel.
int Follow(Tool& tool, const std::string& command_id) {
  tool.patience.CatchInterrupts(
      "\nmusterctl: cancelling; Ctrl-C again leaves it running\n",
      fmt::format("\nmusterctl: command {0} is left running; "
                  "musterctl commands output -f {0}\n",
                  command_id));
  OutputReader reader(tool, command_id,
                      [&](v1::OutputStream stream, std::string_view bytes) {
                        if (stream == v1::OUTPUT_STREAM_STDERR) {
                          tool.console.Err(bytes);
                        } else {
                          tool.console.Out(bytes);
                        }
                      });
  tool.console.SurviveClosedOut();
  bool closed = false, asked = false;
  const absl::Status read = reader.ReadToEnd([&] {
    const std::string failure = tool.console.OutFailure();
    if (!failure.empty() && !std::exchange(closed, true)) {
      reader.IgnoreStdout();
      tool.console.Err(
          fmt::format("musterctl: standard output: {}; cancelling command {}\n",
                      failure, command_id));
    }
    const bool wanted = closed || tool.patience.Interrupted();
    if (wanted && !asked) asked = Cancel(tool, command_id);
    return absl::OkStatus();
  });
  if (!read.ok()) {
    tool.console.Err(ErrorText(read, false));
    tool.console.Err(fmt::format(
        "musterctl: the outcome of command {} is not known here; do not repeat "
        "it; musterctl commands get {}; exit {}\n",
        command_id, command_id, int{kExitOutcomeUnknown}));
    return kExitOutcomeUnknown;
  }
  reader.WarnOfDropped();
  return Conclude(tool, reader.command(), "command");
}

// stdin here goes to a command for as long as this lives.
class Piping {
 public:
  // `tool` must outlive it.
  static absl::StatusOr<std::unique_ptr<Piping>> Prepare(Tool& tool) {
    auto piping = std::make_unique<Piping>(tool);
    ASSIGN_OR_RETURN(piping->line_, tool.another_line());
    ASSIGN_OR_RETURN(piping->input_, tool.open_input(false));
    return piping;
  }
  explicit Piping(Tool& tool) : tool_(tool) {}

  void Start(const std::string& command_id) {
    sender_.emplace(
        *input_, std::move(line_), 0,
        [this, command_id](GatewayApi& api, const InputSender::Part& part) {
          auto progress = Put(api, command_id, part);
          if (!progress.ok() && !IsPassing(progress.status()) &&
              !absl::IsCancelled(progress.status())) {
            tool_.console.Err(fmt::format(
                "warning: standard input goes nowhere any more: {}\n",
                ToStd(progress.status().message())));
          }
          return progress;
        });
  }

 private:
  static absl::StatusOr<InputSender::Progress> Put(
      GatewayApi& api, const std::string& command_id,
      const InputSender::Part& part) {
    v1::WriteInputRequest request;
    request.set_command_id(command_id);
    request.set_offset(part.offset);
    request.set_data(part.bytes);
    request.set_end(part.end);
    *request.mutable_wait() = wire::ToProto(kInputWait);
    ASSIGN_OR_RETURN(const auto answer,
                     api.Call<v1::WriteInputResponse>("WriteInput", request,
                                                      {.wait = kInputWait}));
    return InputSender::Progress{answer.message.accepted(),
                                 answer.message.taken(),
                                 answer.message.closed()};
  }

  Tool& tool_;
  Line line_;
  std::unique_ptr<LiveInput> input_;
  std::optional<InputSender> sender_;
};

// Resolves and submits; the id of the command.
absl::StatusOr<Answer<v1::Command>> Begin(Tool& tool, const RunOptions& options,
                                          v1::SubmitCommandRequest request,
                                          bool& maybe_sent) {
  ASSIGN_OR_RETURN(const ResolvedAgent resolved,
                   ResolveAgent(tool, options.agent));
  request.set_agent_id(resolved.agent.agent_id());
  return Submit<v1::Command>(tool, "SubmitCommand", request, maybe_sent);
}

}  // namespace

// NAME alone: then the value never stands in a command line.
absl::Status AddVariable(const std::string& text, v1::Surroundings& out) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  if (name.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("--env: must be NAME or NAME=VALUE, got '{}'", text));
  }
  if (equals != text.npos) {
    (*out.mutable_environment())[name] = text.substr(equals + 1);
    return absl::OkStatus();
  }
  const char* value = getenv(name.c_str());
  if (value == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("--env: {} is not set here; give {}=VALUE", name, name));
  }
  (*out.mutable_environment())[name] = value;
  return absl::OkStatus();
}

absl::StatusOr<v1::SubmitCommandRequest> SubmissionOf(const RunOptions& options,
                                                      Console& console) {
  if (options.words.empty() == options.script.empty()) {
    return absl::InvalidArgumentError(
        options.script.empty() ? "no command: give it after --, or --script"
                               : "give a command or --script, not both");
  }
  v1::SubmitCommandRequest request;
  request.set_shell_type(options.shell);
  if (!options.script.empty()) {
    if (options.shell == v1::SHELL_TYPE_EXEC) {
      return absl::InvalidArgumentError("--script needs a shell, not exec");
    }
    ASSIGN_OR_RETURN(
        *request.mutable_command(),
        ReadText("--script", options.script, wire::kCommandBytesMax, console));
  } else {
    RETURN_IF_ERROR(SetWords(options, request));
  }
  if (options.timeout) {
    *request.mutable_timeout() = wire::ToProto(*options.timeout);
  }
  if (options.kill_grace) {
    *request.mutable_kill_grace() = wire::ToProto(*options.kill_grace);
  }
  if (options.delivery_timeout) {
    *request.mutable_delivery_timeout() =
        wire::ToProto(*options.delivery_timeout);
  }
  request.set_if_offline(options.if_offline);
  request.set_input_streamed(options.stream_input);
  if (options.queue_ttl) {
    *request.mutable_queue_ttl() = wire::ToProto(*options.queue_ttl);
  }
  RETURN_IF_ERROR(
      SetSurroundings(options, console, *request.mutable_surroundings()));
  if (options.output_bytes_max) {
    request.set_output_bytes_max(*options.output_bytes_max);
  }
  RETURN_IF_ERROR(SetLabels(options, request));
  request.set_purpose(options.purpose);
  return request;
}

absl::StatusOr<int> Run(Tool& tool, const RunOptions& options) {
  ASSIGN_OR_RETURN(v1::SubmitCommandRequest request,
                   SubmissionOf(options, tool.console));
  std::unique_ptr<Piping> piping;
  if (options.stream_input) {
    ASSIGN_OR_RETURN(piping, Piping::Prepare(tool));
  }
  // From here on it may run there: it is not left without a word.
  if (!options.detach) {
    tool.patience.CatchInterrupts(
        "\nmusterctl: cancelling; Ctrl-C again leaves it running\n",
        "\nmusterctl: whether the command runs is not known here; see "
        "musterctl commands ls\n");
  }
  bool maybe_sent = false;
  const auto command = Begin(tool, options, std::move(request), maybe_sent);
  if (command.ok() && options.detach) {
    ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, command->body));
    if (!shown) tool.console.Out(command->message.command_id() + "\n");
    return kExitOk;
  }
  if (command.ok()) {
    if (piping) piping->Start(command->message.command_id());
    return Follow(tool, command->message.command_id());
  }
  if (!maybe_sent && options.detach) return command.status();

  const bool as_json = tool.format == OutputFormat::kJson;
  tool.console.Err(ErrorText(command.status(), as_json));
  if (maybe_sent) {
    tool.console.Err(fmt::format(
        "musterctl: the gateway did not say whether it took the command; do "
        "not repeat it before musterctl commands ls shows; exit {}\n",
        int{kExitOutcomeUnknown}));
    return kExitOutcomeUnknown;
  }
  tool.console.Err(
      fmt::format("musterctl: the command did not run; safe to repeat; exit "
                  "{}\n",
                  int{kExitDidNotRun}));
  return kExitDidNotRun;
}

}  // namespace muster::ctl
