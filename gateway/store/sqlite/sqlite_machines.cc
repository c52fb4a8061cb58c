// Machines, their registration and tokens.

#include "fmt/format.h"
#include "gateway/fleet/errors.h"
#include "gateway/fleet/presence_settings.h"
#include "gateway/store/sqlite/columns.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Blob;
using sqlite::Database;
using sqlite::Statement;
using sqlite::Transaction;
using sqlite::VerdictColumns;

namespace {

constexpr char kSelectTokens[] =
    "SELECT id, org, secret_sha256, description, labels, created_by, "
    "created_at_us, expires_at_us, uses, uses_max, agent, revoked_at_us, "
    "allowed_from, hostname_glob, approval, ephemeral_for_us "
    "FROM tokens ";

absl::Status ReadToken(const Statement& row, TokenRecord& t) {
  std::string labels, allowed_from;
  row.Read(t.id, t.org, t.secret_sha256, t.description, labels, t.created_by,
           t.created_at, t.expires_at, t.uses, t.uses_max, t.agent,
           t.revoked_at, allowed_from, t.hostname_glob, t.approval,
           t.ephemeral_for);
  ASSIGN_OR_RETURN(t.labels, sqlite::LabelsFromJson(labels));
  ASSIGN_OR_RETURN(t.allowed_from, sqlite::ArgvFromJson(allowed_from));
  return absl::OkStatus();
}

absl::Status ReadMachine(const Statement& row, MachineRecord& m) {
  std::string labels;
  VerdictColumns verdict;
  Facts& f = m.facts;
  row.Read(m.id, m.org, f.hostname, f.machine_id, f.os, f.kernel,
           f.architecture, f.agent_version, f.runtime, f.runtime_name, labels,
           m.key_pin, m.registered_at, m.status, m.status_since, verdict.domain,
           verdict.cause, verdict.confidence, verdict.summary, m.promised_back,
           m.epoch, m.transition_sequence, m.dispatch_high, m.acknowledged_high,
           m.address, m.incident, m.replaced_by, m.silenced_at, m.deleted_at,
           m.pending, m.ephemeral_for, m.last_heard);
  m.verdict = verdict.ToVerdict();
  ASSIGN_OR_RETURN(m.labels, sqlite::LabelsFromJson(labels));
  return absl::OkStatus();
}

}  // namespace

// --- Machines ---------------------------------------------------------------

template <typename... Values>
absl::StatusOr<std::vector<MachineRecord>> SqliteFleetStore::SelectMachines(
    std::string_view where, const Values&... values) {
  ASSIGN_OR_RETURN(
      Statement select,
      db_->Prepare(fmt::format(
          "SELECT m.id, m.org, hostname, machine_id, os, kernel, architecture, "
          "agent_version, runtime, runtime_name, labels, key_pin, "
          "registered_at_us, status, status_since_us, verdict_domain, "
          "verdict_cause, verdict_confidence, verdict_summary, "
          "promised_back_us, epoch, transition_sequence, dispatch_high, "
          "acknowledged_high, address, incident, replaced_by, silenced_at_us, "
          "deleted_at_us, pending, ephemeral_for_us, h.at_us "
          "FROM machines AS m LEFT JOIN last_heard AS h ON h.agent=m.id "
          "WHERE {} ORDER BY m.id",
          where)));
  select.Bind(values...);
  std::vector<MachineRecord> machines;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return machines;
    RETURN_IF_ERROR(ReadMachine(select, machines.emplace_back()));
  }
}

absl::StatusOr<std::vector<MachineRecord>> SqliteFleetStore::LoadMachines() {
  return SelectMachines("TRUE");
}

