// The token of somebody who signed in with a browser: a cookie that no script
// reads, and the proof that a request which changes something comes from our
// own page.

#ifndef MUSTER_GATEWAY_HTTP_COOKIE_H_
#define MUSTER_GATEWAY_HTTP_COOKIE_H_

#include <string>

#include "absl/status/statusor.h"
#include "gateway/http/http_message.h"
#include "libprotocol/base/secret.h"

namespace muster::gateway {

// "muster_session"; over TLS with the prefix "__Host-", which a browser sets
// and sends only if it came so (RFC 6265bis §4.1.3.2).
std::string CookieName(bool secure);

// The value of a Set-Cookie header: HttpOnly, SameSite=Strict, for the
// browser's session. An empty token takes the cookie away.
std::string SetCookie(const Secret& token, bool secure);

// What proves knowledge of the token without being it.
std::string CsrfToken(const Secret& token);

// PermissionDenied if a page of another origin asks: Origin is there, and is not
// our own Host.
absl::Status CheckOrigin(const HttpRequest& request, bool secure);

// The token in the request's cookie; empty if there is none, or if the request
// has an Authorization header, which counts alone. PermissionDenied as
// CheckOrigin(), or if the request changes something (its method is not GET or
// HEAD) without the header X-Csrf-Token.
absl::StatusOr<Secret> CookieToken(const HttpRequest& request, bool secure);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_COOKIE_H_
