// Orgs, users and what speaks for them.

#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gateway/store/sqlite/columns.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gateway/store/store_rules.h"
#include "libprotocol/base/status_macros.h"

namespace muster::gateway {

using sqlite::Blob;
using sqlite::Statement;
using sqlite::Transaction;

namespace {

constexpr char kSelectUsers[] =
    "SELECT org, name, kind, role, created_by, created_at_us, disabled_at_us, "
    "password_hash FROM users ";
constexpr char kSelectAccessTokens[] =
    "SELECT id, org, user, secret_sha256, description, scopes, created_by, "
    "created_at_us, expires_at_us, revoked_at_us, signed_in "
    "FROM access_tokens ";

void ReadUser(const Statement& row, UserRecord& u) {
  row.Read(u.org, u.name, u.kind, u.role, u.created_by, u.created_at,
           u.disabled_at, u.password_hash);
}

absl::Status ReadToken(const Statement& row, AccessTokenRecord& t) {
  std::string scopes;
  row.Read(t.id, t.org, t.user, t.secret_sha256, t.description, scopes,
           t.created_by, t.created_at, t.expires_at, t.revoked_at, t.signed_in);
  ASSIGN_OR_RETURN(t.scopes, sqlite::ArgvFromJson(scopes));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<OrgRecord>> SqliteFleetStore::LoadOrgs() {
  ASSIGN_OR_RETURN(Statement list,
                   db_->Prepare("SELECT id, created_by, created_at_us "
                                "FROM orgs ORDER BY id"));
  std::vector<OrgRecord> orgs;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return orgs;
    OrgRecord& org = orgs.emplace_back();
    list.Read(org.id, org.created_by, org.created_at);
  }
}

absl::Status SqliteFleetStore::AddOrg(const OrgRecord& org) {
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO orgs(id, created_by, created_at_us) "
                   "VALUES($1, $2, $3)"));
  const absl::Status added =
      add.Bind(org.id, org.created_by, org.created_at).Run();
  return absl::IsAlreadyExists(added) ? OrgExists(org.id) : added;
}

absl::StatusOr<std::vector<UserRecord>> SqliteFleetStore::LoadUsers() {
  ASSIGN_OR_RETURN(Statement list, db_->Prepare(fmt::format(
                                       "{} ORDER BY org, name", kSelectUsers)));
  std::vector<UserRecord> users;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return users;
    ReadUser(list, users.emplace_back());
  }
}

absl::Status SqliteFleetStore::AddUser(const UserRecord& u) {
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare("INSERT INTO users(org, name, kind, role, created_by, "
                   "created_at_us, disabled_at_us, password_hash) "
                   "VALUES($1, $2, $3, $4, $5, $6, $7, $8)"));
  const absl::Status added =
      add.Bind(u.org, u.name, u.kind, u.role, u.created_by, u.created_at,
               u.disabled_at, u.password_hash)
          .Run();
  return absl::IsAlreadyExists(added) ? UserExists(u.name) : added;
}

absl::StatusOr<UserRecord> SqliteFleetStore::EditUser(const OrgId& org,
                                                      const std::string& name,
                                                      const UserEdit& edit) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(
      Statement find,
      db_->Prepare(fmt::format("{} WHERE org=$1 AND name=$2", kSelectUsers)));
  ASSIGN_OR_RETURN(const bool found, find.Bind(org, name).Step());
  if (!found) return UnknownUser(name);
  UserRecord user;
  ReadUser(find, user);
  user = Edited(std::move(user), edit);
  ASSIGN_OR_RETURN(Statement change,
                   db_->Prepare("UPDATE users SET role=$3, disabled_at_us=$4, "
                                "password_hash=$5 WHERE org=$1 AND name=$2"));
  RETURN_IF_ERROR(
      change.Bind(org, name, user.role, user.disabled_at, user.password_hash)
          .Run());
  if (edit.password_hash) {
    ASSIGN_OR_RETURN(
        Statement sign_out,
        db_->Prepare("UPDATE access_tokens SET revoked_at_us=$3 WHERE org=$1 "
                     "AND user=$2 AND signed_in=1 AND revoked_at_us IS NULL"));
    RETURN_IF_ERROR(sign_out.Bind(org, name, edit.at).Run());
  }
  RETURN_IF_ERROR(txn.Commit());
  return user;
}

absl::StatusOr<std::vector<AccessTokenRecord>>
SqliteFleetStore::LoadAccessTokens() {
  ASSIGN_OR_RETURN(Statement list,
                   db_->Prepare(fmt::format("{} ORDER BY created_at_us, id",
                                            kSelectAccessTokens)));
  std::vector<AccessTokenRecord> tokens;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, list.Step());
    if (!row) return tokens;
    RETURN_IF_ERROR(ReadToken(list, tokens.emplace_back()));
  }
}

absl::Status SqliteFleetStore::AddAccessToken(const AccessTokenRecord& t) {
  ASSIGN_OR_RETURN(Statement find, db_->Prepare("SELECT 1 FROM users WHERE "
                                                "org=$1 AND name=$2"));
  ASSIGN_OR_RETURN(const bool found, find.Bind(t.org, t.user).Step());
  if (!found) return UnknownUser(t.user);
  ASSIGN_OR_RETURN(const std::string scopes, sqlite::ArgvToJson(t.scopes));
  ASSIGN_OR_RETURN(
      Statement add,
      db_->Prepare(
          "INSERT INTO access_tokens(id, org, user, secret_sha256, "
          "description, scopes, created_by, created_at_us, expires_at_us, "
          "revoked_at_us, signed_in) "
          "VALUES($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"));
  return add
      .Bind(t.id, t.org, t.user, Blob{t.secret_sha256}, t.description, scopes,
            t.created_by, t.created_at, t.expires_at, t.revoked_at, t.signed_in)
      .Run();
}

absl::StatusOr<AccessTokenRecord> SqliteFleetStore::RevokeAccessToken(
    const OrgId& org, const std::string& user, const TokenId& id,
    absl::Time now) {
  ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(*db_));
  ASSIGN_OR_RETURN(
      Statement revoke,
      db_->Prepare("UPDATE access_tokens SET revoked_at_us=$4 WHERE org=$1 "
                   "AND user=$2 AND id=$3 AND revoked_at_us IS NULL"));
  RETURN_IF_ERROR(revoke.Bind(org, user, id, now).Run());
  ASSIGN_OR_RETURN(Statement find, db_->Prepare(fmt::format(
                                       "{} WHERE org=$1 AND user=$2 AND id=$3",
                                       kSelectAccessTokens)));
  ASSIGN_OR_RETURN(const bool found, find.Bind(org, user, id).Step());
  if (!found) return UnknownToken(id);
  AccessTokenRecord token;
  RETURN_IF_ERROR(ReadToken(find, token));
  RETURN_IF_ERROR(txn.Commit());
  return token;
}

}  // namespace muster::gateway
