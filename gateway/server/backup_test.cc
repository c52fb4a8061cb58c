#include "gateway/server/backup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gateway/store/sqlite/backup_file.h"
#include "gateway/store/sqlite/sqlite.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gateway/store/store_test_data.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr size_t kBytesMax = 1 << 20;

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

std::string Content(const std::string& path) {
  const auto text = ReadFile(path, kBytesMax);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

// What a gateway's folder holds besides the database.
const std::map<std::string, std::string>& Secrets() {
  static const auto& files = *new std::map<std::string, std::string>{
      {"ca/ca.key", "the CA's key"},
      {"ca/ca.pem", "the CA"},
      {"ca/fleet.key", "fleet key"},
      {"ca/fleet.pem", "fleet certificate"},
      {"admin-token", "mst_x\n"},
      {"admin-token.sha256", std::string("with a NUL \0 inside", 19)},
  };
  return files;
}

class BackupTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeFolder(from_ + "/ca", 0700).ok());
    for (const auto& [name, content] : Secrets()) {
      ASSERT_TRUE(WriteFileDurably(from_ + "/" + name, content, 0600).ok());
    }
    auto store = SqliteFleetStore::Open(from_ + "/muster.db");
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->PutMachine(machine_).ok());
  }

  void Backup() {
    const absl::Status status = WriteBackup(from_, file_);
    ASSERT_TRUE(status.ok()) << status;
  }

  // A backup whose enclosed files are these.
  void BackupWith(const std::vector<EnclosedFile>& files) {
    auto store = SqliteFleetStore::OpenReader(from_ + "/muster.db");
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)->BackupTo(file_).ok());
    ASSERT_TRUE(EncloseFiles(file_, files).ok());
  }

  // The backup as if a gateway of that schema version had made it.
  void Change(const std::string& sql) {
    auto db =
        sqlite::Database::Open(file_, sqlite::Database::Access::kReadWrite);
    ASSERT_TRUE(db.ok()) << db.status();
    ASSERT_TRUE((*db)->Execute(sql).ok());
  }

  void ExpectNoGatewayIn(const std::string& folder) {
    EXPECT_FALSE(FileExists(folder)) << "nothing was there, nothing is left";
  }

  TempDir dir_;
  const std::string from_ = dir_.File("from");
  const std::string to_ = dir_.File("to");
  const std::string file_ = dir_.File("backup");
  const MachineRecord machine_ = Machine("m-1");
};

TEST_F(BackupTest, ARestoredFolderHoldsWhatTheOldOneHeld) {
  Backup();
  const absl::Status restored = RestoreBackup(file_, to_);
  ASSERT_TRUE(restored.ok()) << restored;
  for (const auto& [name, content] : Secrets()) {
    EXPECT_EQ(Content(to_ + "/" + name), content) << name;
  }
  auto store = SqliteFleetStore::Open(to_ + "/muster.db");
  ASSERT_TRUE(store.ok()) << store.status();
  const auto machines = (*store)->LoadMachines();
  ASSERT_TRUE(machines.ok());
  ASSERT_THAT(*machines, SizeIs(1));
  EXPECT_EQ((*machines)[0].id, machine_.id);
}

TEST_F(BackupTest, ABackupIsTakenWhileTheDatabaseIsInUse) {
  auto store = SqliteFleetStore::Open(from_ + "/muster.db");
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE((*store)->Begin().ok());
  Backup();
  ASSERT_TRUE((*store)->Commit().ok());
  EXPECT_TRUE(RestoreBackup(file_, to_).ok());
}

TEST_F(BackupTest, OnlyTheOwnerReadsAnyOfIt) {
  const mode_t mask = umask(0);
  Backup();
  EXPECT_TRUE(RestoreBackup(file_, to_).ok());
  umask(mask);
  EXPECT_EQ(ModeOf(file_), 0600u);
  EXPECT_EQ(ModeOf(to_), 0700u);
  EXPECT_EQ(ModeOf(to_ + "/ca"), 0700u);
  EXPECT_EQ(ModeOf(to_ + "/muster.db"), 0600u);
  for (const auto& [name, content] : Secrets()) {
    EXPECT_EQ(ModeOf(to_ + "/" + name), 0600u) << name;
  }
}

