#include "tools/musterctl/settings.h"

#include <sys/stat.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/testing/temp_dir.h"
#include "tools/musterctl/context_file.h"
#include "tools/musterctl/fake_gateway.h"

namespace muster::ctl {
namespace {

using testing::HasSubstr;

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    world_.environment = {{"XDG_CONFIG_HOME", folder_.path()}};
    v1::WhoAmIResponse who;
    who.set_principal("alice");
    who.set_role(v1::ROLE_ADMIN);
    world_.gateway.On("GET /api/whoami", Ok(who));
    world_.gateway.On("GET /api/status", Ok(v1::GatewayStatus()));
  }

  // Logs in, as a person would.
  void LogIn(const std::string& context, const std::string& server,
             const std::string& token) {
    world_.console.input = token + "\n";
    ASSERT_EQ(world_.Run({"login", "-s", server, "--context", context}), 0)
        << world_.console.err;
  }

  // The server and token that `arguments` used.
  std::string Used(std::vector<std::string> arguments) {
    EXPECT_EQ(world_.Run(std::move(arguments)), 0) << world_.console.err;
    std::string token = "none";
    for (const HttpHeader& header : world_.gateway.requests.back().headers) {
      if (header.name == "Authorization") token = header.value;
    }
    return world_.endpoints.back().server + " " + token;
  }

  void WriteConfig(const std::string& text, mode_t mode = 0600) {
    ASSERT_TRUE(MakeFolder(folder_.File("muster"), 0700).ok());
    ASSERT_TRUE(WriteFileDurably(path_, text, mode).ok());
  }

  TempDir folder_;
  const std::string path_ = folder_.File("muster/config.toml");
  FakeWorld world_;
};

TEST_F(SettingsTest, FlagBeatsEnvironmentBeatsContextBeatsDefault) {
  EXPECT_EQ(Used({"status"}), "http://127.0.0.1:7080 none");
  LogIn("a", "https://a:1", "token-a");
  LogIn("b", "https://b:1", "token-b");
  EXPECT_EQ(Used({"status"}), "https://b:1 Bearer token-b");
  world_.environment["MUSTER_CONTEXT"] = "a";
  EXPECT_EQ(Used({"status"}), "https://a:1 Bearer token-a");
  EXPECT_EQ(Used({"status", "--context", "b"}), "https://b:1 Bearer token-b");
  world_.environment["MUSTER_TOKEN"] = "token-e";
  EXPECT_EQ(Used({"status"}), "https://a:1 Bearer token-e");
  world_.environment["MUSTER_SERVER"] = "https://e:1";
  EXPECT_EQ(Used({"status"}), "https://e:1 Bearer token-e");
  EXPECT_EQ(Used({"status", "-s", "https://f:1"}),
            "https://f:1 Bearer token-e");
}

TEST_F(SettingsTest, AContextsTokenIsNeverSentToAnotherServer) {
  LogIn("a", "https://a:1", "token-a");
  EXPECT_EQ(Used({"status", "-s", "https://evil:1"}), "https://evil:1 none");
  EXPECT_EQ(Used({"status", "-s", "https://a:1"}),
            "https://a:1 Bearer token-a");
}

TEST_F(SettingsTest, OutputFormatAndItsErrorsComeFromTheEnvironmentToo) {
  world_.environment["MUSTER_OUTPUT"] = "yaml";
  EXPECT_EQ(world_.Run({"status"}), 0);
  EXPECT_THAT(world_.console.out, HasSubstr("presence_confirmed: false\n"));
  world_.environment["MUSTER_OUTPUT"] = "xml";
  EXPECT_EQ(world_.Run({"status"}), 2);
  EXPECT_THAT(world_.console.err, HasSubstr("MUSTER_OUTPUT: \"xml\""));
}

