#include "gateway/server/gateway_config.h"

#include <map>
#include <optional>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Values = std::map<std::string, std::string>;

// A value of every setting that is not its default, as `get` shows it; together
// they are valid.
const Values& Other() {
  static const auto& values = *new Values{
      {"data_dir", "/srv/muster"},
      {"web_listen", "[::1]:1"},
      {"fleet_listen", "127.0.0.1:2"},
      {"public_address", "gw.example"},
      {"trusted_proxies", "10.0.0.5"},
      {"web_certificate", "/etc/web.pem"},
      {"web_key", "/etc/web.key"},
      {"connections_per_source_max", "7"},
      {"connections_per_second_max", "8"},
      {"links_per_second_max", "9"},
      {"heartbeats_per_second_max", "10"},
      {"heartbeat_interval", "1s"},
      {"stale_after", "2.5s"},
      {"offline_after", "4s"},
      {"reconnect_grace", "0.5s"},
      {"blind_gap", "0.6s"},
      {"mass_silence_machines", "3"},
      {"mass_silence_percent", "29"},
      {"mass_silence_window", "20s"},
      {"mass_silence_hold", "0s"},
      {"command_timeout", "60s"},
      {"delivery_timeout", "20s"},
      {"keep_history", "3600s"},
      {"keep_commands", "7200s"},
      {"keep_output", "10800s"},
      {"drain", "1s"},
      {"log_level", "debug"},
      {"log_format", "json"},
  };
  return values;
}

class GatewayConfigTest : public testing::Test {
 protected:
  absl::StatusOr<GatewayConfig> Load(const std::string& toml,
                                     Values environment = {},
                                     Values flags = {}) {
    const std::string file = dir_.File("gateway.toml");
    EXPECT_TRUE(WriteFileDurably(file, toml, 0600).ok());
    return LoadGatewayConfig(
        {.file = file,
         .default_file = "",
         .environment =
             [environment = std::move(environment)](
                 const std::string& name) -> std::optional<std::string> {
           const auto it = environment.find(name);
           if (it == environment.end()) return std::nullopt;
           return it->second;
         },
         .flags = std::move(flags)});
  }

  static Values Shown(GatewayConfig config) {
    Values values;
    for (const wire::Setting& setting : GatewaySettings(config)) {
      values[setting.key] = setting.get();
    }
    return values;
  }

  TempDir dir_;
};

TEST_F(GatewayConfigTest, TheDefaultsAreThoseOfTheDesign) {
  const GatewayConfig config;
  const PresencePolicy& presence = config.fleet.presence;
  EXPECT_EQ(config.data_dir, "/var/lib/muster");
  EXPECT_EQ(config.web_listen, "127.0.0.1:7080");
  EXPECT_EQ(config.fleet_listen, "0.0.0.0:7443");
  EXPECT_EQ(presence.heartbeat_interval, absl::Seconds(30));
  EXPECT_EQ(presence.stale_after, absl::Seconds(75));
  EXPECT_EQ(presence.offline_after, absl::Seconds(120));
  EXPECT_EQ(presence.reconnect_grace, absl::Seconds(5));
  EXPECT_EQ(presence.blind_gap, absl::Seconds(2));
  EXPECT_EQ(presence.blind_restart, absl::Seconds(10));
  EXPECT_EQ(config.fleet.heartbeats_per_second_max, 2000);
  EXPECT_EQ(config.commands.timeout, absl::Hours(1));
  EXPECT_EQ(config.commands.delivery_timeout, absl::Seconds(30));
  EXPECT_EQ(config.retention.transitions, absl::Hours(24 * 90));
  EXPECT_EQ(config.retention.links, absl::Hours(24 * 90));
  EXPECT_EQ(config.retention.commands, absl::Hours(24 * 90));
  EXPECT_EQ(config.retention.output, absl::Hours(24 * 30));
  EXPECT_TRUE(config.Validate().ok()) << config.Validate();
}

TEST_F(GatewayConfigTest, EverySettingIsTakenFromTheFile) {
  std::string toml;
  GatewayConfig unused;
  for (const wire::Setting& setting : GatewaySettings(unused)) {
    const char* quote = setting.is_number ? "" : "\"";
    toml += fmt::format("{} = {}{}{}\n", setting.key, quote,
                        Other().at(setting.key), quote);
  }
  const auto config = Load(toml);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Shown(*config), Other());
}

TEST_F(GatewayConfigTest, EverySettingIsTakenFromTheEnvironment) {
  Values environment;
  for (const auto& [key, value] : Other()) {
    environment[wire::EnvironmentName(key)] = value;
  }
  const auto config = Load("", environment);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Shown(*config), Other());
}

TEST_F(GatewayConfigTest, EverySettingIsTakenFromItsFlag) {
  const auto config = Load("", {}, Other());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Shown(*config), Other());
}

TEST_F(GatewayConfigTest, EveryDefaultCanBeSaidAgain) {
  const Values defaults = Shown(GatewayConfig());
  const auto config = Load("", {}, defaults);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(Shown(*config), defaults);
}

