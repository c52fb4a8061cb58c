// The real muster-exec below a real Executor, with the test as the loop.

#include "agent/exec/executor.h"

#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <map>

#include "agent/exec/launch.h"
#include "agent/exec/process_tree.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/testing/fake_event_loop.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr absl::Duration kPatience = absl::Seconds(20);

// A machine with an agent that can be stopped, killed and started again.
class ExecutorTest : public ::testing::Test, public Executor::Delegate {
 protected:
  ExecutorTest() { StartAgent(); }
  ~ExecutorTest() override { ForgetAll(); }

  void OnUpdate(const Update& update) override {
    updates_[update.command_id].push_back(update);
  }
  void OnOutput(const CommandId& id) override { ++outputs_[id]; }
  void OnInput(const CommandId&, const InputState&) override {}

  void StartAgent() {
    auto executor = Executor::Open(loop_, *this,
                                   {.folder = root_,
                                    .shim_path = shim_path_,
                                    .boot_id = boot_id_,
                                    .run_log = run_log_});
    ASSERT_TRUE(executor.ok()) << executor.status();
    executor_ = *std::move(executor);
    const absl::Status recovered = executor_->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered;
  }
  void StopAgent() { executor_.reset(); }
  // Leaves nothing of this test on the machine, cgroups included.
  void ForgetAll() {
    if (!executor_) return;
    for (const CommandId& id : executor_->OpenCommands()) {
      EXPECT_TRUE(executor_->Forget(id).ok());
    }
    StopAgent();
  }

  Order NewOrder(std::string command, Shell shell = Shell::kBash) {
    Order order;
    order.command_id = CommandId(NewUuid(clock_.Wall()));
    order.dispatch_seq = ++last_seq_;
    order.shell = shell;
    order.command = std::move(command);
    return order;
  }
  CommandId Start(const Order& order) {
    const absl::Status status = executor_->Accept(order);
    EXPECT_TRUE(status.ok()) << status;
    return order.command_id;
  }
  CommandId Start(std::string command) {
    return Start(NewOrder(std::move(command)));
  }

  bool Eventually(const std::function<bool()>& condition) {
    const Instant deadline = clock_.Now() + kPatience;
    while (clock_.Now() < deadline) {
      loop_.RunReady();
      if (condition()) return true;
      poll(nullptr, 0, 2);
    }
    return false;
  }
  Update Last(const CommandId& id) {
    return executor_->LastUpdate(id).value_or(Update());
  }
  bool Reaches(const CommandId& id, CommandState state) {
    return Eventually([&] {
      const auto last = executor_->LastUpdate(id);
      return last && last->state == state;
    });
  }
  Update End(const CommandId& id) {
    EXPECT_TRUE(Eventually([&] {
      const auto last = executor_->LastUpdate(id);
      return last && IsTerminal(last->state);
    })) << "never ended";
    return Last(id);
  }
  std::string Output(const CommandId& id, Stream stream = Stream::kStdout) {
    std::string all;
    while (true) {
      const auto some = executor_->ReadOutput(id, stream, all.size(), 65536);
      if (!some.ok() || some->empty()) return all;
      all += *some;
    }
  }
  CommandFolder FolderOf(const CommandId& id) {
    return CommandFolder(root_ + "/commands/" + id.str());
  }
  pid_t ShimOf(const CommandId& id) {
    return FolderOf(id).LockHolder()->value_or(0);
  }
  void Kill(pid_t shim) {
    ASSERT_GT(shim, 0);
    ASSERT_EQ(kill(shim, SIGKILL), 0);
    waitpid(shim, nullptr, 0);  // Without an agent nobody else would.
  }
  std::string FileText(const std::string& path) {
    return ReadFile(path, 1 << 20).value_or("");
  }

  SystemClock clock_;
  TempDir dir_;
  std::string root_ = dir_.File("exec");
  std::string run_log_ = dir_.File("ran-here");
  std::string shim_path_ = MUSTER_EXEC_PATH;
  std::string boot_id_ = "boot-1";
  FakeEventLoop loop_;
  uint64_t last_seq_ = 0;
  std::map<CommandId, std::vector<Update>> updates_;
  std::map<CommandId, int> outputs_;
  std::unique_ptr<Executor> executor_;
};

