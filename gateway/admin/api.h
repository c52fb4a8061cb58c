// The one door through which every operator operation enters, whatever skin
// (REST, page, tests) it came through.

#ifndef MUSTER_GATEWAY_ADMIN_API_H_
#define MUSTER_GATEWAY_ADMIN_API_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "libprotocol/base/secret.h"

namespace muster::gateway {

// What the caller says of itself and where it came from. Nothing of it is
// verified yet.
struct CallContext {
  Secret bearer;              // Empty: no credential.
  std::string peer_address;   // Without port.
  std::string request_id;     // For logs, audit and the answer.
  std::string web_authority;  // The Host header: where the caller reached us.
  std::string org;            // Which org is meant; empty: the caller's own.
};

// An error as a person and a program see it. An OK status: no error.
struct ApiError {
  absl::Status status;
  std::string code;  // "agent_unreachable"; empty: CodeName(status.code()).
  absl::Duration retry_after;  // Zero: nothing to say.
  std::string reason = {};     // Of a refused registration: "used_up".
};

// Api runs operations of the contract. Thread-safe.
class Api {
 public:
  // `response` is null exactly when the error is one.
  using Reply = absl::AnyInvocable<void(
      ApiError error_or_ok,
      std::unique_ptr<google::protobuf::Message> response)>;

  virtual ~Api() = default;

  // Authenticates, authorizes, audits and runs `method`. `request` is of the
  // method's input type. `reply` runs exactly once, on any thread, possibly
  // before Call() returns. Does not block.
  virtual void Call(const google::protobuf::MethodDescriptor& method,
                    CallContext context,
                    std::unique_ptr<google::protobuf::Message> request,
                    Reply reply) = 0;
};

}  // namespace muster::gateway

#endif  // MUSTER_GATEWAY_ADMIN_API_H_
