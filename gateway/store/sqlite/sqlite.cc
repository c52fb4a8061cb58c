#include "gateway/store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>

#include <limits>

#include "fmt/format.h"
#include "libprotocol/base/check.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway::sqlite {
namespace {

constexpr int kBusyTimeoutMs = 5000;
// Texts are constants of this room; the bound is for the few that are composed.
constexpr size_t kKeptStatementsMax = 100;

bool MeansFull(int system_errno) {
  return system_errno == ENOSPC || system_errno == EDQUOT;
}

absl::StatusCode CodeOf(int code, int system_errno) {
  if (code == SQLITE_CONSTRAINT_FOREIGNKEY) return absl::StatusCode::kNotFound;
  switch (code & 0xff) {  // Primary code; the rest is detail.
    case SQLITE_FULL:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_IOERR:
      return MeansFull(system_errno) ? absl::StatusCode::kResourceExhausted
                                     : absl::StatusCode::kInternal;
    case SQLITE_CANTOPEN:
      if (system_errno == ENOENT) return absl::StatusCode::kNotFound;
      return MeansFull(system_errno) ? absl::StatusCode::kResourceExhausted
                                     : absl::StatusCode::kUnavailable;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_CONSTRAINT:
      return absl::StatusCode::kAlreadyExists;
    case SQLITE_READONLY:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

// Creates the file with its final mode: SQLite would use the umask, and gives
// the files beside it (-wal, -shm) the mode of the first.
absl::Status PrepareFile(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.valid()) return absl::OkStatus();
  if (errno == EISDIR) {
    return absl::FailedPreconditionError(
        fmt::format("opening {}: it is a folder, not a database file", path));
  }
  return ErrnoStatus(errno, "opening", path);
}

}  // namespace

absl::Status ToStatus(int code, std::string_view context, int system_errno) {
  if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) {
    return absl::OkStatus();
  }
  return absl::Status(CodeOf(code, system_errno),
                      fmt::format("{}: {}", context, sqlite3_errstr(code)));
}

// --- Statement --------------------------------------------------------------

Statement::~Statement() {
  if (stmt_ != nullptr) db_->Keep(stmt_);
}