TEST_F(ExecutorTest, DeliversOutputOfBothStreamsExactly) {
  const CommandId id = Start(R"(printf 'a\0b\377\n'; printf 'e\0' >&2)");
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kSucceeded);
  EXPECT_EQ(end.exit_code, 0);
  EXPECT_EQ(Output(id), std::string("a\0b\377\n", 5));
  EXPECT_EQ(Output(id, Stream::kStderr), std::string("e\0", 2));
  EXPECT_EQ(end.stdout_bytes, 5u);
  EXPECT_EQ(end.stderr_bytes, 2u);
  EXPECT_TRUE(end.output_complete);
  EXPECT_TRUE(end.started_at && end.finished_at);
  EXPECT_GT(outputs_[id], 0);
  EXPECT_EQ(executor_->seen_high(), 1u);
}

TEST_F(ExecutorTest, ReportsEveryStateOnceAndInOrder) {
  const CommandId id = Start("sleep 0.3");
  End(id);
  std::vector<CommandState> states;
  for (const Update& update : updates_[id]) states.push_back(update.state);
  EXPECT_THAT(states,
              ElementsAre(CommandState::kReceived, CommandState::kRunning,
                          CommandState::kSucceeded));
}

TEST_F(ExecutorTest, TellsExitCodesAndSignalsApart) {
  const CommandId failed = Start("exit 3");
  const CommandId signaled = Start("kill -SEGV $$");
  EXPECT_EQ(End(failed).state, CommandState::kFailed);
  EXPECT_EQ(Last(failed).exit_code, 3);
  EXPECT_EQ(End(signaled).state, CommandState::kSignaled);
  EXPECT_EQ(Last(signaled).signal, SIGSEGV);
}

TEST_F(ExecutorTest, TheOwnerIsToldBeforeItBeginsAndHowItEnded) {
  Order order = NewOrder("cat " + run_log_ + "/log; exit 3");
  order.issued_by = "alice";
  order.purpose = "a test";
  order.surroundings.environment = {"SECRET=canary-env"};
  order.surroundings.input = "canary-input";
  const CommandId id = Start(order);
  End(id);
  EXPECT_THAT(Output(id), HasSubstr(id.str())) << "it was told after it began";
  const RunLog log(run_log_);
  ASSERT_TRUE(Eventually([&] { return log.Read(1)->at(0).end.has_value(); }));
  const RunEntry told = log.Read(1)->at(0);
  EXPECT_EQ(told.order.command_id, id);
  EXPECT_EQ(told.order.issued_by, "alice");
  EXPECT_EQ(told.order.purpose, "a test");
  EXPECT_EQ(told.order.user, *UserOf({}));
  EXPECT_EQ(told.order.shell, "bash");
  EXPECT_EQ(told.order.text, order.command);
  EXPECT_EQ(told.end->state, "failed");
  EXPECT_EQ(told.end->exit_code, 3);
  EXPECT_THAT(FileText(run_log_ + "/log"), Not(HasSubstr("canary")));
}

TEST_F(ExecutorTest, TheOwnerIsToldWhatWasRefused) {
  Order order = NewOrder(std::string(300 << 10, 'x'));
  End(Start(order));
  const RunLog log(run_log_);
  ASSERT_TRUE(Eventually([&] { return log.Read(1)->at(0).end.has_value(); }));
  const RunEntry told = log.Read(1)->at(0);
  EXPECT_EQ(told.order.text_bytes, size_t{300 << 10});
  EXPECT_EQ(told.end->state, "rejected");
  EXPECT_EQ(told.end->reason, "command_too_large");
}

TEST_F(ExecutorTest, WhatCannotBeToldToTheOwnerDoesNotRun) {
  ASSERT_TRUE(WriteFileDurably(run_log_, "no folder", 0600).ok());
  const CommandId id = Start("touch " + dir_.File("ran"));
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kRejected);
  EXPECT_EQ(end.reason, "agent_storage_error");
  EXPECT_FALSE(FileExists(dir_.File("ran")));
}

