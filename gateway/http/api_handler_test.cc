#include "gateway/http/api_handler.h"

#include <optional>
#include <string>
#include <vector>

#include "gateway/http/fake_api.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "muster/v1/agent_link.pb.h"
#include "muster/v1/fleet_admin.pb.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class ApiHandlerTest : public testing::Test {
 protected:
  HttpResponse Ask(std::string method, std::string target,
                   std::string body = "", HttpHeaders headers = {}) {
    HttpRequest request;
    request.method = std::move(method);
    request.target = target;
    request.path = target.substr(0, target.find('?'));
    if (request.path.size() < target.size()) {
      request.query = target.substr(request.path.size() + 1);
    }
    request.headers = std::move(headers);
    request.body = std::move(body);
    request.peer_address = "192.0.2.7";
    std::optional<HttpResponse> answer;
    handler_->Handle(std::move(request), Respond([&](HttpResponse response) {
                       answer = std::move(response);
                     }));
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(
        HttpResponse{.status = 0, .headers = {}, .body = ""});
  }

  static std::string Header(const HttpResponse& response,
                            std::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }

  FakeApi api_;
  Readiness readiness_{.ready = true, .json = "{\"presence\":\"confirmed\"}"};
  std::unique_ptr<ApiHandler> handler_ = *ApiHandler::Create(
      api_,
      {v1::Agent::descriptor()->file()->pool()->FindServiceByName(
           "muster.v1.FleetAdmin"),
       v1::Agent::descriptor()->file()->pool()->FindServiceByName(
           "muster.v1.Enrollment")},
      [this] { return readiness_; }, ApiHandler::Options());
};

TEST_F(ApiHandlerTest, TheMessageItselfIsGivenToWhoAsksForIt) {
  api_.fill = [](google::protobuf::Message& m) {
    static_cast<v1::Command&>(m).set_command_id("c1");
  };
  const HttpResponse response = Ask("GET", "/api/commands/c1", "",
                                    {{"accept", "application/x-protobuf"}});
  EXPECT_EQ(Header(response, "Content-Type"), "application/x-protobuf");
  v1::Command command;
  ASSERT_TRUE(command.ParseFromString(response.body));
  EXPECT_EQ(command.command_id(), "c1");
}

