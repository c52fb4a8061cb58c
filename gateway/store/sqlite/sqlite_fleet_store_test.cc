// What only a store in a file can do, or suffer.

#include "gateway/store/sqlite/sqlite_fleet_store.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "gateway/store/sqlite/migrations.h"
#include "gateway/store/store_test_data.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using sqlite::Database;
using sqlite::Migration;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::unique_ptr<SqliteFleetStore> OpenStore(const std::string& path) {
  auto store = SqliteFleetStore::Open(path);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

std::unique_ptr<Database> OpenDatabase(const std::string& path) {
  auto db = Database::Open(path, Database::Access::kReadWrite);
  EXPECT_TRUE(db.ok()) << db.status();
  return *std::move(db);
}

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

// A small file system of its own; skip the test where it cannot be made.
class SmallDisk {
 public:
  explicit SmallDisk(const char* options) {
    mounted_ = mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(dir_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  bool MakeReadOnly() {
    return mount(nullptr, dir_.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY,
                 nullptr) == 0;
  }
  std::string File(const std::string& name) const { return dir_.File(name); }

 private:
  TempDir dir_;
  bool mounted_ = false;
};

// --- Opening ----------------------------------------------------------------

TEST(SqliteFleetStore, ItsFilesAreForTheOwnerOnly) {
  TempDir dir;
  const mode_t before = umask(0);
  const auto store = OpenStore(dir.File("muster.db"));
  ASSERT_TRUE(store->PutMachine(Machine("m1")).ok());
  ASSERT_TRUE(store->BackupTo(dir.File("copy.db")).ok());
  umask(before);
  EXPECT_EQ(ModeOf(dir.File("muster.db")), 0600u);
  EXPECT_EQ(ModeOf(dir.File("muster.db-wal")), 0600u);
  EXPECT_EQ(ModeOf(dir.File("copy.db")), 0600u);
}

TEST(SqliteFleetStore, AFolderAtThePathIsNamed) {
  TempDir dir;
  const auto store = SqliteFleetStore::Open(dir.path());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()),
              AllOf(HasSubstr(dir.path()), HasSubstr("is a folder")));
}

TEST(SqliteFleetStore, AMissingFolderIsNotFound) {
  TempDir dir;
  EXPECT_TRUE(absl::IsNotFound(
      SqliteFleetStore::Open(dir.File("no/muster.db")).status()));
}

TEST(SqliteFleetStore, AReadOnlyFolderIsAFailedPrecondition) {
  SmallDisk disk("size=1m");
  if (!disk.mounted() || !disk.MakeReadOnly()) GTEST_SKIP() << "needs mount(2)";
  const auto store = SqliteFleetStore::Open(disk.File("muster.db"));
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()),
              HasSubstr(disk.File("muster.db")));
}

TEST(SqliteFleetStore, AFileThatIsNoDatabaseIsDataLoss) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  std::ofstream(path) << std::string(10'000, 'x');
  const auto store = SqliteFleetStore::Open(path);
  EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr(path));
}

TEST(SqliteFleetStore, ACorruptPageIsFoundWhenOpening) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  {
    const auto store = OpenStore(path);
    ASSERT_TRUE(store->Begin().ok());
    for (int i = 0; i < 500; ++i) {
      ASSERT_TRUE(store->PutMachine(Machine(fmt::format("m{}", i))).ok());
    }
    ASSERT_TRUE(store->Commit().ok());
  }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path)) -
               4096 * 30);
    for (int i = 0; i < 4096 * 10 / 8; ++i) file << "garbage!";
  }
  const auto store = SqliteFleetStore::Open(path);
  EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr(path));
}

TEST(SqliteFleetStore, ATruncatedFileIsDataLoss) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  OpenStore(path).reset();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const auto store = SqliteFleetStore::Open(path);
  EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
}

// --- Migrations -------------------------------------------------------------

