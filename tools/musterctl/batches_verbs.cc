#include "tools/musterctl/batches_verbs.h"

#include <optional>
#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/status_macros.h"
#include "libprotocol/wire/limits.h"
#include "libprotocol/wire/proto_time.h"
#include "tools/musterctl/age.h"
#include "tools/musterctl/batch_follower.h"
#include "tools/musterctl/enum_words.h"
#include "tools/musterctl/exit_code.h"
#include "tools/musterctl/output_format.h"
#include "tools/musterctl/submit.h"

namespace muster::ctl {
namespace {

std::string StateWord(const v1::Batch& batch) {
  return EnumWord(v1::BatchState_descriptor(), batch.state());
}

std::string CommandText(const v1::Batch& batch) {
  std::string text = batch.command();
  for (const std::string& word : batch.argv()) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text.substr(0, text.find('\n'));
}

v1::SubmitBatchRequest RequestOf(const RunOptions& options,
                                 v1::SubmitCommandRequest run) {
  v1::SubmitBatchRequest request;
  *request.mutable_run() = std::move(run);
  for (const v1::Status status : options.on.status) request.add_status(status);
  request.set_hostname(options.on.hostname);
  for (const std::string& label : options.on.labels) request.add_label(label);
  request.set_all(options.on.all);
  request.set_concurrency(options.on.concurrency);
  request.set_canary(options.on.canary.value_or(0));
  request.set_stop_after(options.on.stop_after);
  return request;
}

struct Ask {
  std::string_view verb;
  bool yes = false;
};

// Asks the gateway on how many machines it would be, and a person about more
// than 100; `request` then says that they are agreed to. An exit code if that is
// all.
template <typename Request>
absl::StatusOr<std::optional<int>> AgreeOn(Tool& tool, std::string_view method,
                                           Request& request, const Ask& ask,
                                           bool dry_run) {
  request.set_dry_run(true);
  ASSIGN_OR_RETURN(const auto plan, tool.api.Call<v1::Batch>(method, request));
  request.set_dry_run(false);
  request.set_confirm_targets(plan.message.targets());
  const std::string what =
      fmt::format("{} machine{} ({}), {} at a time",
                  Grouped(plan.message.targets()),
                  plan.message.targets() == 1 ? "" : "s",
                  Printable(plan.message.selector()),
                  plan.message.concurrency());
  if (dry_run) {
    ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, plan.body));
    if (!shown) tool.console.Out("would run on " + what + "\n");
    return kExitOk;
  }
  if (plan.message.targets() <= wire::kUnconfirmedTargetsMax || ask.yes) {
    return std::nullopt;
  }
  RETURN_IF_ERROR(CheckCanAsk(tool, ask.verb));
  ASSIGN_OR_RETURN(const bool agreed,
                   Agreed(tool, fmt::format("Run on {}?", what)));
  if (!agreed) return kExitFailure;
  return std::nullopt;
}

// Begins what was agreed to, and follows it.
template <typename Request>
absl::StatusOr<int> Begin(Tool& tool, std::string_view method,
                          const Request& request, bool detach) {
  bool maybe_sent = false;
  const auto answer = Submit<v1::Batch>(tool, method, request, maybe_sent);
  if (!answer.ok() && maybe_sent) {
    tool.console.Err(
        ErrorText(answer.status(), tool.format == OutputFormat::kJson));
    tool.console.Err(fmt::format(
        "musterctl: the gateway did not say whether it took the batch; do not "
        "repeat it before musterctl batches ls shows; exit {}\n",
        int{kExitOutcomeUnknown}));
    return kExitOutcomeUnknown;
  }
  RETURN_IF_ERROR(answer.status());
  const Answer<v1::Batch>& begun = *answer;
  if (detach) {
    ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, begun.body));
    if (!shown) tool.console.Out(begun.message.batch_id() + "\n");
    return kExitOk;
  }
  BatchFollower follower(tool, begun.message);
  RETURN_IF_ERROR(follower.Run());
  follower.Summarize();
  const v1::Batch& batch = follower.batch();
  return batch.counts().succeeded() == batch.targets() ? kExitOk : kExitFailure;
}

}  // namespace

absl::StatusOr<int> RunOnMany(Tool& tool, const RunOptions& options) {
  ASSIGN_OR_RETURN(v1::SubmitCommandRequest run,
                   SubmissionOf(options, tool.console));
  v1::SubmitBatchRequest request = RequestOf(options, std::move(run));
  const Ask ask{.verb = "run", .yes = options.on.yes};
  ASSIGN_OR_RETURN(const auto plan, AgreeOn(tool, "SubmitBatch", request, ask,
                                            options.on.dry_run));
  if (plan) return *plan;
  return Begin(tool, "SubmitBatch", request, options.detach);
}

