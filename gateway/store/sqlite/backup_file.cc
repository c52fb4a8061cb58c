#include "gateway/store/sqlite/backup_file.h"

#include <memory>
#include <utility>

#include "fmt/format.h"
#include "gateway/store/sqlite/sqlite.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Blob;
using sqlite::Database;
using sqlite::Statement;
using sqlite::Transaction;

absl::Status EncloseFiles(const std::string& path,
                          const std::vector<EnclosedFile>& files) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> db,
                   Database::Open(path, Database::Access::kReadWrite));
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db));
  RETURN_IF_ERROR(
      db->Execute("CREATE TABLE enclosed_files("
                  "name TEXT NOT NULL PRIMARY KEY, mode INTEGER NOT NULL, "
                  "content BLOB NOT NULL) STRICT, WITHOUT ROWID"));
  {
    ASSIGN_OR_RETURN(Statement put,
                     db->Prepare("INSERT INTO enclosed_files(name, mode, "
                                 "content) VALUES($1, $2, $3)"));
    for (const EnclosedFile& file : files) {
      RETURN_IF_ERROR(put.Bind(file.name, file.mode, Blob{file.content}).Run());
    }
  }
  return txn.Commit();
}

absl::StatusOr<std::vector<EnclosedFile>> TakeEnclosedFiles(
    const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Database> db,
                   Database::Open(path, Database::Access::kReadWrite));
  ASSIGN_OR_RETURN(const int64_t known,
                   db->QueryInt("SELECT COUNT(*) FROM sqlite_schema WHERE "
                                "type='table' AND name='enclosed_files'"));
  if (known == 0) {
    return absl::DataLossError(
        fmt::format("{} is a database, but no backup of a gateway", path));
  }
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db));
  std::vector<EnclosedFile> files;
  {
    ASSIGN_OR_RETURN(Statement get,
                     db->Prepare("SELECT name, mode, content FROM "
                                 "enclosed_files ORDER BY name"));
    while (true) {
      ASSIGN_OR_RETURN(const bool row, get.Step());
      if (!row) break;
      EnclosedFile& file = files.emplace_back();
      get.Read(file.name, file.mode, file.content);
    }
  }
  RETURN_IF_ERROR(db->Execute("DROP TABLE enclosed_files"));
  RETURN_IF_ERROR(txn.Commit());
  return files;
}

}  // namespace muster::gateway
