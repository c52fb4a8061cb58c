#include "gateway/http/cookie.h"

#include <string_view>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "fmt/format.h"
#include "gateway/identity/secret_token.h"
#include "libprotocol/base/absl_compat.h"

namespace muster::gateway {
namespace {

// The value of the first cookie of this name.
std::string_view CookieOf(const HttpRequest& request, std::string_view name) {
  for (const auto pair :
       absl::StrSplit(ToAbsl(request.Header("cookie")), ';')) {
    std::string_view one = ToStd(absl::StripAsciiWhitespace(pair));
    if (one.starts_with(name) && one.substr(name.size()).starts_with('=')) {
      return one.substr(name.size() + 1);
    }
  }
  return {};
}

bool ChangesSomething(const HttpRequest& request) {
  return request.method != "GET" && request.method != "HEAD";
}

}  // namespace

std::string CookieName(bool secure) {
  return secure ? "__Host-muster_session" : "muster_session";
}

std::string SetCookie(const Secret& token, bool secure) {
  return fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict{}{}",
                     CookieName(secure), token.Reveal(),
                     secure ? "; Secure" : "",
                     token.empty() ? "; Max-Age=0" : "");
}

std::string CsrfToken(const Secret& token) {
  return Sha256Hex("csrf:" + token.Reveal());
}

absl::Status CheckOrigin(const HttpRequest& request, bool secure) {
  const std::string own =
      fmt::format("{}://{}", secure ? "https" : "http", request.Header("host"));
  if (request.HeaderCount("origin") == 0 || request.Header("origin") == own) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(
      fmt::format("header origin: must be {}", own));
}

absl::StatusOr<Secret> CookieToken(const HttpRequest& request, bool secure) {
  if (request.HeaderCount("authorization") > 0) return Secret();
  const std::string_view value = CookieOf(request, CookieName(secure));
  if (value.empty()) return Secret();
  Secret token{std::string(value)};
  if (absl::Status s = CheckOrigin(request, secure); !s.ok()) return s;
  if (ChangesSomething(request) &&
      !SameHash(CsrfToken(token), request.Header("x-csrf-token"))) {
    return absl::PermissionDeniedError(
        "header x-csrf-token: must be the one that sign-in gave");
  }
  return token;
}

}  // namespace muster::gateway
