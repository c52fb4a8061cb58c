// Commands and their output.

#include <algorithm>
#include <limits>

#include "fmt/format.h"
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

constexpr char kSelectCommands[] =
    "SELECT c.id, c.agent, c.org, shell, spec_text, argv, timeout_us, "
    "delivery_timeout_us, kill_grace_us, output_bytes_max, issued_by, "
    "c.idempotency_key, c.created_at_us, state, dispatch_seq, "
    "dispatched_at_us, "
    "started_at_us, finished_at_us, exit_code, signal, reason, "
    "cancel_requested, stdout_bytes, stderr_bytes, stdout_total, stderr_total, "
    "output_dropped_bytes, c.labels, purpose, batch, run_as, "
    "working_directory, "
    "environment, umask, input, input_streamed, terminal_rows, "
    "terminal_columns, terminal_type, keep_us, recorded FROM commands AS c "
    "JOIN command_specs AS s ON s.command=c.row_number ";

absl::Status ReadCommand(const Statement& row, CommandRecord& c) {
  std::string argv, labels, environment;
  CommandSpec& s = c.spec;
  Surroundings& in = s.surroundings;
  sqlite::TerminalColumns terminal;
  row.Read(c.id, c.agent, c.org, s.shell, s.text, argv, s.timeout,
           s.delivery_timeout, s.kill_grace, s.output_bytes_max, c.issued_by,
           c.idempotency_key, c.created_at, c.state, c.dispatch_seq,
           c.dispatched_at, c.started_at, c.finished_at, c.exit_code, c.signal,
           c.reason, c.cancel_requested, c.stdout_bytes, c.stderr_bytes,
           c.stdout_total, c.stderr_total, c.output_dropped_bytes, labels,
           c.purpose, c.batch, in.user, in.working_directory, environment,
           in.umask, in.input, s.input_streamed, terminal.rows,
           terminal.columns, terminal.type, terminal.keep, terminal.recorded);
  s.terminal = terminal.ToTerminal();
  ASSIGN_OR_RETURN(s.argv, sqlite::ArgvFromJson(argv));
  ASSIGN_OR_RETURN(c.labels, sqlite::LabelsFromJson(labels));
  ASSIGN_OR_RETURN(in.environment, sqlite::EnvironmentFromJson(environment));
  return absl::OkStatus();
}

absl::Status ReadCommands(Statement& select,
                          std::vector<CommandRecord>& commands) {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return absl::OkStatus();
    RETURN_IF_ERROR(ReadCommand(select, commands.emplace_back()));
  }
}

absl::Status InsertCommand(Database& db, const CommandRecord& c) {
  const CommandSpec& s = c.spec;
  ASSIGN_OR_RETURN(const std::string labels, sqlite::LabelsToJson(c.labels));
  ASSIGN_OR_RETURN(
      Statement add,
      db.Prepare(
          "INSERT INTO commands(id, agent, org, shell, timeout_us, "
          "delivery_timeout_us, kill_grace_us, output_bytes_max, issued_by, "
          "idempotency_key, created_at_us, state, dispatch_seq, "
          "dispatched_at_us, started_at_us, finished_at_us, exit_code, signal, "
          "reason, cancel_requested, stdout_bytes, stderr_bytes, stdout_total, "
          "stderr_total, output_dropped_bytes, labels, purpose, batch, "
          "is_session) "
          "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, "
          "$15, $16, $17, $18, $19, $20, 0, 0, $21, $22, $23, $24, $25, $26, "
          "$27)"));
  return add
      .Bind(c.id, c.agent, c.org, s.shell, s.timeout, s.delivery_timeout,
            s.kill_grace, s.output_bytes_max, c.issued_by, c.idempotency_key,
            c.created_at, c.state, c.dispatch_seq, c.dispatched_at,
            c.started_at, c.finished_at, c.exit_code, c.signal, c.reason,
            c.cancel_requested, c.stdout_total, c.stderr_total,
            c.output_dropped_bytes, labels, c.purpose, c.batch,
            s.terminal.has_value())
      .Run();
}

absl::Status InsertSpec(Database& db, int64_t row_number,
                        const CommandSpec& spec) {
  const Surroundings& in = spec.surroundings;
  ASSIGN_OR_RETURN(const std::string argv, sqlite::ArgvToJson(spec.argv));
  ASSIGN_OR_RETURN(const std::string environment,
                   sqlite::EnvironmentToJson(in.environment));
  ASSIGN_OR_RETURN(
      Statement add,
      db.Prepare("INSERT INTO command_specs(command, spec_text, argv, run_as, "
                 "working_directory, environment, umask, input, "
                 "input_streamed, terminal_rows, terminal_columns, "
                 "terminal_type, keep_us, recorded) VALUES($1, $2, $3, $4, $5, "
                 "$6, $7, $8, $9, $10, $11, $12, $13, $14)"));
  const sqlite::TerminalColumns terminal(spec.terminal);
  return add
      .Bind(row_number, spec.text, argv, in.user, in.working_directory,
            environment, in.umask, Blob{in.input}, spec.input_streamed,
            terminal.rows, terminal.columns, terminal.type, terminal.keep,
            terminal.recorded)
      .Run();
}

}  // namespace

