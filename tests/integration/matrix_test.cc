// Every operation × everybody who may knock × every spelling of its path. What
// must come follows from the contract's `access` options and from nothing that
// the gateway's own code says.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "agent/link/gateway_link.h"
#include "fmt/format.h"
#include "gateway/admin/admin_api.h"
#include "gateway/http/router.h"
#include "gateway/identity/secret_token.h"
#include "gateway/store/sqlite/sqlite_fleet_store.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "libprotocol/net/tls_material.h"
#include "tests/integration/contract.h"
#include "tests/integration/mini_fleet.h"
#include "tests/integration/raw_http.h"

namespace muster::integration {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;

// What is served without being an operation.
const std::set<std::string> kPlainPlaces = {"/", "/health", "/ready"};

// Whoever changes what a role may, changes it here too, knowingly.
const std::map<v1::Role, std::set<std::string>> kMethodsOf = {
    {v1::ROLE_PUBLIC, {"Register", "Renew", "SignIn"}},
    {v1::ROLE_VIEWER,
     {"ListAgents",       "GetAgent",        "ResolveAgent",
      "GetPresence",      "ListTransitions", "ListLinks",
      "ListNotes",        "ListIncidents",   "ListBlindIntervals",
      "WatchHeartbeats",  "WatchEvents",     "ListCommands",
      "GetCommand",       "GetOutput",       "ReadOutput",
      "ListSessions",     "GetSession",      "ReadSession",
      "GetRecording",     "ListBatches",     "GetBatch",
      "ListBatchTargets", "GetStatus",       "GetMetrics",
      "WhoAmI",           "ChangePassword",  "SignOut"}},
    {v1::ROLE_OPERATOR,
     {"SetLabels", "SilenceAgent", "UnsilenceAgent", "SetAgentPresence",
      "SetPresenceOfMany", "SubmitCommand", "CancelCommand", "WriteInput",
      "OpenSession", "AttachSession", "DetachSession", "WriteSession",
      "EndSession", "SubmitBatch", "RetryBatch", "CancelBatch"}},
    {v1::ROLE_ADMIN,
     {"DeleteAgent", "ReissueAgent", "SetPresence", "CreateToken", "ListTokens",
      "RevokeToken", "CreateUser", "ListUsers", "UpdateUser", "ApproveAgent",
      "SuspendAgent", "ListRefusals", "SetPassword", "ListAudit", "VerifyAudit",
      "CreateAccessToken", "ListAccessTokens", "RevokeAccessToken"}},
    {v1::ROLE_PLATFORM_ADMIN, {"CreateOrg", "ListOrgs"}},
};

// After it the caller's token speaks for nobody.
bool SignsOut(const Operation& operation) {
  return operation.pattern == "/api/sign-out";
}

// Somebody who knocks at the web port.
struct Knocker {
  std::string name;
  std::vector<std::string> headers;
  // What the contract knows of him: ROLE_PUBLIC if nobody is to believe him.
  v1::Role role = v1::ROLE_PUBLIC;
  std::set<std::string> scopes = {};  // None: all that the role may.
  // Knocks with what is no token, or in the wrong way: no spelling of a path
  // makes him more of a stranger than nobody is.
  bool impostor = false;
};

enum class Verdict { kLetIn, kUnauthenticated, kForbidden };

Verdict VerdictFor(const v1::Access& access, const Knocker& who) {
  if (access.role() == v1::ROLE_PUBLIC) return Verdict::kLetIn;
  if (who.role == v1::ROLE_PUBLIC) return Verdict::kUnauthenticated;
  if (who.role < access.role()) return Verdict::kForbidden;
  const bool bound =
      !who.scopes.empty() && !who.scopes.contains(access.scope());
  return bound ? Verdict::kForbidden : Verdict::kLetIn;
}

// Whether the answer is what the verdict demands.
bool Obeys(Verdict verdict, const RawAnswer& answer, bool has_body) {
  switch (verdict) {
    case Verdict::kUnauthenticated:
      return answer.status == 401 &&
             (!has_body || answer.code == "unauthenticated");
    case Verdict::kForbidden:
      return answer.status == 403 &&
             (!has_body || answer.code == "permission_denied");
    case Verdict::kLetIn:
      return answer.status != 0 && answer.status != 401 &&
             answer.code != "permission_denied" &&
             answer.code != "unknown_route" &&
             answer.code != "method_not_allowed";
  }
  return false;
}

// Whether it says that there is no such place, or none that could be meant; an
// enum in the path has few values.
bool IsNoPlace(const RawAnswer& answer, bool has_body) {
  if (!has_body) return answer.status == 404 || answer.status == 400;
  return (answer.status == 404 && answer.code == "unknown_route") ||
         (answer.status == 405 && answer.code == "method_not_allowed") ||
         (answer.status == 400 &&
          (answer.code == "invalid_path" ||
           answer.code == "malformed_request" ||
           answer.body.find("\"stream: expected one of ") !=
               std::string::npos));
}

RawRequest RequestOf(const Operation& operation, const std::string& path,
                     const Knocker& who) {
  return {.verb = operation.verb,
          .target = path,
          .headers = who.headers,
          .body = operation.method->options().GetExtension(v1::http).body()
                      ? "{}"
                      : ""};
}

std::string Told(const RawRequest& request, const RawAnswer& answer) {
  return fmt::format("{} {}: {} {}", request.verb, request.target,
                     answer.status, answer.body.substr(0, 300));
}

// Other ways to write a path; what they mean is the gateway's to say, but not
// that they mean the same and need less.
std::vector<std::string> Spellings(const std::string& path) {
  std::string upper = path, title = path;
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) {
    return static_cast<char>(std::toupper(c));
  });
  title[1] = static_cast<char>(std::toupper(title[1]));
  const std::string tail = path.substr(1);
  const std::string head = path.substr(0, path.rfind('/'));
  const std::string last = path.substr(path.rfind('/') + 1);
  std::vector<std::string> all = {upper, title};
  for (const char* suffix : {"/",           "//",    "/.",
                             "/..",         "/%2e",  "/%2e%2e",
                             "%2f",         "%2F",   "/%2f",
                             "%5c",         "%00",   "%0a",
                             "%20",         "/x/..", "/x/%2e%2e",
                             ";",           ";a=b",  "/;",
                             "%3f",         "%23",   ".json",
                             "/index.html", "/x",    "/SetupWizard.aspx/x",
                             "..;/",        "~",     "%c0%af",
                             "%u002f",      "%252f", "%"}) {
    all.push_back(path + suffix);
  }
  for (const char* prefix : {"//",
                             "/./",
                             "/../",
                             "/.//",
                             "/%2e/",
                             "/%2e%2e/",
                             "/%2f",
                             "/%2f/",
                             "/health/../",
                             "/health/%2e%2e/",
                             "/health%2f..%2f",
                             "/ready/..;/",
                             "/;/",
                             "/x/../",
                             "/api/../",
                             "/api/v1/../../",
                             "/v1/",
                             "/api/v2/",
                             "/static/../",
                             "/%5c",
                             "/\\",
                             "/public/",
                             "/api/v1/v1/"}) {
    all.push_back(prefix + tail);
  }
  for (const char* absolute :
       {"http://127.0.0.1/", "http://evil.example/", "https://user@x/", ""}) {
    all.push_back(absolute + tail);
  }
  all.push_back(head + "//" + last);
  all.push_back(head + "/./" + last);
  all.push_back(head + "/x/../" + last);
  all.push_back(head + "%2f" + last);
  all.push_back(head + "\\" + last);
  // One letter of each part in code: the same place, and the same law.
  all.push_back(fmt::format("/%{:02x}{}", path[1], path.substr(2)));
  all.push_back(fmt::format("{}/%{:02X}{}", head, last[0], last.substr(1)));
  if (path.starts_with("/api/")) all.push_back("/api/v1/" + path.substr(5));
  return all;
}

