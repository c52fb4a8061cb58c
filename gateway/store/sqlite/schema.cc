// The tables. Texts that PostgreSQL also understands, but for STRICT, WITHOUT
// ROWID and BLOB. Times and durations are microseconds (_us); enums are the
// numbers of gateway/fleet/records.h.
//
// What is published is never edited, not even in a comment: a change is a new
// version at the end, and a testdata/versionN.sql of the one before.

#include "gateway/store/sqlite/migrations.h"

namespace muster::gateway::sqlite {
namespace {

constexpr char kVersion1[] = R"sql(
CREATE TABLE gateway(
  only_row INTEGER NOT NULL PRIMARY KEY CHECK(only_row=1),
  run INTEGER NOT NULL
) STRICT;

CREATE TABLE machines(
  id TEXT NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  hostname TEXT NOT NULL,
  machine_id TEXT NOT NULL,
  os TEXT NOT NULL,
  kernel TEXT NOT NULL,
  architecture TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  runtime INTEGER NOT NULL,
  runtime_name TEXT NOT NULL,
  labels TEXT NOT NULL,              -- JSON object.
  key_pin TEXT NOT NULL,
  registered_at_us INTEGER NOT NULL,
  status INTEGER NOT NULL,
  status_since_us INTEGER NOT NULL,
  verdict_domain INTEGER,            -- NULL: no verdict.
  verdict_cause INTEGER,
  verdict_confidence INTEGER,
  verdict_summary TEXT,
  promised_back_us INTEGER,
  epoch INTEGER NOT NULL,
  transition_sequence INTEGER NOT NULL,
  dispatch_high INTEGER NOT NULL,
  acknowledged_high INTEGER NOT NULL,
  address TEXT NOT NULL,
  replaced_by TEXT,
  deleted_at_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX machines_by_key ON machines(key_pin, org);

-- Written every few seconds for the whole fleet: nothing else is in it.
CREATE TABLE last_heard(
  agent TEXT NOT NULL PRIMARY KEY REFERENCES machines(id),
  at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE transitions(
  agent TEXT NOT NULL REFERENCES machines(id),
  sequence INTEGER NOT NULL,
  from_status INTEGER NOT NULL,
  to_status INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  verdict_domain INTEGER,
  verdict_cause INTEGER,
  verdict_confidence INTEGER,
  verdict_summary TEXT,
  PRIMARY KEY(agent, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX transitions_by_age ON transitions(at_us);

CREATE TABLE links(
  agent TEXT NOT NULL REFERENCES machines(id),
  epoch INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  process_start_id TEXT NOT NULL,
  address TEXT NOT NULL,
  opened_at_us INTEGER NOT NULL,
  closed_at_us INTEGER,
  how_ended INTEGER NOT NULL,
  PRIMARY KEY(agent, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_age ON links(closed_at_us);
CREATE INDEX links_open ON links(agent) WHERE how_ended=0;

CREATE TABLE commands(
  row_number INTEGER NOT NULL PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  agent TEXT NOT NULL REFERENCES machines(id),
  org TEXT NOT NULL,
  shell INTEGER NOT NULL,
  timeout_us INTEGER NOT NULL,
  delivery_timeout_us INTEGER NOT NULL,
  kill_grace_us INTEGER NOT NULL,
  output_bytes_max INTEGER NOT NULL,
  issued_by TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  state INTEGER NOT NULL,
  dispatch_seq INTEGER NOT NULL,
  dispatched_at_us INTEGER,
  started_at_us INTEGER,
  finished_at_us INTEGER,
  exit_code INTEGER,
  signal INTEGER,
  reason TEXT NOT NULL,
  cancel_requested INTEGER NOT NULL,
  stdout_bytes INTEGER NOT NULL,
  stderr_bytes INTEGER NOT NULL,
  stdout_total INTEGER,
  stderr_total INTEGER,
  output_dropped_bytes INTEGER NOT NULL,
  output_kept INTEGER NOT NULL DEFAULT 0  -- 1: there are rows in output.
) STRICT;
CREATE INDEX commands_by_org ON commands(org, id);
CREATE INDEX commands_by_state ON commands(org, state, id);
CREATE INDEX commands_by_agent ON commands(agent, id);
CREATE INDEX commands_by_age ON commands(created_at_us);
CREATE INDEX commands_with_output ON commands(created_at_us)
  WHERE output_kept=1;
-- Its condition is repeated word for word by the query that uses it.
CREATE INDEX commands_open ON commands(id)
  WHERE state<5 OR stdout_bytes<stdout_total OR stderr_bytes<stderr_total;

-- Apart from commands: up to 256 KiB that never change while the state does.
CREATE TABLE command_specs(
  command INTEGER NOT NULL PRIMARY KEY
    REFERENCES commands(row_number) ON DELETE CASCADE,
  spec_text TEXT NOT NULL,
  argv TEXT NOT NULL                 -- JSON array.
) STRICT;

CREATE TABLE idempotency_keys(
  org TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  command INTEGER NOT NULL REFERENCES commands(row_number) ON DELETE CASCADE,
  created_at_us INTEGER NOT NULL,
  PRIMARY KEY(org, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys(created_at_us);
CREATE INDEX idempotency_keys_by_command ON idempotency_keys(command);

CREATE TABLE output(
  arrival INTEGER NOT NULL PRIMARY KEY,
  command INTEGER NOT NULL REFERENCES commands(row_number) ON DELETE CASCADE,
  stream INTEGER NOT NULL,
  start INTEGER NOT NULL,            -- Offset of the first byte.
  data BLOB NOT NULL
) STRICT;
CREATE INDEX output_by_arrival ON output(command, arrival);
CREATE UNIQUE INDEX output_by_offset ON output(command, stream, start);

CREATE TABLE tokens(
  id TEXT NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  secret_sha256 BLOB NOT NULL UNIQUE,
  description TEXT NOT NULL,
  labels TEXT NOT NULL,              -- JSON object.
  created_by TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  expires_at_us INTEGER NOT NULL,
  uses INTEGER NOT NULL,
  uses_max INTEGER NOT NULL,
  revoked_at_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_org ON tokens(org, created_at_us, id);

-- Which key came with which token: makes a repeated registration harmless.
CREATE TABLE enrollments(
  token TEXT NOT NULL REFERENCES tokens(id),
  key_pin TEXT NOT NULL,
  agent TEXT NOT NULL REFERENCES machines(id),
  PRIMARY KEY(token, key_pin)
) STRICT, WITHOUT ROWID;
)sql";

// For a while this was written into version 1: a database may call itself that
// and hold these tables already.
constexpr char kVersion2[] = R"sql(
CREATE TABLE gateway_2(
  only_row INTEGER NOT NULL PRIMARY KEY CHECK(only_row=1),
  run INTEGER NOT NULL,
  proved_at_us INTEGER               -- The last sign of life.
) STRICT;
INSERT INTO gateway_2(only_row, run) SELECT only_row, run FROM gateway;
DROP TABLE gateway;
ALTER TABLE gateway_2 RENAME TO gateway;

-- What is no change of status: interruptions, drift, disputes, findings.
CREATE TABLE IF NOT EXISTS notes(
  arrival INTEGER NOT NULL PRIMARY KEY,
  agent TEXT NOT NULL REFERENCES machines(id),
  at_us INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  verdict_domain INTEGER,
  verdict_cause INTEGER,
  verdict_confidence INTEGER,
  verdict_summary TEXT,
  note TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS notes_by_agent ON notes(agent, arrival);
CREATE INDEX IF NOT EXISTS notes_by_age ON notes(at_us);

-- When the gateway itself could not hear.
CREATE TABLE IF NOT EXISTS blind_intervals(
  arrival INTEGER NOT NULL PRIMARY KEY,
  from_us INTEGER NOT NULL,
  to_us INTEGER NOT NULL,
  reason INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS blind_intervals_by_age
  ON blind_intervals(to_us, arrival);

CREATE TABLE IF NOT EXISTS incidents(
  id TEXT NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  machine_group TEXT NOT NULL,
  opened_at_us INTEGER NOT NULL,
  closed_at_us INTEGER,
  machines INTEGER NOT NULL,
  verdict_domain INTEGER NOT NULL,
  verdict_cause INTEGER NOT NULL,
  verdict_confidence INTEGER NOT NULL,
  verdict_summary TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS incidents_by_org
  ON incidents(org, opened_at_us, id);
CREATE INDEX IF NOT EXISTS incidents_by_age ON incidents(closed_at_us);
)sql";

constexpr char kVersion3[] = R"sql(
-- What orgs and machines have of their own.
CREATE TABLE presence_settings(
  org TEXT NOT NULL,
  agent TEXT NOT NULL,               -- Empty: the org itself.
  heartbeat_interval_us INTEGER,     -- NULL: inherited.
  stale_after_us INTEGER,
  offline_after_us INTEGER,
  reconnect_grace_us INTEGER,
  PRIMARY KEY(org, agent)
) STRICT, WITHOUT ROWID;

-- Since when lists and counts leave it out.
ALTER TABLE machines ADD COLUMN silenced_at_us INTEGER;

-- Who comes back with it; NULL: a new machine.
ALTER TABLE tokens ADD COLUMN agent TEXT REFERENCES machines(id);
)sql";

constexpr char kVersion4[] = R"sql(
-- Of the incident in which it fell silent; empty: none.
ALTER TABLE machines ADD COLUMN incident TEXT NOT NULL DEFAULT '';
-- Until now only the words told.
UPDATE machines SET incident=COALESCE((
  SELECT MAX(i.id) FROM incidents AS i WHERE i.org=machines.org
    AND i.closed_at_us IS NULL
    AND machines.status_since_us>=i.opened_at_us-15000000  -- The window.
    AND i.verdict_summary=machines.verdict_summary), '')
  WHERE status<>1 AND verdict_cause=12;
)sql";

constexpr char kVersion5[] = R"sql(
-- In which surroundings; empty texts and NULL: the machine's choice.
ALTER TABLE command_specs ADD COLUMN run_as TEXT NOT NULL DEFAULT '';
ALTER TABLE command_specs ADD COLUMN working_directory TEXT NOT NULL DEFAULT '';
ALTER TABLE command_specs ADD COLUMN environment TEXT NOT NULL DEFAULT '{}';  -- JSON object.
ALTER TABLE command_specs ADD COLUMN umask INTEGER;
ALTER TABLE command_specs ADD COLUMN input BLOB NOT NULL DEFAULT x'';
ALTER TABLE command_specs ADD COLUMN input_streamed INTEGER NOT NULL DEFAULT 0;
-- Of a session; else NULL.
ALTER TABLE command_specs ADD COLUMN terminal_rows INTEGER;
ALTER TABLE command_specs ADD COLUMN terminal_columns INTEGER;
ALTER TABLE command_specs ADD COLUMN terminal_type TEXT;
ALTER TABLE command_specs ADD COLUMN keep_us INTEGER;
ALTER TABLE command_specs ADD COLUMN recorded INTEGER;
ALTER TABLE commands ADD COLUMN is_session INTEGER NOT NULL DEFAULT 0;
CREATE INDEX commands_sessions ON commands(org, id) WHERE is_session=1;
ALTER TABLE output ADD COLUMN at_us INTEGER;  -- Of a recording; else NULL.

ALTER TABLE commands ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';  -- JSON object.
ALTER TABLE commands ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
ALTER TABLE commands ADD COLUMN batch TEXT NOT NULL DEFAULT '';  -- Empty: none.
CREATE UNIQUE INDEX commands_by_turn ON commands(batch, agent)
  WHERE batch<>'';
CREATE INDEX commands_by_batch ON commands(batch, id) WHERE batch<>'';

CREATE TABLE batches(
  id TEXT NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  shell INTEGER NOT NULL,
  timeout_us INTEGER NOT NULL,
  delivery_timeout_us INTEGER NOT NULL,
  kill_grace_us INTEGER NOT NULL,
  output_bytes_max INTEGER NOT NULL,
  queue_offline INTEGER NOT NULL,
  concurrency INTEGER NOT NULL,
  canary INTEGER NOT NULL,
  failures_max INTEGER NOT NULL,
  concurrency_text TEXT NOT NULL,
  stop_after TEXT NOT NULL,
  issued_by TEXT NOT NULL,
  idempotency_key TEXT,              -- NULL: none.
  request TEXT NOT NULL,             -- SHA-256 of what was asked for.
  labels TEXT NOT NULL,              -- JSON object.
  purpose TEXT NOT NULL,
  selector TEXT NOT NULL,
  retry_of TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  state INTEGER NOT NULL,
  reason TEXT NOT NULL,
  finished_at_us INTEGER,
  waiting INTEGER NOT NULL,
  running INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  not_delivered INTEGER NOT NULL,
  outcome_unknown INTEGER NOT NULL,
  -- What may be long comes last: the rest is read without it.
  run_as TEXT NOT NULL,
  working_directory TEXT NOT NULL,
  umask INTEGER,
  environment TEXT NOT NULL,         -- JSON object.
  argv TEXT NOT NULL,                -- JSON array.
  spec_text TEXT NOT NULL,
  input BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_org ON batches(org, id);
CREATE INDEX batches_open ON batches(id) WHERE state<4;
CREATE INDEX batches_by_age ON batches(finished_at_us);
CREATE UNIQUE INDEX batches_by_key ON batches(org, idempotency_key);

CREATE TABLE batch_targets(
  batch TEXT NOT NULL REFERENCES batches(id) ON DELETE CASCADE,
  place INTEGER NOT NULL,            -- 0, 1, …: the order of their turns.
  agent TEXT NOT NULL REFERENCES machines(id),
  PRIMARY KEY(batch, place)
) STRICT, WITHOUT ROWID;
)sql";

constexpr char kVersion6[] = R"sql(
CREATE TABLE users(
  org TEXT NOT NULL,
  name TEXT NOT NULL,                -- Never used again.
  kind INTEGER NOT NULL,
  role INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  disabled_at_us INTEGER,            -- NULL: it may work.
  PRIMARY KEY(org, name)
) STRICT, WITHOUT ROWID;

-- What speaks for a user.
CREATE TABLE access_tokens(
  id TEXT NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  user TEXT NOT NULL,
  secret_sha256 BLOB NOT NULL UNIQUE,
  description TEXT NOT NULL,
  scopes TEXT NOT NULL,              -- JSON array; empty: all that the user may.
  created_by TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  expires_at_us INTEGER NOT NULL,
  revoked_at_us INTEGER,
  FOREIGN KEY(org, user) REFERENCES users(org, name)
) STRICT, WITHOUT ROWID;
)sql";

constexpr char kVersion7[] = R"sql(
CREATE TABLE orgs(
  id TEXT NOT NULL PRIMARY KEY,      -- Never used again.
  created_by TEXT NOT NULL,
  created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who may use it, and what becomes of a new machine.
ALTER TABLE tokens ADD COLUMN allowed_from TEXT NOT NULL DEFAULT '[]';  -- JSON array.
ALTER TABLE tokens ADD COLUMN hostname_glob TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN ephemeral_for_us INTEGER;  -- NULL: it stays.

ALTER TABLE machines ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machines ADD COLUMN ephemeral_for_us INTEGER;

-- Registrations that were refused although their token exists.
CREATE TABLE refusals(
  arrival INTEGER NOT NULL PRIMARY KEY,
  org TEXT NOT NULL,
  token TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  address TEXT NOT NULL,
  hostname TEXT NOT NULL
) STRICT;
CREATE INDEX refusals_by_org ON refusals(org, arrival);

ALTER TABLE users ADD COLUMN password_hash TEXT NOT NULL DEFAULT '';  -- Empty: none.
ALTER TABLE access_tokens ADD COLUMN signed_in INTEGER NOT NULL DEFAULT 0;
CREATE INDEX access_tokens_by_end ON access_tokens(expires_at_us);

-- What was done: one chain of records per org.
CREATE TABLE audit(
  org TEXT NOT NULL,
  sequence INTEGER NOT NULL,         -- 1, 2, …, without a gap.
  at_us INTEGER NOT NULL,
  principal TEXT NOT NULL,
  came_from TEXT NOT NULL,
  method TEXT NOT NULL,
  target TEXT NOT NULL,
  result TEXT NOT NULL,
  request_id TEXT NOT NULL,
  previous_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY(org, sequence)
) STRICT, WITHOUT ROWID;

-- Their newest records, and since which one they are kept.
CREATE TABLE audit_heads(
  org TEXT NOT NULL PRIMARY KEY,
  sequence INTEGER NOT NULL,
  hash TEXT NOT NULL,
  kept_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

constexpr Migration kMigrations[] = {{kVersion1}, {kVersion2}, {kVersion3},
                                     {kVersion4}, {kVersion5}, {kVersion6},
                                     {kVersion7}};

}  // namespace

std::span<const Migration> Migrations() { return kMigrations; }

}  // namespace muster::gateway::sqlite