absl::Status SqliteFleetStore::PutMachine(const MachineRecord& m) {
  ASSIGN_OR_RETURN(const std::string labels, sqlite::LabelsToJson(m.labels));
  const VerdictColumns verdict(m.verdict);
  const Facts& f = m.facts;
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare(
          "INSERT INTO machines(id, org, hostname, machine_id, os, kernel, "
          "architecture, agent_version, runtime, runtime_name, labels, "
          "key_pin, registered_at_us, status, status_since_us, verdict_domain, "
          "verdict_cause, verdict_confidence, verdict_summary, "
          "promised_back_us, epoch, transition_sequence, dispatch_high, "
          "acknowledged_high, address, incident, replaced_by, silenced_at_us, "
          "deleted_at_us, pending, ephemeral_for_us) VALUES($1, "
          "$2, $3, $4, $5, $6, "
          "$7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, "
          "$21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31) "
          "ON CONFLICT(id) DO UPDATE SET "
          "org=excluded.org, hostname=excluded.hostname, "
          "machine_id=excluded.machine_id, os=excluded.os, "
          "kernel=excluded.kernel, architecture=excluded.architecture, "
          "agent_version=excluded.agent_version, runtime=excluded.runtime, "
          "runtime_name=excluded.runtime_name, "
          "registered_at_us=excluded.registered_at_us, "
          "verdict_domain=CASE WHEN excluded.transition_sequence="
          "machines.transition_sequence THEN excluded.verdict_domain "
          "ELSE machines.verdict_domain END, "
          "verdict_cause=CASE WHEN excluded.transition_sequence="
          "machines.transition_sequence THEN excluded.verdict_cause "
          "ELSE machines.verdict_cause END, "
          "verdict_confidence=CASE WHEN excluded.transition_sequence="
          "machines.transition_sequence THEN excluded.verdict_confidence "
          "ELSE machines.verdict_confidence END, "
          "verdict_summary=CASE WHEN excluded.transition_sequence="
          "machines.transition_sequence THEN excluded.verdict_summary "
          "ELSE machines.verdict_summary END, "
          "promised_back_us=excluded.promised_back_us, epoch=excluded.epoch, "
          "dispatch_high=excluded.dispatch_high, "
          "acknowledged_high=excluded.acknowledged_high, "
          "address=excluded.address, incident=excluded.incident, "
          "replaced_by=excluded.replaced_by, "
          "silenced_at_us=excluded.silenced_at_us, "
          "deleted_at_us=excluded.deleted_at_us, pending=excluded.pending, "
          "ephemeral_for_us=excluded.ephemeral_for_us "
          "WHERE excluded.epoch>=machines.epoch"));
  put.Bind(m.id, m.org, f.hostname, f.machine_id, f.os, f.kernel,
           f.architecture, f.agent_version, f.runtime, f.runtime_name, labels,
           m.key_pin, m.registered_at, m.status, m.status_since, verdict.domain,
           verdict.cause, verdict.confidence, verdict.summary, m.promised_back,
           m.epoch, m.transition_sequence, m.dispatch_high, m.acknowledged_high,
           m.address, m.incident, m.replaced_by, m.silenced_at, m.deleted_at,
           m.pending, m.ephemeral_for);
  RETURN_IF_ERROR(put.Run());
  return db_->changes() == 1 ? absl::OkStatus() : NewerEpoch(m);
}

absl::Status SqliteFleetStore::SetLabels(const AgentId& agent,
                                         const Labels& labels) {
  ASSIGN_OR_RETURN(const std::string json, sqlite::LabelsToJson(labels));
  ASSIGN_OR_RETURN(Statement set,
                   db_->Prepare("UPDATE machines SET labels=$2 WHERE id=$1"));
  RETURN_IF_ERROR(set.Bind(agent, json).Run());
  return db_->changes() == 1 ? absl::OkStatus() : UnknownMachine(agent);
}

// --- Presence settings ------------------------------------------------------

