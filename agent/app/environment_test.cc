#include "agent/app/environment.h"

#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(TakeSecretTest, NoChildAndNoReaderOfTheEnvironmentSeesIt) {
  char entry[] = "MUSTER_TOKEN=the-secret";
  ASSERT_EQ(putenv(entry), 0);
  EXPECT_EQ(TakeSecret("MUSTER_TOKEN").Reveal(), "the-secret");
  EXPECT_EQ(getenv("MUSTER_TOKEN"), nullptr);
  // Where it stood, which is what /proc/PID/environ shows of a program's start.
  EXPECT_EQ(std::string(entry, sizeof entry - 1),
            "MUSTER_TOKEN=" + std::string(10, '\0'));

  TempDir dir;
  const std::string command = "env > " + dir.File("seen");
  const char* argv[] = {"sh", "-c", command.c_str(), nullptr};
  pid_t pid = -1;
  ASSERT_EQ(posix_spawnp(&pid, "sh", nullptr, nullptr,
                         const_cast<char* const*>(argv), environ),
            0);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_THAT(*ReadFile(dir.File("seen"), 1 << 20),
              Not(HasSubstr("MUSTER_TOKEN")));
}

TEST(TakeSecretTest, WhatIsNotThereIsEmpty) {
  unsetenv("MUSTER_TOKEN");
  EXPECT_TRUE(TakeSecret("MUSTER_TOKEN").empty());
}

}  // namespace
}  // namespace muster::agent