TEST(Migrations, ADatabaseOfTheVersionBeforeIsCopiedAndThenRaised) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  const Migration v1[] = {
      {"CREATE TABLE t(a TEXT); INSERT INTO t VALUES('x')"}};
  ASSERT_TRUE(sqlite::Migrate(*OpenDatabase(path), v1).ok());
  EXPECT_FALSE(FileExists(path + ".before-v1"));  // There was nothing to copy.

  const Migration v3[] = {v1[0],
                          {"ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 7"},
                          {"UPDATE t SET b=b+1"}};
  const auto db = OpenDatabase(path);
  ASSERT_TRUE(sqlite::Migrate(*db, v3).ok());
  ASSERT_TRUE(sqlite::Migrate(*db, v3).ok());  // Again: nothing to do.
  EXPECT_EQ(*db->QueryInt("SELECT b FROM t WHERE a='x'"), 8);
  EXPECT_EQ(*db->QueryInt("PRAGMA user_version"), 3);

  const auto copy = OpenDatabase(path + ".before-v3");
  EXPECT_EQ(*copy->QueryInt("PRAGMA user_version"), 1);
  EXPECT_EQ(*copy->QueryInt("SELECT COUNT(*) FROM t WHERE a='x'"), 1);
  EXPECT_TRUE(sqlite::Migrate(*copy, v3).ok());  // It is whole.
}

// Every table, index and column, but not the comments that SQLite keeps.
std::set<std::string> Shape(Database& db) {
  std::set<std::string> shape;
  auto list = db.Prepare(
      "SELECT s.type || ' ' || s.name || ' ' || s.tbl_name || ' ' || "
      "COALESCE(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || "
      "c.pk, "
      "'') FROM sqlite_schema s LEFT JOIN pragma_table_xinfo(s.name) c");
  EXPECT_TRUE(list.ok()) << list.status();
  while (*list->Step()) {
    std::string line;
    list->Read(line);
    shape.insert(std::move(line));
  }
  return shape;
}

// A database in which a version left data; `more` happened to it since.
std::string DatabaseOf(const TempDir& dir, int version,
                       const std::string& more = "") {
  const auto sql = ReadFile(
      fmt::format("{}/version{}.sql", MUSTER_TESTDATA, version), 1 << 20);
  EXPECT_TRUE(sql.ok()) << sql.status();
  const std::string path = dir.File("muster.db");
  const absl::Status made = OpenDatabase(path)->Execute(*sql + more);
  EXPECT_TRUE(made.ok()) << made;
  return path;
}

void ExpectWholeAndOfToday(const std::string& path) {
  TempDir dir;
  OpenStore(dir.File("fresh")).reset();
  const auto store = OpenStore(path);
  EXPECT_EQ(Shape(*OpenDatabase(path)),
            Shape(*OpenDatabase(dir.File("fresh"))));

  const auto machines = store->LoadMachines();
  ASSERT_TRUE(machines.ok()) << machines.status();
  ASSERT_THAT(*machines, SizeIs(1));
  EXPECT_EQ((*machines)[0].facts.hostname, "web-1");
  EXPECT_EQ((*machines)[0].epoch, 42u);
  const auto command = store->GetCommand(CommandId("c-1"));
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->spec.text, "echo x");
  const auto output = store->ReadOutput(CommandId("c-1"), 0, 0, 100);
  ASSERT_TRUE(output.ok()) << output.status();
  ASSERT_THAT(*output, SizeIs(1));
  EXPECT_EQ((*output)[0].data, "x\n");
  EXPECT_EQ(*store->BeginRun(absl::UnixEpoch()), 8u);
  EXPECT_TRUE(store->SignOfLife(absl::UnixEpoch()).ok());
}

TEST(Migrations, ADatabaseOfVersion1KeepsItsDataAndGetsTodaysShape) {
  TempDir dir;
  ExpectWholeAndOfToday(DatabaseOf(dir, 1));
}

TEST(Migrations, ADatabaseOfVersion2KeepsItsDataAndGetsTodaysShape) {
  TempDir dir;
  ExpectWholeAndOfToday(DatabaseOf(dir, 2));
  const auto store = OpenStore(dir.File("muster.db"));
  EXPECT_THAT(*store->ListNotes(AgentId("m-1"), 9), SizeIs(1));
  EXPECT_THAT(*store->ListBlindIntervals(9), SizeIs(1));
  EXPECT_THAT(*store->ListIncidents(OrgId("default"), 9), SizeIs(1));
  EXPECT_THAT(*store->LoadPresence(), SizeIs(0));
}

TEST(Migrations, ADatabaseOfVersion3KeepsItsDataAndGetsTodaysShape) {
  TempDir dir;
  ExpectWholeAndOfToday(DatabaseOf(dir, 3));
  const auto store = OpenStore(dir.File("muster.db"));
  EXPECT_THAT(*store->LoadPresence(), SizeIs(1));
  EXPECT_TRUE((*store->LoadMachines())[0].silenced_at.has_value());
}

