// How the database file becomes the one this gateway expects.

#ifndef MUSTER_GATEWAY_STORE_SQLITE_MIGRATIONS_H_
#define MUSTER_GATEWAY_STORE_SQLITE_MIGRATIONS_H_

#include <span>

#include "absl/status/status.h"
#include "gateway/store/sqlite/sqlite.h"

namespace muster::gateway::sqlite {

// One step. Element i of a list leads from version i to version i + 1.
// Published steps are never edited: add another.
struct Migration {
  const char* sql;
};

// Every step from the empty file to today's schema.
std::span<const Migration> Migrations();

// Brings `db` to version `migrations.size()`, all steps in one transaction.
// A database that already holds data is first copied beside itself, to
// "<file>.before-v<new version>".
// FailedPrecondition: the file belongs to a newer gateway, or to another
// program; the file is untouched.
absl::Status Migrate(Database& db, std::span<const Migration> migrations);

// Writes a compact, consistent copy of `db` to `path` (mode 0600, durable).
// AlreadyExists if `path` exists. Not inside a transaction.
absl::Status CopyTo(Database& db, const std::string& path);

}  // namespace muster::gateway::sqlite

#endif  // MUSTER_GATEWAY_STORE_SQLITE_MIGRATIONS_H_
