#include "tools/musterctl/problem.h"

#include <utility>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "nlohmann/json.hpp"

namespace muster::ctl {
namespace {

constexpr char kProblemUrl[] = "muster.dev/problem";

absl::StatusCode CodeOf(const Problem& problem) {
  switch (problem.status) {
    case 400:
    case 413:
    case 415:
      return problem.code.empty() || problem.code == "invalid_argument"
                 ? absl::StatusCode::kInvalidArgument
                 : absl::StatusCode::kFailedPrecondition;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 409:
      return absl::StatusCode::kAborted;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    case 502:
    case 503:
      return absl::StatusCode::kUnavailable;
    case 504:
      return absl::StatusCode::kDeadlineExceeded;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string Text(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

Problem ParseProblem(int http_status, std::string_view body) {
  Problem problem{.status = http_status, .body = std::string(body)};
  const auto object =
      nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return problem;
  problem.code = Text(object, "code");
  problem.title = Text(object, "title");
  problem.detail = Text(object, "detail");
  problem.request_id = Text(object, "request_id");
  return problem;
}

}  // namespace

absl::Status ProblemStatus(int http_status, std::string_view body) {
  const Problem problem = ParseProblem(http_status, body);
  std::string text = problem.detail.empty() ? problem.title : problem.detail;
  if (text.empty()) {
    text = fmt::format("the gateway answered HTTP {}", http_status);
  }
  absl::Status status(CodeOf(problem), text);
  // The HTTP status goes first: a proxy's answer may be no problem object.
  status.SetPayload(kProblemUrl,
                    absl::Cord(fmt::format("{} {}", http_status, body)));
  return status;
}

std::optional<Problem> ProblemOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kProblemUrl);
  if (!payload) return std::nullopt;
  const std::string text(*payload);
  const size_t space = text.find(' ');
  return ParseProblem(std::stoi(text.substr(0, space)), text.substr(space + 1));
}

}  // namespace muster::ctl
