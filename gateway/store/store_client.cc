#include "gateway/store/store_client.h"

#include "fmt/format.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

absl::Status QueueFull(const char* what, size_t queue_max) {
  return absl::UnavailableError(
      fmt::format("the store is behind: {} {} are waiting", queue_max, what));
}

// What a failed fsync leaves on the disk is unknown, and asking again may get
// "ok" for bytes that were dropped.
bool IsFatal(const absl::Status& status) {
  return absl::IsInternal(status) || absl::IsDataLoss(status);
}

}  // namespace

StoreClient::StoreClient(EventLoop& loop, std::unique_ptr<FleetStore> writer,
                         OpenReader open_reader, Options options)
    : loop_(loop),
      open_reader_(std::move(open_reader)),
      options_(std::move(options)),
      writer_(std::move(writer)),
      store_thread_([this] { RunWriter(); }) {
  for (std::thread& reader : readers_) {
    reader = std::thread([this] { RunReader(); });
  }
}

StoreClient::~StoreClient() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  write_queued_.NotifyAll();
  read_queued_.NotifyAll();
  store_thread_.join();
  for (std::thread& reader : readers_) reader.join();
}

void StoreClient::PushWrite(Job job) {
  {
    MutexLock lock(mu_);
    if (writes_.size() < options_.queue_max) {
      writes_.push_back(std::move(job));
      ++writes_accepted_;
      write_queued_.NotifyOne();
      return;
    }
  }
  job.finish(QueueFull("writes", options_.queue_max));
}

void StoreClient::PushRead(Job job) {
  {
    MutexLock lock(mu_);
    if (reads_.size() < options_.queue_max) {
      reads_.push_back(std::move(job));
      read_queued_.NotifyOne();
      return;
    }
  }
  job.finish(QueueFull("reads", options_.queue_max));
}

void StoreClient::Flush() {
  MUSTER_CHECK(!loop_.IsCurrent());
  MutexLock lock(mu_);
  const uint64_t target = writes_accepted_;
  while (writes_ended_ < target) write_finished_.Wait(mu_);
}

StoreClient::Health StoreClient::health() const {
  MutexLock lock(mu_);
  return {writes_.size(), reads_.size(), last_commit_, last_error_};
}

// --- The store thread -------------------------------------------------------

// Empty: the client is stopping and nothing is left.
std::vector<StoreClient::Job> StoreClient::TakeWrites() {
  MutexLock lock(mu_);
  while (writes_.empty() && !stopping_) write_queued_.Wait(mu_);
  std::vector<Job> batch;
  while (!writes_.empty() && batch.size() < options_.batch_max) {
    batch.push_back(std::move(writes_.front()));
    writes_.pop_front();
  }
  return batch;
}

void StoreClient::RunWriter() {
  for (auto batch = TakeWrites(); !batch.empty(); batch = TakeWrites()) {
    const absl::Status result = RunBatch(batch);
    for (Job& job : batch) job.finish(result.ok() ? job.failure : result);
    MutexLock lock(mu_);
    writes_ended_ += batch.size();
    write_finished_.NotifyAll();
  }
}

absl::Status StoreClient::RunBatch(std::vector<Job>& batch) {
  RETURN_IF_ERROR(fatal_);
  absl::Duration commit;
  absl::Status result = writer_->Begin();
  if (result.ok()) {
    for (Job& job : batch) job.failure = RunInside(job);
    const Instant start = loop_.clock().Now();
    result = writer_->Commit();
    commit = loop_.clock().Now() - start;
  }
  if (IsFatal(result)) fatal_ = result;
  Report(result.ok() ? Trouble(batch) : result, commit);
  return result;
}

// What the disk did to one job of a batch that was committed.
absl::Status StoreClient::Trouble(const std::vector<Job>& batch) {
  for (const Job& job : batch) {
    if (absl::IsResourceExhausted(job.own) || absl::IsUnavailable(job.own)) {
      return job.own;
    }
  }
  return absl::OkStatus();
}

absl::Status StoreClient::RunInside(Job& job) {
  RETURN_IF_ERROR(writer_->Begin());
  job.own = job.run(writer_.get());
  if (job.own.ok()) return writer_->Commit();
  writer_->Rollback();
  return absl::OkStatus();  // The job keeps its own error.
}

void StoreClient::Report(const absl::Status& result, absl::Duration commit) {
  {
    MutexLock lock(mu_);
    last_error_ = result;
    if (result.ok()) last_commit_ = commit;
  }
  if (IsFatal(result) && options_.on_fatal != nullptr) {
    loop_.Post([tell = options_.on_fatal, result] { tell(result); });
  }
}

// --- Reader threads ---------------------------------------------------------

// Nothing: the client is stopping and nothing is left.
std::optional<StoreClient::Job> StoreClient::TakeRead() {
  MutexLock lock(mu_);
  while (reads_.empty() && !stopping_) read_queued_.Wait(mu_);
  if (reads_.empty()) return std::nullopt;
  Job job = std::move(reads_.front());
  reads_.pop_front();
  return job;
}

void StoreClient::RunReader() {
  std::unique_ptr<FleetStore> store;  // Opened when first needed.
  while (std::optional<Job> job = TakeRead()) {
    absl::Status failure;
    if (job->needs_reader && store == nullptr) {
      auto opened = open_reader_();
      failure = opened.status();
      if (opened.ok()) store = *std::move(opened);
    }
    if (failure.ok()) (void)job->run(store.get());
    job->finish(failure);
  }
}

}  // namespace muster::gateway
