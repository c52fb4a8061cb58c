// Batches, their machines, and what became of those.

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/fleet/batch_rules.h"
#include "gateway/store/sqlite/columns.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Blob;
using sqlite::Database;
using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr char kColumns[] =
    "id, org, shell, spec_text, argv, timeout_us, delivery_timeout_us, "
    "kill_grace_us, output_bytes_max, run_as, working_directory, environment, "
    "umask, input, queue_offline, concurrency, canary, failures_max, "
    "concurrency_text, stop_after, issued_by, idempotency_key, request, labels, purpose, selector, retry_of, "
    "created_at_us, state, reason, finished_at_us, waiting, running, "
    "succeeded, failed, not_delivered, outcome_unknown";

std::string Select(std::string_view where) {
  return fmt::format("SELECT {} FROM batches WHERE {}", kColumns, where);
}

absl::Status ReadBatch(const Statement& row, BatchRecord& b) {
  std::string argv, labels, environment;
  std::optional<std::string> key;
  CommandSpec& s = b.spec;
  Surroundings& in = s.surroundings;
  BatchCounts& n = b.counts;
  row.Read(b.id, b.org, s.shell, s.text, argv, s.timeout, s.delivery_timeout,
           s.kill_grace, s.output_bytes_max, in.user, in.working_directory,
           environment, in.umask, in.input, b.queue_offline, b.concurrency,
           b.canary, b.failures_max, b.concurrency_text, b.stop_after, b.issued_by,
           key, b.request, labels, b.purpose, b.selector, b.retry_of, b.created_at, b.state, b.reason,
           b.finished_at, n.waiting, n.running, n.succeeded, n.failed,
           n.not_delivered, n.unknown);
  b.idempotency_key = std::move(key).value_or("");
  ASSIGN_OR_RETURN(s.argv, sqlite::ArgvFromJson(argv));
  ASSIGN_OR_RETURN(b.labels, sqlite::LabelsFromJson(labels));
  ASSIGN_OR_RETURN(in.environment, sqlite::EnvironmentFromJson(environment));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<BatchRecord>> ReadBatches(Statement& select) {
  std::vector<BatchRecord> batches;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return batches;
    RETURN_IF_ERROR(ReadBatch(select, batches.emplace_back()));
  }
}

absl::Status InsertBatch(Database& db, const BatchRecord& b) {
  const CommandSpec& s = b.spec;
  const Surroundings& in = s.surroundings;
  const BatchCounts& n = b.counts;
  ASSIGN_OR_RETURN(const std::string argv, sqlite::ArgvToJson(s.argv));
  ASSIGN_OR_RETURN(const std::string labels, sqlite::LabelsToJson(b.labels));
  ASSIGN_OR_RETURN(const std::string environment,
                   sqlite::EnvironmentToJson(in.environment));
  std::optional<std::string> key;
  if (!b.idempotency_key.empty()) key = b.idempotency_key;
  ASSIGN_OR_RETURN(
      Statement add,
      db.Prepare(fmt::format(
          "INSERT INTO batches({}) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, "
          "$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, "
          "$23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, "
          "$36, $37)",
          kColumns)));
  return add
      .Bind(b.id, b.org, s.shell, s.text, argv, s.timeout, s.delivery_timeout,
            s.kill_grace, s.output_bytes_max, in.user, in.working_directory,
            environment, in.umask, Blob{in.input}, b.queue_offline,
            b.concurrency, b.canary, b.failures_max, b.concurrency_text,
            b.stop_after, b.issued_by, key, b.request, labels, b.purpose, b.selector, b.retry_of, b.created_at, b.state, b.reason,
            b.finished_at, n.waiting, n.running, n.succeeded, n.failed,
            n.not_delivered, n.unknown)
      .Run();
}

}  // namespace

absl::StatusOr<BatchRecord> SqliteFleetStore::AddBatch(
    const BatchRecord& batch, std::span<const AgentId> targets) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  if (!batch.idempotency_key.empty()) {
    const auto known = FindBatch(batch.org, batch.idempotency_key);
    if (known.ok()) return SameRequest(*known, batch);
    if (!absl::IsNotFound(known.status())) return known.status();
  }
  RETURN_IF_ERROR(InsertBatch(*db_, batch));
  for (size_t place = 0; place < targets.size(); ++place) {
    ASSIGN_OR_RETURN(
        Statement add,
        db_->Prepare("INSERT INTO batch_targets(batch, place, agent) "
                     "VALUES($1, $2, $3)"));
    RETURN_IF_ERROR(add.Bind(batch.id, place, targets[place]).Run());
  }
  RETURN_IF_ERROR(txn.Commit());
  return batch;
}

absl::Status SqliteFleetStore::PutBatch(const BatchRecord& b) {
  const BatchCounts& n = b.counts;
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare("UPDATE batches SET state=$2, reason=$3, finished_at_us=$4, "
                   "waiting=$5, running=$6, succeeded=$7, failed=$8, "
                   "not_delivered=$9, outcome_unknown=$10 WHERE id=$1"));
  RETURN_IF_ERROR(put.Bind(b.id, b.state, b.reason, b.finished_at, n.waiting,
                           n.running, n.succeeded, n.failed, n.not_delivered,
                           n.unknown)
                      .Run());
  return db_->changes() == 1 ? absl::OkStatus() : UnknownBatch(b.id);
}

