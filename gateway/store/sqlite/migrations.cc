#include "gateway/store/sqlite/migrations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "fmt/format.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway::sqlite {
namespace {

// "MSTR": tells our files from those of other programs.
constexpr int64_t kApplicationId = 0x4d535452;

std::string FolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// A copy left by an attempt that failed is replaced; one that is complete is
// replaced only by another complete one.
absl::Status KeepCopy(Database& db, size_t version) {
  const std::string copy = fmt::format("{}.before-v{}", db.path(), version);
  const std::string partial = copy + ".partial";
  RETURN_IF_ERROR(RemoveTree(partial));
  RETURN_IF_ERROR(CopyTo(db, partial));
  if (rename(partial.c_str(), copy.c_str()) != 0) {
    return ErrnoStatus(errno, "renaming", partial);
  }
  return SyncFolder(FolderOf(copy));
}

absl::Status CheckOwner(Database& db, int64_t version) {
  ASSIGN_OR_RETURN(const int64_t owner, db.QueryInt("PRAGMA application_id"));
  ASSIGN_OR_RETURN(const int64_t tables,
                   db.QueryInt("SELECT COUNT(*) FROM sqlite_schema"));
  const bool fresh = version == 0 && owner == 0 && tables == 0;
  if (fresh || owner == kApplicationId) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "{} is a database of another program, not of muster-gateway", db.path()));
}

}  // namespace

absl::Status Migrate(Database& db, std::span<const Migration> migrations) {
  const auto newest = static_cast<int64_t>(migrations.size());
  ASSIGN_OR_RETURN(const int64_t version, db.QueryInt("PRAGMA user_version"));
  RETURN_IF_ERROR(CheckOwner(db, version));
  if (version == newest) return absl::OkStatus();
  if (version > newest || version < 0) {
    return absl::FailedPreconditionError(fmt::format(
        "{} has schema version {}, but this gateway knows only up to {}: start "
        "the newer gateway again, or restore a backup made by this one",
        db.path(), version, newest));
  }
  if (version > 0) RETURN_IF_ERROR(KeepCopy(db, migrations.size()));

  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(db));
  for (const Migration& step :
       migrations.subspan(static_cast<size_t>(version))) {
    RETURN_IF_ERROR(db.Execute(step.sql));
  }
  RETURN_IF_ERROR(
      db.Execute(fmt::format("PRAGMA application_id={};PRAGMA user_version={}",
                             kApplicationId, newest)));
  return txn.Commit();
}

absl::Status CopyTo(Database& db, const std::string& path) {
  // VACUUM INTO accepts an empty file: create it with the mode it shall have.
  const Fd file(
      open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "creating", path);
  const auto copy = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(Statement vacuum, db.Prepare("VACUUM INTO $1"));
    RETURN_IF_ERROR(vacuum.Bind(path).Run());
    if (fsync(file.get()) != 0) return ErrnoStatus(errno, "syncing", path);
    return SyncFolder(FolderOf(path));
  };
  absl::Status status = copy();
  if (!status.ok()) unlink(path.c_str());
  return status;
}

}  // namespace muster::gateway::sqlite