TEST_F(ExecutorTest, DiesBeforeItsShimAndTheAgentWhenMemoryRunsOut) {
  const CommandId id = Start(
      "cat /proc/self/oom_score_adj /proc/$PPID/oom_score_adj; sleep 60 &"
      " cat /proc/$!/oom_score_adj; kill $!");
  End(id);
  const int own = std::stoi(FileText("/proc/self/oom_score_adj"));
  const int command = std::max(own + kCommandOomScoreAbove, 0);
  EXPECT_EQ(Output(id), fmt::format("{0}\n{1}\n{0}\n", command, own));
}

TEST_F(ExecutorTest, RunsInCleanSurroundings) {
  const CommandId id = Start(
      "umask; pwd; echo $MUSTER_COMMAND_ID; readlink /proc/self/fd/0; "
      "trap -p; grep -E 'Sig(Blk|Ign)' /proc/self/status; "
      "ls /proc/self/fd | wc -l; env | grep -c .");
  End(id);
  EXPECT_THAT(Output(id), StartsWith(fmt::format("0022\n/root\n{}\n/dev/null\n",
                                                 id.str())));
  EXPECT_THAT(Output(id), HasSubstr("SigBlk:\t0000000000000000\n"
                                    "SigIgn:\t0000000000000000\n"
                                    "4\n"));
}

TEST_F(ExecutorTest, RunsEveryShellThatIsThereAndRejectsTheOthers) {
  const CommandId sh = Start(NewOrder("-x", Shell::kSh));
  const CommandId python = Start(NewOrder("print(6 * 7)", Shell::kPython3));
  const CommandId pwsh = Start(NewOrder("1", Shell::kPwsh));
  EXPECT_EQ(End(sh).exit_code, 127);  // A program, not an option.
  End(python);
  EXPECT_EQ(Output(python), "42\n");
  EXPECT_EQ(End(pwsh).state, CommandState::kRejected);
  EXPECT_EQ(Last(pwsh).reason, "shell_unavailable");
  EXPECT_FALSE(FolderOf(pwsh).HasStarted());
}

TEST_F(ExecutorTest, ExecutesAnArgvAsItIs) {
  Order order = NewOrder("", Shell::kExec);
  order.argv = {"printf", "%s|", "a b", "$HOME", ""};
  const CommandId id = Start(order);
  End(id);
  EXPECT_EQ(Output(id), "a b|$HOME||");
  order = NewOrder("", Shell::kExec);
  order.argv = {"no-such-program"};
  const CommandId missing = Start(order);
  EXPECT_EQ(End(missing).state, CommandState::kFailed);
  EXPECT_EQ(Last(missing).exit_code, 127);
  EXPECT_THAT(Output(missing, Stream::kStderr),
              HasSubstr("cannot execute 'no-such-program': No such file"));
}

TEST_F(ExecutorTest, RunsATextTooLongForAnArgument) {
  for (const Shell shell : {Shell::kBash, Shell::kSh, Shell::kPython3}) {
    const std::string last =
        shell == Shell::kPython3 ? "import sys; sys.exit(9)\n" : "exit 9\n";
    const CommandId id =
        Start(NewOrder("#" + std::string(200 << 10, 'x') + "\n" + last, shell));
    EXPECT_EQ(End(id).exit_code, 9) << Name(shell);
  }
}