TEST(Migrations, WhoWasInAnIncidentByItsWordsIsInItByItsId) {
  TempDir dir;
  const auto store = OpenStore(
      DatabaseOf(dir, 3,
                 "UPDATE machines SET verdict_cause=12, "
                 "verdict_summary='silent with others of 192.0.2.0/24';"
                 "UPDATE incidents SET closed_at_us=NULL;"));
  EXPECT_EQ((*store->LoadMachines())[0].incident, "00000007-000001");
}

TEST(Migrations, ADatabaseOfVersion4KeepsItsDataAndGetsTodaysShape) {
  TempDir dir;
  ExpectWholeAndOfToday(DatabaseOf(dir, 4));
  const auto store = OpenStore(dir.File("muster.db"));
  EXPECT_EQ((*store->LoadMachines())[0].incident, "00000007-000001");
  const auto command = store->GetCommand(CommandId("c-1"));
  EXPECT_EQ(command->spec.surroundings, Surroundings());
  EXPECT_TRUE(command->labels.empty());
}

TEST(Migrations, ADatabaseOfVersion6KeepsItsDataAndGetsTodaysShape) {
  TempDir dir;
  ExpectWholeAndOfToday(DatabaseOf(dir, 6));
  const auto store = OpenStore(dir.File("muster.db"));
  const MachineRecord machine = (*store->LoadMachines())[0];
  EXPECT_FALSE(machine.pending);
  EXPECT_EQ(machine.ephemeral_for, std::nullopt);
  const auto tokens = store->ListTokens(OrgId("default"));
  ASSERT_THAT(*tokens, SizeIs(1));
  EXPECT_TRUE((*tokens)[0].allowed_from.empty());
  EXPECT_FALSE((*tokens)[0].approval);
  EXPECT_THAT(*store->LoadUsers(), SizeIs(1));
  EXPECT_THAT(*store->ListRefusals(OrgId("default"), 9), SizeIs(0));
  EXPECT_THAT(*store->LoadAccessTokens(), SizeIs(1));
  EXPECT_THAT(*store->AuditHeads(), SizeIs(0));
}

TEST(Migrations, SoDoesOneThatHeldAPartOfVersion2AndCalledItselfVersion1) {
  TempDir dir;
  ExpectWholeAndOfToday(DatabaseOf(
      dir, 1,
      fmt::format("ALTER TABLE gateway ADD COLUMN proved_at_us INTEGER;{}"
                  "PRAGMA user_version=1",
                  std::string(sqlite::Migrations()[1].sql)
                      .substr(std::string(sqlite::Migrations()[1].sql)
                                  .find("-- What is no change")))));
}

TEST(Migrations, AStepThatFailsLeavesTheDatabaseAsItWas) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  const Migration v1[] = {{"CREATE TABLE t(a TEXT)"}};
  ASSERT_TRUE(sqlite::Migrate(*OpenDatabase(path), v1).ok());
  const Migration bad[] = {
      v1[0], {"CREATE TABLE u(a TEXT)"}, {"CREATE TABLE t(a TEXT)"}};
  const Migration good[] = {v1[0], {"CREATE TABLE u(a TEXT)"}};
  const auto db = OpenDatabase(path);
  EXPECT_FALSE(sqlite::Migrate(*db, bad).ok());
  EXPECT_EQ(*db->QueryInt("PRAGMA user_version"), 1);
  EXPECT_TRUE(sqlite::Migrate(*db, good).ok());
}

TEST(Migrations, ANewerDatabaseIsRefusedWithBothVersionsAndLeftAlone) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  OpenStore(path).reset();
  ASSERT_TRUE(OpenDatabase(path)->Execute("PRAGMA user_version=99").ok());
  const auto store = SqliteFleetStore::Open(path);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()),
              AllOf(HasSubstr(path), HasSubstr("schema version 99"),
                    HasSubstr(fmt::format("only up to {}",
                                          sqlite::Migrations().size()))));
  EXPECT_EQ(*OpenDatabase(path)->QueryInt("PRAGMA user_version"), 99);
}

TEST(Migrations, ADatabaseOfAnotherProgramIsRefused) {
  TempDir dir;
  const std::string path = dir.File("muster.db");
  ASSERT_TRUE(OpenDatabase(path)->Execute("CREATE TABLE theirs(a)").ok());
  const auto store = SqliteFleetStore::Open(path);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()),
              HasSubstr("another program"));
}

// --- Readers and backups ----------------------------------------------------

