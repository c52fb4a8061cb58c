#include "agent/app/command_policy.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using ::testing::HasSubstr;

const absl::CivilSecond kMondayNoon(2026, 11, 30, 12, 0, 0);

class CommandPolicyTest : public ::testing::Test {
 protected:
  absl::StatusOr<CommandPolicy> Load(const std::string& text) {
    std::ofstream(file_) << text;
    EXPECT_EQ(chmod(file_.c_str(), 0644), 0);
    return CommandPolicy::Load(file_);
  }
  std::string Error(const std::string& text) {
    const auto policy = Load(text);
    EXPECT_FALSE(policy.ok());
    return std::string(ToStd(policy.status().message()));
  }
  // The rule of `text` against it.
  std::string Rule(const std::string& text, const Spec& spec,
                   const std::string& program = "",
                   absl::CivilSecond at = kMondayNoon, size_t running = 0) {
    const auto policy = Load(text);
    EXPECT_TRUE(policy.ok()) << policy.status();
    return std::string(
        policy->RuleAgainst(spec, "deploy", program, running, at));
  }

  TempDir dir_;
  const std::string file_ = dir_.File("policy.toml");
};

Spec Of(Shell shell) {
  Spec spec;
  spec.shell = shell;
  return spec;
}

TEST_F(CommandPolicyTest, WithoutAFileEverythingIsAllowed) {
  if (access(kDefaultPolicyFile, F_OK) == 0) GTEST_SKIP() << "there is one";
  const auto policy = CommandPolicy::Load(kDefaultPolicyFile);
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(policy->RuleAgainst(Of(Shell::kBash), "root", "", 999, kMondayNoon),
            "");
}

TEST_F(CommandPolicyTest, EachRuleIsNamedByItself) {
  EXPECT_EQ(CommandPolicy().Given(), "none");
  EXPECT_EQ(Load("shells = []\nusers = []")->Given(), "users shells");
  EXPECT_EQ(Rule("users = ['root', 'deploy']", Of(Shell::kSh)), "");
  EXPECT_EQ(Rule("users = ['root']", Of(Shell::kSh)), "users");
  EXPECT_EQ(Rule("users = []", Of(Shell::kSh)), "users");
  EXPECT_EQ(Rule("shells = ['sh']", Of(Shell::kSh)), "");
  EXPECT_EQ(Rule("shells = ['exec']", Of(Shell::kSh)), "shells");
  EXPECT_EQ(Rule("running_max = 2", Of(Shell::kSh), "", kMondayNoon, 1), "");
  EXPECT_EQ(Rule("running_max = 2", Of(Shell::kSh), "", kMondayNoon, 2),
            "running_max");
}

TEST_F(CommandPolicyTest, ProgramsAreThoseAndNoShellUnlessItIsGiven) {
  const std::string rules = "programs = ['/usr/bin/systemctl', '/opt/*/run']";
  EXPECT_EQ(Rule(rules, Of(Shell::kExec), "/usr/bin/systemctl"), "");
  EXPECT_EQ(Rule(rules, Of(Shell::kExec), "/opt/shop/run"), "");
  for (const char* other : {"", "/usr/bin/systemctl2", "/opt/a/b/run",
                            "/opt/../run", "/opt/./run", "systemctl"}) {
    EXPECT_EQ(Rule(rules, Of(Shell::kExec), other), "programs") << other;
  }
  EXPECT_EQ(Rule(rules, Of(Shell::kSh)), "programs");
  EXPECT_EQ(Rule(rules + "\nshells = ['sh', 'exec']", Of(Shell::kSh)), "");
}

TEST_F(CommandPolicyTest, AVariableCannotTurnAnAllowedProgramIntoAnother) {
  Spec spec = Of(Shell::kExec);
  spec.surroundings.environment = {"LD_PRELOAD=/tmp/x.so"};
  const std::string program = "programs = ['/bin/true']";
  EXPECT_EQ(Rule(program, spec, "/bin/true"), "environment");
  EXPECT_EQ(Rule(program + "\nenvironment = ['SHOP_*']", spec, "/bin/true"),
            "environment");
  EXPECT_EQ(Rule("users = ['deploy']", spec, "/bin/true"), "");
  spec.surroundings.environment = {"SHOP_URL=http://x"};
  EXPECT_EQ(Rule(program + "\nenvironment = ['SHOP_*']", spec, "/bin/true"),
            "");
  EXPECT_EQ(Rule("environment = []", spec, "/bin/true"), "environment");
}

