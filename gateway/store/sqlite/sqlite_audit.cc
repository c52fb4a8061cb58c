// The audit log.

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr char kSelectHeads[] =
    "SELECT org, sequence, hash, kept_from FROM audit_heads ";

void ReadHead(const Statement& row, AuditHead& h) {
  row.Read(h.org, h.sequence, h.hash, h.kept_from);
}

uint64_t AtMost(uint64_t sequence) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  return std::min(sequence, kMax);
}

}  // namespace

// Of an org without a chain: what its first record follows.
absl::StatusOr<AuditHead> SqliteFleetStore::HeadOf(const OrgId& org) {
  ASSIGN_OR_RETURN(Statement find,
                   db_->Prepare(fmt::format("{} WHERE org=$1", kSelectHeads)));
  ASSIGN_OR_RETURN(const bool found, find.Bind(org).Step());
  AuditHead head;
  head.org = org;
  if (found) ReadHead(find, head);
  return head;
}

absl::StatusOr<AuditRecord> SqliteFleetStore::AddAudit(
    const AuditEntry& entry) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(const AuditHead head, HeadOf(entry.org));
  AuditRecord r = Linked(entry, head);
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO audit(org, sequence, at_us, principal, "
                   "came_from, method, target, result, request_id, "
                   "previous_hash, hash) "
                   "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"));
  RETURN_IF_ERROR(add.Bind(r.org, r.sequence, r.at, r.principal, r.from,
                           r.method, r.target, r.result, r.request_id,
                           r.previous_hash, r.hash)
                      .Run());
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare("INSERT INTO audit_heads(org, sequence, hash, kept_from) "
                   "VALUES($1, $2, $3, 1) ON CONFLICT(org) DO UPDATE SET "
                   "sequence=excluded.sequence, hash=excluded.hash"));
  RETURN_IF_ERROR(put.Bind(r.org, r.sequence, r.hash).Run());
  RETURN_IF_ERROR(txn.Commit());
  return r;
}

absl::StatusOr<std::vector<AuditRecord>> SqliteFleetStore::ListAudit(
    const AuditFilter& filter, size_t limit) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare(fmt::format(
          "SELECT org, sequence, at_us, principal, came_from, method, target, "
          "result, request_id, previous_hash, hash FROM audit WHERE org=$1 "
          "AND sequence>$2 AND sequence<$3 AND at_us>=$4 AND at_us<$5 "
          "AND ($6='' OR principal=$6) AND ($7='' OR method=$7) "
          "AND instr(target, $8)>0 ORDER BY sequence {} LIMIT $9",
          filter.after ? "ASC" : "DESC")));
  list.Bind(filter.org, AtMost(filter.after.value_or(0)),
            AtMost(filter.before.value_or(AtMost(~uint64_t{0}))), filter.since,
            filter.until, filter.principal, filter.method, filter.target,
            limit);
  std::vector<AuditRecord> records;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return records;
    AuditRecord& r = records.emplace_back();
    list.Read(r.org, r.sequence, r.at, r.principal, r.from, r.method, r.target,
              r.result, r.request_id, r.previous_hash, r.hash);
  }
}

absl::StatusOr<std::vector<AuditHead>> SqliteFleetStore::AuditHeads() {
  ASSIGN_OR_RETURN(Statement list,
                   db_->Prepare(fmt::format("{} ORDER BY org", kSelectHeads)));
  std::vector<AuditHead> heads;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return heads;
    ReadHead(list, heads.emplace_back());
  }
}

absl::StatusOr<size_t> SqliteFleetStore::DeleteAuditOf(const AuditHead& head,
                                                       absl::Time before,
                                                       size_t rows_max) {
  // The clock may have been set: the oldest record decides, not every one.
  uint64_t keep_from = head.kept_from;
  {
    ASSIGN_OR_RETURN(
        Statement oldest,
        db_->Prepare("SELECT sequence, at_us FROM audit WHERE org=$1 AND "
                     "sequence<$2 ORDER BY sequence LIMIT $3"));
    oldest.Bind(head.org, head.sequence, rows_max);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, oldest.Step());
      if (!row) break;
      uint64_t sequence = 0;
      absl::Time at;
      oldest.Read(sequence, at);
      if (at >= before) break;
      keep_from = sequence + 1;
    }
  }
  if (keep_from == head.kept_from) return 0;
  ASSIGN_OR_RETURN(
      Statement erase,
      db_->Prepare("DELETE FROM audit WHERE org=$1 AND sequence<$2"));
  RETURN_IF_ERROR(erase.Bind(head.org, keep_from).Run());
  const auto deleted = static_cast<size_t>(db_->changes());
  ASSIGN_OR_RETURN(
      Statement note,
      db_->Prepare("UPDATE audit_heads SET kept_from=$2 WHERE org=$1"));
  RETURN_IF_ERROR(note.Bind(head.org, keep_from).Run());
  return deleted;
}

absl::StatusOr<size_t> SqliteFleetStore::DeleteAudit(absl::Time before,
                                                     size_t rows_max) {
  ASSIGN_OR_RETURN(const std::vector<AuditHead> heads, AuditHeads());
  size_t deleted = 0;
  for (const AuditHead& head : heads) {
    if (deleted >= rows_max) break;
    ASSIGN_OR_RETURN(const size_t of_this,
                     DeleteAuditOf(head, before, rows_max - deleted));
    deleted += of_this;
  }
  return deleted;
}

}  // namespace muster::gateway
