// A whole gateway in this process: what it does at its start, with what it
// finds in its folder, and at its end.

#include "gateway/server/gateway.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "fmt/format.h"
#include "gateway/store/sqlite/sqlite.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "libprotocol/base/files.h"
#include "libprotocol/base/system_clock.h"
#include "libprotocol/net/https_client.h"
#include "libprotocol/net/test_pki.h"
#include "libprotocol/net/tls_material.h"
#include "libprotocol/testing/temp_dir.h"

namespace muster::gateway {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class GatewayTest : public testing::Test {
 protected:
  GatewayTest() {
    config_.data_dir = dir_.File("data");
    config_.web_listen = "127.0.0.1:0";
    config_.fleet_listen = "127.0.0.1:0";
  }

  absl::StatusOr<std::unique_ptr<Gateway>> TryStart() {
    return Gateway::Start(config_, clock_);
  }
  std::unique_ptr<Gateway> Start() {
    auto gateway = TryStart();
    EXPECT_TRUE(gateway.ok()) << gateway.status();
    return gateway.ok() ? *std::move(gateway) : nullptr;
  }
  std::string In(const std::string& name) const {
    return config_.data_dir + "/" + name;
  }
  void Overwrite(const std::string& name, const std::string& content) {
    ASSERT_TRUE(WriteFileDurably(In(name), content, 0600).ok());
  }
  // What a start with this file damaged says; the gateway starts again once it
  // is mended, so that nothing of the failed one was left running.
  absl::Status StatusWith(const std::string& name, const std::string& content) {
    Start().reset();
    const std::string before = *ReadFile(In(name), 1 << 22);
    Overwrite(name, content);
    const absl::Status status = TryStart().status();
    Overwrite(name, before);
    EXPECT_NE(Start(), nullptr) << name;
    return status;
  }

