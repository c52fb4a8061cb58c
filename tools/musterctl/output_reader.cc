#include "tools/musterctl/output_reader.h"

#include <limits>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/exit_code.h"

namespace muster::ctl {
namespace {

// Short, so that Ctrl-C is acted upon soon; the gateway answers earlier when
// there is output.
constexpr absl::Duration kPollWait = absl::Seconds(1);
constexpr absl::Duration kRetryPause = absl::Seconds(1);

}  // namespace

bool IsTerminal(v1::CommandState state) {
  return state >= v1::COMMAND_STATE_SUCCEEDED;
}

bool NeverRan(const v1::Command& command) {
  switch (command.state()) {
    case v1::COMMAND_STATE_EXPIRED:
    case v1::COMMAND_STATE_REJECTED:
      return true;
    case v1::COMMAND_STATE_CANCELLED:
      return !command.has_started_at();
    default:
      return false;
  }
}

void OutputReader::Deliver(const v1::OutputChunk& chunk, uint64_t& offset) {
  std::string_view data = chunk.data();
  if (chunk.offset() > offset) {
    tool_.console.Err(fmt::format(
        "warning: {} bytes of {} were lost\n", chunk.offset() - offset,
        chunk.stream() == v1::OUTPUT_STREAM_STDERR ? "stderr" : "stdout"));
    offset = chunk.offset();
  }
  const uint64_t known = offset - chunk.offset();
  if (known >= data.size()) return;
  data.remove_prefix(known);
  sink_(chunk.stream(), data);
  offset += data.size();
  progressed_ = true;
}

void OutputReader::IgnoreStdout() {
  ignoring_ = true;
  stdout_offset_ = std::numeric_limits<int64_t>::max();  // Beyond every byte.
}

absl::Status OutputReader::Poll(absl::Duration wait) {
  v1::GetOutputRequest request;
  request.set_command_id(command_id_);
  request.set_stdout_offset(stdout_offset_);
  request.set_stderr_offset(stderr_offset_);
  *request.mutable_wait() = wire::ToProto(wait);
  ASSIGN_OR_RETURN(const auto answer, tool_.api.Call<v1::GetOutputResponse>(
                                          "GetOutput", request,
                                          {.wait = wait, .as_protobuf = true}));
  progressed_ = false;
  for (const v1::OutputChunk& chunk : answer.message.chunks()) {
    Deliver(chunk, chunk.stream() == v1::OUTPUT_STREAM_STDERR ? stderr_offset_
                                                              : stdout_offset_);
  }
  command_ = answer.message.command();
  ended_ = answer.message.end() && IsTerminal(command_.state());
  return absl::OkStatus();
}

void OutputReader::WarnOfDropped() const {
  if (const uint64_t dropped = command_.output_dropped_bytes()) {
    tool_.console.Err(fmt::format(
        "warning: the machine dropped {} bytes of output beyond the limit\n",
        dropped));
  }
}

absl::Status OutputReader::Survive(const absl::Status& error,
                                   Instant last_answer) {
  if (!IsPassing(error)) return error;
  if (tool_.clock.Now() - last_answer > kGiveUpAfter) return error;
  if (!told_lost_) {
    tool_.console.Err(
        fmt::format("warning: {}; the command goes on, reading again\n",
                    ToStd(error.message())));
    told_lost_ = true;
  }
  tool_.patience.Pause(kRetryPause);
  return absl::OkStatus();
}

absl::Status OutputReader::ReadToEnd(
    const std::function<absl::Status()>& on_turn) {
  Instant last_answer = tool_.clock.Now();
  Instant last_progress = last_answer;
  while (!ended_) {
    RETURN_IF_ERROR(on_turn());
    const absl::Status polled = Poll(kPollWait);
    if (!polled.ok()) {
      RETURN_IF_ERROR(Survive(polled, last_answer));
      continue;
    }
    told_lost_ = false;
    last_answer = tool_.clock.Now();
    if (progressed_ || !IsTerminal(command_.state())) {
      last_progress = last_answer;
    }
    const bool nothing_comes =
        ignoring_ || NeverRan(command_) ||
        command_.state() == v1::COMMAND_STATE_OUTCOME_UNKNOWN;
    if (!progressed_ && IsTerminal(command_.state()) && nothing_comes) break;
    if (last_answer - last_progress > kTailWait) {
      tool_.console.Err(
          fmt::format("warning: the machine has not sent all output; the rest: "
                      "musterctl commands output {}\n",
                      command_id_));
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace muster::ctl
