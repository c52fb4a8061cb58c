#include "gateway/http/cookie.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::gateway {
namespace {

using testing::HasSubstr;

const Secret kToken("mst_secret");

HttpRequest Request(const std::string& method, HttpHeaders headers) {
  HttpRequest request;
  request.method = method;
  request.headers = {{"host", "gw.example:7080"}};
  for (auto& header : headers) request.headers.push_back(std::move(header));
  return request;
}

std::string Token(const HttpRequest& request, bool secure = true) {
  const auto token = CookieToken(request, secure);
  return token.ok() ? token->Reveal() : "refused";
}

constexpr char kCookie[] = "a=b; __Host-muster_session=mst_secret; c=d";

TEST(CookieTest, NoScriptReadsItAndNoOtherSiteSendsIt) {
  EXPECT_EQ(SetCookie(kToken, true),
            "__Host-muster_session=mst_secret; Path=/; HttpOnly; "
            "SameSite=Strict; Secure");
  EXPECT_EQ(SetCookie(kToken, false),
            "muster_session=mst_secret; Path=/; HttpOnly; SameSite=Strict");
  EXPECT_THAT(SetCookie(Secret(), true), HasSubstr("Max-Age=0"));
}

TEST(CookieTest, ReadingNeedsTheCookieAlone) {
  EXPECT_EQ(Token(Request("GET", {{"cookie", kCookie}})), "mst_secret");
  EXPECT_EQ(Token(Request("GET", {})), "");
  EXPECT_EQ(Token(Request("GET", {{"cookie", "muster_session=mst_secret"}})),
            "")
      << "set by plain HTTP, which anybody on the way may have done";
  EXPECT_EQ(Token(Request("GET", {{"cookie", "x__Host-muster_session=evil"}})),
            "");
}

TEST(CookieTest, ChangingNeedsWhatOnlyOurOwnPageKnows) {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
    EXPECT_EQ(Token(Request(method, {{"cookie", kCookie}})), "refused");
    EXPECT_EQ(Token(Request(method,
                            {{"cookie", kCookie}, {"x-csrf-token", "guess"}})),
              "refused");
    EXPECT_EQ(Token(Request(method, {{"cookie", kCookie},
                                     {"x-csrf-token", CsrfToken(kToken)}})),
              "mst_secret");
  }
  EXPECT_THAT(CsrfToken(kToken), Not(HasSubstr("secret")));
}

TEST(CookieTest, AnotherOriginIsRefusedEvenToRead) {
  for (const char* origin :
       {"https://evil.example", "null", "", "http://gw.example:7080",
        "https://gw.example", "https://gw.example:7080.evil.example",
        "https://sub.gw.example:7080"}) {
    EXPECT_EQ(Token(Request("GET", {{"cookie", kCookie}, {"origin", origin}})),
              "refused")
        << origin;
  }
  EXPECT_EQ(Token(Request("GET", {{"cookie", kCookie},
                                  {"origin", "https://gw.example:7080"}})),
            "mst_secret");
}

TEST(CookieTest, ABearerTokenCountsAlone) {
  EXPECT_EQ(Token(Request("POST", {{"cookie", kCookie},
                                   {"authorization", "Bearer mst_other"}})),
            "");
}

}  // namespace
}  // namespace muster::gateway