absl::StatusOr<int> BatchesLs(Tool& tool, const BatchesLsOptions& options) {
  v1::ListBatchesRequest request;
  request.set_limit(options.limit);
  ASSIGN_OR_RETURN(const auto answer, tool.api.Call<v1::ListBatchesResponse>(
                                          "ListBatches", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  if (tool.format == OutputFormat::kName) {
    for (const v1::Batch& batch : answer.message.batches()) {
      tool.console.Out(batch.batch_id() + "\n");
    }
    return kExitOk;
  }
  if (answer.message.batches().empty()) {
    tool.console.Err("No batches.\n");
    return kExitOk;
  }
  Table table({"BATCH", "STATE", "MACHINES", "AGE", "BY", "OUTCOME", "TEXT"},
              "TEXT");
  const absl::Time now = tool.Now(answer.served_at);
  for (const v1::Batch& batch : answer.message.batches()) {
    table.AddRow({{batch.batch_id()},
                  {StateWord(batch)},
                  {Grouped(batch.targets())},
                  {AgeText(now - wire::FromProto(batch.created_at()))},
                  {batch.issued_by()},
                  {CountsText(batch)},
                  {CommandText(batch)}});
  }
  tool.console.Out(table.Render(tool.Style(options.header)));
  if (!answer.message.next_page_token().empty()) {
    tool.console.Err(fmt::format("\n{} newest shown; --limit for more.\n",
                                 answer.message.batches_size()));
  }
  return kExitOk;
}

absl::StatusOr<int> BatchesGet(Tool& tool, const std::string& batch_id) {
  v1::GetBatchRequest request;
  request.set_batch_id(batch_id);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Batch>("GetBatch", request));
  v1::ListBatchTargetsRequest page;
  page.set_batch_id(batch_id);
  page.set_limit(wire::kPageSizeMax);
  std::vector<std::string> bodies;
  Table table({"MACHINE", "COMMAND", "OUTCOME"}, "OUTCOME");
  do {
    ASSIGN_OR_RETURN(const auto targets,
                     tool.api.Call<v1::ListBatchTargetsResponse>(
                         "ListBatchTargets", page));
    for (const v1::BatchTarget& target : targets.message.targets()) {
      const bool had_turn = target.has_command();
      const std::string outcome =
          had_turn ? OutcomeText(target.command())
                   : (HasEnded(answer.message) ? "never begun" : "waiting");
      table.AddRow({{target.name()},
                    {had_turn ? target.command().command_id() : ""},
                    {outcome.empty() ? "succeeded" : outcome}});
    }
    bodies.push_back(targets.body);
    page.set_page_token(targets.message.next_page_token());
  } while (!page.page_token().empty());
  ASSIGN_OR_RETURN(const std::string all, JoinPages(bodies, "targets"));
  ASSIGN_OR_RETURN(const std::string tree, JoinObjects({answer.body, all}));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, tree));
  if (shown) return kExitOk;
  const v1::Batch& batch = answer.message;
  const absl::Time now = tool.Now(answer.served_at);
  tool.console.Out(Details(
      {{"Batch", batch.batch_id()},
       {"State", StateWord(batch)},
       {"Reason", batch.reason()},
       {"Machines", fmt::format("{}: {}", Grouped(batch.targets()),
                                CountsText(batch))},
       {"Selected", batch.selector()},
       {"Text", CommandText(batch)},
       {"User", batch.surroundings().user()},
       {"Folder", batch.surroundings().working_directory()},
       {"At a time", Grouped(batch.concurrency())},
       {"Canary", batch.canary() == 0 ? "" : Grouped(batch.canary())},
       {"Stop after",
        batch.failures_max() == 0 ? "" : Grouped(batch.failures_max())},
       {"Purpose", batch.purpose()},
       {"By", batch.issued_by()},
       {"Retry of", batch.retry_of()},
       {"Age", AgeText(now - wire::FromProto(batch.created_at()))}}));
  tool.console.Out("\n" + table.Render(tool.Style(/*header=*/true)));
  return kExitOk;
}

absl::StatusOr<int> BatchesCancel(Tool& tool, const std::string& batch_id) {
  v1::CancelBatchRequest request;
  request.set_batch_id(batch_id);
  ASSIGN_OR_RETURN(const auto answer,
                   tool.api.Call<v1::Batch>("CancelBatch", request));
  ASSIGN_OR_RETURN(const bool shown, ShowTree(tool, answer.body));
  if (shown) return kExitOk;
  tool.console.Out(fmt::format("{}: {}\n", StateWord(answer.message),
                               CountsText(answer.message)));
  return kExitOk;
}

absl::StatusOr<int> BatchesRetry(Tool& tool,
                                 const BatchesRetryOptions& options) {
  v1::RetryBatchRequest request;
  request.set_batch_id(options.batch_id);
  request.set_unknown(options.unknown);
  request.set_waiting(options.waiting);
  const Ask ask{.verb = "batches retry", .yes = options.yes};
  ASSIGN_OR_RETURN(const auto plan,
                   AgreeOn(tool, "RetryBatch", request, ask, false));
  if (plan) return *plan;
  return Begin(tool, "RetryBatch", request, options.detach);
}

}  // namespace muster::ctl