TEST(SqliteFleetStore, AReaderSeesWhatIsCommittedAndChangesNothing) {
  TempDir dir;
  const auto writer = OpenStore(dir.File("muster.db"));
  const auto reader = SqliteFleetStore::OpenReader(dir.File("muster.db"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_TRUE(writer->Begin().ok());
  ASSERT_TRUE(writer->PutMachine(Machine("m1")).ok());
  EXPECT_THAT(*(*reader)->LoadMachines(), SizeIs(0));
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_THAT(*(*reader)->LoadMachines(), SizeIs(1));
  EXPECT_THAT(*(*reader)->ListCommands({}, 5), SizeIs(0));
  EXPECT_FALSE((*reader)->PutMachine(Machine("m2")).ok());
  EXPECT_FALSE((*reader)->AddCommand(Command("c1")).ok());
  EXPECT_TRUE((*reader)->StoredBytes().ok());
}

TEST(SqliteFleetStore, ABackupIsWholeAndNeverOverwrites) {
  TempDir dir;
  const auto store = OpenStore(dir.File("muster.db"));
  ASSERT_TRUE(store->PutMachine(Machine("m1")).ok());
  ASSERT_TRUE(store->Begin().ok());
  EXPECT_EQ(store->BackupTo(dir.File("copy.db")).code(),
            absl::StatusCode::kFailedPrecondition);
  store->Rollback();
  const auto reader = SqliteFleetStore::OpenReader(dir.File("muster.db"));
  ASSERT_TRUE(store->Begin().ok());  // The writer goes on meanwhile.
  ASSERT_TRUE(store->PutMachine(Machine("m2")).ok());
  const absl::Status copied = (*reader)->BackupTo(dir.File("copy.db"));
  EXPECT_TRUE(copied.ok()) << copied;
  ASSERT_TRUE(store->Commit().ok());
  EXPECT_TRUE(absl::IsAlreadyExists((*reader)->BackupTo(dir.File("copy.db"))));
  EXPECT_THAT(*OpenStore(dir.File("copy.db"))->LoadMachines(),
              ElementsAre(Machine("m1")));
}

TEST(SqliteFleetStore, SpaceOfExpiredOutputIsGivenBack) {
  TempDir dir;
  const auto store = OpenStore(dir.File("muster.db"));
  ASSERT_TRUE(store->PutMachine(Machine("m1")).ok());
  CommandRecord done = Command("c1");
  ASSERT_TRUE(store->AddCommand(done).ok());
  const std::string data(1 << 20, 'x');
  for (uint64_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(
        store->AppendOutput(Output("c1", Stream::kStdout, i << 20, data)).ok());
  }
  done.state = CommandState::kFailed;
  ASSERT_TRUE(store->PutCommand(done).ok());
  EXPECT_GT(store->StoredBytes()->at("file"), uint64_t{8} << 20);
  const absl::Time now = done.created_at + absl::Hours(24 * 31);
  EXPECT_EQ(*store->DeleteExpired(Retention{}, now, 100), 8u);
  EXPECT_LT(store->StoredBytes()->at("file"), uint64_t{1} << 20);
}

// --- A full disk ------------------------------------------------------------

// Leaves nothing free.
void Fill(const std::string& path) {
  std::ofstream file(path);
  const std::string block(4096, 'x');
  while (file) file << block << std::flush;
}

TEST(SqliteFleetStore, AFullDiskLosesOnlyWhatWasNotCommittedAndPasses) {
  SmallDisk disk("size=2m");
  if (!disk.mounted()) GTEST_SKIP() << "needs mount(2)";
  const auto store = OpenStore(disk.File("muster.db"));
  ASSERT_TRUE(store->PutMachine(Machine("m1")).ok());
  ASSERT_TRUE(store->AddCommand(Command("c1")).ok());
  Fill(disk.File("filler"));

  absl::Status status;
  uint64_t end = 0;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    const auto stored = store->AppendOutput(
        Output("c1", Stream::kStdout, end, std::string(50'000, 'x')));
    status = stored.status();
    if (stored.ok()) end = *stored;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(store->GetCommand(CommandId("c1"))->stdout_bytes, end);

  std::filesystem::remove(disk.File("filler"));
  EXPECT_TRUE(store->PutMachine(Machine("m2")).ok());
  EXPECT_TRUE(
      store->AppendOutput(Output("c1", Stream::kStdout, end, "x")).ok());
  EXPECT_THAT(*store->LoadMachines(), SizeIs(2));
}

TEST(SqliteFleetStore, ATransactionThatMeetsAFullDiskFailsAsAWhole) {
  SmallDisk disk("size=2m");
  if (!disk.mounted()) GTEST_SKIP() << "needs mount(2)";
  const auto store = OpenStore(disk.File("muster.db"));
  ASSERT_TRUE(store->PutMachine(Machine("m1")).ok());
  ASSERT_TRUE(store->AddCommand(Command("c1")).ok());
  Fill(disk.File("filler"));

  ASSERT_TRUE(store->Begin().ok());
  (void)store->PutMachine(Machine("m2"));
  absl::Status failure;
  for (uint64_t i = 0; i < 100 && failure.ok(); ++i) {
    failure = store
                  ->AppendOutput(Output("c1", Stream::kStdout, i * 50'000,
                                        std::string(50'000, 'x')))
                  .status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(failure)) << failure;
  std::filesystem::remove(disk.File("filler"));
  // There is room again, but what SQLite has dropped does not come back: nor
  // may this be committed without it.
  EXPECT_EQ(store->PutMachine(Machine("m3")), failure);
  const absl::Status status = store->Commit();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(*store->LoadMachines(), ElementsAre(Machine("m1")));
  EXPECT_EQ(store->GetCommand(CommandId("c1"))->stdout_bytes, 0u);
  EXPECT_TRUE(store->PutMachine(Machine("m2")).ok());
}

TEST(SqliteFleetStore, AFullDiskIsNamedWhenOpening) {
  SmallDisk disk("size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "needs mount(2)";
  Fill(disk.File("filler"));
  const auto store = SqliteFleetStore::Open(disk.File("muster.db"));
  EXPECT_TRUE(absl::IsResourceExhausted(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()),
              HasSubstr(disk.File("muster.db")));
  std::filesystem::remove(disk.File("filler"));
  EXPECT_TRUE(SqliteFleetStore::Open(disk.File("muster.db")).ok());
}

TEST(SqliteFleetStore, ALockedDatabaseIsUnavailable) {
  EXPECT_TRUE(absl::IsUnavailable(sqlite::ToStatus(SQLITE_BUSY, "x")));
  EXPECT_TRUE(absl::IsUnavailable(sqlite::ToStatus(SQLITE_LOCKED, "x")));
}

TEST(SqliteFleetStore, AnErrorOfTheSystemIsToldByItsErrno) {
  using sqlite::ToStatus;
  EXPECT_TRUE(absl::IsInternal(ToStatus(SQLITE_IOERR_FSYNC, "x", EIO)));
  EXPECT_TRUE(
      absl::IsResourceExhausted(ToStatus(SQLITE_IOERR_SHMSIZE, "x", ENOSPC)));
  EXPECT_TRUE(absl::IsUnavailable(ToStatus(SQLITE_CANTOPEN, "x", EMFILE)));
  TempDir dir;
  EXPECT_TRUE(absl::IsNotFound(
      SqliteFleetStore::OpenReader(dir.File("none.db")).status()));
}

// --- Speed by shape ---------------------------------------------------------

// The plans, not the clock: every list walks an index, in order.
TEST(SqliteFleetStore, ListsWalkAnIndexAndSortNothing) {
  TempDir dir;
  OpenStore(dir.File("muster.db")).reset();
  const auto db = OpenDatabase(dir.File("muster.db"));
  const std::pair<const char*, const char*> queries[] = {
      {"org='a' AND id<'z' ORDER BY id DESC", "commands_by_org"},
      {"org='a' AND state=1 AND id<'z' ORDER BY id DESC", "commands_by_state"},
      {"agent='a' AND id<'z' ORDER BY id DESC", "commands_by_agent"},
      {"+org='a' AND batch='b' AND batch<>'' AND id<'z' ORDER BY id DESC",
       "commands_by_batch"},
      {"(state<5 OR stdout_bytes<stdout_total OR stderr_bytes<stderr_total) "
       "ORDER BY id",
       "commands_open"}};
  for (const auto& [where, index] : queries) {
    auto plan = db->Prepare(fmt::format(
        "EXPLAIN QUERY PLAN SELECT c.id FROM commands AS c JOIN command_specs "
        "AS s ON s.command=c.row_number WHERE {} LIMIT 9",
        where));
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::string steps;
    while (*plan->Step()) {
      int id = 0, parent = 0, unused = 0;
      std::string detail;
      plan->Read(id, parent, unused, detail);
      steps += detail + "\n";
    }
    EXPECT_THAT(steps, HasSubstr(index));
    EXPECT_THAT(steps, testing::Not(HasSubstr("TEMP B-TREE")));
  }
}

}  // namespace
}  // namespace muster::gateway
