#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/app/agent_config.h"
#include "agent/app/agent_state.h"
#include "agent/app/flags.h"
#include "agent/app/join.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/net/certificate_builder.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/testing/sanitizers.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::agent {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string Text(const absl::Status& status) {
  return std::string(ToStd(status.message()));
}

class AgentConfigTest : public testing::Test {
 protected:
  absl::StatusOr<AgentConfig> Load() {
    return LoadAgentConfig({.file = file_,
                            .default_file = dir_.File("absent.toml"),
                            .environment =
                                [this](const std::string& name) {
                                  const auto it = environment_.find(name);
                                  return it == environment_.end()
                                             ? std::nullopt
                                             : std::optional(it->second);
                                },
                            .flags = flags_});
  }
  void File(const std::string& text) {
    file_ = dir_.File("agent.toml");
    ASSERT_TRUE(WriteFileDurably(*file_, text, 0644).ok());
  }

  TempDir dir_;
  std::optional<std::string> file_;
  std::map<std::string, std::string> environment_, flags_;
};

TEST_F(AgentConfigTest, WithoutAnySourceTheDefaultsHold) {
  const auto config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, "/var/lib/muster-agent");
  EXPECT_EQ(config->proxy, "");
}

TEST_F(AgentConfigTest, AFlagBeatsTheEnvironmentBeatsTheFile) {
  File("state_dir = \"/file\"\nlog_level = \"error\"\nproxy = \"env\"\n");
  environment_ = {{"MUSTER_STATE_DIR", "/environment"},
                  {"MUSTER_LOG_LEVEL", "debug"}};
  flags_ = {{"state_dir", "/flag"}};
  const auto config = Load();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, "/flag");
  EXPECT_EQ(config->log_level, kDebug);
  EXPECT_EQ(config->proxy, "env");
}

TEST_F(AgentConfigTest, AnErrorNamesSourceKeyBoundAndValue) {
  File("\nlog_level = \"loud\"\n");
  EXPECT_THAT(Text(Load().status()),
              AllOf(HasSubstr("agent.toml:2: log_level"),
                    HasSubstr("debug, info"), HasSubstr("\"loud\"")));
  File("");
  environment_ = {{"MUSTER_STATE_DIR", std::string(91, '/')}};
  EXPECT_THAT(
      Text(Load().status()),
      AllOf(HasSubstr("MUSTER_STATE_DIR: state_dir"), HasSubstr("at most 90")));
  environment_ = {{"MUSTER_STATE_DIR", std::string(90, '/')}};
  EXPECT_TRUE(Load().ok());
  flags_ = {{"proxy", "socks://x"}};
  EXPECT_THAT(Text(Load().status()), HasSubstr("--proxy: proxy: expected"));
}