const std::vector<std::string>& OverrideHeaders() {
  static const auto* headers =
      new std::vector<std::string>{"X-HTTP-Method-Override: DELETE",
                                   "X-HTTP-Method: DELETE",
                                   "X-Method-Override: DELETE",
                                   "X-Original-Method: DELETE",
                                   "X-Original-URL: /health",
                                   "X-Rewrite-URL: /health",
                                   "X-Original-URI: /health",
                                   "X-Forwarded-Path: /health",
                                   "X-Forwarded-Uri: /health",
                                   "X-Forwarded-For: 127.0.0.1",
                                   "X-Real-IP: 127.0.0.1",
                                   "Forwarded: for=127.0.0.1;proto=https",
                                   "X-Forwarded-User: admin-token",
                                   "X-Remote-User: admin-token",
                                   "Remote-User: admin-token",
                                   "X-Muster-Role: admin",
                                   "X-Custom-IP-Authorization: 127.0.0.1",
                                   "Accept: text/event-stream",
                                   "Accept: application/x-protobuf",
                                   "Last-Event-ID: 0",
                                   "Range: bytes=0-1",
                                   "Expect: 100-continue",
                                   "Upgrade: websocket",
                                   "Origin: null",
                                   "Referer: http://127.0.0.1/health"};
  return *headers;
}

