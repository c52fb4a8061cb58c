#include "agent/app/start_agent.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/app/agent_state.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

class StartAgentTest : public testing::Test {
 protected:
  StartAgentTest() {
    EXPECT_TRUE(AgentState(request_.state_dir).Create().ok());
    // Programs that only say how they were called.
    Program("muster-agent", "echo \"agent: $*\"\nenv");
    Program("systemctl", "echo \"$*\" > " + dir_.File("systemctl.said"));
    EXPECT_EQ(setenv("PATH", (dir_.path() + ":/usr/bin:/bin").c_str(), 1), 0);
  }
  void Program(const std::string& name, const std::string& text) {
    EXPECT_TRUE(
        WriteFileDurably(dir_.File(name), "#!/bin/sh\n" + text + "\n", 0755)
            .ok());
  }
  void InstallSystemd() {
    ASSERT_TRUE(
        MakeFolder(request_.host_root + "/run/systemd/system", 0755).ok());
    const std::string units = request_.host_root + "/etc/systemd/system";
    ASSERT_TRUE(MakeFolder(units, 0755).ok());
    ASSERT_TRUE(
        WriteFileDurably(units + "/muster-agent.service", "", 0644).ok());
  }
  std::string Start() {
    const auto said = StartAgent(request_);
    EXPECT_TRUE(said.ok()) << said.status();
    while (wait(nullptr) > 0) {  // Until the child has ended.
    }
    return said.value_or("");
  }
  std::string Content(const std::string& path) {
    return ReadFile(path, 1 << 16).value_or("");
  }

  TempDir dir_;
  StartRequest request_{.state_dir = dir_.File("state"),
                        .own_binary = dir_.File("muster-agent"),
                        .arguments = {"--state-dir", dir_.File("state")},
                        .unit_fits = true,
                        .host_root = dir_.File("root")};
};

TEST_F(StartAgentTest, WithoutSystemdItRunsInTheBackground) {
  EXPECT_THAT(Start(), HasSubstr("in the background"));
  const std::string log = request_.state_dir + "/agent.log";
  EXPECT_THAT(Content(log),
              HasSubstr("agent: run --state-dir " + request_.state_dir));
  struct stat info {};
  ASSERT_EQ(stat(log.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(StartAgentTest, TheDaemonDoesNotGetTheToken) {
  ASSERT_EQ(setenv("MUSTER_TOKEN", "the-secret", 1), 0);
  ASSERT_EQ(setenv("MUSTER_LOG_LEVEL", "debug", 1), 0);
  Start();
  unsetenv("MUSTER_TOKEN");
  unsetenv("MUSTER_LOG_LEVEL");
  const std::string log = Content(request_.state_dir + "/agent.log");
  EXPECT_THAT(log, Not(HasSubstr("the-secret")));
  EXPECT_THAT(log, HasSubstr("MUSTER_LOG_LEVEL=debug"));
}

TEST_F(StartAgentTest, SystemdStartsItsUnit) {
  InstallSystemd();
  EXPECT_THAT(Start(), HasSubstr("by systemd"));
  EXPECT_EQ(Content(dir_.File("systemctl.said")),
            "enable --now muster-agent.service\n");
}

TEST_F(StartAgentTest, AnotherStateFolderIsNotTheUnits) {
  InstallSystemd();
  request_.unit_fits = false;
  EXPECT_THAT(Start(), HasSubstr("in the background"));
  EXPECT_FALSE(FileExists(dir_.File("systemctl.said")));
}

TEST_F(StartAgentTest, WhenSystemctlFailsItSaysSo) {
  InstallSystemd();
  Program("systemctl", "exit 1");
  EXPECT_THAT(StartAgent(request_).status().ToString(),
              HasSubstr("systemctl enable --now muster-agent.service"));
}

TEST_F(StartAgentTest, AnAgentThatRunsIsLeftAlone) {
  InstallSystemd();
  // The lock is a process's: another one must hold it.
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t running = fork();
  if (running == 0) {
    const auto lock = AgentState(request_.state_dir).Lock();
    if (!lock.ok() || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  close(ready[1]);
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  const auto said = StartAgent(request_);
  EXPECT_EQ(said.value_or(said.status().ToString()),
            "The agent is already running.\n");
  EXPECT_EQ(kill(running, SIGKILL), 0);
  EXPECT_EQ(waitpid(running, nullptr, 0), running);
  EXPECT_FALSE(FileExists(dir_.File("systemctl.said")));
}

TEST_F(StartAgentTest, AProgramThatCannotStartIsNamed) {
  request_.own_binary = dir_.File("none");
  EXPECT_THAT(StartAgent(request_).status().ToString(),
              HasSubstr(dir_.File("none")));
}

}  // namespace
}  // namespace muster::agent