absl::StatusOr<std::vector<PresenceRecord>> SqliteFleetStore::LoadPresence() {
  ASSIGN_OR_RETURN(
      Statement select,
      db_->Prepare("SELECT org, agent, heartbeat_interval_us, stale_after_us, "
                   "offline_after_us, reconnect_grace_us "
                   "FROM presence_settings ORDER BY org, agent"));
  std::vector<PresenceRecord> records;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return records;
    PresenceRecord& r = records.emplace_back();
    PresenceSettings& s = r.settings;
    select.Read(r.org, r.agent, s.heartbeat_interval, s.stale_after,
                s.offline_after, s.reconnect_grace);
  }
}

absl::Status SqliteFleetStore::EditPresence(const OrgId& org,
                                            const AgentId& agent,
                                            const PresenceEdit& edit) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  if (!agent.empty()) {
    ASSIGN_OR_RETURN(Statement known,
                     db_->Prepare("SELECT 1 FROM machines WHERE id=$1"));
    ASSIGN_OR_RETURN(const bool exists, known.Bind(agent).Step());
    if (!exists) return UnknownMachine(agent);
  }
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare("SELECT heartbeat_interval_us, stale_after_us, "
                   "offline_after_us, reconnect_grace_us "
                   "FROM presence_settings WHERE org=$1 AND agent=$2"));
  PresenceSettings s;
  ASSIGN_OR_RETURN(const bool found, find.Bind(org, agent).Step());
  if (found) {
    find.Read(s.heartbeat_interval, s.stale_after, s.offline_after,
              s.reconnect_grace);
  }
  s = Edited(s, edit);
  ASSIGN_OR_RETURN(
      Statement erase,
      db_->Prepare("DELETE FROM presence_settings WHERE org=$1 AND agent=$2"));
  RETURN_IF_ERROR(erase.Bind(org, agent).Run());
  if (s != PresenceSettings()) {
    ASSIGN_OR_RETURN(
        Statement put,
        db_->Prepare("INSERT INTO presence_settings(org, agent, "
                     "heartbeat_interval_us, stale_after_us, offline_after_us, "
                     "reconnect_grace_us) VALUES($1, $2, $3, $4, $5, $6)"));
    RETURN_IF_ERROR(put.Bind(org, agent, s.heartbeat_interval, s.stale_after,
                             s.offline_after, s.reconnect_grace)
                        .Run());
  }
  return txn.Commit();
}

absl::Status SqliteFleetStore::PutLastHeard(
    std::span<const std::pair<AgentId, absl::Time>> heard) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare("INSERT INTO last_heard(agent, at_us) "
                   "SELECT id, $2 FROM machines WHERE id=$1 "
                   "ON CONFLICT(agent) DO UPDATE SET at_us=excluded.at_us"));
  for (const auto& [agent, at] : heard) {
    RETURN_IF_ERROR(put.Bind(agent, at).Run());
  }
  return txn.Commit();
}

// --- Registration -----------------------------------------------------------

absl::StatusOr<TokenRecord> SqliteFleetStore::TokenOf(
    const EnrollmentRequest& request) {
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare(fmt::format("{} WHERE secret_sha256=$1", kSelectTokens)));
  ASSIGN_OR_RETURN(const bool found,
                   find.Bind(Blob{request.token_sha256}).Step());
  if (!found) return TokenRefused(RefusalReason::kUnknown);
  TokenRecord token;
  RETURN_IF_ERROR(ReadToken(find, token));
  return token;
}

absl::StatusOr<std::vector<MachineRecord>> SqliteFleetStore::EnrolledWith(
    const TokenRecord& token, const std::string& key_pin) {
  return SelectMachines(
      "m.id IN (SELECT agent FROM enrollments WHERE token=$1 AND key_pin=$2)",
      token.id, key_pin);
}

