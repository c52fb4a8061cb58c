#include "agent/host/host_facts.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"
#include "libprotocol/wire/validation.h"

namespace muster::agent {
namespace {

// A machine that consists of the files a test puts there.
class HostFactsTest : public ::testing::Test {
 protected:
  void Put(std::string_view path, std::string_view content) {
    const std::filesystem::path file = root_.path() + std::string(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
  }
  v1::AgentFacts Facts(std::string invocation_id = "") {
    return ReadAgentFacts({root_.path(), std::move(invocation_id)}, "0.1.0");
  }
  TempDir root_;
};

constexpr char kContainerId[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST_F(HostFactsTest, ReadsWhatTheMachineSays) {
  Put("/proc/sys/kernel/hostname", "web-1\n");
  Put("/proc/sys/kernel/osrelease", "6.1.0-25-amd64\n");
  Put("/etc/os-release",
      "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  Put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  const v1::AgentFacts facts = Facts();
  EXPECT_EQ(facts.hostname(), "web-1");
  EXPECT_EQ(facts.kernel(), "6.1.0-25-amd64");
  EXPECT_EQ(facts.os(), "Debian GNU/Linux 12 (bookworm)");
  EXPECT_EQ(facts.agent_version(), "0.1.0");
  EXPECT_FALSE(facts.architecture().empty());
  EXPECT_EQ(facts.machine_id(), "580ca1e675834f5c846aba90f9ef409a");
}

TEST_F(HostFactsTest, LeavesEmptyWhatIsNotThere) {
  const v1::AgentFacts facts = Facts();
  EXPECT_EQ(facts.hostname(), "unnamed");
  EXPECT_EQ(facts.machine_id(), "");
  EXPECT_EQ(facts.os(), "");
  EXPECT_EQ(facts.runtime(), v1::RUNTIME_KIND_PROCESS);
}

TEST_F(HostFactsTest, AnOddHostnameBecomesOneThatTheGatewayTakes) {
  const std::pair<std::string, std::string> names[] = {
      {"(none)", "none-"},
      {"a~b", "a-b"},
      {" vm ", "vm-"},
      {"..", "unnamed"},
      {"-x", "x"},
      {"vm/..", "vm-.."},
      {"$(id)", "id-"},
      {"\xc3\xbc", "unnamed"},
      {"a\nb", "a-b"},
      {"0193f0a2-7c11-7abc-8def-0123456789ab",
       "host-0193f0a2-7c11-7abc-8def-0123456789ab"}};
  for (const auto& [kernel, shown] : names) {
    Put("/proc/sys/kernel/hostname", kernel + "\n");
    EXPECT_EQ(Facts().hostname(), shown);
    EXPECT_TRUE(wire::ValidateFacts(Facts()).ok()) << kernel;
  }
}

TEST_F(HostFactsTest, KeepsTheBoundsOfTheContract) {
  Put("/proc/sys/kernel/hostname", std::string(100, 'h'));
  Put("/etc/os-release", "PRETTY_NAME=\"a\x1b[31m\xff" + std::string(400, 'b'));
  const v1::AgentFacts facts = Facts();
  EXPECT_EQ(facts.hostname(), std::string(64, 'h'));
  EXPECT_EQ(facts.os().size(), 255u);
  EXPECT_EQ(facts.os().substr(0, 8), "\"a?[31m?");
}

TEST_F(HostFactsTest, RefusesAMachineIdThatIsNone) {
  for (const std::string_view id :
       {"", "uninitialized\n", "0123", "0123456789ABCDEF0123456789ABCDEF"}) {
    EXPECT_EQ(AppSpecificMachineId(id), "") << id;
  }
}

TEST_F(HostFactsTest, NamesTheUnitItRunsAs) {
  Put("/proc/self/cgroup", "0::/system.slice/muster-agent.service\n");
  EXPECT_EQ(Facts().runtime(), v1::RUNTIME_KIND_SYSTEMD);
  EXPECT_EQ(Facts().runtime_name(), "muster-agent.service");
}

TEST_F(HostFactsTest, TakesALoginShellForNoUnit) {
  Put("/proc/self/cgroup",
      "0::/user.slice/user-0.slice/user@0.service/app.slice/tmux.scope\n");
  EXPECT_EQ(Facts().runtime(), v1::RUNTIME_KIND_PROCESS);
  EXPECT_EQ(Facts("e5d1").runtime(), v1::RUNTIME_KIND_SYSTEMD);
  EXPECT_EQ(Facts("e5d1").runtime_name(), "");
}

TEST_F(HostFactsTest, NamesTheContainerByItsCgroup) {
  for (const std::string& path :
       {std::string("/docker/") + kContainerId,
        std::string("/system.slice/docker-") + kContainerId + ".scope",
        std::string("/kubepods/pod1/") + kContainerId}) {
    Put("/proc/self/cgroup", "0::" + path + "\n");
    EXPECT_EQ(Facts().runtime(), v1::RUNTIME_KIND_CONTAINER) << path;
    EXPECT_EQ(Facts().runtime_name(), "0123456789ab") << path;
  }
}

TEST_F(HostFactsTest, KnowsAContainerByTheFilesInIt) {
  Put("/proc/self/cgroup", "0::/\n");
  Put("/.dockerenv", "");
  EXPECT_EQ(Facts().runtime(), v1::RUNTIME_KIND_CONTAINER);
  Put("/run/.containerenv", "engine=\"podman\"\nname=\"edge-agent\"\n");
  EXPECT_EQ(Facts().runtime_name(), "edge-agent");
}

TEST_F(HostFactsTest, ReadsTheBootId) {
  EXPECT_TRUE(absl::IsNotFound(ReadBootId(root_.path()).status()));
  Put("/proc/sys/kernel/random/boot_id", "b-1\n");
  EXPECT_EQ(*ReadBootId(root_.path()), "b-1");
}

TEST_F(HostFactsTest, KnowsAShutdownThatIsDueFromOneThatIsPlanned) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(ReadShutdown(root_.path(), now), Shutdown::kNone);
  Put("/run/systemd/shutdown/scheduled",
      "USEC=1700003600000000\nWARN_WALL=1\nMODE=reboot\n");
  EXPECT_EQ(ReadShutdown(root_.path(), now), Shutdown::kNone);
  EXPECT_EQ(ReadShutdown(root_.path(), now + absl::Minutes(59)),
            Shutdown::kReboot);
  Put("/run/systemd/shutdown/scheduled",
      "USEC=1700000000000000\nMODE=poweroff\n");
  EXPECT_EQ(ReadShutdown(root_.path(), now), Shutdown::kPowerOff);
}

TEST_F(HostFactsTest, TellsGoingDownFromComingUpByTheLoginNotice) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  Put("/run/nologin", "System is booting up. Unprivileged users may not …\n");
  EXPECT_EQ(ReadShutdown(root_.path(), now), Shutdown::kNone);
  Put("/run/nologin", "System is going down. Unprivileged users may not …\n");
  EXPECT_EQ(ReadShutdown(root_.path(), now), Shutdown::kReboot);
}

}  // namespace
}  // namespace muster::agent
