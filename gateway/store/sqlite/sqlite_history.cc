// What happened: to machines, to groups of them, to the gateway itself.

#include "gateway/store/sqlite/columns.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Statement;
using sqlite::Transaction;
using sqlite::VerdictColumns;

absl::Status SqliteFleetStore::AddTransition(const TransitionRecord& t) {
  const VerdictColumns verdict(t.verdict);
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO transitions(agent, sequence, from_status, "
                   "to_status, at_us, epoch, verdict_domain, verdict_cause, "
                   "verdict_confidence, verdict_summary) "
                   "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"));
  RETURN_IF_ERROR(add.Bind(t.agent, t.sequence, t.from, t.to, t.at, t.epoch,
                           verdict.domain, verdict.cause, verdict.confidence,
                           verdict.summary)
                      .Run());
  ASSIGN_OR_RETURN(
      Statement take,
      db_->Prepare("UPDATE machines SET status=$3, status_since_us=$4, "
                   "transition_sequence=$2, verdict_domain=$5, "
                   "verdict_cause=$6, verdict_confidence=$7, "
                   "verdict_summary=$8, incident=CASE WHEN $3=$9 THEN '' "
                   "ELSE incident END WHERE id=$1"));
  RETURN_IF_ERROR(take.Bind(t.agent, t.sequence, t.to, t.at, verdict.domain,
                            verdict.cause, verdict.confidence, verdict.summary,
                            Status::kOnline)
                      .Run());
  return txn.Commit();
}

absl::StatusOr<std::vector<StoredTransition>> SqliteFleetStore::ListTransitions(
    const AgentId& agent, const HistoryRange& range) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT agent, sequence, from_status, to_status, at_us, "
                   "epoch, verdict_domain, verdict_cause, verdict_confidence, "
                   "verdict_summary, to_status=$7 "
                   "AND NOT EXISTS(SELECT 1 FROM transitions AS next "
                   "WHERE next.agent=t.agent AND next.sequence=t.sequence+1 "
                   "AND next.epoch=t.epoch) "
                   "AND EXISTS(SELECT 1 FROM notes AS n WHERE n.agent=t.agent "
                   "AND n.kind=$8 AND n.epoch=t.epoch) "
                   "FROM transitions AS t WHERE agent=$1 "
                   "AND sequence<=$2 AND at_us>=$3 AND at_us<$4 "
                   "ORDER BY sequence DESC LIMIT $5 OFFSET $6"));
  list.Bind(agent, range.newest, range.since, range.until, range.limit,
            range.skip, Status::kOffline, NoteKind::kDisputed);
  std::vector<StoredTransition> transitions;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return transitions;
    StoredTransition& t = transitions.emplace_back();
    VerdictColumns verdict;
    list.Read(t.agent, t.sequence, t.from, t.to, t.at, t.epoch, verdict.domain,
              verdict.cause, verdict.confidence, verdict.summary, t.disputed);
    t.verdict = verdict.ToVerdict();
  }
}

absl::Status SqliteFleetStore::PutLink(const LinkRecord& l) {
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare(
          "INSERT INTO links(agent, epoch, boot_id, process_start_id, address, "
          "opened_at_us, closed_at_us, how_ended) "
          "VALUES($1, $2, $3, $4, $5, $6, $7, $8) "
          "ON CONFLICT(agent, epoch) DO UPDATE SET boot_id=excluded.boot_id, "
          "process_start_id=excluded.process_start_id, "
          "address=excluded.address, opened_at_us=excluded.opened_at_us, "
          "closed_at_us=excluded.closed_at_us, how_ended=excluded.how_ended"));
  return put
      .Bind(l.agent, l.epoch, l.boot_id, l.process_start_id, l.address,
            l.opened_at, l.closed_at, l.end)
      .Run();
}

absl::StatusOr<std::vector<LinkRecord>> SqliteFleetStore::ListLinks(
    const AgentId& agent, const HistoryRange& range) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT agent, epoch, boot_id, process_start_id, address, "
                   "opened_at_us, closed_at_us, how_ended FROM links "
                   "WHERE agent=$1 AND epoch<=$2 "
                   "AND (closed_at_us IS NULL OR closed_at_us>=$3) "
                   "AND opened_at_us<$4 "
                   "ORDER BY epoch DESC LIMIT $5 OFFSET $6"));
  list.Bind(agent, range.newest, range.since, range.until, range.limit,
            range.skip);
  std::vector<LinkRecord> links;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return links;
    LinkRecord& l = links.emplace_back();
    list.Read(l.agent, l.epoch, l.boot_id, l.process_start_id, l.address,
              l.opened_at, l.closed_at, l.end);
  }
}

absl::Status SqliteFleetStore::AddNote(const NoteRecord& n) {
  const VerdictColumns verdict(n.verdict);
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO notes(agent, at_us, kind, epoch, "
                   "verdict_domain, verdict_cause, verdict_confidence, "
                   "verdict_summary, note) "
                   "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9)"));
  return add
      .Bind(n.agent, n.at, n.kind, n.epoch, verdict.domain, verdict.cause,
            verdict.confidence, verdict.summary, n.text)
      .Run();
}