// One gateway that has one of everything, and a token of each kind.
class MatrixTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    gateway::PresencePolicy presence = PatientPresence();
    presence.reconnect_grace = absl::Milliseconds(200);
    fleet_ = new MiniFleet({.agents = 1, .presence = presence});
    ASSERT_TRUE(fleet_->WaitForAllOnline());
    MakeThings();
    MakeKnockers();
    fleet_->StopAgent(0);
    ASSERT_TRUE(fleet_->WaitForStatus(0, v1::STATUS_OFFLINE));
    BornExpired();
  }
  static void TearDownTestSuite() {
    std::cout << asked_ << " requests\n";
    delete fleet_;
  }

  template <typename Response>
  static Response Do(const char* method, const google::protobuf::Message& m) {
    auto answer = fleet_->rest().Call<Response>(method, m);
    EXPECT_TRUE(answer.ok()) << method << ": " << answer.status();
    return answer.ok() ? *std::move(answer) : Response();
  }

  static std::string TokenOf(const std::string& user, v1::Role role,
                             const std::string& scope = "") {
    v1::CreateUserRequest create;
    create.set_name(user);
    create.set_role(role);
    Do<v1::User>("CreateUser", create);
    v1::CreateAccessTokenRequest token;
    token.set_name(user);
    if (!scope.empty()) token.add_scopes(scope);
    const auto made =
        Do<v1::CreateAccessTokenResponse>("CreateAccessToken", token);
    token_ids_[user] = made.token().token_id();
    return made.secret();
  }

  static void Knocks(const std::string& name, const std::string& bearer,
                     v1::Role role = v1::ROLE_PUBLIC,
                     const std::set<std::string>& scopes = {}) {
    knockers_->push_back(
        {name, {"Authorization: Bearer " + bearer}, role, scopes});
  }

  static void MakeThings() {
    const auto ran = fleet_->Run(0, "echo here");
    ASSERT_TRUE(ran.ok()) << ran.status();
    v1::OpenSessionRequest open;
    open.set_agent_id(fleet_->agent_id(0));
    open.add_argv("/bin/true");
    v1::SubmitBatchRequest batch;
    batch.mutable_run()->set_command("true");
    batch.set_all(true);
    real_ = new std::map<std::string, std::string>{
        {"agent_id", fleet_->agent_id(0)},
        {"command_id", ran->command.command_id()},
        {"session_id", Do<v1::Session>("OpenSession", open).session_id()},
        {"batch_id", Do<v1::Batch>("SubmitBatch", batch).batch_id()},
        {"stream", "stdout"},
        {"name", "vera"}};
    nowhere_ = new std::map<std::string, std::string>{{"stream", "stdout"},
                                                      {"name", "nobody"}};
    for (const char* id :
         {"agent_id", "command_id", "session_id", "batch_id", "token_id"}) {
      (*nowhere_)[id] = "01890000-0000-7000-8000-000000000000";
    }
  }

  static void MakeKnockers() {
    knockers_ = new std::vector<Knocker>{{"nobody", {}}};
    const auto token =
        Do<v1::CreateTokenResponse>("CreateToken", v1::CreateTokenRequest());
    join_token_id_ = token.token().token_id();
    Knocks("a join token", token.secret());
    Knocks("a viewer", TokenOf("vera", v1::ROLE_VIEWER), v1::ROLE_VIEWER);
    (*real_)["token_id"] = token_ids_["vera"];
    Knocks("an operator", TokenOf("otto", v1::ROLE_OPERATOR),
           v1::ROLE_OPERATOR);
    Knocks("an admin", TokenOf("anna", v1::ROLE_ADMIN), v1::ROLE_ADMIN);
    Knocks("a viewer's token for metrics",
           TokenOf("grafana", v1::ROLE_VIEWER, "metrics:read"), v1::ROLE_VIEWER,
           {"metrics:read"});
    Knocks("an admin's token for metrics",
           TokenOf("ada", v1::ROLE_ADMIN, "metrics:read"), v1::ROLE_ADMIN,
           {"metrics:read"});
    MakeThoseWhoLost();
    MakeImpostors();
  }

  static void MakeThoseWhoLost() {
    Knocks("a revoked token", TokenOf("rita", v1::ROLE_ADMIN));
    v1::RevokeAccessTokenRequest revoke;
    revoke.set_name("rita");
    revoke.set_token_id(token_ids_["rita"]);
    Do<v1::AccessToken>("RevokeAccessToken", revoke);
    Knocks("a disabled user", TokenOf("dora", v1::ROLE_ADMIN));
    v1::UpdateUserRequest disable;
    disable.set_name("dora");
    disable.set_disabled(true);
    Do<v1::User>("UpdateUser", disable);
    Knocks("an admin who is a viewer now", TokenOf("dina", v1::ROLE_ADMIN),
           v1::ROLE_VIEWER);
    v1::UpdateUserRequest demote;
    demote.set_name("dina");
    demote.set_role(v1::ROLE_VIEWER);
    Do<v1::User>("UpdateUser", demote);
    expired_ = gateway::NewToken(gateway::TokenKind::kAccess).Reveal();
    Knocks("an expired token", expired_);
  }

  static void MakeImpostors() {
    const size_t first = knockers_->size();
    const std::string admin = AdminToken();
    const auto agent =
        ParseCertificate(fleet_->CredentialsOf(0).certificate_pem);
    ASSERT_TRUE(agent.ok());
    Knocks("garbage", "mst_adm_x");
    Knocks("no token at all", "");
    Knocks("a token that was never made",
           gateway::NewToken(gateway::TokenKind::kAccess).Reveal());
    Knocks("the stored hash of the admin token", gateway::Sha256Hex(admin));
    Knocks("an agent's id", fleet_->agent_id(0));
    Knocks("an agent's key pin", agent->pin);
    Knocks("an agent's certificate", agent->fingerprint_hex);
    Knocks("a token id", token_ids_["anna"]);
    Knocks("the admin token, cut", admin.substr(0, admin.size() - 1));
    Knocks("the admin token and more", admin + "0");
    Knocks("the admin token after a blank", " " + admin);
    Knocks("two tokens", admin + "," + admin);
    for (const std::string& line :
         {"Authorization: Basic " + absl::Base64Escape("admin:" + admin),
          "Authorization: Token " + admin, "Authorization: " + admin,
          "Proxy-Authorization: Bearer " + admin, "X-Api-Key: " + admin,
          "Cookie: token=" + admin, "Cookie: session=" + admin,
          "Authorization : Bearer " + admin}) {
      knockers_->push_back({line.substr(0, line.find(admin)), {line}});
    }
    for (size_t i = first; i < knockers_->size(); ++i) {
      (*knockers_)[i].impostor = true;
    }
  }

  static std::string AdminToken() {
    std::ifstream file(fleet_->gateway().admin_token().path);
    std::string token;
    file >> token;
    return token;
  }

  // The token of which it is said: its time was over before this gateway began.
  static void BornExpired() {
    TokenOf("eve", v1::ROLE_ADMIN);
    fleet_->StopGateway();
    {
      auto store = gateway::SqliteFleetStore::Open(fleet_->gateway_folder() +
                                                   "/muster.db");
      ASSERT_TRUE(store.ok()) << store.status();
      const absl::Time now = SystemClock().Wall();
      const auto hash =
          gateway::HashToken(gateway::TokenKind::kAccess, expired_);
      const absl::Status added = (*store)->AddAccessToken(
          {.id = TokenId(NewUuid(now)),
           .org = DefaultOrg(),
           .user = "eve",
           .secret_sha256 = absl::HexStringToBytes(*hash),
           .description = "",
           .scopes = {},
           .created_by = "admin-token",
           .created_at = now - absl::Hours(2),
           .expires_at = now - absl::Seconds(1),
           .revoked_at = {}});
      ASSERT_TRUE(added.ok()) << added;
    }
    fleet_->StartGateway();
  }

  // Everything that a call could have changed.
  static std::string World() {
    std::string world;
    for (const char* place :
         {"/api/agents", "/api/presence", "/api/commands", "/api/sessions",
          "/api/batches", "/api/tokens", "/api/users", "/api/users/vera/tokens",
          "/api/users/anna/tokens"}) {
      const auto answer = fleet_->rest().Get(place);
      EXPECT_TRUE(answer.ok() && answer->status == 200) << place;
      if (answer.ok()) world += answer->body;
    }
    // It has said goodbye; only how long ago that was goes on.
    static const std::regex kAges(
        "\"[a-z_]*(silence|age|for|since_heard)\":"
        "\"[0-9.]+s\"");
    return std::regex_replace(world, kAges, "");
  }

  static std::map<std::string, std::string> RealValues(
      const Operation& operation) {
    auto values = *real_;
    if (operation.pattern.starts_with("/api/tokens")) {
      values["token_id"] = join_token_id_;
    }
    return values;
  }

  RawAnswer Ask(const RawRequest& request) {
    ++asked_;
    return http_.Ask(request);
  }

  // Every spelling of a place to which `who` has no right.
  void ExpectNoWayAround(const Operation& operation, const std::string& path,
                         const Knocker& who, Verdict verdict) {
    const bool has_body = operation.verb != "HEAD";
    for (const std::string& spelling : Spellings(path)) {
      const RawRequest request = RequestOf(operation, spelling, who);
      const RawAnswer answer = Ask(request);
      EXPECT_TRUE(Obeys(verdict, answer, has_body) ||
                  IsNoPlace(answer, has_body))
          << who.name << ": " << Told(request, answer);
    }
    for (const std::string& header : OverrideHeaders()) {
      RawRequest request = RequestOf(operation, path, who);
      request.headers.push_back(header);
      const RawAnswer answer = Ask(request);
      EXPECT_TRUE(Obeys(verdict, answer, has_body))
          << who.name << ", " << header << ": " << Told(request, answer);
    }
    for (const char* trick :
         {"access_token", "token", "authorization", "api_key", "_method",
          "method", "role", "org", "principal"}) {
      RawRequest request = RequestOf(operation, path, who);
      request.target += fmt::format("?{}={}", trick, AdminToken());
      const RawAnswer answer = Ask(request);
      // Refused, or not even understood; the words say by whom.
      const bool misread =
          answer.status == 400 && answer.code == "invalid_argument" &&
          (answer.body.find(fmt::format("\"{}: unknown parameter; ", trick)) !=
               std::string::npos ||
           answer.body.find("query: this operation takes its fields from the "
                            "body only") != std::string::npos);
      EXPECT_TRUE(Obeys(verdict, answer, has_body) || misread)
          << who.name << ": " << Told(request, answer);
    }
  }

  static MiniFleet* fleet_;
  static std::vector<Knocker>* knockers_;
  // What fills the braces of a path: with things that are there, and not.
  static std::map<std::string, std::string>*real_, *nowhere_;
  static std::map<std::string, std::string> token_ids_;  // By user.
  static std::string join_token_id_, expired_;
  static int asked_;

  RawHttp http_{fleet_->gateway().web_port()};
};