TEST_F(GatewayConfigTest, AnErrorNamesKeyBoundAndValue) {
  const struct {
    Values given;
    const char* key;
    const char* bound;
    const char* value;
  } cases[] = {
      {{{"heartbeat_interval", "99ms"}}, "heartbeat_interval", "100ms", "99ms"},
      {{{"stale_after", "66s"}}, "stale_after", "1m6s", "got 1m6s"},
      {{{"offline_after", "75s"}}, "offline_after", "1m15s", "got 1m15s"},
      {{{"offline_after", "1000000d"}},
       "offline_after",
       "at most 168h, or never",
       "got 24000000h"},
      {{{"reconnect_grace", "75s"}}, "reconnect_grace", "1m15s", "got 1m15s"},
      {{{"blind_gap", "22.5s"}}, "blind_gap", "2m", "got 2m"},
      {{{"blind_gap", "1ms"}}, "blind_gap", "100ms … 168h", "got 1ms"},
      {{{"command_timeout", "999ms"}}, "command_timeout", "1s", "got 999ms"},
      {{{"delivery_timeout", "0s"}}, "delivery_timeout", "1s", "got 0"},
      {{{"keep_history", "59m"}}, "keep_history", "1h", "got 59m"},
      {{{"keep_commands", "59m"}}, "keep_commands", "1h", "got 59m"},
      {{{"keep_output", "59m"}}, "keep_output", "1h", "got 59m"},
      {{{"connections_per_source_max", "0"}},
       "connections_per_source_max",
       "1 to 1000000",
       "0"},
      {{{"links_per_second_max", "0"}},
       "links_per_second_max",
       "1 to 100000",
       "0"},
      {{{"connections_per_second_max", "1e9"}},
       "connections_per_second_max",
       "1 to 100000",
       "1e9"},
      {{{"mass_silence_machines", "1"}}, "mass_silence_machines", "2", "1"},
      {{{"mass_silence_percent", "0"}}, "mass_silence_percent", "100", "0"},
      {{{"mass_silence_window", "11m"}}, "mass_silence_window", "10m", "11m"},
      {{{"mass_silence_hold", "61m"}}, "mass_silence_hold", "1h", "1h1m"},
      {{{"drain", "301s"}}, "drain", "5m", "got 5m1s"},
      {{{"log_level", "loud"}}, "log_level", "debug", "loud"},
      {{{"log_format", "xml"}}, "log_format", "json", "xml"},
      {{{"public_address", "https://gw"}}, "public_address", "scheme", "//gw"},
      {{{"public_address", "gw:7080"}}, "public_address", "port", "gw:7080"},
      {{{"data_dir", ""}}, "data_dir", "empty", ""},
      {{{"web_key", "/k"}}, "web_key", "web_certificate", "\"/k\""},
      {{{"web_certificate", "/c"}}, "web_certificate", "web_key", "\"/c\""},
      {{{"web_listen", "foo"}}, "web_listen", "host:port", "\"foo\""},
      {{{"web_listen", "127.0.0.1:70000"}}, "web_listen", "65535", ":70000"},
      {{{"fleet_listen", "[::1"}}, "fleet_listen", "host:port", "[::1"},
  };
  for (const auto& c : cases) {
    const auto config = Load("", {}, c.given);
    ASSERT_FALSE(config.ok()) << c.key;
    EXPECT_TRUE(absl::IsInvalidArgument(config.status()));
    EXPECT_THAT(
        config.status().ToString(),
        AllOf(HasSubstr(c.key), HasSubstr(c.bound), HasSubstr(c.value)));
  }
}

TEST_F(GatewayConfigTest, AnErrorBetweenSettingsNamesTheLineOfTheOneThatIsSet) {
  EXPECT_THAT(Load("\noffline_after = \"76s\"\n").status().ToString(),
              HasSubstr("gateway.toml:2: offline_after must be larger than "
                        "stale_after + 2 × blind_gap = 1m19s, got 1m16s"));
  EXPECT_THAT(Load("web_key = \"/k\"\n").status().ToString(),
              HasSubstr("gateway.toml:1: web_key"));
}

TEST_F(GatewayConfigTest, AnUnknownKeyIsAnErrorWithItsLine) {
  EXPECT_THAT(
      Load("data_dir = \"/d\"\nweb_lisen = \"x\"\n").status().ToString(),
      HasSubstr("gateway.toml:2: unknown setting \"web_lisen\""));
}

TEST_F(GatewayConfigTest, AMachineMayBeNeverOffline) {
  const auto config = Load("offline_after = \"never\"\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->fleet.presence.offline_after, absl::InfiniteDuration());
}

TEST_F(GatewayConfigTest, AfterAQuietTimeASecondsWorthOfLinksMayComeAtOnce) {
  const auto config = Load("links_per_second_max = 70\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->fleet.admission.burst, 70);
}

TEST_F(GatewayConfigTest, APercentageIsTheShareOfAGroup) {
  const auto config = Load("mass_silence_percent = 45\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_DOUBLE_EQ(config->fleet.mass_silence.share_min, 0.45);
}

TEST_F(GatewayConfigTest, LinksAreKeptAsLongAsTransitions) {
  const auto config = Load("keep_history = \"5h\"\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->retention.links, absl::Hours(5));
}

// Nobody can set blind_restart, so nobody must be told about it.
TEST_F(GatewayConfigTest, ALongBlindGapNeedsNoOtherSetting) {
  const auto config = Load("blind_gap = \"20s\"\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->fleet.presence.blind_restart, absl::Seconds(20));
}

TEST_F(GatewayConfigTest, ThePublicAddressMayBeAnIPv6Address) {
  EXPECT_TRUE(Load("public_address = \"2001:db8::1\"\n").ok());
  EXPECT_FALSE(Load("public_address = \"[2001:db8::1]\"\n").ok());
}

}  // namespace
}  // namespace muster::gateway
