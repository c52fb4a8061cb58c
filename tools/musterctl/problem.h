// The gateway's "no", carried inside an absl::Status.

#ifndef MUSTER_TOOLS_MUSTERCTL_PROBLEM_H_
#define MUSTER_TOOLS_MUSTERCTL_PROBLEM_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace muster::ctl {

// An RFC 9457 problem object.
struct Problem {
  int status = 0;
  std::string code =
      {};  // "agent_unreachable"; empty if the body was no problem.
  std::string title = {};
  std::string detail = {};
  std::string request_id = {};
  std::string body = {};  // As it came.
};

// The error that an HTTP answer of `http_status` means: never OK. The message
// is the problem's detail, else its title, else the status itself.
absl::Status ProblemStatus(int http_status, std::string_view body);

// The problem inside `status`, if the gateway sent one.
std::optional<Problem> ProblemOf(const absl::Status& status);

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_PROBLEM_H_