MiniFleet* MatrixTest::fleet_;
std::vector<Knocker>* MatrixTest::knockers_;
std::map<std::string, std::string>*MatrixTest::real_, *MatrixTest::nowhere_;
std::map<std::string, std::string> MatrixTest::token_ids_;
std::string MatrixTest::join_token_id_, MatrixTest::expired_;
int MatrixTest::asked_;

TEST(ContractTest, EveryMethodHasTheRoleThatWasDecidedForIt) {
  std::map<v1::Role, std::set<std::string>> found;
  std::vector<std::string> placeless, scoped;
  for (const Operation& operation : Contract()) {
    if (operation.verb.empty()) {
      placeless.push_back(operation.method->full_name());
      EXPECT_EQ(operation.access.role(), v1::ROLE_UNSPECIFIED);
      continue;
    }
    found[operation.access.role()].insert(operation.name());
    const bool reads = operation.verb == "GET";
    EXPECT_NE(operation.access.changes_state(), reads) << operation.name();
    if (!operation.access.scope().empty()) scoped.push_back(operation.name());
  }
  EXPECT_EQ(found, kMethodsOf);
  EXPECT_THAT(scoped, ElementsAre("GetMetrics"));
  // The agents' own, on the fleet port.
  EXPECT_THAT(placeless, ElementsAre("muster.v1.AgentLink.Connect",
                                     "muster.v1.AgentLink.Transfer"));
}

