#include "gateway/http/problem.h"

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "libprotocol/base/ids.h"
#include "libprotocol/wire/proto_json.h"

namespace muster::gateway {

HttpResponse MakeProblem(const Problem& problem) {
  const std::string request_id = problem.request_id.empty()
                                     ? NewRequestId()
                                     : std::string(problem.request_id);
  HttpResponse response;
  response.status = problem.status;
  std::string& body = response.body;
  body = "{\"type\":\"about:blank\",\"title\":";
  wire::AppendJsonString(ReasonPhrase(problem.status), body);
  body += fmt::format(",\"status\":{},\"detail\":", problem.status);
  wire::AppendJsonString(problem.detail, body);
  body += ",\"code\":";
  wire::AppendJsonString(problem.code, body);
  if (!problem.reason.empty()) {
    body += ",\"reason\":";
    wire::AppendJsonString(problem.reason, body);
  }
  body += ",\"request_id\":";
  wire::AppendJsonString(request_id, body);
  body += "}\n";
  response.headers = {{"Content-Type", "application/problem+json"},
                      {"X-Request-Id", request_id}};
  if (problem.status == 401) {
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
  }
  AddSafetyHeaders(response);
  return response;
}

std::string NewRequestId() { return absl::BytesToHexString(RandomBytes(8)); }

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Error";
  }
}

void AddSafetyHeaders(HttpResponse& response) {
  response.headers.insert(
      response.headers.end(),
      {{"Cache-Control", "no-store"},
       {"X-Content-Type-Options", "nosniff"},
       {"Referrer-Policy", "no-referrer"},
       {"Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"}});
}

}  // namespace muster::gateway