absl::StatusOr<MachineRecord> SqliteFleetStore::Admit(
    const EnrollmentRequest& request, const TokenRecord& token) {
  ASSIGN_OR_RETURN(
      const auto known,
      SelectMachines("key_pin=$1 AND m.org=$2", request.key_pin, token.org));
  if (!known.empty()) return known.back();
  ASSIGN_OR_RETURN(const auto taken,
                   SelectMachines("m.id=$1", request.candidate_id));
  if (!taken.empty()) return MachineIdTaken(request.candidate_id);
  MachineRecord machine = NewMachine(request, token);
  RETURN_IF_ERROR(PutMachine(machine));
  return machine;
}

absl::StatusOr<MachineRecord> SqliteFleetStore::GiveKey(
    const EnrollmentRequest& request, const TokenRecord& token) {
  ASSIGN_OR_RETURN(
      const auto known,
      SelectMachines("key_pin=$1 AND m.org=$2", request.key_pin, token.org));
  if (!known.empty()) return KeyOfAnother(known.back());
  ASSIGN_OR_RETURN(Statement give,
                   db_->Prepare("UPDATE machines SET key_pin=$2 WHERE id=$1"));
  RETURN_IF_ERROR(give.Bind(*token.agent, request.key_pin).Run());
  ASSIGN_OR_RETURN(auto machine, SelectMachines("m.id=$1", *token.agent));
  return std::move(machine.front());
}

absl::Status SqliteFleetStore::Reissue(const TokenRecord& token) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(Statement take,
                   db_->Prepare("UPDATE machines SET key_pin='' WHERE id=$1 "
                                "AND deleted_at_us IS NULL"));
  RETURN_IF_ERROR(take.Bind(*token.agent).Run());
  if (db_->changes() != 1) return UnknownMachine(*token.agent);
  ASSIGN_OR_RETURN(Statement revoke,
                   db_->Prepare("UPDATE tokens SET revoked_at_us=$2 "
                                "WHERE agent=$1 AND revoked_at_us IS NULL"));
  RETURN_IF_ERROR(revoke.Bind(*token.agent, token.created_at).Run());
  RETURN_IF_ERROR(AddToken(token));
  return txn.Commit();
}

absl::Status SqliteFleetStore::CountUse(const TokenRecord& token,
                                        const std::string& key_pin,
                                        const AgentId& agent) {
  ASSIGN_OR_RETURN(Statement count,
                   db_->Prepare("UPDATE tokens SET uses=uses+1 WHERE id=$1"));
  RETURN_IF_ERROR(count.Bind(token.id).Run());
  ASSIGN_OR_RETURN(Statement note,
                   db_->Prepare("INSERT INTO enrollments(token, key_pin, "
                                "agent) VALUES($1, $2, $3)"));
  return note.Bind(token.id, key_pin, agent).Run();
}

absl::StatusOr<Enrollment> SqliteFleetStore::Enroll(
    const EnrollmentRequest& request) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(const TokenRecord token, TokenOf(request));
  ASSIGN_OR_RETURN(const auto before, EnrolledWith(token, request.key_pin));
  const bool repeated = !before.empty();
  RETURN_IF_ERROR(CheckToken(token, repeated, request));
  MachineRecord machine;
  if (repeated) {
    machine = before.back();
    RETURN_IF_ERROR(CheckNotDeleted(machine));
    RETURN_IF_ERROR(CheckKeyHeld(machine, request.key_pin));
  } else if (token.agent) {
    ASSIGN_OR_RETURN(machine, GiveKey(request, token));
  } else {
    ASSIGN_OR_RETURN(machine, Admit(request, token));
  }
  RETURN_IF_ERROR(CheckNotDeleted(machine));
  if (!repeated) {
    RETURN_IF_ERROR(CountUse(token, request.key_pin, machine.id));
  }
  RETURN_IF_ERROR(txn.Commit());
  return Enrollment{std::move(machine), token.id, repeated};
}

// --- Tokens -----------------------------------------------------------------

