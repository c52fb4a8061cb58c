// The parts of this room that need no process.

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <future>

#include "agent/exec/child_watcher.h"
#include "agent/exec/command_folder.h"
#include "agent/exec/launch.h"
#include "agent/exec/process_tree.h"
#include "agent/exec/record.h"
#include "agent/exec/seen_log.h"
#include "agent/exec/spool.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kId[] = "0190a0b0-0000-7000-8000-000000000001";

void Put(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

Spec SampleSpec() {
  Spec spec;
  spec.command_id = CommandId(kId);
  spec.dispatch_seq = 7;
  spec.shell = Shell::kExec;
  spec.command = "line one\nline=two %25 \x01\xff\n";
  spec.argv = {"printf", "", "a\nb"};
  spec.timeout = absl::Seconds(90);
  spec.kill_grace = absl::Milliseconds(1500);
  spec.output_bytes_max = 1 << 20;
  spec.surroundings = {.user = "nobody",
                       .folder = "/srv/a b",
                       .environment = {"A=1", "B=two\nlines=\xff"},
                       .umask = 027,
                       .input = std::string("in\0put\n", 7)};
  spec.boot_id = "boot-1";
  return spec;
}

TEST(Record, BringsBackAnyBytes) {
  Record record;
  std::string value;
  for (int byte = 0; byte < 256; ++byte) value += static_cast<char>(byte);
  record.Add("bytes", value);
  record.Add("number", -5);
  const auto parsed = Record::Parse(record.Encode());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed->Text("bytes"), value);
  EXPECT_EQ(*parsed->Int("number", -10, 0), -5);
}

TEST(Record, RefusesEveryCutOfItself) {
  Record record;
  record.Add("state", "succeeded");
  record.Add("exit_code", 0);
  const std::string whole = record.Encode();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(Record::Parse(whole.substr(0, size)).status()))
        << size;
  }
}

TEST(Record, RefusesWhatIsNoRecord) {
  for (const std::string_view text :
       {"noequals\nend\n", "=v\nend\n", "k=%\nend\n", "k=%4\nend\n",
        "k=%zz\nend\n", "k=v\nend\nmore\n"}) {
    EXPECT_TRUE(absl::IsDataLoss(Record::Parse(text).status())) << text;
  }
}

TEST(Record, NamesTheBoundOfANumberThatIsOutside) {
  Record record;
  record.Add("code", 300);
  EXPECT_THAT(record.Int("code", 0, 255).status().message(),
              HasSubstr("code must be a number in [0, 255], got \"300\""));
  EXPECT_TRUE(absl::IsDataLoss(record.Int("absent", 0, 1).status()));
}

TEST(CommandFolder, BringsBackTheSpec) {
  TempDir dir;
  const CommandFolder folder(dir.File(kId));
  const Spec spec = SampleSpec();
  ASSERT_TRUE(folder.Create(spec).ok());
  const auto read = folder.ReadSpec();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->command, spec.command);
  EXPECT_EQ(read->argv, spec.argv);
  EXPECT_EQ(read->dispatch_seq, 7u);
  EXPECT_EQ(read->kill_grace, spec.kill_grace);
  EXPECT_EQ(read->surroundings, spec.surroundings);
  EXPECT_TRUE(absl::IsAlreadyExists(folder.Create(spec)));
}

TEST(CommandFolder, ReadsASpecOfAnAgentThatKnewNoSurroundings) {
  TempDir dir;
  const CommandFolder folder(dir.File(kId));
  ASSERT_TRUE(folder.Create(SampleSpec()).ok());
  std::string older;
  for (const std::string_view line :
       {"command_id=0190a0b0-0000-7000-8000-000000000001", "dispatch_seq=7",
        "shell=sh", "command=true", "timeout_ms=1", "kill_grace_ms=1",
        "output_bytes_max=1", "boot_id=b", "end"}) {
    older += std::string(line) + "\n";
  }
  Put(folder.File("spec"), older);
  const auto read = folder.ReadSpec();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->surroundings, Surroundings());
}

TEST(CommandFolder, StartsOnlyOnce) {
  TempDir dir;
  const CommandFolder folder(dir.File(kId));
  ASSERT_TRUE(folder.Create(SampleSpec()).ok());
  EXPECT_TRUE(folder.CreateStarted({}).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(folder.CreateStarted({})));
}

