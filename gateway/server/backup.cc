#include "gateway/server/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "fmt/format.h"
#include "gateway/store/sqlite/backup_file.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;

// Everything besides the database; a restored gateway is the same gateway.
constexpr const char* kEnclosed[] = {
    "ca/ca.key",  "ca/ca.pem",  "ca/fleet.key", "ca/fleet.pem",
    "ca/web.key", "ca/web.pem", "admin-token",  "admin-token.sha256"};

bool IsEnclosed(const std::string& name) {
  for (const char* known : kEnclosed) {
    if (name == known) return true;
  }
  return false;
}

}  // namespace

absl::Status WriteBackup(const std::string& data_dir, const std::string& file) {
  if (FileExists(file)) {
    return absl::AlreadyExistsError(fmt::format("{} already exists", file));
  }
  const std::string database = data_dir + "/muster.db";
  if (!FileExists(database)) {
    return absl::NotFoundError(fmt::format("{} holds no gateway", data_dir));
  }
  std::vector<EnclosedFile> files;
  for (const char* name : kEnclosed) {
    const std::string path = data_dir + "/" + name;
    if (!FileExists(path)) continue;  // The web port may have no certificate.
    ASSIGN_OR_RETURN(std::string content, ReadFile(path, kFileBytesMax));
    files.push_back({name, 0600, std::move(content)});
  }
  const std::string partial = file + ".partial";
  unlink(partial.c_str());  // Left by a backup that was cut off.
  const absl::Cleanup remove = [&partial] { unlink(partial.c_str()); };
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<SqliteFleetStore> store,
                     SqliteFleetStore::OpenReader(database));
    RETURN_IF_ERROR(store->BackupTo(partial));
  }
  if (chmod(partial.c_str(), 0600) != 0) {
    return ErrnoStatus(errno, "setting the mode of", partial);
  }
  RETURN_IF_ERROR(EncloseFiles(partial, files));
  if (rename(partial.c_str(), file.c_str()) != 0) {
    return ErrnoStatus(errno, "renaming", partial);
  }
  const std::string folder = std::filesystem::path(file).parent_path();
  return SyncFolder(folder.empty() ? "." : folder);
}

namespace {

// A log without its database would be taken for the new database's own.
absl::Status CheckIsFree(const std::string& data_dir) {
  for (const char* name : {"muster.db", "muster.db-wal"}) {
    if (FileExists(data_dir + "/" + name)) {
      return absl::FailedPreconditionError(
          fmt::format("{} already holds a gateway ({}); restore into an empty "
                      "folder",
                      data_dir, name));
    }
  }
  return absl::OkStatus();
}

// Those of `folder` and its parents that are not there, outermost first.
std::vector<std::string> MissingFolders(const std::string& folder) {
  std::vector<std::string> missing;
  for (std::filesystem::path path = folder;
       !path.empty() && !FileExists(path.string()); path = path.parent_path()) {
    missing.insert(missing.begin(), path.string());
  }
  return missing;
}

// The copy at `partial` becomes a database that a gateway accepts; returns what
// was enclosed.
absl::StatusOr<std::vector<EnclosedFile>> OpenCopy(const std::string& file,
                                                   const std::string& partial) {
  // Nobody else may read it, not even while it is being copied.
  RETURN_IF_ERROR(WriteFileDurably(partial, "", 0600));
  std::error_code error;
  std::filesystem::copy_file(
      file, partial, std::filesystem::copy_options::overwrite_existing, error);
  if (error) return ErrnoStatus(error.value(), "copying", file);
  if (chmod(partial.c_str(), 0600) != 0) {
    return ErrnoStatus(errno, "setting the mode of", partial);
  }
  ASSIGN_OR_RETURN(std::vector<EnclosedFile> files, TakeEnclosedFiles(partial));
  for (const EnclosedFile& enclosed : files) {
    if (!IsEnclosed(enclosed.name)) {
      return absl::DataLossError(fmt::format(
          "it encloses \"{}\", which no gateway writes", enclosed.name));
    }
  }
  RETURN_IF_ERROR(SqliteFleetStore::Open(partial).status());
  return files;
}

}  // namespace

absl::Status RestoreBackup(const std::string& file,
                           const std::string& data_dir) {
  RETURN_IF_ERROR(CheckIsFree(data_dir));
  if (!FileExists(file)) {
    return absl::NotFoundError(fmt::format("{} not found", file));
  }
  // What is new because of us, outermost first.
  std::vector<std::string> made = MissingFolders(data_dir + "/ca");
  absl::Cleanup undo = [&made] {
    std::for_each(made.rbegin(), made.rend(),
                  [](const std::string& path) { remove(path.c_str()); });
  };
  RETURN_IF_ERROR(MakeFolder(data_dir, 0700));
  const std::string database = data_dir + "/muster.db";
  // A folder, for all the files that a database has while it is worked on.
  const std::string work = database + ".restoring";
  RETURN_IF_ERROR(RemoveTree(work));
  const absl::Cleanup clear = [&work] { RemoveTree(work).IgnoreError(); };
  RETURN_IF_ERROR(MakeFolder(work, 0700));
  const std::string partial = work + "/muster.db";
  const auto files = OpenCopy(file, partial);
  if (!files.ok()) {
    return absl::Status(files.status().code(),
                        fmt::format("{} cannot be restored: {}", file,
                                    ToStd(files.status().message())));
  }
  RETURN_IF_ERROR(MakeFolder(data_dir + "/ca", 0700));
  for (const EnclosedFile& enclosed : *files) {
    const std::string path = data_dir + "/" + enclosed.name;
    if (!FileExists(path)) made.push_back(path);
    RETURN_IF_ERROR(WriteFileDurably(path, enclosed.content, 0600));
  }
  // Last: a folder with a database is a gateway.
  if (rename(partial.c_str(), database.c_str()) != 0) {
    return ErrnoStatus(errno, "renaming", partial);
  }
  std::move(undo).Cancel();
  return SyncFolder(data_dir);
}

}  // namespace muster::gateway