absl::StatusOr<int64_t> SqliteFleetStore::RowNumber(const CommandId& id) {
  ASSIGN_OR_RETURN(Statement find,
                   db_->Prepare("SELECT row_number FROM commands WHERE id=$1"));
  ASSIGN_OR_RETURN(const bool found, find.Bind(id).Step());
  if (!found) return UnknownCommand(id);
  int64_t row_number = 0;
  find.Read(row_number);
  return row_number;
}

absl::StatusOr<CommandRecord> SqliteFleetStore::AddCommand(
    const CommandRecord& command) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  if (!command.idempotency_key.empty()) {
    const auto known = FindCommand(command.org, command.idempotency_key);
    if (known.ok()) return SameRequest(*known, command);
    if (!absl::IsNotFound(known.status())) return known.status();
  }
  RETURN_IF_ERROR(InsertCommand(*db_, command));
  ASSIGN_OR_RETURN(const int64_t row_number, RowNumber(command.id));
  RETURN_IF_ERROR(InsertSpec(*db_, row_number, command.spec));
  if (!command.idempotency_key.empty()) {
    ASSIGN_OR_RETURN(
        Statement key,
        db_->Prepare("INSERT INTO idempotency_keys(org, idempotency_key, "
                     "command, created_at_us) VALUES($1, $2, $3, $4)"));
    RETURN_IF_ERROR(key.Bind(command.org, command.idempotency_key, row_number,
                             command.created_at)
                        .Run());
  }
  ASSIGN_OR_RETURN(CommandRecord added, GetCommand(command.id));
  RETURN_IF_ERROR(txn.Commit());
  return added;
}

absl::StatusOr<CommandRecord> SqliteFleetStore::FindCommand(
    const OrgId& org, const std::string& key) {
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare(fmt::format(
          "{} JOIN idempotency_keys AS k ON k.command=c.row_number "
          "WHERE k.org=$1 AND k.idempotency_key=$2",
          kSelectCommands)));
  ASSIGN_OR_RETURN(const bool found, find.Bind(org, key).Step());
  if (!found) return UnknownKey(key);
  CommandRecord command;
  RETURN_IF_ERROR(ReadCommand(find, command));
  return command;
}

absl::Status SqliteFleetStore::PutCommand(const CommandRecord& c) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  if (!c.batch.empty()) RETURN_IF_ERROR(CountInBatch(c));
  ASSIGN_OR_RETURN(
      Statement put,
      db_->Prepare("UPDATE commands SET state=$2, dispatch_seq=$3, "
                   "dispatched_at_us=$4, started_at_us=$5, finished_at_us=$6, "
                   "exit_code=$7, signal=$8, reason=$9, cancel_requested=$10, "
                   "stdout_total=$11, stderr_total=$12, "
                   "output_dropped_bytes=$13 WHERE id=$1"));
  RETURN_IF_ERROR(put.Bind(c.id, c.state, c.dispatch_seq, c.dispatched_at,
                           c.started_at, c.finished_at, c.exit_code, c.signal,
                           c.reason, c.cancel_requested, c.stdout_total,
                           c.stderr_total, c.output_dropped_bytes)
                      .Run());
  if (db_->changes() != 1) return UnknownCommand(c.id);
  return txn.Commit();
}

absl::StatusOr<CommandRecord> SqliteFleetStore::GetCommand(
    const CommandId& id) {
  ASSIGN_OR_RETURN(Statement find, db_->Prepare(fmt::format("{} WHERE id=$1",
                                                            kSelectCommands)));
  ASSIGN_OR_RETURN(const bool found, find.Bind(id).Step());
  if (!found) return UnknownCommand(id);
  CommandRecord command;
  RETURN_IF_ERROR(ReadCommand(find, command));
  return command;
}

absl::StatusOr<std::vector<CommandRecord>>
SqliteFleetStore::LoadOpenCommands() {
  ASSIGN_OR_RETURN(Statement select,
                   db_->Prepare(fmt::format(
                       "{} WHERE (state<5 OR (stdout_bytes<stdout_total "
                       "OR stderr_bytes<stderr_total) AND is_session=0) "
                       "ORDER BY id",
                       kSelectCommands)));
  std::vector<CommandRecord> commands;
  RETURN_IF_ERROR(ReadCommands(select, commands));
  return commands;
}