  static absl::StatusOr<muster::HttpResponse> Fetch(
      const std::string& url, const std::string& target,
      const std::string& pin = "", const std::string& token = "") {
    auto client = HttpsClient::Create(
        {.base_url = url, .pin = pin, .ca_pem = "", .server_name = ""});
    if (!client.ok()) return client.status();
    muster::HttpRequest request;
    request.target = target;
    if (!token.empty()) {
      request.headers = {{"Authorization", "Bearer " + token}};
    }
    return (*client)->Fetch(request);
  }
  absl::StatusOr<muster::HttpResponse> MakeToken(const std::string& url) {
    auto client = HttpsClient::Create(
        {.base_url = url, .pin = "", .ca_pem = "", .server_name = ""});
    if (!client.ok()) return client.status();
    return (*client)->Fetch(
        {.method = "POST",
         .target = "/api/tokens",
         .headers = {{"Authorization", "Bearer " + AdminToken()},
                     {"Content-Type", "application/json"}},
         .body = "{}",
         .timeout = std::nullopt});
  }
  static int StatusOf(const absl::StatusOr<muster::HttpResponse>& response) {
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->status : 0;
  }
  std::string AdminToken() {
    std::string token = *ReadFile(In("admin-token"), 4096);
    token.pop_back();
    return token;
  }
  // Waits until `condition` holds; false if it does not within ten seconds.
  template <typename F>
  bool Eventually(F condition) {
    const Instant deadline = clock_.Now() + absl::Seconds(10);
    while (!condition()) {
      if (clock_.Now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  TempDir dir_;
  SystemClock clock_;
  GatewayConfig config_;
};

// A listener on a port of 127.0.0.1 that the system chose.
class TakenPort {
 public:
  TakenPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(fd_.get(), generic, length), 0);
    EXPECT_EQ(listen(fd_.get(), 1), 0);
    EXPECT_EQ(getsockname(fd_.get(), generic, &length), 0);
    listen_ = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  }
  const std::string& listen_address() const { return listen_; }

 private:
  Fd fd_;
  std::string listen_;
};

// While it lives, no write to a file in this process succeeds (EFBIG).
class NoFileGrows {
 public:
  NoFileGrows() {
    signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  }
  ~NoFileGrows() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

// --- Start ------------------------------------------------------------------

TEST_F(GatewayTest, AnEmptyFolderIsEnough) {
  const auto gateway = Start();
  ASSERT_NE(gateway, nullptr);
  EXPECT_NE(gateway->web_port(), 0);
  EXPECT_NE(gateway->fleet_port(), 0);
  EXPECT_THAT(gateway->web_url(), StartsWith("http://127.0.0.1:"));
  EXPECT_TRUE(gateway->admin_token().created);
  EXPECT_EQ(StatusOf(Fetch(gateway->web_url(), "/health")), 200);
  EXPECT_EQ(StatusOf(Fetch(gateway->web_url(), "/ready")), 200);
}

TEST_F(GatewayTest, OnlyItsUserReadsTheFolder) {
  const auto gateway = Start();
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(config_.data_dir)) {
    struct stat info {};
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0077, 0u) << entry.path();
  }
}

TEST_F(GatewayTest, TheAdminTokenOpensTheApi) {
  const auto gateway = Start();
  const std::string url = gateway->web_url();
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", "", AdminToken())), 200);
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents")), 401);
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", "", "mst_wrong")), 401);
}

TEST_F(GatewayTest, ASecondGatewayInTheFolderIsRefused) {
  const auto first = Start();
  const auto second = TryStart();
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_THAT(second.status().ToString(),
              AllOf(HasSubstr("another gateway"), HasSubstr(config_.data_dir)));
  EXPECT_EQ(StatusOf(Fetch(first->web_url(), "/health")), 200);
}

TEST_F(GatewayTest, ASettingOutOfBoundsIsRefused) {
  config_.drain = absl::Hours(1);
  EXPECT_THAT(TryStart().status().ToString(), HasSubstr("drain must be"));
  EXPECT_FALSE(FileExists(config_.data_dir));
}

TEST_F(GatewayTest, AWebPortInUseIsNamedAndNothingIsLeftRunning) {
  const TakenPort taken;
  config_.web_listen = taken.listen_address();
  EXPECT_THAT(TryStart().status().ToString(),
              AllOf(HasSubstr("web_listen: "),
                    HasSubstr(taken.listen_address()), HasSubstr("in use")));
  config_.web_listen = "127.0.0.1:0";
  EXPECT_NE(Start(), nullptr);
}

TEST_F(GatewayTest, AFleetPortInUseIsNamedAndNothingIsLeftRunning) {
  const TakenPort taken;
  config_.fleet_listen = taken.listen_address();
  EXPECT_THAT(TryStart().status().ToString(),
              AllOf(HasSubstr("fleet_listen: "),
                    HasSubstr(taken.listen_address()), HasSubstr("in use")));
  config_.fleet_listen = "127.0.0.1:0";
  EXPECT_NE(Start(), nullptr);
}

TEST_F(GatewayTest, AnAddressThatIsNoneIsNamed) {
  config_.web_listen = "nonsense";
  EXPECT_THAT(TryStart().status().ToString(),
              AllOf(HasSubstr("web_listen: "), HasSubstr("nonsense")));
  config_.web_listen = "127.0.0.1:0";
  config_.fleet_listen = "nonsense";
  EXPECT_THAT(TryStart().status().ToString(),
              AllOf(HasSubstr("fleet_listen: "), HasSubstr("nonsense")));
}

// --- What it finds in its folder --------------------------------------------

TEST_F(GatewayTest, ADamagedFileStopsTheStartAndIsNamed) {
  const struct {
    const char* name;
    const char* content;
  } cases[] = {
      {"ca/ca.key", "garbage"},
      {"ca/ca.pem", "garbage"},
      {"ca/fleet.key", "garbage"},
      {"ca/fleet.pem", "garbage"},
      {"admin-token.sha256", "abc"},
      {"muster.db", "this is no database, and longer than nothing"},
  };
  for (const auto& c : cases) {
    const absl::Status status = StatusWith(c.name, c.content);
    EXPECT_FALSE(status.ok()) << c.name;
    EXPECT_THAT(status.ToString(), HasSubstr(In(c.name)));
  }
}

TEST_F(GatewayTest, AFleetWhoseDatabaseIsLostIsNotReplacedByAnEmptyOne) {
  Start().reset();
  for (const char* left : {"muster.db-wal", "muster.db-shm", "muster.db"}) {
    ASSERT_TRUE(RemoveTree(In(left)).ok());
  }
  EXPECT_THAT(TryStart().status().ToString(),
              AllOf(HasSubstr(In("muster.db")), HasSubstr("restore")));
  ASSERT_TRUE(WriteFileDurably(In("muster.db"), "", 0600).ok());
  EXPECT_THAT(TryStart().status().ToString(), HasSubstr(In("muster.db")));
  ASSERT_TRUE(RemoveTree(In("muster.db")).ok());
  ASSERT_TRUE(RemoveTree(In("ca")).ok());
  EXPECT_TRUE(TryStart().ok());
}

TEST_F(GatewayTest, AnotherCasCertificateStopsTheStart) {
  const absl::Status status = StatusWith("ca/ca.pem", TestPki().ca_pem);
  EXPECT_THAT(status.ToString(), HasSubstr(In("ca/ca.pem")));
}

TEST_F(GatewayTest, ANewerDatabaseIsRefused) {
  Start().reset();
  {
    auto db = sqlite::Database::Open(In("muster.db"),
                                     sqlite::Database::Access::kReadWrite);
    ASSERT_TRUE(db.ok());
    ASSERT_TRUE((*db)->Execute("PRAGMA user_version=99").ok());
  }
  EXPECT_THAT(TryStart().status().ToString(),
              AllOf(HasSubstr("muster.db"), HasSubstr("schema version 99")));
}

TEST_F(GatewayTest, ARestartKeepsIdentityAndRaisesTheRun) {
  const auto run_number = [this]() -> int64_t {
    auto db = sqlite::Database::Open(In("muster.db"),
                                     sqlite::Database::Access::kReadWrite);
    return *(*db)->QueryInt("SELECT run FROM gateway");
  };
  Start().reset();
  const std::string token = AdminToken();
  const std::string ca = *ReadFile(In("ca/ca.pem"), 1 << 16);
  EXPECT_EQ(run_number(), 1);
  const auto again = Start();
  EXPECT_EQ(run_number(), 2);
  EXPECT_FALSE(again->admin_token().created);
  EXPECT_EQ(AdminToken(), token);
  EXPECT_EQ(*ReadFile(In("ca/ca.pem"), 1 << 16), ca);
}

// --- TLS of the web port ----------------------------------------------------

TEST_F(GatewayTest, OutsideALoopbackAddressTheWebPortSpeaksTls) {
  config_.web_listen = "0.0.0.0:0";
  const auto gateway = Start();
  const std::string local = fmt::format("127.0.0.1:{}", gateway->web_port());
  EXPECT_THAT(gateway->web_url(), StartsWith("https://"));
  const std::string pin =
      *PinOfCertificate(*ReadFile(In("ca/web.pem"), 1 << 16));
  EXPECT_EQ(StatusOf(Fetch("https://" + local, "/health", pin)), 200);
  EXPECT_FALSE(Fetch("http://" + local, "/health").ok());
  const std::string other =
      *PinOfCertificate(*ReadFile(In("ca/ca.pem"), 1 << 16));
  EXPECT_TRUE(absl::IsUnauthenticated(
      Fetch("https://" + local, "/health", other).status()));
}

TEST_F(GatewayTest, AReloadPresentsTheNewCertificate) {
  TestPki pki;
  config_.web_certificate = dir_.File("web.pem");
  config_.web_key = dir_.File("web.key");
  const auto install = [&] {
    const TestPki::Leaf leaf = pki.IssueServer("gw.example");
    EXPECT_TRUE(
        WriteFileDurably(config_.web_certificate, leaf.certificate_pem, 0600)
            .ok());
    EXPECT_TRUE(
        WriteFileDurably(config_.web_key, leaf.key_pem.Reveal(), 0600).ok());
    return *PinOfCertificate(leaf.certificate_pem);
  };
  const std::string first = install();
  const auto gateway = Start();
  const std::string url = gateway->web_url();
  EXPECT_EQ(StatusOf(Fetch(url, "/health", first)), 200);
  const std::string second = install();
  ASSERT_TRUE(gateway->Reload().ok());
  EXPECT_TRUE(Eventually([&] { return Fetch(url, "/health", second).ok(); }));
}

TEST_F(GatewayTest, AReloadThatFailsChangesNothing) {
  config_.web_listen = "0.0.0.0:0";
  const auto gateway = Start();
  const std::string url =
      fmt::format("https://127.0.0.1:{}", gateway->web_port());
  const std::string pin =
      *PinOfCertificate(*ReadFile(In("ca/web.pem"), 1 << 16));
  const std::string token = AdminToken();
  ASSERT_TRUE(ResetAdminToken(config_.data_dir).ok());
  Overwrite("ca/web.key", "garbage");
  EXPECT_FALSE(gateway->Reload().ok());
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", pin, token)), 200);
}

TEST_F(GatewayTest, AReloadTakesTheNewAdminToken) {
  const auto gateway = Start();
  const std::string url = gateway->web_url();
  const std::string old = AdminToken();
  ASSERT_TRUE(ResetAdminToken(config_.data_dir).ok());
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", "", old)), 200);
  ASSERT_TRUE(gateway->Reload().ok());
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", "", old)), 401);
  EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", "", AdminToken())), 200);
}

TEST_F(GatewayTest, ReloadsAndRequestsDoNotDisturbEachOther) {
  config_.web_listen = "0.0.0.0:0";
  const auto gateway = Start();
  const std::string pin =
      *PinOfCertificate(*ReadFile(In("ca/web.pem"), 1 << 16));
  const std::string url =
      fmt::format("https://127.0.0.1:{}", gateway->web_port());
  std::thread caller([&] {
    for (int i = 0; i < 30; ++i) {
      EXPECT_EQ(StatusOf(Fetch(url, "/api/agents", pin, AdminToken())), 200);
    }
  });
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(gateway->Reload().ok());
  caller.join();
}

// --- Health and end ---------------------------------------------------------

TEST_F(GatewayTest, AStoreThatFailsIsToldByReadyUntilItWorksAgain) {
  const auto gateway = Start();
  const std::string url = gateway->web_url();
  {
    auto db = sqlite::Database::Open(In("muster.db"),
                                     sqlite::Database::Access::kReadWrite);
    ASSERT_TRUE(db.ok());
    const auto lock = sqlite::Transaction::Begin(**db);
    ASSERT_TRUE(lock.ok());
    EXPECT_EQ(StatusOf(MakeToken(url)), 503);
    EXPECT_EQ(StatusOf(Fetch(url, "/ready")), 503);
    EXPECT_THAT(Fetch(url, "/ready")->body, HasSubstr(R"("store":"failing")"));
    EXPECT_EQ(StatusOf(Fetch(url, "/health")), 200);
  }
  EXPECT_TRUE(
      Eventually([&] { return StatusOf(Fetch(url, "/ready")) == 200; }));
}

TEST_F(GatewayTest, AStoreThatCannotBeTrustedIsFatal) {
  std::atomic<int> fatal = 0;
  auto gateway = Gateway::Start(config_, clock_,
                                [&fatal](const absl::Status&) { ++fatal; });
  ASSERT_TRUE(gateway.ok()) << gateway.status();
  const std::string url = (*gateway)->web_url();
  {
    const NoFileGrows limit;
    EXPECT_GE(StatusOf(MakeToken(url)), 500);
  }
  EXPECT_TRUE(Eventually([&] { return fatal == 1; }));
  // What the disk holds is unknown: it stays so until the next start.
  EXPECT_GE(StatusOf(MakeToken(url)), 500);
  EXPECT_EQ(StatusOf(Fetch(url, "/ready")), 503);
  gateway->reset();
  EXPECT_NE(Start(), nullptr);
}

TEST_F(GatewayTest, AStopIsQuickAndCanBeRepeated) {
  const auto gateway = Start();
  const Instant begin = clock_.Now();
  gateway->Stop();
  EXPECT_LT(clock_.Now() - begin, absl::Seconds(1));
  gateway->Stop();
}

TEST_F(GatewayTest, AfterAStopTheFolderAndThePortsAreFree) {
  const auto first = Start();
  config_.web_listen = fmt::format("127.0.0.1:{}", first->web_port());
  config_.fleet_listen = fmt::format("127.0.0.1:{}", first->fleet_port());
  first->Stop();
  EXPECT_NE(Start(), nullptr);
}

}  // namespace
}  // namespace muster::gateway
