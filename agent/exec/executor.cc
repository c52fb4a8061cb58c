#include "agent/exec/executor.h"

#include <algorithm>
#include <utility>

#include "agent/exec/launch.h"
#include "agent/exec/spool.h"
#include "libprotocol/base/log.h"
#include "libprotocol/base/status_macros.h"

namespace muster::agent {
namespace {

constexpr size_t kCommandBytesMax = 256 << 10;
// The kernel's own limit for one argument is 128 KiB with its NUL.
constexpr size_t kArgumentBytesMax = (128 << 10) - 1;
constexpr size_t kReadBytesMax = 1 << 20;
constexpr absl::Duration kTimeoutMax = absl::Hours(24 * 30);
constexpr absl::Duration kKillGraceMax = absl::Hours(1);
// Between two attempts to settle a command whose folder cannot be written.
constexpr absl::Duration kSettleAgain = absl::Seconds(5);

bool HasNul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

std::string_view ArgvProblem(const std::vector<std::string>& argv,
                             bool may_be_empty) {
  if (argv.empty() && may_be_empty) return "";
  if (argv.empty() || argv.front().empty()) return "argv_empty";
  size_t bytes = 0;
  for (const std::string& arg : argv) {
    if (HasNul(arg)) return "command_has_nul";
    if (arg.size() > kArgumentBytesMax) return "command_too_large";
    bytes += arg.size() + 1;
  }
  return bytes > kCommandBytesMax ? "command_too_large" : "";
}

std::string_view TextProblem(const std::string& text) {
  if (text.empty()) return "command_empty";
  if (HasNul(text)) return "command_has_nul";
  return text.size() > kCommandBytesMax ? "command_too_large" : "";
}

std::string_view SurroundingsProblem(const Surroundings& surroundings) {
  size_t bytes = surroundings.input.size();
  for (const std::string& entry : surroundings.environment) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == entry.npos || HasNul(entry)) {
      return "environment_invalid";
    }
    bytes += entry.size();
  }
  if (bytes > 2 * kCommandBytesMax) return "command_too_large";
  if (HasNul(surroundings.user)) return "user_unknown";
  if (!surroundings.folder.empty() &&
      (surroundings.folder.front() != '/' || HasNul(surroundings.folder))) {
    return "working_directory_missing";
  }
  return "";
}

RunOrder ToldOf(const Order& order, absl::Time now) {
  RunOrder told{.command_id = order.command_id,
                .at = now,
                .issued_by = order.issued_by,
                .purpose = order.purpose,
                .user = order.surroundings.user,
                .shell = std::string(Name(order.shell)),
                .text = {}};
  SetText(order.command, order.argv, told);
  return told;
}