TEST_F(BackupTest, ABackupLeavesNothingBeside) {
  Backup();
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    ++found;
    EXPECT_THAT(entry.path().string(), Not(HasSubstr("partial")));
  }
  EXPECT_EQ(found, 2u);  // from/ and backup
}

TEST_F(BackupTest, ABackupReplacesNoFile) {
  ASSERT_TRUE(WriteFileDurably(file_, "mine", 0600).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(WriteBackup(from_, file_)));
  EXPECT_EQ(Content(file_), "mine");
}

TEST_F(BackupTest, ThereIsNoBackupOfAnEmptyFolder) {
  EXPECT_TRUE(absl::IsNotFound(WriteBackup(to_, file_)));
  EXPECT_FALSE(FileExists(file_));
}

TEST_F(BackupTest, ARestoreReplacesNoGateway) {
  Backup();
  EXPECT_TRUE(absl::IsFailedPrecondition(RestoreBackup(file_, from_)));
  EXPECT_EQ(Content(from_ + "/ca/ca.key"), "the CA's key");
}

// SQLite would read the old log into the new database.
TEST_F(BackupTest, ALogLeftBehindStopsARestore) {
  Backup();
  ASSERT_TRUE(MakeFolder(to_, 0700).ok());
  ASSERT_TRUE(WriteFileDurably(to_ + "/muster.db-wal", "old", 0600).ok());
  const absl::Status status = RestoreBackup(file_, to_);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(status.ToString(), HasSubstr("muster.db-wal"));
}

TEST_F(BackupTest, AMissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(RestoreBackup(file_, to_)));
  EXPECT_FALSE(FileExists(to_));
}

TEST_F(BackupTest, WhatIsNoBackupIsRefused) {
  for (const std::string& content :
       {std::string("not a database, but longer than its header would be"),
        std::string(8192, '\0'), std::string("x")}) {
    ASSERT_TRUE(WriteFileDurably(file_, content, 0600).ok());
    const absl::Status status = RestoreBackup(file_, to_);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.ToString(), HasSubstr(file_));
    ExpectNoGatewayIn(to_);
  }
}

TEST_F(BackupTest, ADatabaseWithoutEnclosedFilesIsRefused) {
  const absl::Status status = RestoreBackup(from_ + "/muster.db", to_);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  ExpectNoGatewayIn(to_);
}

TEST_F(BackupTest, ACutFileIsRefused) {
  Backup();
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
  const absl::Status status = RestoreBackup(file_, to_);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.ToString(), HasSubstr(file_));
  ExpectNoGatewayIn(to_);
}

TEST_F(BackupTest, ABackupOfANewerGatewayIsRefused) {
  Backup();
  Change("PRAGMA user_version=99");
  const absl::Status status = RestoreBackup(file_, to_ + "/new/folder");
  EXPECT_THAT(status.ToString(),
              AllOf(HasSubstr(file_), HasSubstr("schema version 99")));
  ExpectNoGatewayIn(to_);
}