TEST(ContractTest, TheRouterKnowsEveryOperationAndNothingElse) {
  std::set<std::string> contract, router;
  for (const Operation& operation : Contract()) {
    if (!operation.verb.empty()) {
      contract.insert(operation.verb + " " + operation.pattern);
    }
  }
  const auto built = gateway::Router::Build(gateway::OperatorServices());
  ASSERT_TRUE(built.ok()) << built.status();
  for (const gateway::Route* route : built->routes()) {
    router.insert(route->verb + " " + route->pattern);
  }
  EXPECT_EQ(router, contract);
}

TEST_F(MatrixTest, EachIsLetInWhereTheContractSaysSoAndNowhereElse) {
  std::map<Verdict, int> came;
  for (const Operation& operation : Contract()) {
    if (operation.verb.empty()) continue;
    const std::string path = PathOf(operation.pattern, *nowhere_);
    for (const Knocker& who : *knockers_) {
      const Verdict verdict = VerdictFor(operation.access, who);
      // Whoever may would be nobody from then on.
      if (SignsOut(operation) && verdict == Verdict::kLetIn) continue;
      const RawRequest request = RequestOf(operation, path, who);
      const RawAnswer answer = Ask(request);
      const bool broken_line =
          answer.code == "malformed_request" && who.impostor;
      EXPECT_TRUE(Obeys(verdict, answer, true) || broken_line)
          << who.name << ": " << Told(request, answer);
      ++came[verdict];
    }
  }
  for (const Verdict verdict :
       {Verdict::kLetIn, Verdict::kForbidden, Verdict::kUnauthenticated}) {
    EXPECT_GT(came[verdict], 50);
  }
}

