// Errors over HTTP: RFC 9457 application/problem+json.

#ifndef MUSTER_GATEWAY_HTTP_PROBLEM_H_
#define MUSTER_GATEWAY_HTTP_PROBLEM_H_

#include <string>
#include <string_view>

#include "gateway/http/http_message.h"

namespace muster::gateway {

struct Problem {
  int status = 500;
  std::string_view code = {};        // For programs: "agent_unreachable".
  std::string_view detail = {};      // For people: a sentence.
  std::string_view request_id = {};  // Empty: a new one.
  std::string_view reason = {};      // Which of several; empty: left out.
};

HttpResponse MakeProblem(const Problem& problem);

// 16 random hexadecimal digits. Thread-safe.
std::string NewRequestId();

// "Not Found"; "Error" for a status without a name here.
std::string_view ReasonPhrase(int status);

// What every answer carries: never cached, never guessed at, never framed, no
// script.
void AddSafetyHeaders(HttpResponse& response);

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_HTTP_PROBLEM_H_
