// Everything a gateway is, in one file: database, CA, admin token.

#ifndef MUSTER_GATEWAY_SERVER_BACKUP_H_
#define MUSTER_GATEWAY_SERVER_BACKUP_H_

#include <string>

#include "absl/status/status.h"

namespace muster::gateway {

// Writes `file` (mode 0600; it holds the CA's key) from the data folder of a
// gateway, which may be running. AlreadyExists if `file` is there, NotFound if
// the folder holds no database.
absl::Status WriteBackup(const std::string& data_dir, const std::string& file);

// Fills `data_dir`, which must not hold a gateway yet, from `file`, and brings
// the database to today's schema. After an error nothing is there that was not
// before. DataLoss if `file` is no backup or is damaged, FailedPrecondition if
// the folder is in use or a newer gateway made the backup.
absl::Status RestoreBackup(const std::string& file,
                           const std::string& data_dir);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_SERVER_BACKUP_H_
