// The methods of FleetAdmin, called over REST. Verbs, paths and fields come
// from the `http` option of each method: nothing is written twice.

#ifndef MUSTER_TOOLS_MUSTERCTL_GATEWAY_API_H_
#define MUSTER_TOOLS_MUSTERCTL_GATEWAY_API_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/base/status_macros.h"
#include "tools/musterctl/transport.h"

namespace muster::ctl {

template <typename Response>
struct Answer {
  Response message;
  std::string body;  // As it came, for `-o json`.
  // The gateway's own clock when it answered. Ages are measured against it, so
  // that they are right on a machine whose clock is not.
  std::optional<absl::Time> served_at;
};

struct CallOptions {
  // How long the gateway may hold the answer back; added to the call's timeout.
  absl::Duration wait = absl::ZeroDuration();
  std::string idempotency_key = {};            // Empty: none.
  std::optional<absl::Duration> timeout = {};  // Instead of the api's.
  // For much output: the answer's body is no JSON, and cheap to read.
  bool as_protobuf = false;
};

// GatewayApi calls one gateway as one principal. Not thread-safe, but for
// Abort(); blocks. The transport must outlive it.
class GatewayApi {
 public:
  // `org`: which one is meant; empty: that of the token.
  GatewayApi(Transport& transport, Secret token, absl::Duration timeout,
             std::string org = "")
      : transport_(transport),
        token_(std::move(token)),
        timeout_(timeout),
        org_(std::move(org)) {}

  // Calls FleetAdmin.`method`, whose response type is `Response`. Errors: those
  // of Transport::Fetch, and a problem (problem.h) for every HTTP status that
  // is not 2xx. A body that is not a `Response` is DataLoss; fields of a newer
  // gateway are skipped.
  template <typename Response>
  absl::StatusOr<Answer<Response>> Call(
      std::string_view method, const google::protobuf::Message& request,
      const CallOptions& options = {}) {
    Answer<Response> answer;
    ASSIGN_OR_RETURN(HttpResponse response,
                     Exchange(method, request, &answer.message, options));
    answer.body = std::move(response.body);
    answer.served_at = ParseDate(response.Header("Date"));
    return answer;
  }

  // The same for a method that answers a RawBody: its bytes.
  absl::StatusOr<std::string> CallRaw(
      std::string_view method, const google::protobuf::Message& request) {
    ASSIGN_OR_RETURN(HttpResponse response,
                     Exchange(method, request, nullptr, {}));
    return std::move(response.body);
  }

  // That of Transport.
  void Abort() { transport_.Abort(); }

 private:
  // `response`: nullptr for what is not JSON.
  absl::StatusOr<HttpResponse> Exchange(
      std::string_view method, const google::protobuf::Message& request,
      google::protobuf::Message* response, const CallOptions& options);
  static std::optional<absl::Time> ParseDate(std::string_view text);

  Transport& transport_;
  // Constant after construction.
  const Secret token_;
  const absl::Duration timeout_;
  const std::string org_;
};

}  // namespace muster::ctl

#endif  // MUSTER_TOOLS_MUSTERCTL_GATEWAY_API_H_