TEST_F(ExecutorTest, BoundsTheOutputAndCountsWhatItDrops) {
  Order order = NewOrder("head -c 1000000 /dev/zero");
  order.output_bytes_max = 100'000;
  const CommandId id = Start(order);
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kSucceeded);
  EXPECT_EQ(end.stdout_bytes, 100'000u);
  EXPECT_EQ(end.output_dropped_bytes, 900'000u);
  EXPECT_FALSE(end.output_complete);
  EXPECT_EQ(Output(id).size(), 100'000u);
}

TEST_F(ExecutorTest, EndsATreeThatTrapsTermAndLeavesItsSession) {
  const std::string pid_file = dir_.File("pid");
  Order order = NewOrder(
      fmt::format("trap '' TERM; setsid bash -c 'trap \"\" TERM; echo $$ > {}; "
                  "while :; do sleep 1; done' & while :; do sleep 1; done",
                  pid_file));
  order.timeout = absl::Milliseconds(700);
  order.kill_grace = absl::Milliseconds(300);
  const CommandId id = Start(order);
  const Instant before = clock_.Now();
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kTimedOut);
  EXPECT_EQ(end.signal, SIGKILL);
  EXPECT_EQ(end.reason, "");
  EXPECT_LT(clock_.Now() - before, absl::Seconds(5));
  const pid_t child = std::stoi(FileText(pid_file));
  EXPECT_TRUE(kill(child, 0) != 0 && errno == ESRCH);
}

TEST_F(ExecutorTest, DoesNotLetAFloodDelayTheTimeout) {
  Order order = NewOrder("yes");
  order.timeout = absl::Milliseconds(500);
  order.output_bytes_max = 4096;
  const CommandId id = Start(order);
  const Instant before = clock_.Now();
  EXPECT_EQ(End(id).state, CommandState::kTimedOut);
  EXPECT_LT(clock_.Now() - before, absl::Seconds(5));
}

TEST_F(ExecutorTest, DoesNotWaitForABackgroundProcessThatHoldsThePipe) {
  const std::string pid_file = dir_.File("pid");
  const CommandId id =
      Start(fmt::format("echo hi; sleep 60 & echo $! > {}; exit 0", pid_file));
  const Instant before = clock_.Now();
  const Update end = End(id);
  const std::string background = FileText(pid_file);
  EXPECT_EQ(end.state, CommandState::kSucceeded);
  EXPECT_LT(clock_.Now() - before, absl::Seconds(6));
  EXPECT_FALSE(end.output_complete);
  EXPECT_EQ("pipe_held_by: " + background, end.reason + "\n");
  EXPECT_EQ(Output(id), "hi\n");
  // It goes on: that is what the command wanted. Its cgroup goes after it.
  const pid_t pid = std::stoi(background);
  const auto cgroup =
      Cgroup::Find(FolderOf(id).ReadStarted()->cgroup, id.str());
  ASSERT_TRUE(cgroup);
  EXPECT_TRUE(cgroup->Populated());
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  ASSERT_TRUE(Eventually([&] { return !cgroup->Populated(); }));
  StopAgent();
  StartAgent();
  EXPECT_FALSE(FileExists(cgroup->path()));
}

TEST_F(ExecutorTest, CancelsARunningCommand) {
  const CommandId id =
      Start("trap 'exit 5' TERM; while :; do sleep 0.05; done");
  ASSERT_TRUE(Reaches(id, CommandState::kRunning));
  EXPECT_TRUE(executor_->Cancel(id).ok());
  EXPECT_EQ(End(id).state, CommandState::kCancelled);
  EXPECT_TRUE(absl::IsNotFound(executor_->Cancel(CommandId("unknown"))));
}

TEST_F(ExecutorTest, GivesACancelThatComesAtOnceExactlyOneOutcome) {
  for (int round = 0; round < 10; ++round) {
    const std::string mark = dir_.File(fmt::format("mark{}", round));
    const CommandId id = Start("sleep 0.01; touch " + mark);
    EXPECT_TRUE(executor_->Cancel(id).ok());
    const Update end = End(id);
    if (end.state == CommandState::kSucceeded) {
      EXPECT_TRUE(FileExists(mark));
    } else {
      EXPECT_EQ(end.state, CommandState::kCancelled);
      if (end.reason == "before_start") {
        EXPECT_FALSE(FileExists(mark));
      }
    }
  }
}

TEST_F(ExecutorTest, AnswersARepeatedOrderWithoutRunningItAgain) {
  const std::string log = dir_.File("log");
  const Order order = NewOrder("echo x >> " + log);
  Start(order);
  Start(order);
  End(order.command_id);
  const size_t before = updates_[order.command_id].size();
  Start(order);
  ASSERT_EQ(updates_[order.command_id].size(), before + 1);
  EXPECT_EQ(updates_[order.command_id].back().state, CommandState::kSucceeded);
  ASSERT_TRUE(executor_->Forget(order.command_id).ok());
  Start(order);
  EXPECT_EQ(updates_[order.command_id].back().reason, "already_seen");
  StopAgent();
  StartAgent();
  Start(order);
  EXPECT_EQ(updates_[order.command_id].back().reason, "already_seen");
  EXPECT_EQ(FileText(log), "x\n");
}

TEST_F(ExecutorTest, ForgetsOnlyWhatHasEnded) {
  const CommandId id = Start("sleep 0.3");
  EXPECT_TRUE(absl::IsFailedPrecondition(executor_->Forget(id)));
  EXPECT_THAT(executor_->OpenCommands(), ElementsAre(id));
  EXPECT_EQ(executor_->OutputBytes(id, Stream::kStdout), 0u);
  End(id);
  EXPECT_TRUE(executor_->Forget(id).ok());
  EXPECT_TRUE(executor_->OpenCommands().empty());
  EXPECT_TRUE(Eventually([&] { return !FileExists(FolderOf(id).path()); }));
}

TEST_F(ExecutorTest, RejectsWhatItCannotRun) {
  Order order = NewOrder(std::string("a\0b", 3));
  EXPECT_EQ(End(Start(order)).reason, "command_has_nul");
  EXPECT_EQ(End(Start("")).reason, "command_empty");
  EXPECT_EQ(End(Start(std::string(300 << 10, ':'))).reason,
            "command_too_large");
  EXPECT_EQ(End(Start(NewOrder("x", Shell{99}))).reason, "shell_unavailable");
  EXPECT_EQ(End(Start(NewOrder("", Shell::kExec))).reason, "argv_empty");
  order = NewOrder(":");
  order.timeout = -absl::Seconds(1);
  EXPECT_EQ(End(Start(order)).reason, "timeout_out_of_range");
  order = NewOrder(":");
  order.command_id = CommandId("../../etc");
  EXPECT_TRUE(absl::IsInvalidArgument(executor_->Accept(order)));
  order = NewOrder(":");
  order.dispatch_seq = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(executor_->Accept(order)));
}

