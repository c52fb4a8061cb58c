// The gateway's REST interface, typed by the messages of proto/muster/v1.

#ifndef MUSTER_TESTS_INTEGRATION_REST_CLIENT_H_
#define MUSTER_TESTS_INTEGRATION_REST_CLIENT_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "libprotocol/base/secret.h"
#include "libprotocol/net/https_client.h"
#include "tools/musterctl/gateway_api.h"
#include "tools/musterctl/problem.h"

namespace muster::integration {

// RestClient calls one gateway as one principal. Thread-safe: every call has a
// connection of its own, and blocks.
class RestClient {
 public:
  RestClient(std::string url, Secret token)
      : url_(std::move(url)), token_(std::move(token)) {}

  // Calls FleetAdmin.`method`. Whatever the gateway refuses is an error whose
  // HTTP status and code ProblemOf() tells.
  template <typename Response>
  absl::StatusOr<Response> Call(std::string_view method,
                                const google::protobuf::Message& request,
                                const ctl::CallOptions& options = {}) const {
    ASSIGN_OR_RETURN(
        const auto transport,
        ctl::ConnectTo({.server = url_, .ca_file = "", .pin = ""}));
    ctl::GatewayApi api(*transport, token_, absl::Seconds(20));
    ASSIGN_OR_RETURN(ctl::Answer<Response> answer,
                     api.Call<Response>(method, request, options));
    return std::move(answer.message);
  }

  // GET of a target that answers something else than JSON.
  absl::StatusOr<HttpResponse> Get(const std::string& target) const;

  const std::string& url() const { return url_; }

 private:
  // Constant after construction.
  const std::string url_;
  const Secret token_;
};

// "agent_unreachable", … of a refused call; "" if the gateway refused nothing.
std::string ProblemCode(const absl::Status& status);

}  // namespace muster::integration

#endif  // MUSTER_TESTS_INTEGRATION_REST_CLIENT_H_