TEST_F(BackupTest, ABackupOfAnEarlierGatewayIsBroughtUpToDate) {
  Backup();
  // What the last migrations made was not there before them.
  for (const char* column :
       {"run_as", "working_directory", "environment", "umask", "input",
        "input_streamed", "terminal_rows", "terminal_columns", "terminal_type",
        "keep_us", "recorded"}) {
    Change(fmt::format("ALTER TABLE command_specs DROP COLUMN {}", column));
  }
  for (const char* column :
       {"allowed_from", "hostname_glob", "approval", "ephemeral_for_us"}) {
    Change(fmt::format("ALTER TABLE tokens DROP COLUMN {}", column));
  }
  Change("ALTER TABLE machines DROP COLUMN pending");
  Change("ALTER TABLE machines DROP COLUMN ephemeral_for_us");
  for (const char* table : {"orgs", "refusals", "audit", "audit_heads"}) {
    Change(fmt::format("DROP TABLE {}", table));
  }
  Change("DROP TABLE access_tokens");
  Change("DROP TABLE users");
  Change("DROP TABLE batch_targets");
  Change("DROP TABLE batches");
  Change("DROP INDEX commands_by_turn");
  Change("DROP INDEX commands_sessions");
  Change("ALTER TABLE commands DROP COLUMN is_session");
  Change("ALTER TABLE output DROP COLUMN at_us");
  Change("DROP INDEX commands_by_batch");
  Change("ALTER TABLE commands DROP COLUMN batch");
  Change("ALTER TABLE commands DROP COLUMN labels");
  Change("ALTER TABLE commands DROP COLUMN purpose");
  Change("ALTER TABLE machines DROP COLUMN incident");
  Change("DROP TABLE presence_settings");
  Change("ALTER TABLE machines DROP COLUMN silenced_at_us");
  Change("ALTER TABLE tokens DROP COLUMN agent");
  Change("PRAGMA user_version=2");
  ASSERT_TRUE(RestoreBackup(file_, to_).ok());
  EXPECT_TRUE(SqliteFleetStore::Open(to_ + "/muster.db").ok());
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(to_)) {
    names.insert(entry.path().filename());
  }
  EXPECT_THAT(names, ElementsAre("admin-token", "admin-token.sha256", "ca",
                                 "muster.db"));
}

TEST_F(BackupTest, NamesThatLeaveTheFolderAreRefused) {
  for (const char* name : {"../outside", "/etc/outside", "ca/../../outside",
                           "ca", "", "muster.db", "ca/ca.key/", "ca//ca.key"}) {
    BackupWith({{"ca/ca.key", 0600, "key"}, {name, 0600, "x"}});
    const absl::Status status = RestoreBackup(file_, to_);
    EXPECT_TRUE(absl::IsDataLoss(status)) << name << ": " << status;
    EXPECT_FALSE(FileExists(dir_.File("outside"))) << name;
    ExpectNoGatewayIn(to_);
    unlink(file_.c_str());
  }
}

TEST_F(BackupTest, TheBackupDoesNotChooseTheModeOfAFile) {
  BackupWith({{"ca/ca.key", 0666, "key"}});
  ASSERT_TRUE(RestoreBackup(file_, to_).ok());
  EXPECT_EQ(ModeOf(to_ + "/ca/ca.key"), 0600u);
}

// A crash half way, as an error half way: the folder is no gateway, and the
// restore can be repeated.
TEST_F(BackupTest, AnErrorHalfWayLeavesNoDatabase) {
  Backup();
  // A folder where a file must go.
  ASSERT_TRUE(MakeFolder(to_ + "/ca/ca.pem", 0700).ok());
  ASSERT_FALSE(RestoreBackup(file_, to_).ok());
  EXPECT_FALSE(FileExists(to_ + "/muster.db"));
  EXPECT_FALSE(FileExists(to_ + "/muster.db.restoring"));
  EXPECT_FALSE(FileExists(to_ + "/ca/ca.key"));
  ASSERT_TRUE(RemoveTree(to_ + "/ca/ca.pem").ok());
  EXPECT_TRUE(RestoreBackup(file_, to_).ok());
}

TEST_F(BackupTest, WhatACrashLeftIsReplaced) {
  Backup();
  unlink(file_.c_str());
  ASSERT_TRUE(WriteFileDurably(file_ + ".partial", "half", 0644).ok());
  Backup();
  ASSERT_TRUE(MakeFolder(to_, 0700).ok());
  ASSERT_TRUE(
      WriteFileDurably(to_ + "/muster.db.restoring", "half", 0644).ok());
  ASSERT_TRUE(RestoreBackup(file_, to_).ok());
  EXPECT_EQ(ModeOf(to_ + "/muster.db"), 0600u);
}

}  // namespace
}  // namespace muster::gateway