absl::StatusOr<BatchRecord> SqliteFleetStore::FindBatch(
    const OrgId& org, const std::string& key) {
  ASSIGN_OR_RETURN(Statement find,
                   db_->Prepare(Select("org=$1 AND idempotency_key=$2")));
  ASSIGN_OR_RETURN(const bool found, find.Bind(org, key).Step());
  if (!found) {
    return absl::NotFoundError(fmt::format("no batch has the key {}", key));
  }
  BatchRecord batch;
  RETURN_IF_ERROR(ReadBatch(find, batch));
  return batch;
}

absl::Status SqliteFleetStore::CountInBatch(const CommandRecord& now) {
  ASSIGN_OR_RETURN(Statement look,
                   db_->Prepare("SELECT state FROM batches WHERE id=$1"));
  ASSIGN_OR_RETURN(const bool kept, look.Bind(now.batch).Step());
  BatchState state = BatchState::kRunning;
  if (kept) look.Read(state);
  if (!HasEnded(state)) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare("SELECT state, started_at_us FROM commands WHERE id=$1"));
  ASSIGN_OR_RETURN(const bool found, find.Bind(now.id).Step());
  if (!found) return UnknownCommand(now.id);
  CommandRecord before;
  find.Read(before.state, before.started_at);
  ASSIGN_OR_RETURN(BatchRecord counted, GetBatch(now.batch));
  CountAnew(counted.counts, before, now);
  return PutBatch(counted);
}

absl::StatusOr<BatchRecord> SqliteFleetStore::GetBatch(const BatchId& id) {
  ASSIGN_OR_RETURN(Statement find, db_->Prepare(Select("id=$1")));
  ASSIGN_OR_RETURN(const bool found, find.Bind(id).Step());
  if (!found) return UnknownBatch(id);
  BatchRecord batch;
  RETURN_IF_ERROR(ReadBatch(find, batch));
  return batch;
}

absl::StatusOr<std::vector<BatchRecord>> SqliteFleetStore::ListBatches(
    const OrgId& org, const std::optional<BatchId>& before, size_t limit) {
  ASSIGN_OR_RETURN(
      Statement select,
      db_->Prepare(Select("org=$1 AND id<$2 ORDER BY id DESC LIMIT $3")));
  const std::string end = before ? before->str() : sqlite::kAfterEveryId;
  select.Bind(org, end, limit);
  return ReadBatches(select);
}

absl::StatusOr<std::vector<BatchTarget>> SqliteFleetStore::ListBatchTargets(
    const BatchId& batch, size_t skip, size_t limit) {
  ASSIGN_OR_RETURN(
      Statement select,
      db_->Prepare(
          "SELECT t.agent, c.id, c.org, c.issued_by, c.created_at_us, c.state, "
          "c.dispatch_seq, c.dispatched_at_us, c.started_at_us, "
          "c.finished_at_us, c.exit_code, c.signal, c.reason, "
          "c.cancel_requested, c.stdout_bytes, c.stderr_bytes, c.stdout_total, "
          "c.stderr_total, c.output_dropped_bytes FROM batch_targets AS t "
          "LEFT JOIN commands AS c ON c.batch=t.batch AND c.batch<>'' "
          "AND c.agent=t.agent WHERE t.batch=$1 AND t.place>=$2 "
          "ORDER BY t.place LIMIT $3"));
  select.Bind(batch, skip, limit);
  std::vector<BatchTarget> targets;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return targets;
    BatchTarget& target = targets.emplace_back();
    std::optional<CommandId> id;
    select.Read(target.agent, id);
    if (!id) continue;
    CommandRecord& c = target.command.emplace();
    select.Read(c.agent, c.id, c.org, c.issued_by, c.created_at, c.state,
                c.dispatch_seq, c.dispatched_at, c.started_at, c.finished_at,
                c.exit_code, c.signal, c.reason, c.cancel_requested,
                c.stdout_bytes, c.stderr_bytes, c.stdout_total, c.stderr_total,
                c.output_dropped_bytes);
    c.batch = batch;
  }
}

absl::StatusOr<std::vector<StoredBatch>> SqliteFleetStore::LoadOpenBatches() {
  ASSIGN_OR_RETURN(Statement select,
                   db_->Prepare(Select("state<4 ORDER BY id")));
  ASSIGN_OR_RETURN(std::vector<BatchRecord> batches, ReadBatches(select));
  std::vector<StoredBatch> open;
  for (BatchRecord& batch : batches) {
    ASSIGN_OR_RETURN(
        auto targets,
        ListBatchTargets(batch.id, 0, std::numeric_limits<int64_t>::max()));
    open.push_back({std::move(batch), std::move(targets)});
  }
  return open;
}

}  // namespace muster::gateway