TEST(CommandFolder, CallsCorruptFilesDataLoss) {
  TempDir dir;
  const CommandFolder folder(dir.File(kId));
  ASSERT_TRUE(folder.Create(SampleSpec()).ok());
  for (const std::string& garbage :
       {std::string(), std::string(5 << 20, 'x'), std::string(600, '\0'),
        std::string("state=running\nend\n")}) {
    for (const char* name : {"spec", "started", "exit"}) {
      Put(folder.File(name), garbage);
    }
    EXPECT_TRUE(absl::IsDataLoss(folder.ReadSpec().status()));
    EXPECT_TRUE(absl::IsDataLoss(folder.ReadStarted().status()));
    EXPECT_TRUE(absl::IsDataLoss(folder.ReadExit().status()));
  }
}

TEST(CommandFolder, RefusesASpecOfAnotherCommand) {
  TempDir dir;
  const CommandFolder folder(dir.File(kId));
  ASSERT_TRUE(folder.Create(SampleSpec()).ok());
  const CommandFolder copy(dir.File("0190a0b0-0000-7000-8000-000000000002"));
  ASSERT_EQ(rename(folder.path().c_str(), copy.path().c_str()), 0);
  EXPECT_TRUE(absl::IsDataLoss(copy.ReadSpec().status()));
}

TEST(CommandFolder, ListsCommandsAndFinishesDeletions) {
  TempDir dir;
  ASSERT_TRUE(CommandFolder(dir.File(kId)).Create(SampleSpec()).ok());
  ASSERT_TRUE(MakeFolder(dir.File(".deleted-x"), 0700).ok());
  ASSERT_TRUE(MakeFolder(dir.File("lost+found"), 0700).ok());
  const auto folders = ListCommandFolders(dir.path());
  ASSERT_TRUE(folders.ok());
  ASSERT_EQ(folders->size(), 1u);
  EXPECT_EQ(folders->front().id().str(), kId);
  EXPECT_FALSE(FileExists(dir.File(".deleted-x")));
  EXPECT_TRUE(FileExists(dir.File("lost+found")));
}

TEST(SeenLog, RemembersTheHighestAcrossOpenings) {
  TempDir dir;
  for (uint64_t seq : {1, 2, 9, 100}) {
    auto log = SeenLog::Open(dir.File("seen"));
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE(log->Record(seq).ok());
    EXPECT_EQ(SeenLog::Open(dir.File("seen"))->high(), seq);
  }
}

TEST(SeenLog, SurvivesATornSlotAndGoesOn) {
  for (const int torn : {0, 1}) {
    TempDir dir;
    {
      auto log = SeenLog::Open(dir.File("seen"));
      for (uint64_t seq : {4, 5}) ASSERT_TRUE(log->Record(seq).ok());
    }
    std::string bytes = *ReadFile(dir.File("seen"), 4096);
    bytes.replace(static_cast<size_t>(torn) * 512 + 20, 8, "garbage!");
    Put(dir.File("seen"), bytes);
    auto log = SeenLog::Open(dir.File("seen"));
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_GE(log->high(), 4u);
    ASSERT_TRUE(log->Record(6).ok());
    EXPECT_EQ(SeenLog::Open(dir.File("seen"))->high(), 6u);
  }
}

TEST(SeenLog, SaysThatItKnowsNothingWhenBothSlotsAreBroken) {
  TempDir dir;
  Put(dir.File("seen"), std::string(1024, '\0'));
  EXPECT_TRUE(absl::IsDataLoss(SeenLog::Open(dir.File("seen")).status()));
}

TEST(Spool, KeepsAPrefixAndCountsTheRest) {
  TempDir dir;
  auto spool = Spool::Open(dir.File("out"), 5);
  ASSERT_TRUE(spool.ok());
  ASSERT_EQ(write(spool->writer(), "a\0cdefgh", 8), 8);
  spool->CloseWriter();
  EXPECT_TRUE(spool->Drain());
  EXPECT_FALSE(spool->Drain());
  EXPECT_TRUE(spool->ended());
  EXPECT_EQ(spool->kept_bytes(), 5u);
  EXPECT_EQ(spool->dropped_bytes(), 3u);
  EXPECT_EQ(*ReadFile(dir.File("out"), 100), std::string("a\0cde", 5));
}

