#include "tools/musterctl/exit_code.h"

#include <optional>

#include "fmt/format.h"
#include "libprotocol/base/absl_compat.h"
#include "libprotocol/net/failure_class.h"
#include "libprotocol/wire/proto_json.h"
#include "libprotocol/wire/status_codes.h"
#include "tools/musterctl/problem.h"

namespace muster::ctl {
namespace {

constexpr char kHintUrl[] = "muster.dev/hint";

std::string HintOf(const absl::Status& status) {
  if (const auto hint = status.GetPayload(kHintUrl)) return std::string(*hint);
  if (FailureClassOf(status) == FailureClass::kTlsFailure) {
    return "if it is the right gateway: --pin, as its `tokens create` line "
           "says, "
           "or --ca-file";
  }
  const std::optional<Problem> problem = ProblemOf(status);
  if (!problem) return "";
  if (problem->status == 401) {
    return "musterctl login   (or set MUSTER_TOKEN)";
  }
  if (problem->code == "agent_unreachable") {
    return "--if-offline queue:2h runs it if the machine is back by then";
  }
  return "";
}

std::string JsonError(const absl::Status& status, std::string_view text) {
  // Who was not proven to be the gateway has answered as little as nobody.
  const absl::StatusCode code = FailureClassOf(status).has_value()
                                    ? absl::StatusCode::kUnavailable
                                    : status.code();
  std::string out = "{\"title\":";
  wire::AppendJsonString(text, out);
  out += ",\"code\":";
  wire::AppendJsonString(wire::CodeName(code), out);
  return out + "}";
}

}  // namespace

bool TokenRefused(const absl::Status& status) {
  return absl::IsUnauthenticated(status) && !FailureClassOf(status).has_value();
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (FailureClassOf(status).has_value()) return kExitGatewayUnreachable;
  if (const auto problem = ProblemOf(status)) {
    if (problem->code == "agent_unreachable") return kExitAgentUnreachable;
    if (problem->status == 503) return kExitGatewayUnreachable;
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitAuth;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitGatewayUnreachable;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return kExitConflict;
    default:
      return kExitFailure;
  }
}

bool IsPassing(const absl::Status& error) {
  if (const auto problem = ProblemOf(error)) {
    return problem->status >= 500 || problem->status == 429;
  }
  return absl::IsUnavailable(error) || absl::IsDeadlineExceeded(error) ||
         absl::IsDataLoss(error);
}

absl::Status WithHint(absl::Status status, std::string_view hint) {
  if (!hint.empty()) status.SetPayload(kHintUrl, absl::Cord(ToAbsl(hint)));
  return status;
}

std::string ErrorText(const absl::Status& status, bool as_json) {
  const std::optional<Problem> problem = ProblemOf(status);
  const std::string_view text = ToStd(status.message());
  if (as_json) {
    std::string object = problem ? problem->body : JsonError(status, text);
    if (!object.ends_with('\n')) object += '\n';
    return object;
  }
  std::string out = fmt::format("error: {}\n", text);
  if (problem && problem->status >= 500 && !problem->request_id.empty()) {
    out += fmt::format("       request {}\n", problem->request_id);
  }
  if (const std::string hint = HintOf(status); !hint.empty()) {
    out += fmt::format("hint: {}\n", hint);
  }
  return out;
}

}  // namespace muster::ctl