TEST_F(MatrixTest, WhoIsRefusedChangesNothingAndNoSpellingHelps) {
  const std::string before = World();
  for (const Operation& operation : Contract()) {
    if (operation.verb.empty()) continue;
    const std::string path = PathOf(operation.pattern, RealValues(operation));
    for (const Knocker& who : *knockers_) {
      const Verdict verdict = VerdictFor(operation.access, who);
      if (verdict == Verdict::kLetIn || who.impostor) continue;
      ExpectNoWayAround(operation, path, who, verdict);
    }
  }
  EXPECT_EQ(World(), before);
}

TEST_F(MatrixTest, AVerbThatThePlaceDoesNotKnowDoesNothingForAnybody) {
  const std::string before = World();
  std::map<std::string, std::map<std::string, const Operation*>> places;
  for (const Operation& operation : Contract()) {
    if (!operation.verb.empty()) {
      places[PathOf(operation.pattern, RealValues(operation))][operation.verb] =
          &operation;
    }
  }
  for (const auto& [path, verbs] : places) {
    for (const char* verb :
         {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
          "SEARCH", "MOVE", "get", "Post", "delete", "FOO"}) {
      if (verbs.contains(verb)) continue;
      for (const Knocker& who : *knockers_) {
        const RawRequest request = {
            .verb = verb, .target = path, .headers = who.headers, .body = ""};
        const RawAnswer answer = Ask(request);
        if (answer.status == 400) {
          EXPECT_THAT(answer.code,
                      AnyOf("malformed_request",
                            request.verb == "HEAD" ? "" : "malformed_request"))
              << Told(request, answer);
        } else if (request.verb == "OPTIONS") {
          EXPECT_EQ(answer.status, 204) << Told(request, answer);
          EXPECT_THAT(answer.body, IsEmpty());
        } else if (request.verb == "HEAD" && verbs.contains("GET")) {
          EXPECT_TRUE(
              Obeys(VerdictFor(verbs.at("GET")->access, who), answer, false))
              << who.name << ": " << Told(request, answer);
        } else {
          EXPECT_EQ(answer.status, 405)
              << who.name << ": " << Told(request, answer);
        }
      }
    }
  }
  EXPECT_EQ(World(), before);
}

