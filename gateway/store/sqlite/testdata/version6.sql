-- A database as the gateways of schema version 6 left it. Never edited.
PRAGMA application_id=0x4d535452;
PRAGMA user_version=6;
PRAGMA foreign_keys=OFF;           -- The rows stand in no order.

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
INSERT INTO access_tokens VALUES('at-1','default','ann',x'aa','','[]','admin',1700000000000000,1900000000000000,NULL);
CREATE TABLE batch_targets(
  batch TEXT NOT NULL REFERENCES batches(id) ON DELETE CASCADE,
  place INTEGER NOT NULL,            -- 0, 1, …: the order of their turns.
  agent TEXT NOT NULL REFERENCES machines(id),
  PRIMARY KEY(batch, place)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE blind_intervals(
  arrival INTEGER NOT NULL PRIMARY KEY,
  from_us INTEGER NOT NULL,
  to_us INTEGER NOT NULL,
  reason INTEGER NOT NULL
) STRICT;
INSERT INTO blind_intervals VALUES(1,1700000010000000,1700000012500000,2);
CREATE TABLE command_specs(
  command INTEGER NOT NULL PRIMARY KEY
    REFERENCES commands(row_number) ON DELETE CASCADE,
  spec_text TEXT NOT NULL,
  argv TEXT NOT NULL                 -- JSON array.
, run_as TEXT NOT NULL DEFAULT '', working_directory TEXT NOT NULL DEFAULT '', environment TEXT NOT NULL DEFAULT '{}', umask INTEGER, input BLOB NOT NULL DEFAULT x'', input_streamed INTEGER NOT NULL DEFAULT 0, terminal_rows INTEGER, terminal_columns INTEGER, terminal_type TEXT, keep_us INTEGER, recorded INTEGER) STRICT;
INSERT INTO command_specs VALUES(5,'echo x','[]','','','{}',NULL,x'',0,NULL,NULL,NULL,NULL,NULL);
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
, is_session INTEGER NOT NULL DEFAULT 0, labels TEXT NOT NULL DEFAULT '{}', purpose TEXT NOT NULL DEFAULT '', batch TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO commands VALUES(5,'c-1','m-1','default',1,60000000,30000000,10000000,1048576,'admin-token','key',1700000050000000,5,9,1700000051000000,1700000052000000,1700000053000000,0,NULL,'',0,2,0,2,0,0,1,0,'{}','','');
CREATE TABLE enrollments(
  token TEXT NOT NULL REFERENCES tokens(id),
  key_pin TEXT NOT NULL,
  agent TEXT NOT NULL REFERENCES machines(id),
  PRIMARY KEY(token, key_pin)
) STRICT, WITHOUT ROWID;
INSERT INTO enrollments VALUES('t-1','sha256//pin','m-1');
CREATE TABLE "gateway"(
  only_row INTEGER NOT NULL PRIMARY KEY CHECK(only_row=1),
  run INTEGER NOT NULL,
  proved_at_us INTEGER               -- When it last proved that it can write.
) STRICT;
INSERT INTO gateway VALUES(1,7,1700000095000000);
CREATE TABLE idempotency_keys(
  org TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  command INTEGER NOT NULL REFERENCES commands(row_number) ON DELETE CASCADE,
  created_at_us INTEGER NOT NULL,
  PRIMARY KEY(org, idempotency_key)
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_keys VALUES('default','key',5,1700000050000000);
CREATE TABLE incidents(
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
INSERT INTO incidents VALUES('00000007-000001','default','192.0.2.0/24',1700000100000000,1700000160000000,5,2,12,2,'silent with others of 192.0.2.0/24');
CREATE TABLE last_heard(
  agent TEXT NOT NULL PRIMARY KEY REFERENCES machines(id),
  at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO last_heard VALUES('m-1',1700000090000000);
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
INSERT INTO links VALUES('m-1',42,'boot','process','192.0.2.7',1700000000000000,NULL,0);
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
, silenced_at_us INTEGER, incident TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
INSERT INTO machines VALUES('m-1','default','web-1','f00d','Debian 12','6.1','x86_64','0.1.0',1,'','{"room":"a"}','sha256//pin',1700000000000000,3,1700000100000000,2,1,2,'silent',NULL,42,3,9,8,'192.0.2.7',NULL,NULL,1700000200000000,'00000007-000001');
CREATE TABLE notes(
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
INSERT INTO notes VALUES(1,'m-1',1700000060000000,1,42,4,21,2,'the agent was restarted','process 2 followed process 1');
CREATE TABLE output(
  arrival INTEGER NOT NULL PRIMARY KEY,
  command INTEGER NOT NULL REFERENCES commands(row_number) ON DELETE CASCADE,
  stream INTEGER NOT NULL,
  start INTEGER NOT NULL,            -- Offset of the first byte.
  data BLOB NOT NULL
, at_us INTEGER) STRICT;
INSERT INTO output VALUES(1,5,1,0,x'780a',NULL);
CREATE TABLE presence_settings(
  org TEXT NOT NULL,
  agent TEXT NOT NULL,               -- Empty: the org itself.
  heartbeat_interval_us INTEGER,     -- NULL: inherited.
  stale_after_us INTEGER,
  offline_after_us INTEGER,
  reconnect_grace_us INTEGER,
  PRIMARY KEY(org, agent)
) STRICT, WITHOUT ROWID;
INSERT INTO presence_settings VALUES('default','m-1',NULL,120000000,300000000,NULL);
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
, agent TEXT REFERENCES machines(id)) STRICT, WITHOUT ROWID;
INSERT INTO tokens VALUES('t-1','default',x'00','for the rack','{}','admin-token',1700000000000000,1800000000000000,1,5,NULL,'m-1');
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
INSERT INTO transitions VALUES('m-1',3,2,3,1700000100000000,42,2,1,2,'silent');
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
INSERT INTO users VALUES('default','ann',1,3,'admin',1700000000000000,NULL);
CREATE INDEX machines_by_key ON machines(key_pin, org);
CREATE INDEX transitions_by_age ON transitions(at_us);
CREATE INDEX links_by_age ON links(closed_at_us);
CREATE INDEX links_open ON links(agent) WHERE how_ended=0;
CREATE INDEX commands_by_org ON commands(org, id);
CREATE INDEX commands_by_state ON commands(org, state, id);
CREATE INDEX commands_by_agent ON commands(agent, id);
CREATE INDEX commands_by_age ON commands(created_at_us);
CREATE INDEX commands_with_output ON commands(created_at_us)
  WHERE output_kept=1;
CREATE INDEX commands_open ON commands(id)
  WHERE state<5 OR stdout_bytes<stdout_total OR stderr_bytes<stderr_total;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys(created_at_us);
CREATE INDEX idempotency_keys_by_command ON idempotency_keys(command);
CREATE INDEX output_by_arrival ON output(command, arrival);
CREATE UNIQUE INDEX output_by_offset ON output(command, stream, start);
CREATE INDEX tokens_by_org ON tokens(org, created_at_us, id);
CREATE INDEX notes_by_agent ON notes(agent, arrival);
CREATE INDEX notes_by_age ON notes(at_us);
CREATE INDEX blind_intervals_by_age
  ON blind_intervals(to_us, arrival);
CREATE INDEX incidents_by_org
  ON incidents(org, opened_at_us, id);
CREATE INDEX incidents_by_age ON incidents(closed_at_us);
CREATE INDEX commands_sessions ON commands(org, id) WHERE is_session=1;
CREATE UNIQUE INDEX commands_by_turn ON commands(batch, agent)
  WHERE batch<>'';
CREATE INDEX commands_by_batch ON commands(batch, id) WHERE batch<>'';
CREATE INDEX batches_by_org ON batches(org, id);
CREATE INDEX batches_open ON batches(id) WHERE state<4;
CREATE INDEX batches_by_age ON batches(finished_at_us);
CREATE UNIQUE INDEX batches_by_key ON batches(org, idempotency_key);