TEST(Cgroup, IsFoundByTheMountTableWhereverItIsMounted) {
  const std::string mounts =
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "38 31 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(OwnCgroupFolder(mounts, "1:cpu:/x\n0::/\n"),
            "/sys/fs/cgroup/unified");
  EXPECT_EQ(OwnCgroupFolder(mounts, "0::/system.slice/a.service\n"),
            "/sys/fs/cgroup/unified/system.slice/a.service");
  const std::string container =
      "38 31 0:35 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(OwnCgroupFolder(container, "0::/docker/c1/inner\n"),
            "/sys/fs/cgroup/inner");
  EXPECT_EQ(OwnCgroupFolder(container, "0::/elsewhere\n"), "");
  EXPECT_EQ(OwnCgroupFolder("", "0::/\n"), "");
  EXPECT_EQ(OwnCgroupFolder(mounts, "1:cpu:/x\n"), "");
}

TEST(Launch, GivesACleanEnvironment) {
  Spec spec = SampleSpec();
  spec.surroundings = {};
  const auto launch = PlanLaunch(spec);
  ASSERT_TRUE(launch.ok());
  std::vector<std::string> names;
  for (const std::string& pair : launch->env) {
    names.push_back(pair.substr(0, pair.find('=')));
  }
  EXPECT_THAT(names, ElementsAre("PATH", "HOME", "USER", "LOGNAME", "SHELL",
                                 "LANG", "MUSTER_COMMAND_ID"));
}

TEST(Launch, AVariableThatIsGivenTakesThePlaceOfOurs) {
  Spec spec = SampleSpec();
  spec.surroundings = {.environment = {"LANG=de", "LANGUAGE=de", "EMPTY="}};
  const auto launch = PlanLaunch(spec);
  ASSERT_TRUE(launch.ok());
  EXPECT_THAT(launch->env, Not(Contains("LANG=C.UTF-8")));
  for (const char* given : {"LANG=de", "LANGUAGE=de", "EMPTY="}) {
    EXPECT_THAT(launch->env, Contains(given));
  }
}

TEST(Launch, PassesTextAsArgumentUpToTheBoundAndByDescriptorAbove) {
  Spec spec = SampleSpec();
  spec.shell = Shell::kSh;
  spec.command = std::string(kTextAsArgumentMax, ':');
  spec.surroundings = {};
  auto launch = PlanLaunch(spec);
  ASSERT_TRUE(launch.ok());
  EXPECT_THAT(launch->argv, ElementsAre("sh", "-c", "--", spec.command));
  EXPECT_FALSE(launch->text.valid());
  spec.command += ':';
  launch = PlanLaunch(spec);
  ASSERT_TRUE(launch.ok());
  EXPECT_THAT(launch->argv, ElementsAre("sh", "/proc/self/fd/3"));
  EXPECT_TRUE(launch->text.valid());
}

TEST(Launch, FindsOnlyWhatIsExecutable) {
  TempDir dir;
  Put(dir.File("tool"), "#!/bin/sh\n");
  EXPECT_THAT(FindProgram("tool", dir.path()), IsEmpty());
  ASSERT_EQ(chmod(dir.File("tool").c_str(), 0755), 0);
  EXPECT_EQ(FindProgram("tool", "/nonexistent:" + dir.path()),
            dir.File("tool"));
  EXPECT_THAT(FindProgram("", dir.path()), IsEmpty());
}

// --- ChildWatcher ------------------------------------------------------------

TEST(ChildWatcherTest, AFileThatComesIntoBeingByALinkIsAChange) {
  const TempDir scratch;
  ASSERT_EQ(mkdir(scratch.File("command").c_str(), 0700), 0);
  ASSERT_TRUE(WriteFileDurably(scratch.File("beside"), "x", 0600).ok());
  std::promise<void> told;
  ChildWatcher watcher([&told] { told.set_value(); });
  const CommandId id("c");
  ASSERT_TRUE(watcher.Watch(id, scratch.File("command"), getpid()).ok());
  ASSERT_EQ(link(scratch.File("beside").c_str(),
                 scratch.File("command/started").c_str()),
            0);
  ASSERT_EQ(told.get_future().wait_for(std::chrono::seconds(20)),
            std::future_status::ready);
  const auto events = watcher.Take();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].command_id, id);
  EXPECT_FALSE(events[0].gone);
}

}  // namespace
}  // namespace muster::agent