TEST_F(SettingsTest, LoginKeepsTheTokenInAFileForItsOwnerOnly) {
  LogIn("prod", "https://gw.example:7080", "mst_\"quoted\\token");
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  ASSERT_EQ(stat(folder_.File("muster").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  const auto contexts = LoadContexts(path_);
  ASSERT_TRUE(contexts.ok()) << contexts.status();
  EXPECT_EQ(contexts->current, "prod");
  EXPECT_EQ(contexts->by_name.at("prod").token.Reveal(), "mst_\"quoted\\token");
  EXPECT_THAT(world_.console.err,
              HasSubstr("Logged in to https://gw.example:7080 as alice "
                        "(admin). Context \"prod\" in "));
  EXPECT_THAT(world_.console.err, Not(HasSubstr("mst_")));
}

TEST_F(SettingsTest, ARefusedTokenIsNotKept) {
  FakeWorld other;
  other.environment = world_.environment;
  other.gateway.On("GET /api/whoami",
                   Refused(401, "unauthenticated", "unknown token"));
  other.console.input = "wrong\n";
  EXPECT_EQ(other.Run({"login"}), 4);
  EXPECT_FALSE(FileExists(path_));
}

TEST_F(SettingsTest, AnEmptyTokenIsRefusedBeforeAnyoneIsAsked) {
  world_.console.input = " \n";
  EXPECT_EQ(world_.Run({"login"}), 2);
  EXPECT_TRUE(world_.gateway.requests.empty());
}

TEST_F(SettingsTest, LoginReadsTheFirstLineOfATokenFile) {
  ASSERT_TRUE(
      WriteFileDurably(folder_.File("t"), " mst_x \nrest\n", 0600).ok());
  EXPECT_EQ(world_.Run({"login", "--token-file", folder_.File("t"), "--pin",
                        "sha256//abc", "-s", "https://gw:1"}),
            0);
  const auto contexts = LoadContexts(path_);
  ASSERT_TRUE(contexts.ok());
  EXPECT_EQ(contexts->by_name.at("default").token.Reveal(), "mst_x");
  EXPECT_EQ(contexts->by_name.at("default").pin, "sha256//abc");
  EXPECT_EQ(world_.Run({"login", "--token-file", folder_.File("none")}), 2);
}

TEST_F(SettingsTest, AFileThatOthersMayReadIsRefused) {
  for (const mode_t mode : {0640, 0604, 0660}) {
    WriteConfig("current = \"a\"\n[context.a]\nserver = \"https://a:1\"\n",
                mode);
    EXPECT_EQ(world_.Run({"status"}), 1);
    EXPECT_THAT(world_.console.err, HasSubstr("run: chmod 600 " + path_));
    world_.console.err.clear();
  }
  ASSERT_EQ(chmod(path_.c_str(), 0400), 0);
  EXPECT_EQ(Used({"status"}), "https://a:1 none");
}

TEST_F(SettingsTest, MistakesInTheFileNameTheLine) {
  WriteConfig("current = \"a\"\n\n[context.a]\nsever = \"x\"\n");
  EXPECT_EQ(world_.Run({"status"}), 2);
  EXPECT_THAT(world_.console.err,
              HasSubstr("config.toml:4: unknown setting \"sever\""));
  WriteConfig("current = [1,2\n");
  EXPECT_EQ(world_.Run({"status"}), 2);
  EXPECT_THAT(world_.console.err, HasSubstr("config.toml:"));
  WriteConfig("current = 3\n");
  EXPECT_EQ(world_.Run({"status"}), 2);
  EXPECT_THAT(world_.console.err, HasSubstr("current must be a string"));
}

TEST_F(SettingsTest, ContextsAreListedUsedAndForgotten) {
  LogIn("a", "https://a:1", "token-a");
  LogIn("b", "https://b:1", "token-b");
  EXPECT_EQ(world_.Run({"context", "use", "a"}), 0);
  world_.console.out.clear();
  EXPECT_EQ(world_.Run({"context", "ls"}), 0);
  EXPECT_EQ(world_.console.out,
            "CURRENT  NAME  SERVER       CHECKED BY\n"
            "*        a     https://a:1  -\n"
            "-        b     https://b:1  -\n");
  EXPECT_EQ(world_.Run({"context", "rm", "a"}), 0);
  EXPECT_EQ(Used({"status"}), "http://127.0.0.1:7080 none");
  EXPECT_EQ(world_.Run({"context", "use", "a"}), 3);
  EXPECT_EQ(world_.Run({"status", "--context", "a"}), 3);
}

TEST_F(SettingsTest, WithoutATokenTheHintSaysHowToLogIn) {
  FakeWorld other;
  other.environment.clear();
  other.gateway.On("GET /api/status",
                   Refused(401, "unauthenticated", "no token"));
  EXPECT_EQ(other.Run({"status"}), 4);
  EXPECT_THAT(other.console.err, HasSubstr("error: no token\nhint: "));
  EXPECT_THAT(other.console.err, HasSubstr("musterctl login"));
}

TEST(CheckServerTest, OnlyASchemeHostAndPortAndNoTokenInTheClear) {
  for (const char* good :
       {"http://127.0.0.1:7080", "http://localhost:1", "http://[::1]:7080",
        "https://gw.example", "https://10.0.0.1:7080/"}) {
    EXPECT_TRUE(CheckServer(good).ok()) << good;
  }
  for (const char* bad :
       {"", "gw:7080", "ftp://x", "https://", "https://u:p@gw", "https://gw/x",
        "https://gw?x", "http://gw:7080", "http://10.0.0.1:7080",
        "http://127.0.0.1.evil.example:1"}) {
    EXPECT_FALSE(CheckServer(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace muster::ctl