TEST_F(ApiHandlerTest, PathBodyAndHeadersBecomeOneMessage) {
  api_.fill = [](google::protobuf::Message& m) {
    static_cast<v1::Command&>(m).set_command_id("c 1");
  };
  const HttpResponse response =
      Ask("POST", "/api/agents/a1/commands",
          R"({"command":"uptime","shell_type":"sh"})",
          {{"authorization", "Bearer s3cret"},
           {"content-type", "application/json; charset=UTF-8"},
           {"idempotency-key", "k1"},
           {"host", "gw.example:7080"},
           {"x-request-id", "req-1"}});
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(Header(response, "Location"), "/api/commands/c%201");
  EXPECT_EQ(Header(response, "Content-Type"), "application/json");
  EXPECT_EQ(Header(response, "X-Request-Id"), "req-1");
  EXPECT_EQ(Header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(Header(response, "X-Content-Type-Options"), "nosniff");
  EXPECT_THAT(response.body, HasSubstr("\"command_id\":\"c 1\""));
  ASSERT_EQ(api_.calls.size(), 1u);
  const FakeApi::Seen& seen = api_.calls[0];
  EXPECT_EQ(seen.method, "SubmitCommand");
  EXPECT_EQ(seen.request,
            R"({"agent_id":"a1","command":"uptime","shell_type":"sh",)"
            R"("argv":[],"if_offline":"unspecified","idempotency_key":"k1",)"
            R"("labels":{},"purpose":"","input_streamed":false})");
  EXPECT_EQ(seen.context.bearer.Reveal(), "s3cret");
  EXPECT_EQ(seen.context.peer_address, "192.0.2.7");
  EXPECT_EQ(seen.context.request_id, "req-1");
  EXPECT_EQ(seen.context.web_authority, "gw.example:7080");
}

TEST_F(ApiHandlerTest, QueryParametersFillTheRequest) {
  EXPECT_EQ(
      Ask("GET", "/api/v1/agents?status=offline&status=stale&limit=2").status,
      200);
  EXPECT_EQ(api_.calls.at(0).request,
            R"({"status":["offline","stale"],"hostname":"","label":[],)"
            R"("limit":2,"page_token":"","silenced":false})");
  EXPECT_TRUE(api_.calls[0].context.bearer.empty());
}

TEST_F(ApiHandlerTest, ErrorsAreProblems) {
  api_.error = {.status = absl::FailedPreconditionError("web-7 is offline"),
                .code = "agent_unreachable",
                .retry_after = {}};
  const HttpResponse response =
      Ask("GET", "/api/agents/web-7", "", {{"x-request-id", "r1"}});
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(Header(response, "Content-Type"), "application/problem+json");
  EXPECT_EQ(Header(response, "X-Request-Id"), "r1");
  EXPECT_EQ(response.body,
            R"({"type":"about:blank","title":"Bad Request","status":400,)"
            R"("detail":"web-7 is offline","code":"agent_unreachable",)"
            R"("request_id":"r1"})"
            "\n");
}

TEST_F(ApiHandlerTest, WithoutACodeOfItsOwnTheStatusNamesTheError) {
  api_.error = {.status = absl::NotFoundError("no machine x"),
                .code = "",
                .retry_after = {}};
  const HttpResponse response = Ask("GET", "/api/agents/x");
  EXPECT_EQ(response.status, 404);
  EXPECT_THAT(response.body, HasSubstr("\"code\":\"not_found\""));
  api_.error.status = absl::UnauthenticatedError("token unknown");
  EXPECT_EQ(Header(Ask("GET", "/api/agents/x"), "WWW-Authenticate"), "Bearer");
}

TEST_F(ApiHandlerTest, BusyAnswersSayWhenToComeBack) {
  api_.error = {.status = absl::UnavailableError("starting"),
                .code = "",
                .retry_after = absl::Milliseconds(2500)};
  EXPECT_EQ(Header(Ask("GET", "/api/agents"), "Retry-After"), "3");
  api_.error.retry_after = absl::ZeroDuration();
  api_.error.status = absl::ResourceExhaustedError("too many");
  const HttpResponse response = Ask("GET", "/api/agents");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(Header(response, "Retry-After"), "1");
}

TEST_F(ApiHandlerTest, AnInternalErrorKeepsItsTextToTheLog) {
  api_.error = {.status = absl::InternalError("row 7 of table agents"),
                .code = "",
                .retry_after = {}};
  const HttpResponse response = Ask("GET", "/api/agents");
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, Not(HasSubstr("row 7")));
  EXPECT_THAT(response.body, HasSubstr("request_id="));
}

TEST_F(ApiHandlerTest, BytesGoOutAsTheyAre) {
  api_.fill = [](google::protobuf::Message& m) {
    auto& raw = static_cast<v1::RawBody&>(m);
    raw.set_content_type("text/plain");
    raw.set_data(std::string("\0\xff\n", 3));
  };
  const HttpResponse response = Ask("GET", "/metrics");
  EXPECT_EQ(response.body, std::string("\0\xff\n", 3));
  EXPECT_EQ(Header(response, "Content-Type"), "text/plain");
}

// Ten bytes are stored.
void FillTenBytes(google::protobuf::Message& m) {
  auto& raw = static_cast<v1::RawBody&>(m);
  raw.mutable_part()->set_offset(7);
  raw.mutable_part()->set_size(10);
  raw.set_data("789");
}