absl::Status Statement::Run() {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

absl::StatusOr<bool> Statement::Step() {
  if (bind_error_ != SQLITE_OK) return ToStatus(bind_error_, "bind");
  const int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  // A constraint is the caller's affair, everything else the file's.
  const bool constraint = (code & 0xff) == SQLITE_CONSTRAINT;
  const absl::Status status =
      db_->Check(code, constraint ? sqlite3_errmsg(db_->db_) : db_->path());
  sqlite3_reset(stmt_);
  RETURN_IF_ERROR(status);
  return false;
}

void Statement::NoteBind(int code) {
  if (bind_error_ == SQLITE_OK) bind_error_ = code;
}

namespace {
// $N is a name to SQLite; 0 when the text does not use it.
int IndexOf(sqlite3_stmt* stmt, int number) {
  char name[8];
  *fmt::format_to_n(name, sizeof(name) - 1, "${}", number).out = '\0';
  return sqlite3_bind_parameter_index(stmt, name);
}
}  // namespace

void Statement::BindNull(int number) {
  const int index = IndexOf(stmt_, number);
  if (index > 0) NoteBind(sqlite3_bind_null(stmt_, index));
}
void Statement::BindInt(int number, int64_t value) {
  const int index = IndexOf(stmt_, number);
  if (index > 0) NoteBind(sqlite3_bind_int64(stmt_, index, value));
}
void Statement::BindText(int number, std::string_view text) {
  const int index = IndexOf(stmt_, number);
  if (index == 0) return;
  // A null pointer would bind NULL.
  NoteBind(sqlite3_bind_text64(stmt_, index, text.empty() ? "" : text.data(),
                               text.size(), SQLITE_STATIC, SQLITE_UTF8));
}
void Statement::BindBlob(int number, std::string_view bytes) {
  const int index = IndexOf(stmt_, number);
  if (index == 0) return;
  NoteBind(sqlite3_bind_blob64(stmt_, index, bytes.empty() ? "" : bytes.data(),
                               bytes.size(), SQLITE_STATIC));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(stmt_, column) == SQLITE_NULL;
}
int64_t Statement::Int(int column) const {
  return sqlite3_column_int64(stmt_, column);
}
std::string Statement::Bytes(int column) const {
  const void* bytes = sqlite3_column_blob(stmt_, column);
  if (bytes == nullptr) return std::string();
  return std::string(static_cast<const char*>(bytes),
                     static_cast<size_t>(sqlite3_column_bytes(stmt_, column)));
}
absl::Time Statement::TimeOf(int64_t micros) {
  if (micros == std::numeric_limits<int64_t>::max())
    return absl::InfiniteFuture();
  if (micros == std::numeric_limits<int64_t>::min())
    return absl::InfinitePast();
  return absl::FromUnixMicros(micros);
}
absl::Duration Statement::DurationOf(int64_t micros) {
  if (micros == std::numeric_limits<int64_t>::max())
    return absl::InfiniteDuration();
  return absl::Microseconds(micros);
}

// --- Database ---------------------------------------------------------------

absl::StatusOr<std::unique_ptr<Database>> Database::Open(
    const std::string& path, Access access) {
  const bool writable = access == Access::kReadWrite;
  if (writable) RETURN_IF_ERROR(PrepareFile(path));
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &raw,
      (writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
          SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  // Owns `raw` even when opening failed.
  std::unique_ptr<Database> db(new Database(raw, path));
  RETURN_IF_ERROR(db->Check(code, "opening " + path));
  RETURN_IF_ERROR(db->Configure(access));
  return db;
}

Database::~Database() {
  for (auto& [sql, stmt] : kept_) sqlite3_finalize(stmt);
  sqlite3_close_v2(db_);
}

absl::Status Database::Configure(Access access) {
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  RETURN_IF_ERROR(Execute("PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON"));
  if (access == Access::kReadOnly) return absl::OkStatus();
  // auto_vacuum takes effect only while the file is still empty.
  return Execute(
      "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
      "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864");
}

absl::Status Database::Check(int code, std::string_view context) {
  absl::Status status =
      ToStatus(code, context, db_ == nullptr ? 0 : sqlite3_system_errno(db_));
  if (!status.ok() && depth_ > 0 && lost_.ok() &&
      sqlite3_get_autocommit(db_) != 0) {
    lost_ = status;
  }
  return status;
}

absl::StatusOr<Statement> Database::Prepare(std::string_view sql) {
  // Without this, what follows a lost transaction would commit by itself.
  RETURN_IF_ERROR(lost_);
  if (auto it = kept_.find(sql); it != kept_.end()) {
    sqlite3_stmt* stmt = it->second;
    kept_.erase(it);
    return Statement(this, stmt);
  }
  sqlite3_stmt* stmt = nullptr;
  const int code =
      sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
  if (code != SQLITE_OK) {
    const std::string detail = sqlite3_errmsg(db_);
    return Check(code, fmt::format("{}: {}", path_, detail));
  }
  return Statement(this, stmt);
}

void Database::Keep(sqlite3_stmt* stmt) {
  sqlite3_reset(stmt);
  sqlite3_clear_bindings(stmt);
  if (kept_.size() >= kKeptStatementsMax) {
    sqlite3_finalize(stmt);
    return;
  }
  kept_.emplace(sqlite3_sql(stmt), stmt);
}

absl::Status Database::Execute(const std::string& sql) {
  RETURN_IF_ERROR(lost_);
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  return Check(code, path_);
}

absl::StatusOr<int64_t> Database::QueryInt(std::string_view sql) {
  ASSIGN_OR_RETURN(Statement query, Prepare(sql));
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return absl::NotFoundError(fmt::format("{}: no row", path_));
  int64_t value = 0;
  query.Read(value);
  return value;
}

absl::Status Database::Begin(Intent intent) {
  if (depth_ > 0) {
    RETURN_IF_ERROR(Execute("SAVEPOINT inner_one"));
  } else {
    // IMMEDIATE: a lock that cannot be had is found here, not half way.
    RETURN_IF_ERROR(
        Execute(intent == Intent::kWrite ? "BEGIN IMMEDIATE" : "BEGIN"));
  }
  ++depth_;
  return absl::OkStatus();
}

absl::Status Database::Commit() {
  MUSTER_CHECK(depth_ > 0);
  const absl::Status status =
      Execute(depth_ > 1 ? "RELEASE inner_one" : "COMMIT");
  if (status.ok()) {
    --depth_;
  } else {
    Rollback();
  }
  return status;
}

void Database::Rollback() {
  MUSTER_CHECK(depth_ > 0);
  const bool inner = depth_ > 1;
  if (sqlite3_get_autocommit(db_) == 0) {
    const int code = sqlite3_exec(
        db_, inner ? "ROLLBACK TO inner_one; RELEASE inner_one" : "ROLLBACK",
        nullptr, nullptr, nullptr);
    // What could not be undone alone is undone with everything around it.
    if (inner && code != SQLITE_OK) {
      lost_ = ToStatus(code, path_, sqlite3_system_errno(db_));
      sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    }
  }
  --depth_;
  if (depth_ == 0) lost_ = absl::OkStatus();
}

// --- Transaction ------------------------------------------------------------

absl::StatusOr<Transaction> Transaction::Begin(Database& db,
                                               Database::Intent intent) {
  RETURN_IF_ERROR(db.Begin(intent));
  return Transaction(db);
}
Transaction::~Transaction() {
  if (db_ != nullptr) db_->Rollback();
}
absl::Status Transaction::Commit() {
  return std::exchange(db_, nullptr)->Commit();
}

}  // namespace muster::gateway::sqlite