absl::StatusOr<std::vector<CommandRecord>> SqliteFleetStore::ListCommands(
    const CommandFilter& filter, size_t limit) {
  ASSIGN_OR_RETURN(Transaction txn,
                   Transaction::Begin(*db_, Database::Intent::kRead));
  const std::string before =
      filter.before.has_value() ? filter.before->str() : sqlite::kAfterEveryId;
  const std::string sql = fmt::format(
      "{} WHERE {}{}{}{} is_session={} AND id<$4 ORDER BY id DESC "
      "LIMIT $5",
      kSelectCommands,
      filter.org.empty()     ? ""
      : filter.batch.empty() ? "org=$1 AND "
                             : "+org=$1 AND ",  // Not along it.
      filter.batch.empty() ? "" : "batch=$6 AND batch<>'' AND ",
      filter.agent.has_value() ? "agent=$2 AND " : "",
      filter.states.empty() ? "" : "state=$3 AND ", filter.sessions ? 1 : 0);
  // One search per state, each along an index, merged here: the cost depends on
  // `limit` and not on how many commands there are.
  std::vector<CommandState> states = filter.states;
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  if (states.empty()) states.push_back(CommandState{});
  std::vector<CommandRecord> commands;
  for (const CommandState state : states) {
    ASSIGN_OR_RETURN(Statement select, db_->Prepare(sql));
    select.Bind(filter.org, filter.agent, state, before, limit, filter.batch);
    RETURN_IF_ERROR(ReadCommands(select, commands));
  }
  std::sort(commands.begin(), commands.end(),
            [](const auto& a, const auto& b) { return a.id > b.id; });
  if (commands.size() > limit) commands.resize(limit);
  return commands;
}

// --- Output -----------------------------------------------------------------

absl::StatusOr<uint64_t> SqliteFleetStore::AppendOutput(
    const OutputRecord& output) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  const bool is_stdout = output.stream == Stream::kStdout;
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare("SELECT row_number, CASE $2 WHEN 1 THEN stdout_bytes ELSE "
                   "stderr_bytes END FROM commands WHERE id=$1"));
  ASSIGN_OR_RETURN(const bool found,
                   find.Bind(output.command, output.stream).Step());
  if (!found) return UnknownCommand(output.command);
  int64_t command = 0;
  uint64_t end = 0;
  find.Read(command, end);
  ASSIGN_OR_RETURN(const FreshOutput fresh, FreshPart(output, end));
  if (fresh.bytes.empty()) return end;

  ASSIGN_OR_RETURN(Statement add,
                   db_->Prepare("INSERT INTO output(command, stream, start, "
                                "data, at_us) VALUES($1, $2, $3, $4, $5)"));
  RETURN_IF_ERROR(add.Bind(command, output.stream, fresh.start,
                           Blob{fresh.bytes}, output.at)
                      .Run());
  end = fresh.start + fresh.bytes.size();
  ASSIGN_OR_RETURN(
      Statement note,
      db_->Prepare(is_stdout ? "UPDATE commands SET output_kept=1, "
                               "stdout_bytes=$2 WHERE row_number=$1"
                             : "UPDATE commands SET output_kept=1, "
                               "stderr_bytes=$2 WHERE row_number=$1"));
  RETURN_IF_ERROR(note.Bind(command, end).Run());
  RETURN_IF_ERROR(txn.Commit());
  return end;
}

absl::StatusOr<int64_t> SqliteFleetStore::ArrivalOf(int64_t command,
                                                    Stream stream,
                                                    uint64_t offset) {
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare("SELECT arrival FROM output WHERE command=$1 AND stream=$2 "
                   "AND start>=COALESCE((SELECT MAX(start) FROM output WHERE "
                   "command=$1 AND stream=$2 AND start<=$3), 0) "
                   "ORDER BY start LIMIT 1"));
  ASSIGN_OR_RETURN(const bool found, find.Bind(command, stream, offset).Step());
  int64_t arrival = std::numeric_limits<int64_t>::max();
  if (found) find.Read(arrival);
  return arrival;
}

absl::StatusOr<std::vector<OutputRecord>> SqliteFleetStore::ReadOutput(
    const CommandId& id, uint64_t stdout_offset, uint64_t stderr_offset,
    size_t bytes_max) {
  ASSIGN_OR_RETURN(Transaction txn,
                   Transaction::Begin(*db_, Database::Intent::kRead));
  ASSIGN_OR_RETURN(const int64_t command, RowNumber(id));
  // Offsets come from outside; the column is signed.
  constexpr uint64_t kOffsetMax = std::numeric_limits<int64_t>::max();
  stdout_offset = std::min(stdout_offset, kOffsetMax);
  stderr_offset = std::min(stderr_offset, kOffsetMax);
  ASSIGN_OR_RETURN(const int64_t stdout_from,
                   ArrivalOf(command, Stream::kStdout, stdout_offset));
  ASSIGN_OR_RETURN(const int64_t stderr_from,
                   ArrivalOf(command, Stream::kStderr, stderr_offset));
  ASSIGN_OR_RETURN(
      Statement select,
      db_->Prepare(
          "SELECT stream, start, data, at_us FROM output WHERE command=$1 "
          "AND arrival>=$2 AND start+LENGTH(data)>"
          "CASE stream WHEN 1 THEN $3 ELSE $4 END ORDER BY arrival"));
  select.Bind(command, std::min(stdout_from, stderr_from), stdout_offset,
              stderr_offset);
  std::vector<OutputRecord> records;
  size_t bytes = 0;
  while (bytes < bytes_max) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) break;
    OutputRecord record;
    record.command = id;
    select.Read(record.stream, record.offset, record.data, record.at);
    SkipBefore(record, record.stream == Stream::kStdout ? stdout_offset
                                                        : stderr_offset);
    bytes += record.data.size();
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace muster::gateway