absl::StatusOr<std::vector<StoredNote>> SqliteFleetStore::ListNotes(
    const AgentId& agent, const HistoryRange& range) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT arrival, agent, at_us, kind, epoch, verdict_domain, "
                   "verdict_cause, verdict_confidence, verdict_summary, note "
                   "FROM notes WHERE agent=$1 "
                   "AND arrival<=$2 AND at_us>=$3 AND at_us<$4 "
                   "ORDER BY arrival DESC LIMIT $5 OFFSET $6"));
  list.Bind(agent, range.newest, range.since, range.until, range.limit,
            range.skip);
  std::vector<StoredNote> notes;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return notes;
    StoredNote& n = notes.emplace_back();
    VerdictColumns verdict;
    list.Read(n.arrival, n.agent, n.at, n.kind, n.epoch, verdict.domain,
              verdict.cause, verdict.confidence, verdict.summary, n.text);
    n.verdict = verdict.ToVerdict();
  }
}

// --- The gateway itself -----------------------------------------------------

absl::Status SqliteFleetStore::AddBlindInterval(const BlindRecord& b) {
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO blind_intervals(from_us, to_us, reason) "
                   "VALUES($1, $2, $3)"));
  return add.Bind(b.from, b.to, b.reason).Run();
}

absl::StatusOr<std::vector<BlindRecord>> SqliteFleetStore::ListBlindIntervals(
    const HistoryRange& range) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT from_us, to_us, reason FROM blind_intervals "
                   "WHERE to_us<=$1 AND to_us>=$2 AND from_us<$3 "
                   "ORDER BY to_us DESC, arrival DESC LIMIT $4 OFFSET $5"));
  list.Bind(range.newest, range.since, range.until, range.limit, range.skip);
  std::vector<BlindRecord> intervals;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return intervals;
    BlindRecord& b = intervals.emplace_back();
    list.Read(b.from, b.to, b.reason);
  }
}

namespace {

absl::StatusOr<std::vector<IncidentRecord>> ReadIncidents(Statement& rows) {
  std::vector<IncidentRecord> incidents;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return incidents;
    IncidentRecord& i = incidents.emplace_back();
    Verdict& v = i.verdict;
    rows.Read(i.id, i.org, i.group, i.opened_at, i.closed_at, i.machines,
              v.domain, v.cause, v.confidence, v.summary);
  }
}

}  // namespace

absl::Status SqliteFleetStore::PutIncident(const IncidentRecord& i) {
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare(
          "INSERT INTO incidents(id, org, machine_group, opened_at_us, "
          "closed_at_us, machines, verdict_domain, verdict_cause, "
          "verdict_confidence, verdict_summary) "
          "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
          "ON CONFLICT(id) DO UPDATE SET "
          "closed_at_us=COALESCE(excluded.closed_at_us, closed_at_us), "
          "machines=MAX(excluded.machines, machines), "
          "verdict_domain=excluded.verdict_domain, "
          "verdict_cause=excluded.verdict_cause, "
          "verdict_confidence=excluded.verdict_confidence, "
          "verdict_summary=excluded.verdict_summary"));
  const Verdict& v = i.verdict;
  return put
      .Bind(i.id, i.org, i.group, i.opened_at, i.closed_at, i.machines,
            v.domain, v.cause, v.confidence, v.summary)
      .Run();
}

absl::StatusOr<std::vector<IncidentRecord>> SqliteFleetStore::ListIncidents(
    const OrgId& org, const HistoryRange& range) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT id, org, machine_group, opened_at_us, closed_at_us, "
                   "machines, verdict_domain, verdict_cause, "
                   "verdict_confidence, verdict_summary FROM incidents "
                   "WHERE org=$1 AND opened_at_us<=$2 "
                   "AND (closed_at_us IS NULL OR closed_at_us>=$3) "
                   "AND opened_at_us<$4 "
                   "ORDER BY opened_at_us DESC, id DESC LIMIT $5 OFFSET $6"));
  list.Bind(org, range.newest, range.since, range.until, range.limit,
            range.skip);
  return ReadIncidents(list);
}

absl::StatusOr<std::vector<IncidentRecord>>
SqliteFleetStore::LoadOpenIncidents() {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT id, org, machine_group, opened_at_us, closed_at_us, "
                   "machines, verdict_domain, verdict_cause, "
                   "verdict_confidence, verdict_summary FROM incidents "
                   "WHERE closed_at_us IS NULL ORDER BY opened_at_us, id"));
  return ReadIncidents(list);
}

absl::Status SqliteFleetStore::SignOfLife(absl::Time now) {
  ASSIGN_OR_RETURN(Statement put,
                   db_->Prepare("UPDATE gateway SET proved_at_us=$1"));
  return put.Bind(now).Run();
}

absl::StatusOr<std::optional<absl::Time>> SqliteFleetStore::LastSignOfLife() {
  ASSIGN_OR_RETURN(Statement get,
                   db_->Prepare("SELECT proved_at_us FROM gateway"));
  std::optional<absl::Time> last;
  ASSIGN_OR_RETURN(const bool row, get.Step());
  if (row) get.Read(last);
  return last;
}

}  // namespace muster::gateway