TEST_F(MatrixTest, AHeaderThatNamesAnotherVerbOrPathIsNotHeard) {
  const std::string before = World();
  const std::vector<std::string> admin = {"Authorization: Bearer " +
                                          AdminToken()};
  for (const Operation& operation : Contract()) {
    if (operation.verb != "GET") continue;
    const std::string path = PathOf(operation.pattern, RealValues(operation));
    const RawAnswer plain =
        Ask({.verb = "GET", .target = path, .headers = admin});
    for (const std::string& header : OverrideHeaders()) {
      if (!header.starts_with("X-") && !header.starts_with("Forwarded")) {
        continue;
      }
      auto headers = admin;
      headers.push_back(header);
      const RawRequest request = {.target = path, .headers = headers};
      const RawAnswer answer = Ask(request);
      EXPECT_EQ(answer.status, plain.status)
          << header << ": " << Told(request, answer);
    }
  }
  EXPECT_EQ(World(), before);
}

bool IsProduct(const std::string& file_name) {
  return (file_name.ends_with(".cc") || file_name.ends_with(".h")) &&
         file_name.find("_test.") == std::string::npos &&
         !file_name.starts_with("fake_") && !file_name.starts_with("test_");
}

// Every text in the gateway's source that could be a path.
std::set<std::string> PathsInSource() {
  std::set<std::string> paths;
  static const std::regex kLiteral("\"(/[A-Za-z0-9_./-]*)");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           MUSTER_SOURCE "/gateway")) {
    if (!IsProduct(entry.path().filename().string())) continue;
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    const std::string source = text.str();
    for (std::sregex_iterator it(source.begin(), source.end(), kLiteral), end;
         it != end; ++it) {
      paths.insert((*it)[1]);
    }
  }
  return paths;
}

bool IsOfContract(const std::string& path) {
  static const std::regex kCapture("[{][^}]*[}]");
  return std::ranges::any_of(Contract(), [&path](const Operation& operation) {
    const std::regex pattern(
        std::regex_replace(operation.pattern, kCapture, "[^/]+"));
    return std::regex_match(path, pattern);
  });
}

