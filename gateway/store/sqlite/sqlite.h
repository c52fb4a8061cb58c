// A thin, Status-returning skin over the SQLite C API: three types, no ORM.
//
//   ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(db));
//   ASSIGN_OR_RETURN(Statement put, db.Prepare("INSERT INTO t VALUES($1,$2)"));
//   RETURN_IF_ERROR(put.Bind(id, when).Run());
//   return txn.Commit();

#ifndef MUSTER_GATEWAY_STORE_SQLITE_SQLITE_H_
#define MUSTER_GATEWAY_STORE_SQLITE_SQLITE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libprotocol/base/ids.h"
#include "sqlite3.h"

namespace muster::gateway::sqlite {

// Maps an SQLite result code (extended or not) to the error contract of
// FleetStore: FULL → ResourceExhausted, BUSY, LOCKED and CANTOPEN (descriptors
// may have run out) → Unavailable, CORRUPT and NOTADB → DataLoss, CONSTRAINT →
// AlreadyExists (a missing parent row: NotFound), READONLY →
// FailedPrecondition, the rest → Internal. `system_errno` tells a full disk
// apart from a broken one, and a missing file.
absl::Status ToStatus(int code, std::string_view context, int system_errno = 0);

// Raw bytes for a BLOB column.
struct Blob {
  std::string_view bytes;
};

class Database;

// Statement is one prepared statement on loan from its Database, which keeps it
// for the next caller. Not thread-safe; must not outlive the Database.
class Statement {
 public:
  Statement(Statement&& other) noexcept
      : db_(other.db_),
        stmt_(std::exchange(other.stmt_, nullptr)),
        bind_error_(other.bind_error_) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Binds $1, $2, … in this order; a number that the text does not use is
  // skipped. Text must stay alive until the statement has run. Times and
  // durations become microseconds, enums their number, an empty optional NULL.
  // Errors surface from the next Run() or Step().
  template <typename... Values>
  Statement& Bind(const Values&... values) {
    int number = 0;
    (BindOne(++number, values), ...);
    return *this;
  }

  // Executes to completion, discarding rows, and resets for reuse.
  absl::Status Run();

  // Advances to the next row. True: a row is ready. False: no more rows, and
  // the statement is reset.
  absl::StatusOr<bool> Step();

  // Reads the columns of the current row, from the first on: the mirror of
  // Bind().
  template <typename... Values>
  void Read(Values&... values) const {
    int column = 0;
    (ReadOne(column++, values), ...);
  }

 private:
  friend class Database;
  Statement(Database* db, sqlite3_stmt* stmt) : db_(db), stmt_(stmt) {}

  template <typename T>
  struct IsOptional : std::false_type {};
  template <typename T>
  struct IsOptional<std::optional<T>> : std::true_type {};
  template <typename T>
  struct IsId : std::false_type {};
  template <typename T>
  struct IsId<Id<T>> : std::true_type {};

  template <typename T>
  void BindOne(int number, const T& value) {
    if constexpr (IsOptional<T>::value) {
      if (value.has_value()) {
        BindOne(number, *value);
      } else {
        BindNull(number);
      }
    } else if constexpr (IsId<T>::value) {
      BindText(number, value.str());
    } else if constexpr (std::is_same_v<T, Blob>) {
      BindBlob(number, value.bytes);
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      BindInt(number, absl::ToUnixMicros(value));
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      BindInt(number, absl::ToInt64Microseconds(value));
    } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
      BindInt(number, static_cast<int64_t>(value));
    } else {
      BindText(number, value);
    }
  }

  template <typename T>
  void ReadOne(int column, T& value) const {
    if constexpr (IsOptional<T>::value) {
      value.reset();
      if (!IsNull(column)) ReadOne(column, value.emplace());
    } else if constexpr (IsId<T>::value) {
      value = T(Bytes(column));
    } else if constexpr (std::is_same_v<T, absl::Time>) {
      value = TimeOf(Int(column));
    } else if constexpr (std::is_same_v<T, absl::Duration>) {
      value = DurationOf(Int(column));
    } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
      value = static_cast<T>(Int(column));
    } else {
      value = Bytes(column);
    }
  }

  void BindNull(int number);
  void BindInt(int number, int64_t value);
  void BindText(int number, std::string_view text);
  void BindBlob(int number, std::string_view bytes);
  void NoteBind(int code);
  bool IsNull(int column) const;
  int64_t Int(int column) const;
  std::string Bytes(int column) const;
  static absl::Time TimeOf(int64_t micros);
  static absl::Duration DurationOf(int64_t micros);

  Database* db_;
  sqlite3_stmt* stmt_;  // Null once moved from.
  int bind_error_ = SQLITE_OK;
};

// Database is one connection to one file: WAL, synchronous=FULL, foreign keys,
// no trust in the schema. Not thread-safe: each thread opens its own.
class Database {
 public:
  enum class Access { kReadWrite, kReadOnly };

  // kReadWrite creates a missing file with mode 0600. FailedPrecondition in a
  // read-only folder or when `path` is a folder, PermissionDenied and NotFound
  // as the system says, DataLoss if it is no database. All name `path`.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        Access access);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  absl::StatusOr<Statement> Prepare(std::string_view sql);
  // Runs every statement in `sql`, discarding rows.
  absl::Status Execute(const std::string& sql);
  // The first column of the first row; NotFound without a row.
  absl::StatusOr<int64_t> QueryInt(std::string_view sql);

  // Transactions nest: an inner one is a savepoint. When SQLite itself gave up
  // the whole transaction (a full disk can do that), every call up to and
  // including the outermost Commit() returns the error that caused it.
  enum class Intent { kRead, kWrite };
  absl::Status Begin(Intent intent = Intent::kWrite);
  // A failed Commit() has rolled back.
  absl::Status Commit();
  void Rollback();

  bool in_transaction() const { return depth_ > 0; }
  const std::string& path() const { return path_; }
  // Rows changed by the last statement that ran.
  int64_t changes() const { return sqlite3_changes64(db_); }

 private:
  friend class Statement;
  Database(sqlite3* db, std::string path) : db_(db), path_(std::move(path)) {}

  absl::Status Configure(Access access);
  absl::Status Check(int code, std::string_view context);
  // Takes a statement back for the next Prepare() of the same text.
  void Keep(sqlite3_stmt* stmt);

  sqlite3* db_;
  const std::string path_;
  int depth_ = 0;
  absl::Status lost_;  // Why SQLite gave up the open transaction.
  std::multimap<std::string, sqlite3_stmt*, std::less<>> kept_;
};

// Rolls back unless Commit() succeeded. Declare it before the statements that
// run in it.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(
      Database& db, Database::Intent intent = Database::Intent::kWrite);
  Transaction(Transaction&& other) noexcept
      : db_(std::exchange(other.db_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  absl::Status Commit();

 private:
  explicit Transaction(Database& db) : db_(&db) {}
  Database* db_;  // Null once finished or moved from.
};

}  // namespace muster::gateway::sqlite

#endif  // MUSTER_GATEWAY_STORE_SQLITE_SQLITE_H_
