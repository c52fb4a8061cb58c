#include "libprotocol/wire/settings.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::wire {
namespace {

using testing::HasSubstr;

class SettingsTest : public testing::Test {
 protected:
  absl::Status Load(const std::string& toml,
                    std::map<std::string, std::string> environment = {},
                    std::map<std::string, std::string> flags = {}) {
    EXPECT_TRUE(WriteFileDurably(file_, toml, 0600).ok());
    return LoadSettings(settings_,
                        {.file = file_,
                         .default_file = "",
                         .environment = [environment](const std::string& name)
                             -> std::optional<std::string> {
                           const auto it = environment.find(name);
                           if (it == environment.end()) return std::nullopt;
                           return it->second;
                         },
                         .flags = std::move(flags)})
        .status();
  }

  TempDir dir_;
  const std::string file_ = dir_.File("gateway.toml");
  std::string listen_ = "default";
  absl::Duration wait_ = absl::Seconds(30);
  int64_t limit_ = 5;
  const std::vector<Setting> settings_ = {
      TextSetting("web_listen", "host:port", listen_),
      DurationSetting("stale_after", "duration", wait_),
      NumberSetting("limit", "1 to 10", 1, 10, limit_)};
};

TEST_F(SettingsTest, AFlagBeatsTheEnvironmentWhichBeatsTheFile) {
  const std::string file = "web_listen = \"file\"\n";
  ASSERT_TRUE(Load("").ok());
  EXPECT_EQ(listen_, "default");
  ASSERT_TRUE(Load(file).ok());
  EXPECT_EQ(listen_, "file");
  ASSERT_TRUE(Load(file, {{"MUSTER_WEB_LISTEN", "environment"}}).ok());
  EXPECT_EQ(listen_, "environment");
  ASSERT_TRUE(Load(file, {{"MUSTER_WEB_LISTEN", "environment"}},
                   {{"web_listen", "flag"}})
                  .ok());
  EXPECT_EQ(listen_, "flag");
}

TEST_F(SettingsTest, ErrorsNameFileLineKeyBoundAndValue) {
  EXPECT_THAT(Load("\nlimit = 11\n").ToString(),
              HasSubstr("gateway.toml:2: limit: must be a number from 1 to 10, "
                        "got \"11\""));
  EXPECT_THAT(Load("listn = 1\n").ToString(),
              HasSubstr("gateway.toml:1: unknown setting \"listn\""));
  EXPECT_THAT(Load("stale_after = 30\n").ToString(),
              HasSubstr("gateway.toml:1: stale_after: "));
  EXPECT_THAT(Load("limit = [1]\n").ToString(),
              HasSubstr("expected one value"));
  EXPECT_THAT(Load("web_listen = \n").ToString(),
              HasSubstr("gateway.toml:1: "));
  EXPECT_THAT(Load("", {{"MUSTER_LIMIT", "x"}}).ToString(),
              HasSubstr("MUSTER_LIMIT: limit: "));
  EXPECT_THAT(Load("", {}, {{"limit", "0"}}).ToString(),
              HasSubstr("--limit: limit: "));
}

TEST_F(SettingsTest, WhatIsNoTomlIsRefusedWithItsLine) {
  for (const std::string& text :
       {std::string("\n[\0]", 4), std::string("\nlimit = 3 # \x01"),
        std::string("\nweb_listen = \"\x7f\""), std::string("\n[/table]")}) {
    EXPECT_THAT(Load(text).ToString(), HasSubstr("gateway.toml:2: "));
  }
}

TEST_F(SettingsTest, OtherThanAsciiStandsInQuotesAndComments) {
  EXPECT_EQ(Load("web_listen = \"é\" # 一").ToString(), "OK");
  EXPECT_EQ(listen_, "é");
  for (const char* bad : {"\n\xC2\xA1 = 1", "\nlimit = é", "\n[一]",
                          "\nweb_listen = \"\" é", "\nweb_listen = \"\\é\""}) {
    EXPECT_THAT(Load(bad).ToString(), HasSubstr("gateway.toml:2: ")) << bad;
  }
}

TEST_F(SettingsTest, WhatOnlyAllTogetherCanTellNamesItsSourceToo) {
  const auto load = [this](const std::string& toml,
                           std::map<std::string, std::string> flags) {
    EXPECT_TRUE(WriteFileDurably(file_, toml, 0600).ok());
    const absl::Status status =
        LoadSettings(
            settings_,
            {.file = file_,
             .default_file = "",
             .environment = [](const std::string&) { return std::nullopt; },
             .flags = std::move(flags)},
            [this] {
              return wait_ < absl::Minutes(1) ? absl::OkStatus()
                                              : absl::InvalidArgumentError(
                                                    "stale_after must be less");
            })
            .status();
    return std::string(status.message());
  };
  EXPECT_EQ(load("\nstale_after = \"2m\"", {}),
            file_ + ":2: stale_after must be less");
  EXPECT_EQ(load("\nstale_after = \"1s\"", {{"stale_after", "2m"}}),
            "--stale-after: stale_after must be less");
  EXPECT_EQ(load("stale_after = \"1s\"", {}), "");
}

TEST_F(SettingsTest, WhatWasReallySetIsNamedIfTheErrorBeginsWithADefault) {
  const auto load = [this](const std::string& toml, const char* error) {
    EXPECT_TRUE(WriteFileDurably(file_, toml, 0600).ok());
    return std::string(
        LoadSettings(
            settings_,
            {.file = file_,
             .default_file = "",
             .environment = [](const std::string&) { return std::nullopt; },
             .flags = {}},
            [error] { return absl::InvalidArgumentError(error); })
            .status()
            .message());
  };
  const char* const kBetween =
      "stale_after must be less than 2 (limit - 1), got 2s";
  EXPECT_EQ(load("\nlimit = 2", kBetween),
            file_ + ":2: limit: " + kBetween + " by default");
  EXPECT_EQ(load("limit = 2\nstale_after = \"2s\"", kBetween),
            file_ + ":2: " + kBetween + " (limit is set at " + file_ + ":1)");
  // What stands in quotes is a value.
  EXPECT_EQ(load("limit = 2\nweb_listen = \"limit\"",
                 "web_listen: \"limit\" is wrong"),
            file_ + ":2: web_listen: \"limit\" is wrong");
  EXPECT_EQ(load("", kBetween), kBetween);
}

TEST_F(SettingsTest, AValueOfTheWrongTypeIsAnError) {
  const auto message = [this](const std::string& toml) {
    return std::string(Load(toml).message());
  };
  EXPECT_EQ(message("limit = \"5\""),
            file_ + ":1: limit: must be a number without quotes, got \"5\"");
  EXPECT_EQ(message("limit = 5.0"),
            file_ + ":1: limit: must be a number from 1 to 10, got \"5.0\"");
  EXPECT_EQ(message("web_listen = 5"),
            file_ + ":1: web_listen: must be text in quotes, got 5");
  EXPECT_EQ(message("web_listen = true"),
            file_ + ":1: web_listen: must be text in quotes, got true");
  EXPECT_EQ(message("web_listen = 2026-01-01"),
            file_ + ":1: web_listen: expected one value, not a table or list");
  // There is only text in the environment and on the command line.
  EXPECT_TRUE(Load("", {{"MUSTER_LIMIT", "5"}}, {{"limit", "6"}}).ok());
}

TEST_F(SettingsTest, BothEndsOfABoundAreAccepted) {
  EXPECT_TRUE(Load("limit = 1\n").ok());
  EXPECT_TRUE(Load("limit = 10\n").ok());
  EXPECT_FALSE(Load("limit = 0\n").ok());
}

TEST_F(SettingsTest, ADurationMayBeNever) {
  ASSERT_TRUE(Load("stale_after = \"never\"\n").ok());
  EXPECT_EQ(wait_, absl::InfiniteDuration());
  EXPECT_EQ(settings_[1].get(), "never");
}

TEST_F(SettingsTest, AFileThatWasNamedMustExist) {
  const absl::Status status =
      LoadSettings(
          settings_,
          {.file = dir_.File("none"),
           .default_file = "",
           .environment = [](const std::string&) { return std::nullopt; },
           .flags = {}})
          .status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr(dir_.File("none")));
}

}  // namespace
}  // namespace muster::wire
