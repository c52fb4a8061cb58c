#include "agent/app/farewell.h"

#include <csignal>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

// A machine that consists of the files a test puts there.
class FarewellTest : public ::testing::Test {
 protected:
  void Put(std::string_view path, std::string_view content) {
    const std::filesystem::path file = root_.path() + std::string(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
  }
  void ExpectSaid(int signal, v1::GoodbyeReason reason,
                  std::optional<absl::Duration> back_within) {
    const Farewell farewell = FarewellOnSignal(signal, root_.path(), now_);
    EXPECT_EQ(farewell.reason, reason);
    EXPECT_EQ(farewell.back_within, back_within);
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  TempDir root_;
};

TEST_F(FarewellTest, ATerminationWithoutOtherKnowledgePromisesHalfAMinute) {
  ExpectSaid(SIGTERM, v1::GOODBYE_REASON_TERMINATED, absl::Seconds(30));
}

TEST_F(FarewellTest, AnOperatorAtATerminalPromisesNothing) {
  ExpectSaid(SIGINT, v1::GOODBYE_REASON_STOP, std::nullopt);
}

TEST_F(FarewellTest, AnUpgradeIsCalledOneWhileThePackageSaysSo) {
  Put(kUpgradeMark, "");
  ExpectSaid(SIGTERM, v1::GOODBYE_REASON_UPGRADE, absl::Seconds(30));
  ExpectSaid(SIGINT, v1::GOODBYE_REASON_STOP, std::nullopt);
}

TEST_F(FarewellTest, AHostThatRebootsIsBackInFiveMinutes) {
  Put("/run/systemd/shutdown/scheduled",
      "USEC=1700000000000000\nWARN_WALL=0\nMODE=reboot\n");
  Put(kUpgradeMark, "");  // An upgrade that ends in a reboot.
  ExpectSaid(SIGTERM, v1::GOODBYE_REASON_REBOOT, absl::Minutes(5));
}

TEST_F(FarewellTest, AHostThatDoesNotSayHowItGoesDownMayBeBack) {
  Put("/run/nologin", "System is going down. Unprivileged users may not …\n");
  ExpectSaid(SIGTERM, v1::GOODBYE_REASON_REBOOT, absl::Minutes(5));
}

TEST_F(FarewellTest, AHostThatIsSwitchedOffPromisesNothing) {
  Put("/run/systemd/shutdown/scheduled",
      "USEC=1700000000000000\nWARN_WALL=0\nMODE=poweroff\n");
  Put("/run/nologin", "System is going down. Unprivileged users may not …\n");
  ExpectSaid(SIGTERM, v1::GOODBYE_REASON_SHUTDOWN, std::nullopt);
}

}  // namespace
}  // namespace muster::agent
