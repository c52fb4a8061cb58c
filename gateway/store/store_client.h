// The store, for those who must not wait: work goes out, an answer comes back.

#ifndef MUSTER_GATEWAY_STORE_STORE_CLIENT_H_
#define MUSTER_GATEWAY_STORE_STORE_CLIENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/store/fleet_store.h"
#include "libprotocol/base/event_loop.h"
#include "libprotocol/base/mutex.h"

namespace muster::gateway {

// StoreClient is the asynchronous face of FleetStore. It owns the store thread,
// the only one that writes, and two reader threads.
//
// `work` is called on one of those threads and returns absl::Status or
// absl::StatusOr<U>; `done` is then called on the loop with what it returned,
// exactly once, unless the loop is gone. Both must own what they use.
//
// Threading: every method from any thread.
// Lifetime: the loop must outlive the client. The destructor finishes what was
// queued, and posts its answers.
class StoreClient {
 public:
  struct Options {
    size_t queue_max = 10'000;  // Per kind of work: writes, reads.
    size_t batch_max = 512;     // Writes in one transaction.
    // Called on the loop, once, when a commit failed in a way after which the
    // file cannot be trusted (an I/O error, corruption). Every later write
    // fails with the same error; the process should stop.
    std::function<void(absl::Status)> on_fatal = nullptr;
  };

  struct Health {
    size_t writes_queued = 0;
    size_t reads_queued = 0;
    absl::Duration last_commit;  // How long the newest commit took.
    absl::Status last_error;     // Of the newest transaction; ok if it worked.
  };

  // Opens one more view of the store, for reading.
  using OpenReader =
      std::function<absl::StatusOr<std::unique_ptr<FleetStore>>()>;

  // Without `open_reader` reads run on the store thread, between the writes.
  StoreClient(EventLoop& loop, std::unique_ptr<FleetStore> writer,
              OpenReader open_reader, Options options);
  StoreClient(EventLoop& loop, std::unique_ptr<FleetStore> writer,
              OpenReader open_reader)
      : StoreClient(loop, std::move(writer), std::move(open_reader),
                    Options()) {}
  ~StoreClient();
  StoreClient(const StoreClient&) = delete;
  StoreClient& operator=(const StoreClient&) = delete;

  // Runs work(FleetStore&) in a transaction that is committed together with its
  // neighbours, then `done` after the commit: what it reports is durable. Calls
  // of `done` come in the order of Write(). If `work` fails, its own changes
  // are undone. If the commit fails, all of them are, and every `done` of the
  // batch gets that error. Unavailable: the queue is full; nothing ran.
  template <typename Work, typename Done>
  void Write(Work work, Done done);

  // Runs work(FleetStore&) on a reader thread; it sees every write whose `done`
  // has been called. Two reads may overtake each other. Unavailable as above.
  template <typename Work, typename Done>
  void Read(Work work, Done done);

  // Runs other work that takes long, work(), on a reader thread. Unavailable as
  // above.
  template <typename Work, typename Done>
  void Offload(Work work, Done done);

  // Blocks until every write queued before has been committed or has failed.
  // For shutdown; never on the loop.
  void Flush() ABSL_LOCKS_EXCLUDED(mu_);

  Health health() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr size_t kReaders = 2;

  // `run` does the work and keeps its result; `finish` posts the result, or
  // `failure` in its place if that is not ok.
  struct Job {
    absl::AnyInvocable<absl::Status(FleetStore*)> run;
    absl::AnyInvocable<void(const absl::Status& failure)> finish;
    bool needs_reader = false;
    absl::Status own;      // What `run` returned.
    absl::Status failure;  // Why `run` was not called, or had no effect.
  };

  static absl::Status StatusOf(const absl::Status& result) { return result; }
  template <typename U>
  static absl::Status StatusOf(const absl::StatusOr<U>& result) {
    return result.status();
  }
  template <typename Result, typename Work, typename Done>
  Job MakeJob(Work work, Done done);

  void PushWrite(Job job) ABSL_LOCKS_EXCLUDED(mu_);
  void PushRead(Job job) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Job> TakeWrites() ABSL_LOCKS_EXCLUDED(mu_);
  std::optional<Job> TakeRead() ABSL_LOCKS_EXCLUDED(mu_);
  void RunWriter() ABSL_LOCKS_EXCLUDED(mu_);
  void RunReader() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status RunBatch(std::vector<Job>& batch);
  absl::Status RunInside(Job& job);
  static absl::Status Trouble(const std::vector<Job>& batch);
  void Report(const absl::Status& result, absl::Duration commit)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  EventLoop& loop_;
  const OpenReader open_reader_;
  const Options options_;

  // Touched by the store thread only.
  const std::unique_ptr<FleetStore> writer_;
  absl::Status fatal_;

  mutable Mutex mu_;
  CondVar write_queued_;
  CondVar read_queued_;
  CondVar write_finished_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Job> writes_ ABSL_GUARDED_BY(mu_);
  std::deque<Job> reads_ ABSL_GUARDED_BY(mu_);
  uint64_t writes_accepted_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t writes_ended_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration last_commit_ ABSL_GUARDED_BY(mu_);
  absl::Status last_error_ ABSL_GUARDED_BY(mu_);

  // Last: they start when everything above exists.
  std::thread store_thread_;
  std::array<std::thread, kReaders> readers_;
};

// --- Templates --------------------------------------------------------------

template <typename Result, typename Work, typename Done>
StoreClient::Job StoreClient::MakeJob(Work work, Done done) {
  auto result = std::make_shared<std::optional<Result>>();
  Job job;
  job.run = [result, work = std::move(work)](FleetStore* store) mutable {
    if constexpr (std::is_invocable_v<Work&, FleetStore&>) {
      result->emplace(work(*store));
    } else {
      result->emplace(work());
    }
    return StatusOf(**result);
  };
  job.finish = [this, result,
                done = std::move(done)](const absl::Status& failure) mutable {
    if (!failure.ok()) result->emplace(failure);
    loop_.Post([result, done = std::move(done)]() mutable {
      std::move(done)(**std::move(result));
    });
  };
  return job;
}

template <typename Work, typename Done>
void StoreClient::Write(Work work, Done done) {
  using Result = std::invoke_result_t<Work&, FleetStore&>;
  PushWrite(MakeJob<Result>(std::move(work), std::move(done)));
}

template <typename Work, typename Done>
void StoreClient::Read(Work work, Done done) {
  using Result = std::invoke_result_t<Work&, FleetStore&>;
  Job job = MakeJob<Result>(std::move(work), std::move(done));
  if (open_reader_ == nullptr) {
    PushWrite(std::move(job));
  } else {
    job.needs_reader = true;
    PushRead(std::move(job));
  }
}

template <typename Work, typename Done>
void StoreClient::Offload(Work work, Done done) {
  using Result = std::invoke_result_t<Work&>;
  PushRead(MakeJob<Result>(std::move(work), std::move(done)));
}

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_STORE_CLIENT_H_