TEST_F(MatrixTest, WhatTheContractDoesNotKnowIsNotThere) {
  std::set<std::string> paths = PathsInSource();
  EXPECT_THAT(kPlainPlaces, IsSubsetOf(paths));  // The search works.
  for (const char* well_known : {"/index.html",    "/favicon.ico",
                                 "/robots.txt",    "/login",
                                 "/logout",        "/setup",
                                 "/install",       "/install.sh",
                                 "/admin",         "/debug",
                                 "/debug/pprof",   "/debug/vars",
                                 "/status",        "/healthz",
                                 "/readyz",        "/livez",
                                 "/version",       "/api",
                                 "/api/v1",        "/api/openapi.json",
                                 "/openapi.json",  "/swagger",
                                 "/graphql",       "/ws",
                                 "/static",        "/assets/app.js",
                                 "/ca.pem",        "/SetupWizard.aspx",
                                 "/.git/HEAD",     "/.env",
                                 "/server-status", "/actuator",
                                 "/console",       "/api/login",
                                 "/api/setup",     "/api/session",
                                 "/api/ca",        "/api/renew",
                                 "/admin-token"}) {
    paths.insert(well_known);
  }
  int strangers = 0;
  for (const std::string& path : paths) {
    if (kPlainPlaces.contains(path) || IsOfContract(path)) continue;
    ++strangers;
    for (const Knocker& who : *knockers_) {
      for (const char* verb : {"GET", "POST"}) {
        const RawRequest request = {
            .verb = verb, .target = path, .headers = who.headers};
        const RawAnswer answer = Ask(request);
        EXPECT_TRUE(IsNoPlace(answer, true))
            << who.name << ": " << Told(request, answer);
      }
    }
  }
  EXPECT_GT(strangers, 40);
}

TEST_F(MatrixTest, ThePlainPlacesAnswerEverybodyTheSameAndOnlyReading) {
  for (const std::string& place : kPlainPlaces) {
    for (const Knocker& who : *knockers_) {
      const RawAnswer answer = Ask({.target = place, .headers = who.headers});
      EXPECT_THAT(answer.status, AnyOf(200, 503, 400)) << place;
      EXPECT_THAT(answer.code, AnyOf("", "malformed_request"));
      EXPECT_THAT(answer.body, Not(HasSubstr(fleet_->agent_id(0))));
      for (const char* verb : {"POST", "PUT", "PATCH", "DELETE", "TRACE"}) {
        const int status =
            Ask({.verb = verb, .target = place, .headers = who.headers}).status;
        EXPECT_THAT(status, AnyOf(405, 400)) << verb << " " << place;
      }
    }
    for (const char* suffix : {"/x", "//", "%2f", "/..", "%00", ".json", ";"}) {
      const RawRequest request = {.target = place + suffix};
      const RawAnswer answer = Ask(request);
      EXPECT_TRUE(IsNoPlace(answer, true)) << Told(request, answer);
    }
  }
}

// What the fleet port says to an agent that calls a method by its full name.
grpc::Status CallOnFleetPort(MiniFleet& fleet, const Credentials& agent,
                             const std::string& method) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(agent::kGatewayName);
  const auto channel = grpc::CreateCustomChannel(
      fmt::format("127.0.0.1:{}", fleet.gateway().fleet_port()),
      agent::MakeAgentCredentials(agent.ca_pem, agent.certificate_pem,
                                  agent.key_pem),
      arguments);
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(
      absl::ToChronoTime(SystemClock().Wall() + absl::Seconds(20)));
  const grpc::Slice nothing;
  grpc::ByteBuffer request(&nothing, 1), response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(status); });
  return done.get_future().get();
}

TEST_F(MatrixTest, AnAgentsCertificateOpensNoOperationOnTheFleetPort) {
  const std::string before = World();
  const Credentials agent = fleet_->CredentialsOf(0);
  std::vector<std::string> methods = {
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      "/grpc.health.v1.Health/Check",
      "/grpc.channelz.v1.Channelz/GetServers",
      "/muster.v1.AgentLink/Connect/",
      "/muster.v1.AgentLink/connect",
      "//muster.v1.AgentLink/Connect",
      "/muster.v1.AgentLink/Register",
      "/"};
  for (const Operation& operation : Contract()) {
    if (operation.verb.empty()) continue;
    methods.push_back(fmt::format(
        "/{}/{}", operation.method->service()->full_name(), operation.name()));
    methods.push_back("/muster.v1.AgentLink/" + operation.name());
  }
  for (const std::string& method : methods) {
    const grpc::Status status = CallOnFleetPort(*fleet_, agent, method);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED)
        << method << ": " << status.error_message();
  }
  EXPECT_EQ(World(), before);
}

}  // namespace
}  // namespace muster::integration