TEST_F(ApiHandlerTest, StoredBytesAreAskedForFromWhereTheCallerWants) {
  constexpr char kTarget[] = "/api/commands/c1/output/stderr";
  api_.fill = FillTenBytes;
  HttpResponse response = Ask("GET", std::string(kTarget) + "?offset=7");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "789");
  EXPECT_EQ(Header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(
      api_.calls.back().request,
      R"({"command_id":"c1","stream":"stderr","offset":7,"bytes_max":1048576})");
  response = Ask("GET", kTarget, "",
                 {{"range", "bytes=7-8"}, {"authorization", "Bearer t"}});
  EXPECT_EQ(response.status, 206);
  EXPECT_EQ(response.body, "78");
  EXPECT_EQ(Header(response, "Content-Range"), "bytes 7-8/10");
  EXPECT_EQ(
      api_.calls.back().request,
      R"({"command_id":"c1","stream":"stderr","offset":7,"bytes_max":2})");
  EXPECT_EQ(api_.calls.back().context.bearer.Reveal(), "t");
}

TEST_F(ApiHandlerTest, ARangeThatDoesNotHoldHereIsIgnored) {
  constexpr char kTarget[] = "/api/commands/c1/output/stderr?offset=7";
  api_.fill = FillTenBytes;
  const std::pair<std::string, std::string> range = {"range", "bytes=8-8"};
  EXPECT_EQ(Ask("GET", kTarget, "", {range}).status, 206);
  EXPECT_EQ(Ask("HEAD", kTarget, "", {range}).status, 200);
  EXPECT_EQ(Ask("GET", kTarget, "", {range, range}).status, 200);
  EXPECT_EQ(Ask("GET", kTarget, "", {range, {"if-range", "\"x\""}}).status,
            200);
}

struct BadCase {
  std::string method;
  std::string target;
  std::string body;
  HttpHeaders headers;
  int status;
  std::string text;  // Part of the problem.
};

TEST_F(ApiHandlerTest, BadRequestsAreExplainedAndNeverReachTheApi) {
  const std::string submit = "/api/agents/a/commands";
  const std::vector<BadCase> cases = {
      {"GET", "/api/nothing", "", {}, 404, "unknown_route"},
      {"GET", "/api/agents//x", "", {}, 404, "unknown_route"},
      {"GET", "/api/agents/a%2fb", "", {}, 400, "invalid_path"},
      {"GET", "/api/agents/../status", "", {}, 400, "invalid_path"},
      {"PUT", "/api/agents", "", {}, 405, "method_not_allowed"},
      {"POST", "/health", "", {}, 405, "method_not_allowed"},
      {"POST", submit, "{", {}, 400, "body: not valid JSON at byte"},
      {"POST", submit, R"({"command":3})", {}, 400, "command: expected a str"},
      {"POST", submit, R"({"comand":""})", {}, 400, "comand: unknown field"},
      {"POST",
       submit,
       R"({"agent_id":"b"})",
       {},
       400,
       "agent_id: already given in the path"},
      {"POST", submit + "?x=1", "{}", {}, 400, "query: this operation"},
      {"POST",
       submit,
       R"({"idempotency_key":"x"})",
       {{"idempotency-key", "y"}},
       400,
       "idempotency_key: already given"},
      {"POST",
       submit,
       "x=1",
       {{"content-type", "application/x-www-form-urlencoded"}},
       415,
       "expected application/json"},
      {"POST",
       submit,
       "{}",
       {{"content-type", "application/json; charset=latin1"}},
       415,
       "unsupported_media_type"},
      {"POST", "/api/commands/c/cancel", "{}", {}, 400, "body: this operation"},
      {"GET",
       "/api/agents?colour=red",
       "",
       {},
       400,
       "colour: unknown parameter; known: status"},
      {"GET", "/api/agents?limit=%zz", "", {}, 400, "query: broken"},
      {"GET", "/api/agents?limit=many", "", {}, 400, "limit: expected an int"},
      {"GET",
       "/api/commands/c/output/stdin",
       "",
       {},
       400,
       "stream: expected one of stdout, stderr"},
      {"GET",
       "/api/agents",
       "",
       {{"authorization", "Bearer a"}, {"authorization", "Bearer b"}},
       400,
       "authorization: given more than once"},
      {"GET", "/api/agents", "", {{"host", "x;$(reboot)"}}, 400, "header host"},
      {"GET", "/api/agents", "", {{"host", "[::1"}}, 400, "header host"},
  };
  for (const BadCase& c : cases) {
    const HttpResponse response = Ask(c.method, c.target, c.body, c.headers);
    EXPECT_EQ(response.status, c.status) << c.target << response.body;
    EXPECT_THAT(response.body, HasSubstr(c.text)) << c.target;
    EXPECT_EQ(Header(response, "Content-Type"), "application/problem+json");
  }
  EXPECT_TRUE(api_.calls.empty());
}

