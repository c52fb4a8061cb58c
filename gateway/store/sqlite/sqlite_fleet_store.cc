// Opening, the run number, and care of the file. Machines, tokens and commands
// have files of their own.

#include "gateway/store/sqlite/sqlite_fleet_store.h"

#include <algorithm>

#include "fmt/format.h"
#include "gateway/store/sqlite/migrations.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Database;
using sqlite::Statement;
using sqlite::Transaction;

namespace {

// Every table but `output`, which is the large one.
absl::Status QuickCheck(Database& db) {
  std::vector<std::string> tables;
  {
    ASSIGN_OR_RETURN(
        Statement list,
        db.Prepare("SELECT name FROM sqlite_schema WHERE type='table' "
                   "AND name<>'output' ORDER BY name"));
    while (true) {
      ASSIGN_OR_RETURN(const bool row, list.Step());
      if (!row) break;
      list.Read(tables.emplace_back());
    }
  }
  for (const std::string& table : tables) {
    ASSIGN_OR_RETURN(Statement check, db.Prepare(fmt::format(
                                          "PRAGMA quick_check('{}')", table)));
    ASSIGN_OR_RETURN(const bool row, check.Step());
    std::string finding;
    if (row) check.Read(finding);
    std::replace(finding.begin(), finding.end(), '\n', ' ');
    if (finding != "ok") {
      return absl::DataLossError(fmt::format(
          "{} is corrupt ({}): restore a backup", db.path(), finding));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteFleetStore>> SqliteFleetStore::Open(
    const std::string& path) {
  ASSIGN_OR_RETURN(auto db, Database::Open(path, Database::Access::kReadWrite));
  RETURN_IF_ERROR(sqlite::Migrate(*db, sqlite::Migrations()));
  RETURN_IF_ERROR(QuickCheck(*db));
  return std::unique_ptr<SqliteFleetStore>(new SqliteFleetStore(std::move(db)));
}

absl::StatusOr<std::unique_ptr<SqliteFleetStore>> SqliteFleetStore::OpenReader(
    const std::string& path) {
  ASSIGN_OR_RETURN(auto db, Database::Open(path, Database::Access::kReadOnly));
  return std::unique_ptr<SqliteFleetStore>(new SqliteFleetStore(std::move(db)));
}

absl::StatusOr<uint64_t> SqliteFleetStore::BeginRun(absl::Time now) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(const int64_t last,
                   db_->QueryInt("SELECT COALESCE(MAX(run), 0) FROM gateway"));
  const uint64_t run = static_cast<uint64_t>(last) + 1;
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare("INSERT INTO gateway(only_row, run) VALUES(1, $1) "
                   "ON CONFLICT(only_row) DO UPDATE SET run=excluded.run"));
  RETURN_IF_ERROR(put.Bind(run).Run());
  ASSIGN_OR_RETURN(const std::optional<absl::Time> alive, LastSignOfLife());
  ASSIGN_OR_RETURN(Statement close,
                   db_->Prepare("UPDATE links SET closed_at_us="
                                "MAX(opened_at_us, $1), how_ended=$2 "
                                "WHERE how_ended=0"));
  RETURN_IF_ERROR(
      close.Bind(alive.value_or(now), LinkEnd::kGatewayStopped).Run());
  RETURN_IF_ERROR(txn.Commit());
  return run;
}

absl::StatusOr<size_t> SqliteFleetStore::DeleteOutput(absl::Time before,
                                                      size_t rows_max) {
  size_t deleted = 0;
  while (deleted < rows_max) {
    ASSIGN_OR_RETURN(
        Statement oldest,
        db_->Prepare("SELECT row_number FROM commands WHERE output_kept=1 "
                     "AND state>4 AND created_at_us<$1 "
                     "ORDER BY created_at_us LIMIT 1"));
    ASSIGN_OR_RETURN(const bool found, oldest.Bind(before).Step());
    if (!found) break;
    int64_t command = 0;
    oldest.Read(command);
    ASSIGN_OR_RETURN(
        Statement erase,
        db_->Prepare("DELETE FROM output WHERE arrival IN (SELECT arrival "
                     "FROM output WHERE command=$1 ORDER BY arrival "
                     "LIMIT $2)"));
    RETURN_IF_ERROR(erase.Bind(command, rows_max - deleted).Run());
    deleted += static_cast<size_t>(db_->changes());
    if (deleted == rows_max) break;
    ASSIGN_OR_RETURN(
        Statement note,
        db_->Prepare("UPDATE commands SET output_kept=0 WHERE row_number=$1"));
    RETURN_IF_ERROR(note.Bind(command).Run());
  }
  return deleted;
}

absl::StatusOr<size_t> SqliteFleetStore::DeleteExpired(
    const Retention& retention, absl::Time now, size_t rows_max) {
  const absl::Time commands_before = now - retention.commands;
  const std::pair<const char*, absl::Time> kinds[] = {
      {"DELETE FROM idempotency_keys WHERE (org, idempotency_key) IN (SELECT "
       "org, idempotency_key FROM idempotency_keys WHERE created_at_us<$1 "
       "ORDER BY created_at_us LIMIT $2)",
       now - retention.idempotency_keys},
      {"DELETE FROM transitions WHERE (agent, sequence) IN (SELECT agent, "
       "sequence FROM transitions WHERE at_us<$1 ORDER BY at_us LIMIT $2)",
       now - retention.transitions},
      {"DELETE FROM links WHERE (agent, epoch) IN (SELECT agent, epoch FROM "
       "links WHERE closed_at_us<$1 ORDER BY closed_at_us LIMIT $2)",
       now - retention.links},
      {"DELETE FROM notes WHERE arrival IN (SELECT arrival FROM notes WHERE "
       "at_us<$1 ORDER BY at_us LIMIT $2)",
       now - retention.transitions},
      {"DELETE FROM blind_intervals WHERE arrival IN (SELECT arrival FROM "
       "blind_intervals WHERE to_us<$1 ORDER BY to_us LIMIT $2)",
       now - retention.transitions},
      {"DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE "
       "closed_at_us<$1 ORDER BY closed_at_us LIMIT $2)",
       now - retention.transitions},
      {"DELETE FROM access_tokens WHERE id IN (SELECT id FROM access_tokens "
       "WHERE COALESCE(revoked_at_us, expires_at_us)<$1 LIMIT $2)",
       now - retention.ended_tokens},
      {"DELETE FROM batch_targets WHERE (batch, place) IN (SELECT t.batch, "
       "t.place FROM batches AS b JOIN batch_targets AS t ON t.batch=b.id "
       "WHERE b.finished_at_us<$1 LIMIT $2)",
       commands_before},
      {"DELETE FROM batches WHERE id IN (SELECT id FROM batches AS b WHERE "
       "finished_at_us<$1 AND NOT EXISTS (SELECT 1 FROM batch_targets AS t "
       "WHERE t.batch=b.id) ORDER BY finished_at_us LIMIT $2)",
       commands_before},
      {"DELETE FROM commands WHERE row_number IN (SELECT row_number FROM "
       "commands AS c WHERE created_at_us<$1 AND state>4 AND output_kept=0 AND "
       "NOT EXISTS (SELECT 1 FROM batches AS b WHERE b.id=c.batch) ORDER BY "
       "created_at_us LIMIT $2)",
       commands_before},
  };
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  // Output first: a command goes only when its output has gone.
  ASSIGN_OR_RETURN(size_t deleted, DeleteOutput(std::max(now - retention.output,
                                                         commands_before),
                                                rows_max));
  for (const auto& [sql, before] : kinds) {
    if (deleted >= rows_max) break;
    ASSIGN_OR_RETURN(Statement erase, db_->Prepare(sql));
    RETURN_IF_ERROR(erase.Bind(before, rows_max - deleted).Run());
    deleted += static_cast<size_t>(db_->changes());
  }
  ASSIGN_OR_RETURN(const size_t audit,
                   DeleteAudit(now - retention.audit, rows_max - deleted));
  deleted += audit;
  // Gives at most 16 MiB back to the file system: a larger step would hold up
  // the writer.
  RETURN_IF_ERROR(db_->Execute("PRAGMA incremental_vacuum(4096)"));
  RETURN_IF_ERROR(txn.Commit());
  return deleted;
}

absl::StatusOr<std::map<std::string, uint64_t>>
SqliteFleetStore::StoredBytes() {
  ASSIGN_OR_RETURN(Transaction txn,
                   Transaction::Begin(*db_, Database::Intent::kRead));
  std::map<std::string, uint64_t> bytes;
  ASSIGN_OR_RETURN(
      Statement sizes,
      db_->Prepare(
          "SELECT CASE s.tbl_name WHEN 'last_heard' THEN 'machines' "
          "WHEN 'presence_settings' THEN 'machines' "
          "WHEN 'command_specs' THEN 'commands' "
          "WHEN 'idempotency_keys' THEN 'commands' "
          "WHEN 'batch_targets' THEN 'batches' "
          "WHEN 'audit_heads' THEN 'audit' "
          "WHEN 'enrollments' THEN 'tokens' "
          "WHEN 'refusals' THEN 'tokens' ELSE s.tbl_name END AS kind, "
          "SUM(d.pgsize) FROM dbstat AS d "
          "JOIN sqlite_schema AS s ON s.name=d.name WHERE d.aggregate=TRUE "
          "GROUP BY kind ORDER BY kind"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, sizes.Step());
    if (!row) break;
    std::string kind;
    uint64_t size = 0;
    sizes.Read(kind, size);
    bytes[kind] = size;
  }
  ASSIGN_OR_RETURN(const int64_t pages, db_->QueryInt("PRAGMA page_count"));
  ASSIGN_OR_RETURN(const int64_t page, db_->QueryInt("PRAGMA page_size"));
  bytes["file"] = static_cast<uint64_t>(pages * page);
  return bytes;
}

absl::Status SqliteFleetStore::BackupTo(const std::string& path) {
  if (db_->in_transaction()) {
    return absl::FailedPreconditionError(
        "a backup cannot be made inside a transaction");
  }
  return sqlite::CopyTo(*db_, path);
}

}  // namespace muster::gateway