TEST_F(ExecutorTest, RejectsWhenTheShimCannotBeStarted) {
  StopAgent();
  shim_path_ = "/nonexistent";
  StartAgent();
  const CommandId id = Start("true");
  EXPECT_EQ(End(id).state, CommandState::kRejected);
  EXPECT_EQ(Last(id).reason, "shim_unavailable");
}

TEST_F(ExecutorTest, RejectsMoreThanItMayRunAtOnce) {
  StopAgent();
  auto executor = Executor::Open(loop_, *this,
                                 {.folder = root_,
                                  .shim_path = shim_path_,
                                  .boot_id = boot_id_,
                                  .running_max = 1});
  executor_ = *std::move(executor);
  const CommandId first = Start("sleep 0.3");
  const CommandId second = Start("true");
  EXPECT_EQ(End(second).reason, "too_many_commands");
  EXPECT_EQ(End(first).state, CommandState::kSucceeded);
}

TEST_F(ExecutorTest, AdoptsARunningCommandAfterARestart) {
  const CommandId id = Start("echo one; sleep 0.5; echo two; exit 4");
  ASSERT_TRUE(Reaches(id, CommandState::kRunning));
  StopAgent();
  StartAgent();
  EXPECT_EQ(Last(id).state, CommandState::kRunning);
  EXPECT_EQ(End(id).exit_code, 4);
  EXPECT_EQ(Output(id), "one\ntwo\n");
}

TEST_F(ExecutorTest, DeliversAResultThatCameWhileItWasAway) {
  const CommandId id = Start("sleep 0.2; exit 6");
  ASSERT_TRUE(Reaches(id, CommandState::kRunning));
  StopAgent();
  ASSERT_TRUE(Eventually([&] { return FolderOf(id).HasExit(); }));
  StartAgent();
  EXPECT_EQ(Last(id).exit_code, 6);
  EXPECT_EQ(updates_[id].back().state, CommandState::kFailed);
}

TEST_F(ExecutorTest, CancelsAnAdoptedCommand) {
  const CommandId id = Start("sleep 60");
  ASSERT_TRUE(Reaches(id, CommandState::kRunning));
  StopAgent();
  StartAgent();
  ASSERT_TRUE(executor_->Cancel(id).ok());
  EXPECT_EQ(End(id).state, CommandState::kCancelled);
}