TEST_F(ApiHandlerTest, AWrongVerbAndOptionsSayWhatIsAllowed) {
  EXPECT_EQ(Header(Ask("PUT", "/api/agents"), "Allow"), "GET, HEAD, OPTIONS");
  const HttpResponse response = Ask("OPTIONS", "/api/agents/a");
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(Header(response, "Allow"), "DELETE, GET, HEAD, OPTIONS");
}

TEST_F(ApiHandlerTest, AnEmptyBodyIsAnEmptyObject) {
  EXPECT_EQ(Ask("POST", "/api/tokens").status, 201);
  EXPECT_EQ(api_.calls.at(0).method, "CreateToken");
}

TEST_F(ApiHandlerTest, RequestIdsThatWouldSpoilALogAreReplaced) {
  for (std::string id : {std::string("a b"), std::string("a\"b"),
                         std::string(129, 'x'), std::string()}) {
    const HttpResponse response =
        Ask("GET", "/health", "", {{"x-request-id", id}});
    EXPECT_THAT(Header(response, "X-Request-Id"), MatchesRegex("[0-9a-f]{16}"));
  }
}

TEST_F(ApiHandlerTest, HealthIsAlwaysWellAndReadyAsks) {
  EXPECT_EQ(Ask("GET", "/health").body, "{\"status\":\"ok\"}\n");
  EXPECT_EQ(Ask("GET", "/ready").status, 200);
  readiness_ = {.ready = false, .json = "{\"presence\":\"unconfirmed\"}"};
  const HttpResponse response = Ask("GET", "/ready");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "{\"presence\":\"unconfirmed\"}\n");
}

// The next part of an answer in parts.
HttpResponse NextOf(const HttpResponse& answer) {
  std::optional<HttpResponse> next;
  answer.more(Respond([&](HttpResponse r) { next = std::move(r); }));
  return next.value_or(HttpResponse{.status = 0, .headers = {}, .body = ""});
}

constexpr char kStream[] = "text/event-stream";

TEST_F(ApiHandlerTest, EventsAreOneAnswerOrAStreamAsTheCallerWishes) {
  api_.fill = [](google::protobuf::Message& m) {
    static_cast<v1::WatchEventsResponse&>(m).set_next("7-1");
  };
  const HttpResponse one = Ask("GET", "/api/events?after=7-1&wait=5s");
  EXPECT_EQ(Header(one, "Content-Type"), "application/json");
  EXPECT_EQ(one.more, nullptr);
  EXPECT_EQ(api_.calls.back().request,
            R"({"after":"7-1","wait":"5s","limit":0})");
  const HttpResponse stream =
      Ask("GET", "/api/events?after=7-1", "",
          {{"accept", "text/event-stream"}, {"authorization", "Bearer t"}});
  EXPECT_EQ(Header(stream, "Content-Type"), kStream);
  EXPECT_EQ(stream.body, "retry: 2000\n\n");
  EXPECT_EQ(handler_->event_streams(), 1u);
  EXPECT_EQ(NextOf(stream).body, ":\n\n") << "nothing has happened";
  EXPECT_EQ(api_.calls.back().request,
            R"({"after":"7-1","wait":"15s","limit":100})");
  EXPECT_EQ(api_.calls.back().context.bearer.Reveal(), "t");
}