absl::Status SqliteFleetStore::AddToken(const TokenRecord& t) {
  ASSIGN_OR_RETURN(const std::string labels, sqlite::LabelsToJson(t.labels));
  ASSIGN_OR_RETURN(const std::string allowed_from,
                   sqlite::ArgvToJson(t.allowed_from));
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare(
          "INSERT INTO tokens(id, org, secret_sha256, description, labels, "
          "created_by, created_at_us, expires_at_us, uses, uses_max, agent, "
          "revoked_at_us, allowed_from, hostname_glob, approval, "
          "ephemeral_for_us) VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
          "$11, $12, $13, $14, $15, $16)"));
  return add
      .Bind(t.id, t.org, Blob{t.secret_sha256}, t.description, labels,
            t.created_by, t.created_at, t.expires_at, t.uses, t.uses_max,
            t.agent, t.revoked_at, allowed_from, t.hostname_glob, t.approval,
            t.ephemeral_for)
      .Run();
}

absl::StatusOr<std::vector<TokenRecord>> SqliteFleetStore::ListTokens(
    const OrgId& org) {
  ASSIGN_OR_RETURN(Statement list,
                   db_->Prepare(fmt::format(
                       "{} WHERE org=$1 ORDER BY created_at_us DESC, id DESC",
                       kSelectTokens)));
  list.Bind(org);
  std::vector<TokenRecord> tokens;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return tokens;
    RETURN_IF_ERROR(ReadToken(list, tokens.emplace_back()));
  }
}

absl::StatusOr<TokenRecord> SqliteFleetStore::RevokeToken(const OrgId& org,
                                                          const TokenId& id,
                                                          absl::Time now) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(
      Statement revoke,
      db_->Prepare("UPDATE tokens SET revoked_at_us=$3 WHERE org=$1 AND id=$2 "
                   "AND revoked_at_us IS NULL"));
  RETURN_IF_ERROR(revoke.Bind(org, id, now).Run());
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare(fmt::format("{} WHERE org=$1 AND id=$2", kSelectTokens)));
  ASSIGN_OR_RETURN(const bool found, find.Bind(org, id).Step());
  if (!found) return UnknownToken(id);
  TokenRecord token;
  RETURN_IF_ERROR(ReadToken(find, token));
  RETURN_IF_ERROR(txn.Commit());
  return token;
}

// --- Refusals ---------------------------------------------------------------

absl::Status SqliteFleetStore::AddRefusal(const EnrollmentRequest& request,
                                          RefusalReason reason) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO refusals(org, token, at_us, reason, address, "
                   "hostname) SELECT org, id, $2, $3, $4, $5 FROM tokens "
                   "WHERE secret_sha256=$1"));
  RETURN_IF_ERROR(add.Bind(Blob{request.token_sha256}, request.now, reason,
                           request.address, request.facts.hostname)
                      .Run());
  if (db_->changes() != 1) return NoTokenToRefuse();
  ASSIGN_OR_RETURN(
      Statement trim,
      db_->Prepare("DELETE FROM refusals WHERE arrival IN (SELECT arrival "
                   "FROM refusals WHERE org=(SELECT org FROM tokens WHERE "
                   "secret_sha256=$1) ORDER BY arrival DESC LIMIT -1 OFFSET "
                   "$2)"));
  RETURN_IF_ERROR(trim.Bind(Blob{request.token_sha256}, kRefusalsMax).Run());
  return txn.Commit();
}

absl::StatusOr<std::vector<RefusalRecord>> SqliteFleetStore::ListRefusals(
    const OrgId& org, size_t limit) {
  ASSIGN_OR_RETURN(
      Statement list,
      db_->Prepare("SELECT org, token, at_us, reason, address, hostname FROM "
                   "refusals WHERE org=$1 ORDER BY arrival DESC LIMIT $2"));
  list.Bind(org, limit);
  std::vector<RefusalRecord> refusals;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return refusals;
    RefusalRecord& r = refusals.emplace_back();
    list.Read(r.org, r.token, r.at, r.reason, r.address, r.hostname);
  }
}

}  // namespace muster::gateway