TEST_F(CommandPolicyTest, HoursAreDaysAndMinutesOfTheMachine) {
  const std::string rules =
      "hours = ['Fri-Mon 08:00-12:01', 'Wed 22:30-24:00']";
  const auto at = [&](int day, int hour, int minute) {
    return Rule(rules, Of(Shell::kSh), "",
                absl::CivilSecond(2026, 11, day, hour, minute, 59));
  };
  EXPECT_EQ(at(30, 8, 0), "") << "Monday";
  EXPECT_EQ(at(30, 12, 0), "");
  EXPECT_EQ(at(30, 12, 1), "hours");
  EXPECT_EQ(at(30, 7, 59), "hours");
  EXPECT_EQ(at(27, 8, 0), "") << "Friday";
  EXPECT_EQ(at(26, 8, 0), "hours") << "Thursday";
  EXPECT_EQ(at(25, 23, 59), "") << "Wednesday";
}

TEST_F(CommandPolicyTest, AMistakeIsNamedWithItsLineAndNothingIsTakenOver) {
  EXPECT_THAT(Error("\nuser = ['a']"),
              HasSubstr("policy.toml:2: user: unknown rule"));
  EXPECT_THAT(Error("shells = ['sh', 'fish']"),
              HasSubstr("policy.toml:1: shells: must be one of bash, sh, zsh, "
                        "python3, pwsh, exec, got \"fish\""));
  EXPECT_THAT(Error("programs = ['systemctl']"),
              HasSubstr("programs: must be an absolute path, got "
                        "\"systemctl\""));
  EXPECT_THAT(Error("users = 'root'"),
              HasSubstr("users: must be a list of texts"));
  EXPECT_THAT(Error("running_max = -1"),
              HasSubstr("running_max: must be a number from 0 to 4096"));
  for (const char* bad :
       {"Mon", "Mon-Fri", "Mon 8:00-18:00", "Mon 18:00-08:00", "Mo 08:00-18:00",
        "Mon 08:00-24:01", "Mon 08:60-18:00", "Mon 08:00"}) {
    EXPECT_THAT(Error("hours = ['" + std::string(bad) + "']"),
                HasSubstr("hours: must be like \"Mon-Fri 08:00-18:00\", got"))
        << bad;
  }
}

TEST_F(CommandPolicyTest, AFileThatWasNamedMustBeThere) {
  EXPECT_TRUE(absl::IsNotFound(CommandPolicy::Load(file_).status()));
  EXPECT_FALSE(CommandPolicy::Load("").ok());
  EXPECT_FALSE(CommandPolicy::Load("/proc/self/mem/policy.toml").ok());
}

TEST_F(CommandPolicyTest, AFolderThatOthersMayWriteIsNotBelieved) {
  ASSERT_TRUE(Load("users = ['root']").ok());
  ASSERT_EQ(chmod(dir_.path().c_str(), 0777), 0);
  EXPECT_TRUE(absl::IsPermissionDenied(CommandPolicy::Load(file_).status()));
  ASSERT_EQ(chmod(dir_.path().c_str(), 0700), 0);
}

TEST_F(CommandPolicyTest, AFileThatOthersMayWriteIsNotBelieved) {
  ASSERT_TRUE(Load("users = ['root']").ok());
  ASSERT_EQ(chmod(file_.c_str(), 0664), 0);
  const auto policy = CommandPolicy::Load(file_);
  EXPECT_TRUE(absl::IsPermissionDenied(policy.status()));
  EXPECT_THAT(std::string(ToStd(policy.status().message())),
              HasSubstr("chmod go-w"));
}

}  // namespace
}  // namespace muster::agent