Update UpdateFrom(const CommandId& command_id, const CommandStore::View& view) {
  Update update;
  update.command_id = command_id;
  update.dispatch_seq = view.dispatch_seq;
  update.started_at = view.started_at;
  if (!view.exit) {
    update.state =
        view.started_at ? CommandState::kRunning : CommandState::kReceived;
    return update;
  }
  const Exit& exit = *view.exit;
  update.state = exit.state;
  update.exit_code = exit.exit_code;
  update.signal = exit.signal;
  update.reason = exit.reason;
  update.started_at = exit.started_at;
  update.finished_at = exit.finished_at;
  update.stdout_bytes = exit.stdout_bytes;
  update.stderr_bytes = exit.stderr_bytes;
  update.output_dropped_bytes = exit.stdout_dropped + exit.stderr_dropped;
  update.output_complete = exit.output_complete;
  return update;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> Executor::Open(EventLoop& loop,
                                                         Delegate& delegate,
                                                         Options options) {
  std::unique_ptr<Executor> executor(
      new Executor(loop, delegate, std::move(options)));
  Executor* const raw = executor.get();
  ASSIGN_OR_RETURN(executor->store_,
                   CommandStore::Open(
                       {.folder = executor->options_.folder,
                        .shim_path = executor->options_.shim_path,
                        .boot_id = executor->options_.boot_id},
                       loop.clock(),
                       [raw] { raw->PostBack([raw] { raw->TakeEvents(); }); }));
  executor->seen_high_ = executor->ordered_high_ =
      executor->store_->seen_high();
  return executor;
}

Executor::~Executor() { *alive_ = false; }

void Executor::PostBack(absl::AnyInvocable<void()> task) {
  // A loop that shuts down drops it, as it drops everything.
  loop_.Post([alive = alive_, task = std::move(task)]() mutable {
    if (*alive) task();
  });
}

CommandFolder Executor::FolderOf(const CommandId& command_id) const {
  return CommandFolder(options_.folder + "/commands/" + command_id.str());
}

absl::Status Executor::Recover() {
  ASSIGN_OR_RETURN(const std::vector<CommandId> ids, store_->List());
  for (const CommandId& id : ids) {
    absl::StatusOr<CommandStore::View> view = store_->Settle(id);
    if (view.ok()) {
      ordered_high_ = std::max(ordered_high_, view->dispatch_seq);
    }
    commands_[id].looking = true;
    Looked(id, true, std::move(view));
  }
  RETURN_IF_ERROR(store_->RaiseSeen(ordered_high_));
  seen_high_ = store_->seen_high();
  return absl::OkStatus();
}

size_t Executor::Running() const {
  return static_cast<size_t>(
      std::count_if(commands_.begin(), commands_.end(), [](const auto& entry) {
        const std::optional<Update>& update = entry.second.update;
        return !update || !IsTerminal(update->state);
      }));
}

Spec Executor::SpecOf(Order order) const {
  Spec spec;
  spec.command_id = std::move(order.command_id);
  spec.dispatch_seq = order.dispatch_seq;
  spec.shell = order.shell;
  spec.command = std::move(order.command);
  spec.argv = std::move(order.argv);
  spec.timeout = order.timeout == absl::ZeroDuration()
                     ? options_.timeout_default
                     : order.timeout;
  spec.kill_grace = order.kill_grace == absl::ZeroDuration()
                        ? options_.kill_grace_default
                        : order.kill_grace;
  spec.output_bytes_max =
      order.output_bytes_max == 0
          ? options_.output_bytes_max
          : std::min(order.output_bytes_max, options_.output_bytes_max);
  spec.surroundings = std::move(order.surroundings);
  spec.terminal = std::move(order.terminal);
  spec.input_streamed = order.input_streamed;
  spec.boot_id = options_.boot_id;
  return spec;
}

std::string_view Executor::RejectionOf(const Spec& spec) const {
  if (Name(spec.shell) == "unknown") return "shell_unavailable";
  const std::string_view problem =
      spec.shell == Shell::kExec
          ? ArgvProblem(spec.argv, spec.terminal.has_value())
          : TextProblem(spec.command);
  if (!problem.empty()) return problem;
  if (const auto bad = SurroundingsProblem(spec.surroundings); !bad.empty()) {
    return bad;
  }
  if (spec.timeout < absl::Milliseconds(1) || spec.timeout > kTimeoutMax) {
    return "timeout_out_of_range";
  }
  if (spec.kill_grace < absl::ZeroDuration() ||
      spec.kill_grace > kKillGraceMax) {
    return "kill_grace_out_of_range";
  }
  return Running() >= options_.running_max ? "too_many_commands" : "";
}

std::string_view Executor::TellOrdered(RunOrder order) const {
  if (options_.run_log.empty()) return "";
  if (order.user.empty()) order.user = UserOf({}).value_or("");
  const absl::Status told = run_log_.Ordered(order);
  if (told.ok()) return "";
  Log(kError, "what is run here cannot be told: it is not run",
      {{"command_id", order.command_id.str()}, {"error", told}});
  return StorageReason(told);
}

void Executor::TellEnded(const Update& update) {
  if (options_.run_log.empty()) return;
  disk_.Post(
      [this, id = update.command_id,
       end = RunEnd{.at = update.finished_at.value_or(loop_.clock().Wall()),
                    .state = std::string(Name(update.state)),
                    .exit_code = update.exit_code,
                    .signal = update.signal,
                    .reason = update.reason}] {
        if (const absl::Status told = run_log_.Ended(id, end); !told.ok()) {
          Log(kError, "how a command ended cannot be told here",
              {{"command_id", id.str()}, {"error", told}});
        }
      });
}

absl::Status Executor::Accept(Order order) {
  const CommandId id = order.command_id;
  if (!IsUuid(id.str())) {
    return absl::InvalidArgumentError("command_id must be a UUID");
  }
  if (order.dispatch_seq == 0 || order.dispatch_seq > INT64_MAX) {
    return absl::InvalidArgumentError("dispatch_seq must be in [1, 2^63)");
  }
  if (const auto it = commands_.find(id); it != commands_.end()) {
    // Still being stored: its update is on the way.
    if (it->second.update) delegate_.OnUpdate(Update(*it->second.update));
    return absl::OkStatus();
  }
  if (order.dispatch_seq <= ordered_high_) {
    Update update;
    update.command_id = id;
    update.dispatch_seq = order.dispatch_seq;
    update.state = CommandState::kOutcomeUnknown;
    update.reason = "already_seen";
    delegate_.OnUpdate(update);
    return absl::OkStatus();
  }
  if (commands_.size() >= options_.open_max) {
    return absl::ResourceExhaustedError(
        "too many commands wait for the gateway's acknowledgement");
  }
  RunOrder told = ToldOf(order, loop_.clock().Wall());
  Spec spec = SpecOf(std::move(order));
  const std::string rejection(RejectionOf(spec));
  if (!rejection.empty()) {  // Recorded, but not what it was: it may be huge.
    spec.shell = Shell::kSh;
    spec.command.clear();
    spec.argv.clear();
    spec.timeout = options_.timeout_default;
    spec.kill_grace = options_.kill_grace_default;
    spec.surroundings = {};
    spec.terminal.reset();
  }
  ordered_high_ = spec.dispatch_seq;
  // Whatever the shim does before it is watched goes unannounced: look once.
  Command& command = commands_[id];
  command.looking = command.look_again = true;
  command.session = spec.terminal.has_value();
  disk_.Post([this, id, spec = std::move(spec), rejection,
              told = std::move(told), running = Running() - 1] {
    std::string why_not = rejection;
    if (why_not.empty() && options_.refusal) {
      why_not = options_.refusal(spec, running);
    }
    const std::string_view untold = TellOrdered(told);
    if (why_not.empty()) why_not = untold;
    CommandStore::View view = store_->Accept(spec, why_not);
    PostBack([this, id, view = std::move(view), seen = store_->seen_high()] {
      seen_high_ = seen;
      Looked(id, false, view);
    });
  });
  return absl::OkStatus();
}

absl::Status Executor::Cancel(const CommandId& command_id) {
  if (!commands_.contains(command_id)) {
    return absl::NotFoundError("no open command " + command_id.str());
  }
  disk_.Post([this, command_id] { store_->Cancel(command_id); });
  return absl::OkStatus();
}

absl::StatusOr<std::string> Executor::ReadOutput(const CommandId& command_id,
                                                 Stream stream, uint64_t offset,
                                                 size_t bytes_max) const {
  if (!commands_.contains(command_id)) {
    return absl::NotFoundError("no open command " + command_id.str());
  }
  absl::StatusOr<std::string> bytes =
      FolderOf(command_id)
          .ReadOutput(stream, offset, std::min(bytes_max, kReadBytesMax));
  // Looked at afterwards: it may have been given back meanwhile.
  if (IsSession(command_id) && offset < OutputBegin(command_id)) {
    return absl::OutOfRangeError("not kept any more");
  }
  return bytes;
}

bool Executor::IsSession(const CommandId& command_id) const {
  const auto it = commands_.find(command_id);
  return it != commands_.end() && it->second.session;
}

uint64_t Executor::OutputBegin(const CommandId& command_id) const {
  const uint64_t end = FolderOf(command_id).OutputBytes(Stream::kStdout);
  return end - std::min(end, kRingBytes);
}

void Executor::Say(const CommandId& command_id, const ShimMessage& message) {
  (void)store_->Say(command_id, message);  // OnInput() will tell.
}

uint64_t Executor::OutputBytes(const CommandId& command_id,
                               Stream stream) const {
  const auto it = commands_.find(command_id);
  if (it == commands_.end()) return 0;
  return stream == Stream::kStdout ? it->second.stdout_bytes
                                   : it->second.stderr_bytes;
}

absl::Status Executor::Forget(const CommandId& command_id) {
  const auto it = commands_.find(command_id);
  if (it == commands_.end()) return absl::OkStatus();
  if (!it->second.update || !IsTerminal(it->second.update->state)) {
    return absl::FailedPreconditionError(command_id.str() +
                                         " has not ended yet");
  }
  commands_.erase(it);
  disk_.Post([this, command_id] {
    const absl::Status status = store_->Forget(command_id);
    if (status.ok()) return;
    Log(kWarning, "command folder cannot be deleted",
        {{"command_id", command_id.str()}, {"error", status}});
  });
  return absl::OkStatus();
}

std::vector<CommandId> Executor::OpenCommands() const {
  std::vector<CommandId> ids;
  for (const auto& [id, command] : commands_) ids.push_back(id);
  return ids;
}

std::optional<Update> Executor::LastUpdate(const CommandId& command_id) const {
  const auto it = commands_.find(command_id);
  return it == commands_.end() ? std::nullopt : it->second.update;
}

void Executor::TakeEvents() {
  for (const ChildWatcher::Event& event : store_->TakeEvents()) {
    if (event.input && commands_.contains(event.command_id)) {
      delegate_.OnInput(event.command_id, *event.input);
    }
    if (event.changed || event.gone) Look(event.command_id, event.gone);
  }
}

void Executor::Look(const CommandId& command_id, bool gone) {
  const auto it = commands_.find(command_id);
  if (it == commands_.end()) return;
  Command& command = it->second;
  if (command.looking) {
    command.look_again = true;
    command.gone |= gone;
    return;
  }
  command.looking = true;
  disk_.Post([this, command_id, gone] {
    absl::StatusOr<CommandStore::View> view =
        gone ? store_->Settle(command_id) : store_->Look(command_id);
    PostBack([this, command_id, gone, view = std::move(view)] {
      Looked(command_id, gone, view);
    });
  });
}

void Executor::Looked(const CommandId& command_id, bool gone,
                      absl::StatusOr<CommandStore::View> view) {
  auto it = commands_.find(command_id);
  if (it == commands_.end()) return;
  it->second.looking = false;
  if (view.ok()) {
    Apply(command_id, *view);
  } else {
    Log(kError, "command folder cannot be read or settled",
        {{"command_id", command_id.str()}, {"error", view.status()}});
    loop_.PostAt(loop_.clock().Now() + kSettleAgain,
                 [this, alive = alive_, command_id, gone] {
                   if (*alive) Look(command_id, gone);
                 });
  }
  it = commands_.find(command_id);  // The delegate may have forgotten it.
  if (it == commands_.end() || !it->second.look_again) return;
  it->second.look_again = false;
  Look(command_id, std::exchange(it->second.gone, false));
}

void Executor::Apply(const CommandId& command_id,
                     const CommandStore::View& view) {
  Command& command = commands_[command_id];
  const Update update = UpdateFrom(command_id, view);
  const bool ended = command.update && IsTerminal(command.update->state);
  const bool news =
      !ended && (!command.update || command.update->state != update.state);
  const bool more = view.stdout_bytes > command.stdout_bytes ||
                    view.stderr_bytes > command.stderr_bytes;
  command.stdout_bytes = std::max(command.stdout_bytes, view.stdout_bytes);
  command.stderr_bytes = std::max(command.stderr_bytes, view.stderr_bytes);
  if (news) command.update = update;
  if (news && IsTerminal(update.state)) TellEnded(update);
  command.session |= view.session;
  // Last, for the delegate may Forget().
  if (more) delegate_.OnOutput(command_id);
  if (news) delegate_.OnUpdate(update);
}

}  // namespace muster::agent