TEST_F(ExecutorTest, LetsNoStopOfTheAgentEndACommand) {
  const CommandId id = Start("sleep 0.3; exit 8");
  ASSERT_TRUE(Reaches(id, CommandState::kRunning));
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
    ASSERT_EQ(kill(ShimOf(id), signal), 0);
  }
  EXPECT_EQ(End(id).exit_code, 8);
}

TEST_F(ExecutorTest, CallsTheOutcomeOfALostShimUnknown) {
  const std::string pid_file = dir_.File("pid");
  const CommandId id = Start(
      fmt::format("echo out; setsid sleep 60 & echo $! > {}; wait", pid_file));
  ASSERT_TRUE(Eventually([&] {
    return !FileText(pid_file).empty() &&
           executor_->OutputBytes(id, Stream::kStdout) == 4;
  }));
  ASSERT_EQ(kill(ShimOf(id), SIGKILL), 0);
  EXPECT_EQ(End(id).state, CommandState::kOutcomeUnknown);
  EXPECT_EQ(Last(id).reason, "shim_lost");
  EXPECT_EQ(Output(id), "out\n");
  // Its cgroup went with it: nothing runs on unsupervised.
  const pid_t child = std::stoi(FileText(pid_file));
  EXPECT_TRUE(Eventually([&] { return kill(child, 0) != 0; }));
  StopAgent();
  StartAgent();
  EXPECT_EQ(Last(id).reason, "shim_lost");
}

TEST_F(ExecutorTest, TellsARebootFromALostShim) {
  const CommandId id = Start("sleep 60");
  ASSERT_TRUE(Reaches(id, CommandState::kRunning));
  StopAgent();
  Kill(ShimOf(id));
  boot_id_ = "boot-2";
  StartAgent();
  EXPECT_EQ(Last(id).state, CommandState::kOutcomeUnknown);
  EXPECT_EQ(Last(id).reason, "host_rebooted");
}

TEST_F(ExecutorTest, DeclaresACommandWithOnlyASpecNeverStarted) {
  StopAgent();
  Spec spec;
  spec.command_id = CommandId(NewUuid(clock_.Wall()));
  spec.dispatch_seq = 41;
  spec.command = "touch " + dir_.File("ran");
  spec.timeout = absl::Seconds(5);
  spec.boot_id = boot_id_;
  const CommandFolder folder = FolderOf(spec.command_id);
  ASSERT_TRUE(folder.Create(spec).ok());
  StartAgent();
  EXPECT_EQ(Last(spec.command_id).state, CommandState::kRejected);
  EXPECT_EQ(Last(spec.command_id).reason, "never_started");
  EXPECT_TRUE(folder.ReadStarted()->by_agent);
  EXPECT_EQ(executor_->seen_high(), 41u);
  // A shim that comes late finds that it has been decided.
  const pid_t late = fork();
  if (late == 0) {
    execl(MUSTER_EXEC_PATH, "muster-exec", folder.path().c_str(), nullptr);
    _exit(1);
  }
  waitpid(late, nullptr, 0);
  EXPECT_FALSE(FileExists(dir_.File("ran")));
}

TEST_F(ExecutorTest, ReportsCorruptFoldersAndGoesOn) {
  const CommandId bad_exit = Start("true");
  const CommandId bad_spec = Start("true");
  End(bad_exit);
  End(bad_spec);
  StopAgent();
  std::ofstream(FolderOf(bad_exit).File("exit")) << "garbage";
  std::ofstream(FolderOf(bad_spec).File("spec")) << "garbage";
  std::ofstream(root_ + "/seen") << "garbage";
  StartAgent();
  EXPECT_EQ(Last(bad_exit).state, CommandState::kOutcomeUnknown);
  EXPECT_EQ(Last(bad_exit).reason, "exit_corrupt");
  EXPECT_EQ(Last(bad_spec).state, CommandState::kSucceeded);
  EXPECT_EQ(executor_->seen_high(), 1u);  // From the folder that has a spec.
  EXPECT_EQ(End(Start("true")).state, CommandState::kSucceeded);
}

