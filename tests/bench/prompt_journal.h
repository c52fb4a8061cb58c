// A disk that is never late.

#ifndef MUSTER_TESTS_BENCH_PROMPT_JOURNAL_H_
#define MUSTER_TESTS_BENCH_PROMPT_JOURNAL_H_

#include <utility>
#include <vector>

#include "gateway/fleet/journal.h"
#include "libprotocol/base/event_loop.h"

namespace muster::bench {

// PromptJournal says at once that it has written, and keeps nothing. It takes
// no commands.
class PromptJournal final : public gateway::Journal {
 public:
  explicit PromptJournal(EventLoop& loop) : loop_(loop) {}
  void Put(std::vector<gateway::Change>,
           absl::AnyInvocable<void(absl::Status)> done) override {
    loop_.Post([done = std::move(done)]() mutable { done(absl::OkStatus()); });
  }
  void AddCommand(
      gateway::CommandRecord,
      absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)>)
      override {}
  void AddBatch(
      gateway::BatchRecord, std::vector<AgentId>,
      absl::AnyInvocable<void(absl::StatusOr<gateway::BatchRecord>)>)
      override {}
  void LoadCommand(
      CommandId,
      absl::AnyInvocable<void(absl::StatusOr<gateway::CommandRecord>)>)
      override {}
  void AppendOutput(
      gateway::OutputRecord,
      absl::AnyInvocable<void(absl::StatusOr<uint64_t>)>) override {}

 private:
  EventLoop& loop_;
};

}  // namespace muster::bench

#endif  // MUSTER_TESTS_BENCH_PROMPT_JOURNAL_H_
