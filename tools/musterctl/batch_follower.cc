#include "tools/musterctl/batch_follower.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/outage.h"
#include "tools/musterctl/problem.h"
#include "tools/musterctl/table.h"

namespace muster::ctl {
namespace {

// Output and progress are this old at most.
constexpr absl::Duration kLookEvery = absl::Milliseconds(500);
constexpr size_t kLineBytesMax = 64 << 10;
constexpr size_t kNamedMax = 20;
constexpr size_t kBarWidth = 24;

uint32_t CameOut(const v1::BatchCounts& counts) {
  return counts.succeeded() + counts.failed() + counts.not_delivered() +
         counts.unknown();
}

// One of the six colours of a terminal that are no black and no white.
std::string Coloured(const std::string& name) {
  return fmt::format("\x1b[{}m{}\x1b[0m",
                     31 + std::hash<std::string>()(name) % 6, name);
}

}  // namespace

bool HasEnded(const v1::Batch& batch) {
  return batch.state() == v1::BATCH_STATE_FINISHED ||
         batch.state() == v1::BATCH_STATE_STOPPED ||
         batch.state() == v1::BATCH_STATE_CANCELLED;
}

std::string CountsText(const v1::Batch& batch) {
  const v1::BatchCounts& counts = batch.counts();
  const std::pair<uint32_t, const char*> all[] = {
      {counts.succeeded(), "succeeded"},
      {counts.failed(), "failed"},
      {counts.not_delivered(), "not delivered"},
      {counts.unknown(), "unknown"},
      {counts.running(), "running"},
      {counts.waiting(), HasEnded(batch) ? "never begun" : "waiting"}};
  std::vector<std::string> parts;
  for (const auto& [count, word] : all) {
    if (count > 0) parts.push_back(fmt::format("{} {}", Grouped(count), word));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string OutcomeText(const v1::Command& command) {
  const auto because = [&command](std::string_view what) {
    return command.reason().empty()
               ? std::string(what)
               : fmt::format("{}: {}", what, Printable(command.reason()));
  };
  if (NeverRan(command)) return because("did not run");
  switch (command.state()) {
    case v1::COMMAND_STATE_SUCCEEDED:
      return "";
    case v1::COMMAND_STATE_FAILED:
      return fmt::format("failed with {}", command.exit_code());
    case v1::COMMAND_STATE_SIGNALED:
      return fmt::format("killed by signal {}", command.signal());
    case v1::COMMAND_STATE_TIMED_OUT:
      return "timed out";
    case v1::COMMAND_STATE_CANCELLED:
      return because("cancelled after it had started");
    case v1::COMMAND_STATE_OUTCOME_UNKNOWN:
      return because("outcome unknown");
    default:
      return "not ended";
  }
}

std::string LinePrefix::Add(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (end == bytes.npos) {
      if (line_.size() >= kLineBytesMax) out += Rest();
      return out;
    }
    out += fmt::format("{}{}\n", prefix_, std::exchange(line_, {}));
    bytes.remove_prefix(end + 1);
  }
  return out;
}

std::string LinePrefix::Rest() {
  if (line_.empty()) return "";
  return fmt::format("{}{}\n", prefix_, std::exchange(line_, {}));
}

absl::Status BatchFollower::Run() {
  tool_.patience.CatchInterrupts(
      "\nmusterctl: cancelling; Ctrl-C again leaves it running\n",
      fmt::format("\nmusterctl: batch {0} is left running; musterctl batches "
                  "get {0}\n",
                  batch_.batch_id()));
  Outage outage(tool_);
  while (true) {
    const absl::Status looked = Look();
    if (looked.ok()) {
      outage.Answered("");
      if (HasEnded(batch_) && AllDone()) break;
      tool_.patience.Pause(kLookEvery);
    } else if (IsPassing(looked)) {
      ClearProgress();
      outage.Failed(looked);
    } else {
      return looked;
    }
  }
  ClearProgress();
  return absl::OkStatus();
}

absl::Status BatchFollower::Look() {
  if (tool_.patience.Interrupted() && !cancelled_) {
    v1::CancelBatchRequest cancel;
    cancel.set_batch_id(batch_.batch_id());
    RETURN_IF_ERROR(
        tool_.api.Call<v1::Batch>("CancelBatch", cancel).status());
    cancelled_ = true;
  }
  v1::GetBatchRequest request;
  request.set_batch_id(batch_.batch_id());
  ASSIGN_OR_RETURN(auto answer,
                   tool_.api.Call<v1::Batch>("GetBatch", request));
  batch_ = std::move(answer.message);
  body_ = std::move(answer.body);
  // Who has its turn, or came out, shows in the counts.
  const std::string counts = batch_.counts().SerializeAsString();
  if (counts != counts_taken_) RETURN_IF_ERROR(TakeTargets());
  // One counts as running a moment before its command is there.
  const bool all_taken =
      machines_.size() + batch_.counts().waiting() >= batch_.targets();
  if (all_taken) counts_taken_ = counts;
  RETURN_IF_ERROR(ReadOutput());
  Progress();
  return absl::OkStatus();
}

absl::Status BatchFollower::TakeTargets() {
  v1::ListBatchTargetsRequest request;
  request.set_batch_id(batch_.batch_id());
  request.set_limit(wire::kPageSizeMax);
  do {
    ASSIGN_OR_RETURN(auto answer,
                     tool_.api.Call<v1::ListBatchTargetsResponse>(
                         "ListBatchTargets", request));
    for (const v1::BatchTarget& target : answer.message.targets()) {
      Take(target);
    }
    request.set_page_token(answer.message.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

void BatchFollower::Take(const v1::BatchTarget& target) {
  if (!target.has_command()) return;
  const std::string& id = target.command().command_id();
  const std::string name = Printable(target.name());
  const std::string shown = tool_.color ? Coloured(name) : name;
  Machine& machine =
      machines_
          .try_emplace(id, Machine{.name = name,
                                   .command = {},
                                   .reader = nullptr,
                                   .out = LinePrefix(shown + " | "),
                                   .err = LinePrefix(shown + " | "),
                                   .quiet_since = {},
                                   .done = false})
          .first->second;
  machine.command = target.command();
}

absl::Status BatchFollower::ReadOutput() {
  for (auto& [id, machine] : machines_) {
    if (!machine.done) RETURN_IF_ERROR(ReadOne(id, machine));
  }
  return absl::OkStatus();
}

absl::Status BatchFollower::ReadOne(const std::string& id, Machine& machine) {
  if (NeverRan(machine.command)) {
    Show(machine, v1::OUTPUT_STREAM_STDERR,
         OutcomeText(machine.command) + "\n");
    machine.done = true;
    return absl::OkStatus();
  }
  const Instant now = tool_.clock.Now();
  if (!machine.reader) {
    machine.quiet_since = now;
    machine.reader = std::make_unique<OutputReader>(
        tool_, id,
        [this, &machine](v1::OutputStream stream, std::string_view bytes) {
          Show(machine, stream, bytes);
        });
  }
  RETURN_IF_ERROR(machine.reader->Poll(absl::ZeroDuration()));
  machine.command = machine.reader->command();
  if (machine.reader->progressed() || !IsTerminal(machine.command.state())) {
    machine.quiet_since = now;
  }
  const bool quiet = now - machine.quiet_since > OutputReader::kTailWait;
  // Of what nobody knows no more output may ever come.
  machine.done = machine.reader->ended() || quiet ||
                 machine.command.state() == v1::COMMAND_STATE_OUTCOME_UNKNOWN;
  if (!machine.done) return absl::OkStatus();
  ClearProgress();
  tool_.console.Out(machine.out.Rest());
  tool_.console.Err(machine.err.Rest());
  if (quiet && !machine.reader->ended()) {
    tool_.console.Err(fmt::format(
        "warning: {} has not sent all output; the rest: musterctl commands "
        "output {}\n",
        machine.name, id));
  }
  machine.reader.reset();
  return absl::OkStatus();
}

void BatchFollower::Show(Machine& machine, v1::OutputStream stream,
                         std::string_view bytes) {
  const bool to_stderr = stream == v1::OUTPUT_STREAM_STDERR;
  const std::string lines = (to_stderr ? machine.err : machine.out).Add(bytes);
  if (lines.empty()) return;
  ClearProgress();
  if (to_stderr) {
    tool_.console.Err(lines);
  } else {
    tool_.console.Out(lines);
  }
}

void BatchFollower::Progress() {
  if (tool_.console.Columns() == 0) return;  // No terminal.
  const uint64_t targets = std::max<uint64_t>(batch_.targets(), 1);
  const size_t filled = kBarWidth * CameOut(batch_.counts()) / targets;
  const std::string line = fmt::format(
      "[{:#<{}}{:.<{}}] {}", "", filled, "", kBarWidth - filled,
      CountsText(batch_));
  tool_.console.Err("\r\x1b[K" + Clip(line, tool_.console.Columns() - 1));
  progress_shown_ = true;
}

void BatchFollower::ClearProgress() {
  if (std::exchange(progress_shown_, false)) tool_.console.Err("\r\x1b[K");
}

bool BatchFollower::AllDone() const {
  return std::ranges::all_of(
      machines_, [](const auto& entry) { return entry.second.done; });
}

void BatchFollower::Summarize() const {
  size_t named = 0, others = 0;
  for (const auto& [id, machine] : machines_) {
    const std::string outcome = OutcomeText(machine.command);
    if (outcome.empty()) continue;
    if (++named > kNamedMax) {
      ++others;
      continue;
    }
    tool_.console.Err(fmt::format("{}: {}\n", machine.name, outcome));
  }
  if (others > 0) tool_.console.Err(fmt::format("and {} more\n", others));
  if (!batch_.reason().empty()) {
    tool_.console.Err(fmt::format(
        "{}: {}\n",
        batch_.state() == v1::BATCH_STATE_CANCELLED ? "ended" : "stopped",
        batch_.reason()));
  }
  tool_.console.Err(fmt::format(
      "musterctl: {} of {} machines: {}; musterctl batches get {}\n",
      Grouped(CameOut(batch_.counts())), Grouped(batch_.targets()),
      CountsText(batch_), batch_.batch_id()));
}

}  // namespace muster::ctl