// C1: whatever is killed whenever, nothing runs twice.
TEST_F(ExecutorTest, RunsEveryCommandAtMostOnceOverKillsAndRestarts) {
  const std::string log = dir_.File("log");
  std::vector<Order> orders;
  for (int round = 0; round < 12; ++round) {
    orders.push_back(NewOrder(
        fmt::format("echo $MUSTER_COMMAND_ID >> {}; sleep 0.05", log)));
    Start(orders.back());
    // A different moment each round, from "nothing stored" to "ended".
    const Instant until = clock_.Now() + absl::Milliseconds(round * 6);
    while (clock_.Now() < until) loop_.RunReady();
    if (round % 2 == 0) {
      if (const pid_t shim = ShimOf(orders.back().command_id); shim > 0) {
        kill(shim, SIGKILL);
      }
    }
    StopAgent();
    StartAgent();
    for (const Order& order : orders) Start(order);
  }
  std::map<std::string, int> runs;
  for (const Order& order : orders) {
    const Update end = End(order.command_id);
    std::ifstream lines(log);
    int count = 0;
    for (std::string line; std::getline(lines, line);) {
      count += line == order.command_id.str();
    }
    EXPECT_LE(count, 1) << Name(end.state);
    if (end.state == CommandState::kSucceeded) {
      EXPECT_EQ(count, 1);
    }
    if (end.state == CommandState::kRejected) {
      EXPECT_EQ(count, 0);
    }
    // Terminal once (C3): whatever was said last was said every time.
    for (const Update& update : updates_[order.command_id]) {
      if (IsTerminal(update.state)) {
        EXPECT_EQ(update.state, end.state);
      }
    }
  }
}

// A file system of its own that can be filled. Needs root.
class FullDiskTest : public ExecutorTest {
 protected:
  FullDiskTest() {
    StopAgent();
    root_ = dir_.File("small");
    mkdir(root_.c_str(), 0700);
    mounted_ = mount("tmpfs", root_.c_str(), "tmpfs", 0,
                     "size=256k,nr_inodes=64") == 0;
    StartAgent();
  }
  ~FullDiskTest() override {
    ForgetAll();
    if (mounted_) umount2(root_.c_str(), MNT_DETACH);
  }
  void SetUp() override {
    ASSERT_TRUE(mounted_) << "needs root to mount a tmpfs";
  }
  void Fill() {
    std::ofstream file(root_ + "/filler");
    const std::string block(4096, 'x');
    while (file.write(block.data(), 4096).flush()) {
    }
  }

  bool mounted_ = false;
};

TEST_F(FullDiskTest, RejectsAndStartsNothing) {
  Fill();
  const CommandId id = Start("touch " + dir_.File("ran"));
  EXPECT_EQ(End(id).state, CommandState::kRejected);
  EXPECT_EQ(Last(id).reason, "agent_disk_full");
  EXPECT_EQ(executor_->seen_high(), 1u);  // Even so.
  EXPECT_FALSE(FileExists(dir_.File("ran")));
  unlink((root_ + "/filler").c_str());
  EXPECT_EQ(End(Start("true")).state, CommandState::kSucceeded);
}

TEST_F(FullDiskTest, TellsTheTrueEndOfACommandWhoseOutputFoundNoRoom) {
  const CommandId id = Start("head -c 1000000 /dev/zero; exit 7");
  const Update end = End(id);
  EXPECT_EQ(end.state, CommandState::kFailed);
  EXPECT_EQ(end.exit_code, 7);
  EXPECT_GT(end.output_dropped_bytes, 0u);
  EXPECT_EQ(end.stdout_bytes + end.output_dropped_bytes, 1'000'000u);
  EXPECT_EQ(Output(id).size(), end.stdout_bytes);
  EXPECT_FALSE(end.output_complete);
}

TEST_F(FullDiskTest, RejectsWhenTheDiskFillsBetweenSpecAndStarted) {
  StopAgent();
  Spec spec;
  spec.command_id = CommandId(NewUuid(clock_.Wall()));
  spec.dispatch_seq = 1;
  spec.command = "touch " + dir_.File("ran");
  spec.timeout = absl::Seconds(5);
  const CommandFolder folder = FolderOf(spec.command_id);
  ASSERT_TRUE(folder.Create(spec).ok());
  Fill();
  const pid_t shim = fork();
  if (shim == 0) {
    execl(MUSTER_EXEC_PATH, "muster-exec", folder.path().c_str(), nullptr);
    _exit(1);
  }
  waitpid(shim, nullptr, 0);
  StartAgent();
  EXPECT_EQ(Last(spec.command_id).state, CommandState::kRejected);
  EXPECT_EQ(Last(spec.command_id).reason, "agent_disk_full");
  EXPECT_FALSE(FileExists(dir_.File("ran")));
}