TEST_F(ApiHandlerTest, AStreamGoesOnAfterWhatTheReaderHasSeen) {
  Ask("GET", "/api/events?after=7-1", "",
      {{"accept", kStream}, {"last-event-id", "7-9"}});
  EXPECT_THAT(api_.calls.back().request, HasSubstr(R"("after":"7-9")"));
}

TEST_F(ApiHandlerTest, EventsAreFramesAndAResetIsOneToo) {
  api_.fill = [](google::protobuf::Message& m) {
    auto& answer = static_cast<v1::WatchEventsResponse&>(m);
    answer.set_next("7-1");
    answer.set_reset(v1::EVENT_RESET_TOO_OLD);
  };
  const HttpResponse stream =
      Ask("GET", "/api/events", "", {{"accept", kStream}});
  EXPECT_EQ(stream.body,
            "retry: 2000\n\nid: 7-1\nevent: reset\n"
            "data: {\"version\":\"7-1\",\"reason\":\"too_old\"}\n\n");
  api_.fill = [](google::protobuf::Message& m) {
    auto& answer = static_cast<v1::WatchEventsResponse&>(m);
    answer.set_next("7-3");
    for (const char* version : {"7-2", "7-3"}) {
      v1::Event& event = *answer.add_events();
      event.set_version(version);
      event.set_kind(v1::EVENT_KIND_TRANSITION);
      event.mutable_transition()->set_summary("two\nlines");
    }
  };
  const HttpResponse part = NextOf(stream);
  EXPECT_THAT(part.body,
              MatchesRegex("id: 7-2\nevent: transition\ndata: [^\n]*\n\n"
                           "id: 7-3\nevent: transition\ndata: [^\n]*\n\n"));
  NextOf(part);
  EXPECT_THAT(api_.calls.back().request, HasSubstr(R"("after":"7-3")"));
}

TEST_F(ApiHandlerTest, AStreamThatIsRefusedIsAProblemAndLaterItsEnd) {
  const HttpResponse stream =
      Ask("GET", "/api/events", "", {{"accept", kStream}});
  api_.error = {absl::UnauthenticatedError("the token is not valid"), "", {}};
  EXPECT_EQ(NextOf(stream).status, 503) << "the token was revoked";
  const HttpResponse refused =
      Ask("GET", "/api/events", "", {{"accept", kStream}});
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(Header(refused, "Content-Type"), "application/problem+json");
  EXPECT_EQ(refused.more, nullptr);
}

TEST_F(ApiHandlerTest, StreamsAreBoundedAndCountedOut) {
  std::vector<HttpResponse> open;
  for (size_t i = 0; i < EventStreams::kOpenMax; ++i) {
    open.push_back(Ask("GET", "/api/events", "", {{"accept", kStream}}));
    ASSERT_EQ(open.back().status, 200);
  }
  const HttpResponse refused =
      Ask("GET", "/api/events", "", {{"accept", kStream}});
  EXPECT_EQ(refused.status, 429);
  EXPECT_THAT(refused.body, HasSubstr("too_many_watchers"));
  open.pop_back();
  EXPECT_EQ(Ask("GET", "/api/events", "", {{"accept", kStream}}).status, 200);
  open.clear();
  EXPECT_EQ(handler_->event_streams(), 0u);
}

TEST_F(ApiHandlerTest, TheFrontPageHasNoScriptAndAStrictPolicy) {
  const HttpResponse response = Ask("GET", "/");
  EXPECT_THAT(Header(response, "Content-Type"), HasSubstr("text/html"));
  EXPECT_THAT(Header(response, "Content-Security-Policy"),
              HasSubstr("default-src 'none'"));
  EXPECT_THAT(response.body, HasSubstr("login --token-file"));
  EXPECT_THAT(response.body, Not(HasSubstr("<script")));
}

TEST(RespondTest, AnUnansweredRequestIsAnswered500) {
  int status = 0;
  {
    Respond respond([&](HttpResponse r) { status = r.status; });
  }
  EXPECT_EQ(status, 500);
}

}  // namespace
}  // namespace muster::gateway
