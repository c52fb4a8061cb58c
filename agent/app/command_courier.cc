#include "agent/app/command_courier.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/log.h"
#include "libprotocol/wire/proto_time.h"

namespace muster::agent {
namespace {

// After Transfer alone broke: a gateway that has none is not asked all the
// time.
constexpr absl::Duration kTransferPause = absl::Seconds(1);

constexpr v1::OutputStream kStreams[] = {v1::OUTPUT_STREAM_STDOUT,
                                         v1::OUTPUT_STREAM_STDERR};

bool IsTerminal(v1::CommandState state) {
  return agent::IsTerminal(static_cast<CommandState>(state));
}

uint64_t BytesOf(const v1::CommandUpdate& update, v1::OutputStream stream) {
  return stream == v1::OUTPUT_STREAM_STDOUT ? update.stdout_bytes()
                                            : update.stderr_bytes();
}

WindowSize FromProto(const v1::WindowSize& size) {
  const auto bounded = [](uint32_t n) {
    return static_cast<uint16_t>(std::min<uint32_t>(n, UINT16_MAX));
  };
  return {bounded(size.rows()), bounded(size.columns())};
}

Stream ToRunner(v1::OutputStream stream) {
  return stream == v1::OUTPUT_STREAM_STDOUT ? Stream::kStdout : Stream::kStderr;
}

}  // namespace

v1::CommandUpdate ToProto(const Update& update) {
  v1::CommandUpdate out;
  out.set_command_id(update.command_id.str());
  out.set_dispatch_seq(update.dispatch_seq);
  out.set_state(static_cast<v1::CommandState>(update.state));
  if (update.exit_code) out.set_exit_code(*update.exit_code);
  if (update.signal) out.set_signal(*update.signal);
  out.set_reason(update.reason);
  if (update.started_at)
    *out.mutable_started_at() = wire::ToProto(*update.started_at);
  if (update.finished_at)
    *out.mutable_finished_at() = wire::ToProto(*update.finished_at);
  out.set_stdout_bytes(update.stdout_bytes);
  out.set_stderr_bytes(update.stderr_bytes);
  out.set_output_dropped_bytes(update.output_dropped_bytes);
  return out;
}

absl::StatusOr<Order> FromProto(const v1::CommandOrder& order) {
  if (order.shell_type() < v1::SHELL_TYPE_BASH ||
      order.shell_type() > v1::SHELL_TYPE_EXEC) {
    return absl::InvalidArgumentError(
        fmt::format("shell_type: unknown to this agent: {}",
                    static_cast<int>(order.shell_type())));
  }
  Order out;
  out.command_id = CommandId(order.command_id());
  out.dispatch_seq = order.dispatch_seq();
  out.shell = static_cast<Shell>(order.shell_type());
  out.command = order.command();
  out.argv.assign(order.argv().begin(), order.argv().end());
  out.timeout = wire::FromProto(order.timeout());
  out.kill_grace = wire::FromProto(order.kill_grace());
  out.output_bytes_max = order.output_bytes_max();
  out.issued_by = order.issued_by();
  out.purpose = order.purpose();
  const v1::Surroundings& surroundings = order.surroundings();
  out.surroundings = {.user = surroundings.user(),
                      .folder = surroundings.working_directory(),
                      .environment = {},
                      .umask = std::nullopt,
                      .input = surroundings.input()};
  for (const auto& [name, value] : surroundings.environment()) {
    out.surroundings.environment.push_back(name + "=" + value);
  }
  if (surroundings.has_umask()) out.surroundings.umask = surroundings.umask();
  if (order.has_terminal()) {
    out.terminal = Terminal{.size = FromProto(order.terminal().size()),
                            .type = order.terminal().type(),
                            .keep = wire::FromProto(order.terminal().keep()),
                            .recorded = order.terminal().recorded()};
  }
  out.input_streamed = order.input_streamed();
  return out;
}

void CommandCourier::OnUpdate(const Update& update) {
  Log(kInfo, "command_update",
      {{"command_id", update.command_id.str()},
       {"state", Name(update.state)},
       {"reason", update.reason}});
  Keep(ToProto(update));
}

void CommandCourier::Keep(v1::CommandUpdate update) {
  const CommandId id(update.command_id());
  if (IsTerminal(update.state())) {
    for (const v1::OutputStream stream : kStreams) {
      output_.Grew({id, stream}, BytesOf(update, stream), WindowOf(id));
    }
  }
  Open& open = open_[id];
  // A repeated order asks to hear the same again.
  open.sent = open.acked = v1::COMMAND_STATE_UNSPECIFIED;
  open.update = std::move(update);
  SendUpdates();
  SendOutput();
}

void CommandCourier::OnOutput(const CommandId& command_id) {
  for (const v1::OutputStream stream : kStreams) {
    output_.Grew({command_id, stream},
                 runner_->OutputBytes(command_id, ToRunner(stream)),
                 WindowOf(command_id));
  }
  SendOutput();
}

OutputSender::Window CommandCourier::WindowOf(
    const CommandId& command_id) const {
  return runner_->IsSession(command_id) ? OutputSender::Window::kOwn
                                        : OutputSender::Window::kShared;
}

void CommandCourier::OnInput(const CommandId& command_id,
                             const InputState& input) {
  InputState& known = inputs_[command_id];
  // What was passed on to a shim that is still there is on its way to it.
  const uint64_t kept = input.again ? 0 : known.kept;
  known = input;
  known.kept = std::max({kept, input.kept, input.taken});
  SendTaken(command_id, known);
  if (input.again) Accompany(command_id);  // A shim that hears us anew.
}

void CommandCourier::SendTaken(const CommandId& command_id,
                               const InputState& input) {
  v1::InputTaken taken;
  taken.set_command_id(command_id.str());
  taken.set_offset(input.taken);
  taken.set_again(input.again);
  taken.set_closed(input.closed);
  taken.set_kept(input.kept);
  link_.send_taken(std::move(taken));  // Without a link OnOnline() says it.
}

void CommandCourier::Accompany(const CommandId& command_id) {
  if (!runner_->IsSession(command_id)) return;
  ShimMessage message{.kind = ShimMessage::Kind::kAlone};
  if (online_) {
    message.kind = ShimMessage::Kind::kAcknowledged;
    message.number =
        output_.acknowledged({command_id, v1::OUTPUT_STREAM_STDOUT});
  }
  runner_->Say(command_id, message);
}

CommandsForHello CommandCourier::ForHello() const {
  CommandsForHello out;
  out.seen_high = runner_->seen_high();
  for (const CommandId& id : runner_->OpenCommands())
    out.open_command_ids.push_back(id.str());
  return out;
}

void CommandCourier::OnOnline() {
  online_ = true;
  for (auto& [id, open] : open_) open.sent = open.acked;
  output_.PathLost();
  for (auto& [id, input] : inputs_) {
    input.again = true;  // The last link may have lost some.
    SendTaken(id, input);
    Accompany(id);
  }
  SendUpdates();
  SendOutput();
}

void CommandCourier::OnOffline() {
  online_ = false;
  for (const auto& [id, input] : inputs_) Accompany(id);
}

void CommandCourier::OnCommandInput(const v1::CommandInput& input) {
  const CommandId id(input.command_id());
  const auto it = inputs_.find(id);
  if (it == inputs_.end()) return;  // OnInput() asks for it again.
  if (input.has_size()) {
    runner_->Say(id, {.kind = ShimMessage::Kind::kSize,
                      .size = FromProto(input.size())});
  }
  if (!input.data().empty()) {
    runner_->Say(id, {.kind = ShimMessage::Kind::kInput,
                      .number = input.offset(),
                      .data = input.data()});
    InputState& state = it->second;
    state.kept = std::max(state.kept, input.offset() + input.data().size());
    state.again = false;
    SendTaken(id, state);
  }
  if (input.end()) {
    runner_->Say(id, {.kind = ShimMessage::Kind::kEnd,
                      .number = input.offset() + input.data().size()});
  }
}

void CommandCourier::OnOrder(const v1::CommandOrder& order) {
  absl::StatusOr<Order> known = FromProto(order);
  const absl::Status status =
      known.ok() ? runner_->Accept(*std::move(known)) : known.status();
  if (status.ok()) return;
  Log(kWarning, "command_rejected",
      {{"command_id", order.command_id()}, {"error", status}});
  // Nothing of it was stored, so it never ran. If this word is lost, the order
  // comes again with the next link.
  v1::CommandUpdate update;
  update.set_command_id(order.command_id());
  update.set_dispatch_seq(order.dispatch_seq());
  update.set_state(v1::COMMAND_STATE_REJECTED);
  update.set_reason(absl::IsResourceExhausted(status) ? "too_many_commands"
                                                      : "invalid_order");
  link_.send_update(std::move(update));
}

void CommandCourier::OnCancel(const std::string& command_id) {
  const absl::Status status = runner_->Cancel(CommandId(command_id));
  // NotFound: it has ended and is acknowledged, or never came here.
  if (!status.ok() && !absl::IsNotFound(status)) {
    Log(kWarning, "cancel_failed",
        {{"command_id", command_id}, {"error", status}});
  }
}

void CommandCourier::OnUpdateAck(const v1::CommandUpdateAck& ack) {
  const CommandId id(ack.command_id());
  const auto it = open_.find(id);
  if (it == open_.end()) return;
  if (ack.state() == it->second.update.state()) it->second.acked = ack.state();
  ForgetIfDone(id);
  SendUpdates();  // There is room again.
}

void CommandCourier::OnTransferAck(const v1::TransferAck& ack) {
  const CommandId id(ack.command_id());
  output_.Acknowledged({id, ack.stream()}, ack.offset(), loop_.clock().Now());
  Accompany(id);
  ForgetIfDone(id);
  SendOutput();
}

void CommandCourier::OnTransferLost() {
  output_.PathLost();
  loop_.PostAt(loop_.clock().Now() + kTransferPause,
               [this, alive = std::weak_ptr<bool>(alive_)] {
                 if (!alive.expired()) SendOutput();
               });
}

void CommandCourier::SendUpdates() {
  for (auto& [id, open] : open_) {
    if (open.sent == open.update.state()) continue;
    if (!link_.send_update(open.update)) return;
    open.sent = open.update.state();
  }
}

void CommandCourier::SendOutput() {
  while (const auto slice = output_.Next()) {
    const absl::StatusOr<std::string> data =
        runner_->ReadOutput(slice->key.command, ToRunner(slice->key.stream),
                            slice->offset, slice->bytes);
    if (absl::IsOutOfRange(data.status())) {
      output_.SkipTo(slice->key, runner_->OutputBegin(slice->key.command));
      continue;
    }
    if (!data.ok()) {
      Log(kError, "output_unreadable",
          {{"command_id", slice->key.command.str()}, {"error", data.status()}});
    }
    if (!data.ok() || data->empty()) {
      output_.EndsAt(slice->key, slice->offset);
      continue;
    }
    v1::TransferChunk chunk;
    chunk.set_command_id(slice->key.command.str());
    chunk.mutable_chunk()->set_stream(slice->key.stream);
    chunk.mutable_chunk()->set_offset(slice->offset);
    chunk.mutable_chunk()->set_data(*data);
    if (!link_.send_chunk(std::move(chunk))) return;
    output_.Sent(*slice, data->size(), loop_.clock().Now());
  }
}

void CommandCourier::ForgetIfDone(const CommandId& command_id) {
  const auto it = open_.find(command_id);
  if (it == open_.end()) return;
  const v1::CommandUpdate& update = it->second.update;
  if (!IsTerminal(update.state()) || it->second.acked != update.state()) return;
  for (const v1::OutputStream stream : kStreams) {
    if (output_.acknowledged({command_id, stream}) < BytesOf(update, stream))
      return;
  }
  if (const absl::Status status = runner_->Forget(command_id); !status.ok()) {
    Log(kWarning, "forget_failed",
        {{"command_id", command_id.str()}, {"error", status}});
  }
  output_.Forget(command_id);
  inputs_.erase(command_id);
  open_.erase(it);
}

}  // namespace muster::agent
