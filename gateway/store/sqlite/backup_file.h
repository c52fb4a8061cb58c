// Files that travel inside a copy of the database, so that a backup is one
// file.

#ifndef MUSTER_GATEWAY_STORE_SQLITE_BACKUP_FILE_H_
#define MUSTER_GATEWAY_STORE_SQLITE_BACKUP_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace muster::gateway {

struct EnclosedFile {
  std::string name;  // Relative to the data folder.
  uint32_t mode = 0600;
  std::string content;
};

// Adds `files` to the database copy at `path`.
absl::Status EncloseFiles(const std::string& path,
                          const std::vector<EnclosedFile>& files);

// Returns the enclosed files and removes them from the copy. DataLoss if `path`
// encloses none: it is no backup.
absl::StatusOr<std::vector<EnclosedFile>> TakeEnclosedFiles(
    const std::string& path);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_STORE_SQLITE_BACKUP_FILE_H_