TEST_F(AgentConfigTest, UnknownSettingsWrongTypesAndBrokenFilesAreErrors) {
  File("log_level = \"info\"\nlog_levle = \"info\"\n");
  EXPECT_THAT(Text(Load().status()),
              HasSubstr("agent.toml:2: unknown setting \"log_levle\""));
  File("proxy = 3\n");
  EXPECT_THAT(Text(Load().status()),
              HasSubstr("agent.toml:1: proxy: expected \"\""));
  File("proxy = \n");
  EXPECT_THAT(Text(Load().status()), HasSubstr("agent.toml:1: "));
  file_ = dir_.File("none.toml");
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(AgentConfigTest, MusterExecIsLookedForInStatedPlaces) {
  EXPECT_THAT(Text(FindExecProgram({.exec_path = "/none/muster-exec"},
                                   "/x/muster-agent")
                       .status()),
              HasSubstr("/none/muster-exec"));
  ASSERT_TRUE(WriteFileDurably(dir_.File("muster-exec"), "", 0755).ok());
  EXPECT_EQ(*FindExecProgram({}, dir_.File("muster-agent")),
            dir_.File("muster-exec"));
}

class AgentStateTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(state_.Create().ok()); }

  // What a gateway would answer to the pending key's request.
  Identity Answer(const std::string& id) {
    const Secret key = *state_.PendingKey();
    const auto signer = NewP256Key();
    const auto subject = ReadKeyPem(key.Reveal(), "key");
    EXPECT_TRUE(subject.ok()) << subject.status();
    CertificateSpec spec;
    spec.use = CertificateUse::kTlsClient;
    spec.common_name = id;
    spec.not_before = absl::FromUnixSeconds(1'700'000'000);
    spec.not_after = absl::FromUnixSeconds(1'900'000'000);
    const auto certificate =
        SignCertificate(spec, subject->get(), nullptr, subject->get());
    EXPECT_TRUE(certificate.ok()) << certificate.status();
    return {.agent_id = id,
            .org_id = "default",
            .certificate_pem = *WriteCertificatePem(certificate->get()),
            .ca_pem = "ca",
            .endpoint = "gw:7443",
            .server = "http://127.0.0.1:7080",
            .labels = {{"env", "prod \"x\"\n"}}};
  }
  mode_t ModeOf(const std::string& name) {
    struct stat st {};
    EXPECT_EQ(stat(dir_.File("state/" + name).c_str(), &st), 0) << name;
    return st.st_mode & 0777;
  }
  std::string Path(const std::string& name) {
    return dir_.File("state/" + name);
  }

  TempDir dir_;
  AgentState state_{dir_.File("state")};
};

TEST_F(AgentStateTest, AnIdentityComesBackAsItWasSaved) {
  const Identity saved = Answer("a1");
  ASSERT_TRUE(state_.SaveIdentity(saved).ok());
  const auto loaded = state_.LoadIdentity();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->agent_id, "a1");
  EXPECT_EQ(loaded->certificate_pem, saved.certificate_pem);
  EXPECT_EQ(loaded->labels, saved.labels);
  EXPECT_EQ(ModeOf("identity.toml"), 0600u);
  EXPECT_EQ(ModeOf("key.pem"), 0600u);
  EXPECT_EQ(ModeOf(""), 0700u);
}

TEST_F(AgentStateTest, WhomToBelieveOnTheWebPortIsRemembered) {
  Identity saved = Answer("a1");
  saved.server_pin = "sha256//abc";
  saved.server_ca_pem = "a\nb";
  ASSERT_TRUE(state_.SaveIdentity(saved).ok());
  EXPECT_EQ(state_.LoadIdentity()->server_pin, "sha256//abc");
  EXPECT_EQ(state_.LoadIdentity()->server_ca_pem, "a\nb");
}

TEST_F(AgentStateTest, ARenewedCertificateMustBeForTheKeyThatIsThere) {
  const Identity saved = Answer("a1");
  ASSERT_TRUE(state_.SaveIdentity(saved).ok());
  Identity renewed = saved;
  renewed.ca_pem = "another";
  ASSERT_TRUE(state_.SaveRenewed(renewed).ok());
  EXPECT_EQ(state_.LoadIdentity()->ca_pem, "another");
  const Identity other = Answer("a2");  // For a key that is not in force.
  EXPECT_EQ(state_.SaveRenewed(other).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(state_.LoadIdentity()->agent_id, "a1");
}

TEST_F(AgentStateTest, NothingIsRenewedWhileTheMachineJoinsAnew) {
  const Identity saved = Answer("a1");
  ASSERT_TRUE(state_.SaveIdentity(saved).ok());
  const auto joining = state_.LockForJoin();
  ASSERT_TRUE(joining.ok());
  EXPECT_EQ(state_.SaveRenewed(saved).code(), absl::StatusCode::kUnavailable);
}

TEST_F(AgentStateTest, AKeyThatOthersCouldReadIsRefused) {
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  ASSERT_EQ(chmod(Path("key.pem").c_str(), 0640), 0);
  EXPECT_EQ(state_.LoadIdentity().status(),
            absl::PermissionDeniedError(
                fmt::format("{0} is open to other users (mode 0640): "
                            "chmod go= {0}",
                            Path("key.pem"))));
}

TEST_F(AgentStateTest, WithoutAnIdentityItIsNotFound) {
  EXPECT_EQ(state_.LoadIdentity().status().code(), absl::StatusCode::kNotFound);
}

TEST_F(AgentStateTest, ThePendingKeySurvivesAFailedAttempt) {
  const Secret first = *state_.PendingKey();
  EXPECT_EQ(state_.PendingKey()->Reveal(), first.Reveal());
  EXPECT_EQ(ModeOf("key.new.pem"), 0600u);
  ASSERT_TRUE(WriteFileDurably(Path("key.new.pem"), "torn", 0600).ok());
  EXPECT_NE(state_.PendingKey()->Reveal(), "torn");
}

TEST_F(AgentStateTest, ACrashBetweenIdentityAndKeyIsMended) {
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  const std::string old_key = state_.LoadKey()->Reveal();
  const Identity next = Answer("a2");
  const std::string new_key = state_.PendingKey()->Reveal();
  ASSERT_TRUE(state_.SaveIdentity(next).ok());
  // As it was after the first of the two writes.
  ASSERT_TRUE(WriteFileDurably(Path("key.pem"), old_key, 0600).ok());
  ASSERT_TRUE(WriteFileDurably(Path("key.new.pem"), new_key, 0600).ok());
  const auto loaded = state_.LoadIdentity();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->agent_id, "a2");
  EXPECT_EQ(state_.LoadKey()->Reveal(), new_key);
}