TEST_F(ExecutorTest, RunsInTheSurroundingsThatItIsGiven) {
  Order order = NewOrder("pwd; umask; echo $HOME $NAME $PATH; cat");
  order.surroundings = {.user = "",
                        .folder = dir_.path(),
                        .environment = {"NAME=a b", "PATH=/bin"},
                        .umask = 077,
                        .input = std::string("one\0two", 7)};
  const CommandId id = Start(order);
  ASSERT_EQ(End(id).state, CommandState::kSucceeded) << Last(id).reason;
  EXPECT_THAT(Output(id), StartsWith(dir_.path() + "\n0077\n"));
  EXPECT_THAT(Output(id), HasSubstr(" a b /bin\n"));
  EXPECT_THAT(Output(id), ::testing::EndsWith(std::string("one\0two", 7)));
}

TEST_F(ExecutorTest, BecomesTheUserThatItIsGiven) {
  if (getuid() != 0) GTEST_SKIP() << "needs root";
  Order order = NewOrder(
      "id -un; id -G; echo $USER $HOME; echo again >/dev/stdout; ls /root");
  order.surroundings.user = "nobody";
  const CommandId id = Start(order);
  EXPECT_EQ(End(id).state, CommandState::kFailed) << "not root's folder";
  EXPECT_EQ(Output(id), "nobody\n65534\nnobody /nonexistent\nagain\n");
  EXPECT_THAT(Output(id, Stream::kStderr), HasSubstr("Permission denied"));
}

TEST_F(ExecutorTest, ACommandOfAnotherUserDiesWithItsShim) {
  if (getuid() != 0) GTEST_SKIP() << "needs root";
  Order order = NewOrder("echo $$; exec sleep 3600");
  order.surroundings.user = "nobody";
  const CommandId id = Start(order);
  ASSERT_TRUE(Eventually([&] { return !Output(id).empty(); }));
  const pid_t command = std::stoi(Output(id));
  Kill(ShimOf(id));
  EXPECT_TRUE(Eventually([&] { return kill(command, 0) != 0; }));
}

TEST_F(ExecutorTest, SaysWhyItCannotBeRunThere) {
  const auto rejected = [&](Surroundings surroundings) {
    Order order = NewOrder("true");
    order.surroundings = std::move(surroundings);
    const CommandId id = Start(order);
    const Update end = End(id);
    EXPECT_EQ(end.state, CommandState::kRejected);
    EXPECT_FALSE(end.started_at.has_value());
    return end.reason;
  };
  EXPECT_EQ(rejected({.user = "no-such-user"}), "user_unknown");
  EXPECT_EQ(rejected({.folder = dir_.File("absent")}),
            "working_directory_missing");
  EXPECT_EQ(rejected({.folder = "relative"}), "working_directory_missing");
  EXPECT_EQ(rejected({.environment = {"NO_VALUE"}}), "environment_invalid");
  EXPECT_EQ(rejected({.environment = {"=NO_NAME"}}), "environment_invalid");
  EXPECT_EQ(rejected({.environment = {std::string("A=1\0B=2", 7)}}),
            "environment_invalid");
}

TEST_F(ExecutorTest, AVariableIsOneVariableWhateverItHolds) {
  Order order = NewOrder("printf '%s' \"$NAME\"; env -0 | grep -zc ^INJECTED=");
  order.surroundings.environment = {"NAME=a\nINJECTED=b\n=c"};
  const CommandId id = Start(order);
  EXPECT_EQ(End(id).exit_code, 1);  // Of grep: there is none.
  EXPECT_EQ(Output(id), "a\nINJECTED=b\n=c0\n");
}

}  // namespace
}  // namespace muster::agent