TEST_F(AgentStateTest,
       ATornIdentityIsDataLossThatNamesTheFileWhereverItWasTorn) {
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  const std::string whole = *ReadFile(Path("identity.toml"), 1 << 20);
  const size_t version_end = whole.find("version");
  for (size_t length = 0; length < whole.size(); length += 37) {
    ASSERT_TRUE(
        WriteFileDurably(Path("identity.toml"), whole.substr(0, length), 0600)
            .ok());
    const auto loaded = state_.LoadIdentity();
    // Labels come last but for the version; a cut among them loses only labels.
    if (loaded.ok()) {
      EXPECT_GT(length, version_end);
      continue;
    }
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kDataLoss) << length;
    EXPECT_THAT(Text(loaded.status()), HasSubstr("identity.toml")) << length;
  }
}

TEST_F(AgentStateTest, AForeignKeyAndANewerVersionAreErrors) {
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  std::string text = *ReadFile(Path("identity.toml"), 1 << 20);
  text.replace(text.find("version = 1"), 11, "version = 2");
  ASSERT_TRUE(WriteFileDurably(Path("identity.toml"), text, 0600).ok());
  EXPECT_THAT(Text(state_.LoadIdentity().status()),
              HasSubstr("version must be 1, got 2"));
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  ASSERT_TRUE(
      WriteFileDurably(Path("key.pem"), GenerateKey()->Reveal(), 0600).ok());
  EXPECT_THAT(Text(state_.LoadIdentity().status()), HasSubstr("key.pem"));
}

TEST_F(AgentStateTest, ARetiredIdentityIsRememberedAndNoLongerOne) {
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  ASSERT_TRUE(state_.RetireIdentity().ok());
  EXPECT_EQ(state_.LoadIdentity().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(state_.FormerAgentId(), "a1");
  EXPECT_FALSE(FileExists(Path("key.pem")));
  ASSERT_TRUE(state_.Wipe().ok());
  EXPECT_EQ(state_.FormerAgentId(), std::nullopt);
}

TEST_F(AgentStateTest, ThePaceIsWhatTheGatewayToldLast) {
  EXPECT_EQ(state_.LoadPace(), std::nullopt);
  const Pace pace{absl::Seconds(1), absl::Milliseconds(1500)};
  ASSERT_TRUE(state_.SavePace({absl::Seconds(30), absl::Seconds(30)}).ok());
  ASSERT_TRUE(state_.SavePace(pace).ok());
  EXPECT_EQ(state_.LoadPace(), pace);
  EXPECT_EQ(ModeOf("pace.toml"), 0600u);
  for (const char* text :
       {"", "heartbeat_interval_ms = 0\nreconnect_max_ms = 1\n",
        "heartbeat_interval_ms = \"x\"\nreconnect_max_ms = 1\n", "\xff"}) {
    ASSERT_TRUE(WriteFileDurably(Path("pace.toml"), text, 0600).ok());
    EXPECT_EQ(state_.LoadPace(), std::nullopt) << text;
  }
}

TEST_F(AgentStateTest, CommandsOfAnotherIdentityAreRemovedTheOwnKept) {
  ASSERT_TRUE(state_.ClaimCommands("a1").ok());
  ASSERT_TRUE(MakeFolder(Path("commands/c1"), 0700).ok());
  ASSERT_TRUE(state_.ClaimCommands("a1").ok());
  EXPECT_TRUE(FileExists(Path("commands/c1")));
  ASSERT_TRUE(state_.ClaimCommands("a2").ok());
  EXPECT_FALSE(FileExists(Path("commands")));
}

// What another process gets that locks the folder.
absl::StatusCode LockElsewhere(const AgentState& state) {
  const pid_t pid = fork();
  if (pid == 0) _exit(static_cast<int>(state.Lock().status().code()));
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return static_cast<absl::StatusCode>(WEXITSTATUS(status));
}

TEST_F(AgentStateTest, OnlyOneAgentRunsFromAFolder) {
  {
    const auto lock = state_.Lock();
    ASSERT_TRUE(lock.ok());
    EXPECT_EQ(LockElsewhere(state_), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(LockElsewhere(state_), absl::StatusCode::kOk);
}

TEST_F(AgentStateTest, AChildOfADeadAgentDoesNotKeepTheFolderLocked) {
  auto lock = state_.Lock();
  ASSERT_TRUE(lock.ok());
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  lock->Reset();
  EXPECT_EQ(LockElsewhere(state_), absl::StatusCode::kOk);
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(AgentStateTest,
       JoiningTheSameServerAgainChangesNothingAnotherIsRefused) {
  ASSERT_TRUE(state_.SaveIdentity(Answer("a1")).ok());
  const auto again = Join(state_, {.server = "http://127.0.0.1:7080"});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->already);
  EXPECT_EQ(again->identity.agent_id, "a1");
  EXPECT_THAT(Text(Join(state_, {.server = "https://other"}).status()),
              HasSubstr("already joined to http://127.0.0.1:7080 as a1"));
}

TEST_F(AgentStateTest, OnlyOneJoinsInAFolderAtATime) {
  absl::StatusOr<Fd> first = state_.LockForJoin();
  ASSERT_TRUE(first.ok()) << first.status();
  const Fd second(open(Path("join.lock").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NE(flock(second.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_TRUE(state_.Lock().ok()) << "an agent may run meanwhile";
  first->Reset();
  EXPECT_EQ(flock(second.get(), LOCK_EX | LOCK_NB), 0);
}

TEST_F(AgentStateTest, OnlyTheLoopbackItselfIsJoinedInPlainText) {
  for (const char* server :
       {"http://127.0.0.1.example", "http://127.example:7080",
        "http://localhost.example", "http://[::2]:7080", "http://10.127.0.1"}) {
    EXPECT_THAT(
        Text(Join(state_, {.server = server, .token = Secret("t")}).status()),
        HasSubstr("readable"))
        << server;
  }
  for (const char* server :
       {"http://127.0.0.2:1", "http://[::1]:1", "http://localhost:1"}) {
    // The resolver has threads of its own.
    if (kThreadSanitizer &&
        std::string_view(server).find("localhost") != std::string::npos)
      continue;
    EXPECT_THAT(
        Text(Join(state_, {.server = server, .token = Secret("t")}).status()),
        Not(HasSubstr("readable")))
        << server;
  }
}

TEST_F(AgentStateTest, ATokenIsNeverSentReadableNorWhenEmpty) {
  EXPECT_THAT(
      Text(Join(state_, {.server = "http://10.0.0.1", .token = Secret("t")})
               .status()),
      HasSubstr("use https://"));
  EXPECT_THAT(Text(Join(state_, {.server = "http://127.0.0.1:1"}).status()),
              HasSubstr("the token must be 1 to"));
  EXPECT_FALSE(FileExists(Path("key.new.pem")));
  const auto refused =
      Join(state_, {.server = "http://127.0.0.1:1", .token = Secret("tok-en")});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Text(refused.status()), testing::Not(HasSubstr("tok-en")));
  EXPECT_TRUE(FileExists(Path("key.new.pem")));  // Before the call.
}

std::variant<Flags, EarlyExit> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "muster-agent");
  return ParseFlags(static_cast<int>(words.size()), words.data());
}

TEST(FlagsTest, EveryVerbIsUnderstoodWithSettingsBeforeAndAfterIt) {
  const auto run = std::get<Flags>(Parse({"run", "--state-dir", "/x"}));
  EXPECT_EQ(run.verb, Verb::kRun);
  EXPECT_EQ(run.settings.at("state_dir"), "/x");
  EXPECT_EQ(std::get<Flags>(Parse({"--log-level", "debug", "status"})).verb,
            Verb::kStatus);
  EXPECT_EQ(std::get<Flags>(Parse({"heartbeat-now"})).verb,
            Verb::kHeartbeatNow);
  EXPECT_EQ(std::get<Flags>(Parse({"--send-heartbeat-now"})).verb,
            Verb::kHeartbeatNow);
  EXPECT_EQ(std::get<Flags>(Parse({"agent", "--send-heartbeat-now"})).verb,
            Verb::kHeartbeatNow);
  EXPECT_EQ(std::get<Flags>(Parse({"stop"})).verb, Verb::kStop);
  EXPECT_EQ(std::get<Flags>(Parse({"stop"})).back_within, std::nullopt);
  EXPECT_TRUE(std::get<Flags>(Parse({"stop", "--for-upgrade"})).for_upgrade);
  EXPECT_TRUE(std::get<Flags>(Parse({"leave", "--force"})).force);
  const auto commands =
      std::get<Flags>(Parse({"commands", "-n", "7", "--json"}));
  EXPECT_EQ(commands.verb, Verb::kCommands);
  EXPECT_EQ(commands.last, 7u);
  EXPECT_TRUE(commands.json);
}

TEST(FlagsTest, JoinTakesServerLabelsAndAnOptionalWait) {
  const auto join =
      std::get<Flags>(Parse({"join", "--server", "https://gw:1/", "--label",
                             "a=b", "--label", "c=", "--wait"}));
  EXPECT_EQ(join.server, "https://gw:1");
  EXPECT_EQ(join.labels,
            (std::map<std::string, std::string>{{"a", "b"}, {"c", ""}}));
  EXPECT_EQ(join.wait, absl::Seconds(30));
  EXPECT_EQ(std::get<Flags>(Parse({"join", "--server", "x", "--wait=5s"})).wait,
            absl::Seconds(5));
  EXPECT_EQ(std::get<Flags>(Parse({"join", "--server", "x"})).wait,
            std::nullopt);
}

TEST(FlagsTest, APromiseToBeBackKeepsItsBounds) {
  EXPECT_EQ(
      std::get<Flags>(Parse({"stop", "--back-within", "20m"})).back_within,
      absl::Minutes(20));
  const auto refused =
      std::get<EarlyExit>(Parse({"stop", "--back-within", "2h"}));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err,
              HasSubstr("--back-within: must be 1s to 1h, got 2h"));
}

TEST(FlagsTest, WordsThatMakeNoSenseEndWithTwoHelpWithZero) {
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{
           {},
           {"dance"},
           {"join"},
           {"run", "--nonsense"},
           {"agent"},
           {"status", "stop"},
           {"stop", "--back-within", "soon"},
           {"stop", "--back-within", "5m", "--for-upgrade"},
           {"join", "--server", "x", "--label", "novalue"},
           {"join", "--server", "x", "--wait=soon"}}) {
    const auto parsed = Parse(words);
    ASSERT_TRUE(std::holds_alternative<EarlyExit>(parsed)) << words.size();
    EXPECT_EQ(std::get<EarlyExit>(parsed).code, 2);
    EXPECT_THAT(std::get<EarlyExit>(parsed).err,
                testing::StartsWith("error: "));
  }
  EXPECT_EQ(std::get<EarlyExit>(Parse({"--help"})).code, 0);
  EXPECT_THAT(std::get<EarlyExit>(Parse({"join", "--help"})).out,
              HasSubstr("Examples:"));
}

}  // namespace
}  // namespace muster::agent
